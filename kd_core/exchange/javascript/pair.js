// A teacher, and two students of it that begin alike: one learns from labels alone, one is distilled. In the plane, from
// settings: {shape, overlap, own, seed, examples, noise, unseen, swapped, teacher, student, T, alpha, tSquared, rate}.
// After maths.js, perceptron.js and points.js.

const MANY = 1000, TEST = 1000; // points that the teacher learns from; fresh ones to count errors on
const TEACHER_STEPS = 600, TEACHER_BATCH = 100, TEACHER_RATE = 0.01;
const MOST_EXAMPLES = 240;
const STUDENTS = ["baseline", "distilled"];

const classesOf = ({ shape, own }) => shape === "own" ? Math.max(2, ...own.map(([, , k]) => k + 1)) : SHAPES[shape].classes;
const part = (seed, number) => 8 * seed + number; // a seed of its own for everything that is drawn

// What is learned from: many points for the teacher, few for the students, test points with right labels. Label noise is in
// both lessons; swapped: the teacher learned classes 0 and 1 the wrong way round; unseen: of a class the students get nothing.
function lessonOf(settings) {
  const { shape, seed, noise, unseen, swapped } = settings, K = classesOf(settings);
  const own = shape === "own" ? settings.own : [], drawn = (count, number) => points(shape, count, part(seed, number), { ...settings, own });
  const many = drawn(MANY, 1), test = drawn(TEST, 2), few = fewOf(drawn(2 * MOST_EXAMPLES + 2 * own.length, 3), settings);
  const labels = noisy(many.labels, K, noise, part(seed, 4));
  many.labels = swapped ? labels.map((k) => [1, 0][k] ?? k) : labels;
  few.right = few.labels;
  few.labels = noisy(few.labels, K, noise, part(seed, 5)).map((k, place) => (k === unseen ? few.right[place] : k));
  return { K, many, test, few };
}

function fewOf({ inputs, labels }, { examples, unseen }) {
  const order = Array.from(labels.keys()).filter((place) => labels[place] !== unseen).slice(0, examples);
  return { inputs: rowsOf(inputs, 2, order), labels: rowsOf(labels, 1, order) };
}

const teacherOf = ({ seed, teacher }, K) => perceptron([2, ...teacher, K], randomNumbers(part(seed, 6)));

// A step of the teacher, from labels, with a rate that falls to nothing.
function teach(network, { inputs, labels }, seed) {
  const step = network.updates, from = (step * TEACHER_BATCH) % MANY;
  if (from === 0 || !network.order) network.order = permutation(MANY, randomNumbers(part(seed, 7) + 1000 * step));
  const order = network.order.subarray(from, from + TEACHER_BATCH), rate = TEACHER_RATE * (1 - step / TEACHER_STEPS);
  learn(network, rowsOf(inputs, 2, order), { labels: rowsOf(labels, 1, order), rate });
}

function pairOf({ seed, student }, K) {
  return Object.fromEntries(STUDENTS.map((role) => [role, perceptron([2, ...student, K], randomNumbers(part(seed, 0)))]));
}

// A step of both students on the whole of their points: the losses of each, before it. teacherLogits: of these points.
function stepOf(pair, few, teacherLogits, { T, alpha, tSquared, rate }) {
  const common = { labels: few.labels, teacherLogits, temperature: T, tSquared, rate };
  return { baseline: learn(pair.baseline, few.inputs, { ...common, alpha: 0 }),
    distilled: learn(pair.distilled, few.inputs, { ...common, alpha }) };
}

const wrongIn = (network, { inputs, labels }) => wrongOf(forward(network, inputs), labels);
const errorsIn = (network, set) => wrongIn(network, set).reduce((a, b) => a + b, 0);

// Of the test errors of baseline and distilled over some pairs: mean of the differences and its 95% interval, by Student's t.
const QUANTILES = { 5: 2.776445, 10: 2.262157, 20: 2.093024 }; // of t, 0.975, by how many differences there are
function differenceOf(pairs) {
  const differences = pairs.map(({ baseline, distilled }) => baseline - distilled), n = differences.length;
  const mean = differences.reduce((a, b) => a + b, 0) / n;
  const deviation = Math.sqrt(differences.reduce((sum, difference) => sum + (difference - mean) ** 2, 0) / (n - 1));
  const half = QUANTILES[n] * deviation / Math.sqrt(n);
  return { differences, mean, low: mean - half, high: mean + half };
}
