// What moves under the hand. Python's twins are in kd_core.losses (hinton, one_example) and kd_core.evaluation.soft;
// tests/unit/exchange/test_javascript.py holds them equal. A logit row is an array of K numbers, before softmax.

function softmax(logits, temperature) {
  const top = Math.max(...logits);
  const powers = logits.map((z) => Math.exp((z - top) / temperature));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

// log softmax(z / T) of every row of K logits, into an array of the same length. It loses nothing where a probability is
// too small for a number.
function logSoftmaxRows(rows, K, temperature, into) {
  for (let row = 0; row < rows.length; row += K) {
    let top = rows[row], sum = 0;
    for (let k = row + 1; k < row + K; k++) if (rows[k] > top) top = rows[k];
    for (let k = row; k < row + K; k++) sum += Math.exp(into[k] = (rows[k] - top) / temperature);
    const log = Math.log(sum);
    for (let k = row; k < row + K; k++) into[k] -= log;
  }
  return into;
}

const logSoftmax = (logits, temperature) => logSoftmaxRows(logits, logits.length, temperature, new Array(logits.length));

const topOf = (row) => row.indexOf(Math.max(...row));
const entropyBits = (row) => row.reduce((sum, p) => sum - (p > 0 ? p * Math.log2(p) : 0), 0);

const divergence = (p, q) => // Kullback-Leibler, in nats
  p.reduce((sum, share, k) => sum + (share > 0 ? share * Math.log(share / Math.max(q[k], 1e-300)) : 0), 0);

function softDivergence(teacher, student, temperature) { // the same of two softened rows of logits
  const q = logSoftmax(student, temperature);
  return logSoftmax(teacher, temperature).reduce((sum, log, k) => sum + Math.exp(log) * (log - q[k]), 0);
}

// Losses of one example in nats, and their gradients on the student's logits: one_example.felt.
function felt(student, teacher, label, { temperature: T, alpha, tSquared }) {
  const scale = tSquared ? T * T : 1, p = softmax(student, T), q = softmax(teacher, T), cold = softmax(student, 1);
  const softLoss = scale * softDivergence(teacher, student, T), hardLoss = -logSoftmax(student, 1)[label];
  const soft = p.map((share, k) => (alpha * scale / T) * (share - q[k]));
  const hard = cold.map((share, k) => (1 - alpha) * (share - (k === label ? 1 : 0)));
  return { loss: alpha * softLoss + (1 - alpha) * hardLoss, softLoss, hardLoss, soft, hard };
}

// Norms of the soft gradient over rising temperatures, bare and in the paper's limit, and from which T on the bare one
// is within a tenth of it: one_example.gradient_sizes.
function gradientSizes(student, teacher, temperatures) {
  const norm = (row) => Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
  const apart = student.map((z, k) => z - teacher[k]), mean = apart.reduce((a, b) => a + b, 0) / apart.length;
  const centred = norm(apart.map((z) => z - mean)) / apart.length;
  const bare = temperatures.map((T) => {
    const p = softmax(student, T), q = softmax(teacher, T);
    return norm(p.map((share, k) => (share - q[k]) / T));
  });
  const limit = temperatures.map((T) => centred / (T * T));
  let from = temperatures.length;
  while (from > 0 && Math.abs(bare[from - 1] - limit[from - 1]) <= 0.1 * limit[from - 1]) from--;
  return { bare, limit, lawFrom: temperatures[from] ?? null };
}

// Mean soft targets of each class, K rows of K, NaN where a class has no example: soft.mean_soft_targets.
// rows: N * K logits, the largest of each example 0; labels: N classes.
function meanSoftTargets(rows, labels, K, temperature) {
  const sums = new Float64Array(K * K), counts = new Uint32Array(K), powers = new Float64Array(K);
  for (let n = 0; n < labels.length; n++) {
    let sum = 0;
    for (let k = 0, at = n * K; k < K; k++) sum += powers[k] = Math.exp(rows[at + k] / temperature);
    const row = labels[n] * K;
    for (let k = 0; k < K; k++) sums[row + k] += powers[k] / sum;
    counts[labels[n]]++;
  }
  return Array.from(counts, (count, row) => Array.from(sums.subarray(row * K, row * K + K), (sum) => count ? sum / count : NaN));
}

// Average-linkage tree of the classes: soft.similarity_tree, in scipy's order of leaves.
function similarityTree(meanSoft) {
  const K = meanSoft.length, off = meanSoft.map((row, i) => row.map((share, k) => (k === i ? 0 : share || 0)));
  const shared = off.map((row) => { const sum = Math.max(row.reduce((a, b) => a + b, 0), 1e-300); return row.map((share) => share / sum); });
  const away = shared.map((row, i) => row.map((share, k) => -Math.log(Math.max((share + shared[k][i]) / 2, 1e-12))));
  let open = away.map((_, id) => ({ id, size: 1, at: id, leaf: true, height: 0 }));
  for (let id = K; open.length > 1; id++) {
    let first = 0, second = 1;
    for (let i = 0; i < open.length; i++) for (let j = i + 1; j < open.length; j++)
      if (away[open[i].at][open[j].at] < away[open[first].at][open[second].at]) [first, second] = [i, j];
    const pair = [open[first], open[second]].sort((a, b) => a.id - b.id), [left, right] = pair;
    const node = { id, size: left.size + right.size, at: left.at, left, right, height: away[left.at][right.at] };
    open = open.filter((other) => !pair.includes(other));
    for (const { at } of open)
      away[node.at][at] = away[at][node.at] = (left.size * away[left.at][at] + right.size * away[right.at][at]) / node.size;
    open.push(node);
  }
  const leaves = [], positions = [], heights = [];
  const place = (node) => { // and where it stands
    if (node.leaf) return 5 + 10 * (leaves.push(node.id) - 1);
    const x = [place(node.left), place(node.right)];
    positions.push([x[0], x[0], x[1], x[1]]);
    heights.push([node.left.height, node.height, node.height, node.right.height]);
    return (x[0] + x[1]) / 2;
  };
  place(open[0]);
  return { leaves, positions, heights };
}

// The logit of class k with which it has this share, 0 to 1 exclusive, of what a row gives at a temperature.
function logitFor(row, k, share, temperature) {
  const others = row.filter((_, other) => other !== k), top = Math.max(...others);
  const log = Math.log(others.reduce((sum, z) => sum + Math.exp((z - top) / temperature), 0));
  return top + temperature * (log + Math.log(share / (1 - share)));
}
