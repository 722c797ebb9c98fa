// Runs the operations of KD Lab's exported networks (offline_page.to_program): each takes its node and tensors
// {type, shape, data} and gives a tensor. After as_mnist.js, which knows how to round.

const product = (numbers) => numbers.reduce((left, right) => left * right, 1);
const ARRAYS = { float32: Float32Array, int8: Int8Array, uint8: Uint8Array, int32: Int32Array };
const RANGES = { int8: [-128, 127], uint8: [0, 255] };

function decode({ type, shape, data }) {
  if (typeof data !== "string") return { type, shape, data }; // no base64
  const text = atob(data), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return { type, shape, data: new ARRAYS[type](bytes.buffer) };
}

function unpacked(buffer) { // a safetensors file: its tensors, and the program that its metadata hold
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const { __metadata__: about, ...tensors } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const types = { I8: "int8", U8: "uint8", F32: "float32" };
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(tensors)) {
    const data = new ARRAYS[types[dtype]](buffer.slice(8 + length + from, 8 + length + to));
    tensors[name] = { type: types[dtype], shape, data };
  }
  return { tensors, about, program: JSON.parse(about.program) };
}

const float = (shape, data) => ({ type: "float32", shape, data });
const withScalar = (apply) => (node, left, right) => {
  if (right.data.length !== 1) throw new Error(node.op + " with more than one number");
  return float(left.shape, left.data.map((value) => apply(value, right.data[0])));
};

const OPERATIONS = {
  Sub: withScalar((left, right) => left - right),
  Div: withScalar((left, right) => left / right),
  Relu: (node, x) => float(x.shape, x.data.map((value) => Math.max(value, 0))),

  Reshape(node, x, wanted) {
    const shape = Array.from(wanted.data), open = shape.indexOf(-1);
    if (open >= 0) shape[open] = x.data.length / -product(shape);
    return { ...x, shape };
  },

  // x (N, I), weight (O, I), bias (O)
  Gemm(node, x, weight, bias) {
    const [images, inputs] = x.shape, outputs = weight.shape[0], out = new Float32Array(images * outputs);
    for (let n = 0; n < images; n++) {
      const row = x.data.subarray(n * inputs, n * inputs + inputs), used = []; // most units of a layer are silent
      for (let i = 0; i < inputs; i++) if (row[i] !== 0) used.push(i);
      for (let o = 0; o < outputs; o++) {
        let sum = bias ? bias.data[o] : 0;
        for (let u = 0, b = o * inputs; u < used.length; u++) sum += row[used[u]] * weight.data[b + used[u]];
        out[n * outputs + o] = sum;
      }
    }
    return float([images, outputs], out);
  },

  // x (N, C, H, W), weight (O, C, R, S), bias (O)
  Conv(node, x, weight, bias) {
    const [images, channels, height, width] = x.shape, [outputs, , rows, columns] = weight.shape;
    const [down, right] = node.strides, [top, left, bottom, end] = node.pads ?? [0, 0, 0, 0];
    const outHeight = Math.floor((height + top + bottom - rows) / down) + 1;
    const outWidth = Math.floor((width + left + end - columns) / right) + 1;
    const out = new Float32Array(images * outputs * outHeight * outWidth);
    let place = 0;
    for (let n = 0; n < images; n++) for (let o = 0; o < outputs; o++)
      for (let i = 0; i < outHeight; i++) for (let j = 0; j < outWidth; j++) {
        let sum = bias ? bias.data[o] : 0;
        for (let c = 0; c < channels; c++) for (let r = 0; r < rows; r++) {
          const y = i * down - top + r;
          if (y < 0 || y >= height) continue;
          for (let s = 0; s < columns; s++) {
            const z = j * right - left + s;
            if (z >= 0 && z < width)
              sum += x.data[((n * channels + c) * height + y) * width + z]
                * weight.data[((o * channels + c) * rows + r) * columns + s];
          }
        }
        out[place++] = sum;
      }
    return float([images, outputs, outHeight, outWidth], out);
  },

  MaxPool(node, x) {
    const [images, channels, height, width] = x.shape, [rows, columns] = node.kernel_shape, [down, right] = node.strides;
    const outHeight = Math.floor((height - rows) / down) + 1, outWidth = Math.floor((width - columns) / right) + 1;
    const out = new Float32Array(images * channels * outHeight * outWidth);
    let place = 0;
    for (let plane = 0; plane < images * channels; plane++)
      for (let i = 0; i < outHeight; i++) for (let j = 0; j < outWidth; j++) {
        let most = -Infinity;
        for (let r = 0; r < rows; r++) for (let s = 0; s < columns; s++)
          most = Math.max(most, x.data[(plane * height + i * down + r) * width + j * right + s]);
        out[place++] = most;
      }
    return float([images, channels, outHeight, outWidth], out);
  },

  ReduceMean(node, x, axes) { // of each map, as a cnn ends
    const [images, channels, height, width] = x.shape, pixels = height * width;
    if (Array.from(axes.data, (axis) => axis & 3).sort().join() !== "2,3") throw new Error("ReduceMean of others");
    const mean = (_, plane) => x.data.subarray(plane * pixels, (plane + 1) * pixels).reduce((a, b) => a + b, 0) / pixels;
    return float([images, channels, 1, 1], Float32Array.from({ length: images * channels }, mean));
  },

  QuantizeLinear(node, x, scale, zero) {
    if (scale.data.length !== 1) throw new Error("QuantizeLinear by channel");
    const [low, high] = RANGES[zero.type], out = new ARRAYS[zero.type](x.data.length);
    for (let i = 0; i < out.length; i++) out[i] = clamp(rint(x.data[i] / scale.data[0]) + zero.data[0], low, high);
    return { type: zero.type, shape: x.shape, data: out };
  },

  DequantizeLinear(node, x, scale, zero) { // by channels along the first axis, or one scale for all
    const out = new Float32Array(x.data.length), stretch = out.length / scale.data.length;
    for (let i = 0; i < out.length; i++) {
      const channel = Math.floor(i / stretch);
      out[i] = (x.data[i] - (zero ? zero.data[channel] : 0)) * scale.data[channel];
    }
    return float(x.shape, out);
  },
};

// A function of pixels, channels, rows, columns of numbers of 0 to 255, that gives logits.
function network({ nodes, tensors }, shape) {
  const constants = new Map(Object.entries(tensors).map(([name, tensor]) => [name, decode(tensor)]));
  const perform = (node, known) => OPERATIONS[node.op](node, ...node.inputs.map((name) => name ? known.get(name) : undefined));
  const steps = nodes.filter((node) => { // what hangs on no image is computed once
    const fixed = node.inputs.every((name) => constants.has(name));
    if (fixed) constants.set(node.output, perform(node, constants));
    return !fixed;
  });
  return (pixels) => {
    const known = new Map(constants);
    known.set("images", float([1, ...shape], Float32Array.from(pixels)));
    for (const node of steps) known.set(node.output, perform(node, known));
    return Array.from(known.get("logits").data);
  };
}
