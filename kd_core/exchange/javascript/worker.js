// Runs an opening's models off the page's thread. In: {file, shape}, the address of kd_core.exchange.opening's
// browser_models, once; then {ink, side}, a drawing, or {image}. Out: {ready}, or {failed}; then
// {image, logits: {role: K numbers}}, both null where nothing is drawn.

let models;

function unpacked(buffer) { // a safetensors file
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const { __metadata__: about, ...tensors } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const types = { I8: "int8", F32: "float32" };
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(tensors)) {
    const data = new ARRAYS[types[dtype]](buffer.slice(8 + length + from, 8 + length + to));
    tensors[name] = { type: types[dtype], shape, data };
  }
  return { tensors, program: JSON.parse(about.program) };
}

async function open(file, shape) {
  const answer = await fetch(file);
  if (!answer.ok) throw new Error(`${answer.status}`);
  const { tensors, program } = unpacked(await answer.arrayBuffer());
  const flat = [shape.reduce((a, b) => a * b)];
  models = Object.entries(program).map(([role, nodes]) => {
    const own = Object.fromEntries(Object.entries(tensors).filter(([name]) => name.startsWith(`${role}.`)));
    return [role, network({ nodes, tensors: own }, flat)];
  });
}

onmessage = ({ data: { file, shape, ink, side, image = null } }) => {
  if (file) { open(file, shape).then(() => postMessage({ ready: true }), () => postMessage({ failed: true })); return; }
  if (ink) image = asMnist(ink, side, side);
  postMessage({ image, logits: image && Object.fromEntries(models.map(([role, run]) => [role, run(image)])) });
};
