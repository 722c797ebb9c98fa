// Trains off the page's thread. After maths, perceptron, points and pair.
// In: {settings, advance, again, turn}: take these settings, make so many steps, begin anew. Out: what stands then, with turn and the fields:
// logits of each network at GRID x GRID places of the plane, from the upper left, row by row.
// In: {pairs, settings, steps, taught}: train so many pairs of other seeds with this teacher. Out: {pair}, each pair's errors.

const GRID = 100, CHUNK = 1000, A_FRAME = 12; // steps of the teacher for one of the students' frames
const places = new Float64Array(2 * GRID * GRID);
for (let row = 0; row < GRID; row++) for (let column = 0; column < GRID; column++)
  places.set([PLANE * ((2 * column + 1) / GRID - 1), PLANE * (1 - (2 * row + 1) / GRID)], 2 * (row * GRID + column));

const state = { settings: {} };
const NEW_LESSON = ["shape", "overlap", "own", "seed", "noise", "swapped", "teacher"], NEW_POINTS = ["examples", "unseen"];
const differs = (names, settings) => names.some((name) => JSON.stringify(settings[name]) !== JSON.stringify(state.settings[name]));

function take(settings, again) {
  const lesson = differs(NEW_LESSON, settings), few = lesson || differs(NEW_POINTS, settings), pair = again || lesson || differs(["student"], settings);
  state.settings = settings;
  if (few) Object.assign(state, lessonOf(settings), { known: undefined, sent: false });
  if (lesson) Object.assign(state, { teacher: teacherOf(settings, state.K), field: undefined });
  if (pair) Object.assign(state, { pair: pairOf(settings, state.K), losses: undefined });
}

function advance(steps) {
  const { settings, teacher, many, few, pair } = state;
  if (teacher.updates < TEACHER_STEPS) {
    for (let step = 0; step < A_FRAME * Math.min(steps, 4) && teacher.updates < TEACHER_STEPS; step++) teach(teacher, many, settings.seed);
    state.field = undefined;
    return;
  }
  state.known ??= forward(teacher, few.inputs).slice();
  for (let step = 0; step < steps; step++) state.losses = stepOf(pair, few, state.known, settings);
}

function fieldOf(network) {
  const field = new Float32Array(GRID * GRID * state.K);
  for (let from = 0; from < GRID * GRID; from += CHUNK)
    field.set(forward(network, places.subarray(2 * from, 2 * (from + CHUNK))), from * state.K);
  return field;
}

function stands(turn) {
  const { K, test, few, teacher, pair, losses } = state, answer = { K, turn, step: pair.baseline.updates, losses, taught: teacher.updates / TEACHER_STEPS };
  answer.errors = { teacher: errorsIn(teacher, test) };
  const wrong = STUDENTS.map((role) => { const each = wrongIn(pair[role], test); answer.errors[role] = each.reduce((a, b) => a + b, 0); return each; });
  answer.only = [0, 1].map((student) => wrong[student].reduce((sum, is, place) => sum + (is && !wrong[1 - student][place]), 0));
  answer.fields = Object.fromEntries(STUDENTS.map((role) => [role, fieldOf(pair[role])]));
  if (!state.field) { state.field = true; answer.fields.teacher = fieldOf(teacher); }
  if (!state.sent) { state.sent = true; answer.few = few; }
  if (answer.taught === 1) answer.weights = teacher.parameters;
  return answer;
}

function trainPairs({ pairs, settings, steps, taught }) {
  for (let number = 1; number <= pairs; number++) {
    const own = { ...settings, seed: settings.seed + number }, { K, few, test } = lessonOf(own), pair = pairOf(own, K), teacher = teacherOf(settings, K);
    teacher.parameters.set(taught);
    const known = forward(teacher, few.inputs).slice();
    for (let step = 0; step < steps; step++) stepOf(pair, few, known, own);
    postMessage({ pair: Object.fromEntries(STUDENTS.map((role) => [role, errorsIn(pair[role], test)])) });
  }
}

onmessage = ({ data }) => {
  if (data.pairs) return trainPairs(data);
  take(data.settings, data.again);
  advance(data.advance);
  const answer = stands(data.turn);
  postMessage(answer, Object.values(answer.fields).map(({ buffer }) => buffer));
};
