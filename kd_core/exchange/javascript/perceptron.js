// Multilayer perceptrons that learn where they are looked at. All numbers are float64 in typed arrays; a batch is N rows,
// one after the other. Knows no screen, and of other files maths.js alone.
//
// - Parameters lie in one flat array, gradients in another: saving is a copy, an optimiser is one loop.
// - Weights are (outputs, inputs) and begin as torch.nn.Linear's do. ReLU between layers, logits at the end.
// - The loss is kd_core.losses.hinton's: tests/unit/exchange/test_perceptron.py holds losses, gradients and training equal.

// Seeded random numbers, uniform in [0, 1): mulberry32.
function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const normal = (uniform) => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()); // Box and Muller

function permutation(count, uniform) { // Fisher and Yates
  const order = Int32Array.from({ length: count }, (_, place) => place);
  for (let place = count - 1; place > 0; place--) {
    const other = Math.floor(uniform() * (place + 1));
    [order[place], order[other]] = [order[other], order[place]];
  }
  return order;
}

// A network of these sizes, such as [2, 16, 16, 3], with Adam's moments beside its parameters.
function perceptron(sizes, uniform) {
  const layers = [];
  let count = 0;
  for (let place = 1; place < sizes.length; place++) {
    const inputs = sizes[place - 1], outputs = sizes[place];
    layers.push({ inputs, outputs, weights: count, biases: count + inputs * outputs });
    count += (inputs + 1) * outputs;
  }
  const [parameters, gradients, first, second] = [0, 0, 0, 0].map(() => new Float64Array(count));
  for (const { inputs, outputs, weights } of layers) {
    const reach = 1 / Math.sqrt(inputs);
    for (let p = weights; p < weights + (inputs + 1) * outputs; p++) parameters[p] = reach * (2 * uniform() - 1);
  }
  return { sizes, layers, parameters, gradients, first, second, updates: 0, rooms: new Map() };
}

function makeRoom(network, rows) { // for what every layer gives, and for the loss's slope on it
  const lay = () => network.layers.map(({ outputs }) => new Float64Array(rows * outputs));
  if (!network.rooms.has(rows)) network.rooms.set(rows, { rows, values: lay(), slopes: lay() });
  Object.assign(network, network.rooms.get(rows));
}

// Logits of a batch, (N, K): a view of the network's own array, which the next call writes anew.
function forward(network, inputs) {
  const { layers, parameters } = network, rows = inputs.length / layers[0].inputs;
  makeRoom(network, rows);
  let below = inputs;
  layers.forEach((layer, place) => {
    const above = network.values[place], last = place === layers.length - 1;
    for (let row = 0; row < rows; row++) {
      passUp(layer, parameters, below, row * layer.inputs, above, row * layer.outputs);
    }
    if (!last) for (let z = 0; z < above.length; z++) if (above[z] < 0) above[z] = 0; // ReLU
    below = above;
  });
  return below;
}

// One row through one layer, four outputs at a time: each input is read once for all four.
function passUp({ inputs, outputs, weights, biases }, parameters, below, from, above, to) {
  let o = 0;
  for (; o + 3 < outputs; o += 4) {
    const w = weights + o * inputs, x = w + inputs, y = x + inputs, z = y + inputs;
    let a = parameters[biases + o], b = parameters[biases + o + 1], c = parameters[biases + o + 2], d = parameters[biases + o + 3];
    for (let i = 0; i < inputs; i++) {
      const value = below[from + i];
      a += parameters[w + i] * value; b += parameters[x + i] * value; c += parameters[y + i] * value; d += parameters[z + i] * value;
    }
    above[to + o] = a; above[to + o + 1] = b; above[to + o + 2] = c; above[to + o + 3] = d;
  }
  for (; o < outputs; o++) {
    let sum = parameters[biases + o];
    for (let i = 0, w = weights + o * inputs; i < inputs; i++) sum += parameters[w + i] * below[from + i];
    above[to + o] = sum;
  }
}

// Losses of the batch that was put forward, in nats, and their gradient on the logits into the last layer's slopes:
// loss = alpha · T² · KL(softmax(z_t/T) ‖ softmax(z_s/T)) + (1 − alpha) · CE(labels, z_s), mean over the batch.
// teacherLogits may be missing where alpha is 0, as labels where it is 1; the loss that lacks them is NaN.
function distillationLoss(network, { teacherLogits, labels, temperature = 1, alpha = 0, tSquared = true }) {
  const logits = network.values.at(-1), slopes = network.slopes.at(-1).fill(0), K = network.sizes.at(-1), N = network.rows;
  const log = (rows, T) => logSoftmaxRows(rows, K, T, new Float64Array(rows.length));
  let softLoss = NaN, hardLoss = NaN;
  if (teacherLogits) {
    const scale = tSquared ? temperature ** 2 : 1, weight = alpha * scale / temperature / N;
    const student = log(logits, temperature), teacher = log(teacherLogits, temperature);
    softLoss = 0;
    for (let z = 0; z < logits.length; z++) {
      const share = Math.exp(teacher[z]);
      softLoss += scale / N * share * (teacher[z] - student[z]);
      slopes[z] += weight * (Math.exp(student[z]) - share);
    }
  }
  if (labels && alpha < 1) {
    const student = log(logits, 1), weight = (1 - alpha) / N;
    hardLoss = 0;
    for (let z = 0; z < logits.length; z++) slopes[z] += weight * Math.exp(student[z]);
    for (let row = 0; row < N; row++) {
      hardLoss -= student[row * K + labels[row]] / N;
      slopes[row * K + labels[row]] -= weight;
    }
  }
  const loss = (alpha > 0 ? alpha * softLoss : 0) + (alpha < 1 ? (1 - alpha) * hardLoss : 0);
  return { loss, softLoss, hardLoss };
}

// From the last layer's slopes to the gradient on every parameter, by the chain rule.
function backward(network, inputs) {
  const { layers, parameters, gradients, rows } = network;
  gradients.fill(0);
  for (let place = layers.length - 1; place >= 0; place--) {
    const layer = layers[place], slopes = network.slopes[place];
    const below = place ? network.values[place - 1] : inputs, passed = place ? network.slopes[place - 1].fill(0) : null;
    for (let row = 0; row < rows; row++) {
      const from = row * layer.inputs;
      for (let o = 0, w = layer.weights; o < layer.outputs; o++, w += layer.inputs) {
        const slope = slopes[row * layer.outputs + o];
        if (slope === 0) continue; // a unit that is silent
        gradients[layer.biases + o] += slope;
        for (let i = 0; i < layer.inputs; i++) gradients[w + i] += slope * below[from + i];
        if (passed) for (let i = 0; i < layer.inputs; i++) passed[from + i] += slope * parameters[w + i];
      }
    }
    if (passed) for (let z = 0; z < passed.length; z++) if (below[z] <= 0) passed[z] = 0; // ReLU
  }
}

// Kingma and Ba's Adam (arXiv:1412.6980), or plain gradient descent.
function update(network, { rate, optimiser = "adam" }) {
  const { parameters, gradients, first, second } = network;
  network.updates++;
  if (optimiser === "sgd") {
    for (let p = 0; p < parameters.length; p++) parameters[p] -= rate * gradients[p];
    return;
  }
  const keptFirst = 0.9, keptSecond = 0.999, small = 1e-8;
  const step = rate / (1 - keptFirst ** network.updates), grown = 1 - keptSecond ** network.updates;
  for (let p = 0; p < parameters.length; p++) {
    const gradient = gradients[p];
    first[p] = keptFirst * first[p] + (1 - keptFirst) * gradient;
    second[p] = keptSecond * second[p] + (1 - keptSecond) * gradient * gradient;
    parameters[p] -= step * first[p] / (Math.sqrt(second[p] / grown) + small);
  }
}

// One step of training. settings: those of the loss and of update. Returns the losses before it.
function learn(network, inputs, settings) {
  forward(network, inputs);
  const losses = distillationLoss(network, settings);
  backward(network, inputs);
  update(network, settings);
  return losses;
}

const SAVED = ["parameters", "first", "second"];
const save = (network) => ({ updates: network.updates, ...Object.fromEntries(SAVED.map((name) => [name, network[name].slice()])) });
function restore(network, saved) {
  for (const name of SAVED) network[name].set(saved[name]);
  network.updates = saved.updates;
}

// Of each row of logits, whether it has another top class than its label, 1 or 0.
function wrongOf(logits, labels) {
  const K = logits.length / labels.length;
  return Uint8Array.from(labels, (label, row) => {
    let best = 0;
    for (let k = 1; k < K; k++) if (logits[row * K + k] > logits[row * K + best]) best = k;
    return best !== label;
  });
}

// Some rows of a batch, in this order.
function rowsOf(numbers, width, order) {
  const taken = new numbers.constructor(order.length * width);
  order.forEach((row, place) => taken.set(numbers.subarray(row * width, row * width + width), place * width));
  return taken;
}
