// Distills digits off the page's thread. After maths, as_mnist, interpreter and perceptron.js.
// In: {lesson}, the file of kd_core.exchange.browser_lesson; {ink, side}, a drawing, or {image}, 784 grey levels, to look at;
// {settings: {T, alpha, tSquared, images}, advance, again, turn}. Out: {turn, step, errors, losses, logits: of what is looked at}.

const BATCH = 64, RATE = 0.01, LONGEST = 600, HIDDEN_UNITS = 30; // steps, over which the rate falls to nothing by a half cosine
const inks = (levels) => Float64Array.from(levels, (level) => level / 255);
const state = { looked: {} };

function open(lesson) {
  const { tensors, about, program } = unpacked(lesson), of = (name) => tensors[name].data;
  const model = Object.fromEntries(Object.entries(tensors).filter(([name]) => name.startsWith("teacher.")));
  Object.assign(state, { inputs: inks(of("train_images")), labels: of("train_labels"), known: Float64Array.from(of("teacher_logits")),
    test: inks(of("test_images")), right: of("test_labels"), wrong: Number(about.teacher_errors), teacher: network({ nodes: program.teacher, tensors: model }, [784]) });
  look(of("test_images").slice(0, 784));
  postMessage({ shown: state.image }); // to begin with
}

function look(image) {
  state.image = image;
  state.looked = image ? { teacher: state.teacher(image) } : {};
}

function begin({ images }) {
  const uniform = randomNumbers(0), count = Math.ceil(images * state.labels.length);
  state.seen = permutation(state.labels.length, uniform).subarray(0, count);
  state.pair = Object.fromEntries(["baseline", "distilled"].map((role) => [role, perceptron([784, HIDDEN_UNITS, 10], randomNumbers(1))]));
  Object.assign(state, { uniform, at: count, losses: undefined, images });
}

function step({ T, alpha, tSquared }) {
  const { seen, pair, uniform } = state, rate = RATE * (1 + Math.cos(Math.PI * Math.min(1, pair.baseline.updates / LONGEST))) / 2;
  if (state.at >= seen.length) { state.order = permutation(seen.length, uniform).map((place) => seen[place]); state.at = 0; }
  const rows = state.order.subarray(state.at, state.at + BATCH), inputs = rowsOf(state.inputs, 784, rows);
  state.at += BATCH;
  const lesson = { labels: rowsOf(state.labels, 1, rows), teacherLogits: rowsOf(state.known, 10, rows), temperature: T, tSquared, rate };
  state.losses = Object.fromEntries(Object.entries(pair).map(([role, each]) => [role, learn(each, inputs, { ...lesson, alpha: role === "distilled" ? alpha : 0 })]));
}

onmessage = ({ data: { lesson, ink, side, image, settings, advance = 0, again, turn } }) => {
  if (lesson) open(lesson);
  if (ink) look(asMnist(ink, side, side));
  if (image) look(image);
  if (settings && (again || !state.pair || settings.images !== state.images)) begin(settings);
  if (!state.pair) return;
  for (let taken = 0; taken < advance && state.pair.baseline.updates < LONGEST; taken++) step(settings);
  const errors = { teacher: state.wrong }, logits = { teacher: state.looked.teacher };
  for (const [role, each] of Object.entries(state.pair)) {
    if (state.image) logits[role] = Array.from(forward(each, inks(state.image)));
    if (!ink && !image) errors[role] = wrongOf(forward(each, state.test), state.right).reduce((a, b) => a + b, 0);
  }
  const now = state.pair.baseline.updates;
  postMessage({ turn, step: now, ended: now >= LONGEST, drawn: Boolean(ink || image), losses: state.losses, errors, logits: state.image ? logits : null });
};
