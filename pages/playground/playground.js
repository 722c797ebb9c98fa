// The Playground: a teacher and two students of it learn in front of their visitor, and all can be changed meanwhile. They
// are trained by trainer.js in a worker, a few steps for each frame that is drawn. Python hears of settings that rest.

const STEPS = 1000, MORE = 500; // after which it pauses by itself; how far a change then takes it on
const PAIRS = 20, MOST_OWN = 150;
const HIDDEN = Object.fromEntries(["2", "4", "8", "16,16", "32,32", "64,64"].map((sizes) => [sizes, sizes.includes(",") ? _("{first} and {second}", { first: sizes.split(",")[0], second: sizes.split(",")[1] }) : sizes]));
const CONTROLS = { // a setting's name in the address -> its label, and what it may be; the first group is the data's
  shape: { label: _("Data"), options: { clouds: _("Clouds"), moons: _("Moons"), rings: _("Rings"), spirals: _("Spirals"), own: _("Draw your own") }, start: "clouds" },
  overlap: { label: _("Overlap"), range: [0, 1, 0.05], start: 0.5 },
  seed: { label: _("Seed"), range: [0, 99, 1], start: 0 },
  noise: { label: _("Wrong labels"), range: [0, 0.5, 0.05], start: 0, text: (value) => `${Math.round(100 * value)}%` },
  teacher: { label: _("Teacher's units"), options: HIDDEN, start: "32,32" },
  swapped: { label: _("Teacher confuses A and B"), box: true, start: false },
  examples: { label: _("Students' points"), range: [5, 120, 5], start: 15 },
  unseen: { label: _("They never see"), options: { none: _("all seen"), 0: _("class A"), 1: _("class B"), 2: _("class C"), 3: _("class D") }, start: "none" },
  student: { label: _("Students' units"), options: HIDDEN, start: "16,16" },
  alpha: { label: _("alpha (soft loss)"), range: [0, 1, 0.05], start: 1 },
  t2: { label: _("Soft loss times T²"), box: true, start: true },
  rate: { label: _("Learning rate"), options: { 0.001: "0.001", 0.003: "0.003", 0.01: "0.01", 0.03: "0.03" }, start: "0.01" },
  speed: { label: _("Steps a frame"), options: { 1: "1", 4: "4", 16: "16", 64: "64" }, start: "4" },
};

// What an address may hold of a setting, and the setting; whatever is none is where it starts.
function read(name, text) {
  const { options, range, box, start } = CONTROLS[name];
  if (text === undefined || text === null) return start;
  if (options) return text in options ? text : start;
  if (box) return text === "yes" ? true : text === "no" ? false : start;
  const value = Number(text);
  return text !== "" && Number.isFinite(value) ? Math.min(range[1], Math.max(range[0], Math.round(value / range[2]) * range[2])) : start;
}
const written = (name, value) => (CONTROLS[name].box ? (value ? "yes" : "no") : CONTROLS[name].range ? String(Number(value.toFixed(2))) : value);

function ownOf(text) { // of three bytes a point
  try {
    const numbers = bytes((text ?? "").replaceAll("-", "+").replaceAll("_", "/"));
    return Array.from({ length: Math.min(MOST_OWN, Math.floor(numbers.length / 3)) }, (_, place) => [numbers[3 * place] / 127.5 - 1, numbers[3 * place + 1] / 127.5 - 1, numbers[3 * place + 2] % 4]);
  } catch { return []; }
}
const ownText = (own) => btoa(String.fromCharCode(...own.flatMap(([x, y, k]) => [Math.round((x + 1) * 127.5), Math.round((y + 1) * 127.5), k])))
  .replaceAll("+", "-").replaceAll("/", "_");

function textOf(view) { // the address's part of what is set: what is as it starts is left out
  const { values, own, situation } = view, named = {};
  for (const name of Object.keys(CONTROLS)) if (values[name] !== CONTROLS[name].start) named[name] = written(name, values[name]);
  if (own.length) named.own = ownText(own);
  if (situation) named.situation = situation.name;
  return JSON.stringify(named);
}

function build(root) {
  root.replaceChildren();
  const view = { root, values: {}, own: [], history: [], canvases: {}, borders: {}, brush: 0, limit: STEPS, turn: 0, dense: Math.min(2, devicePixelRatio || 1) };
  view.bar = element("div", "bar", root, undefined, { role: "toolbar", "aria-label": _("Training") });
  const button = (text, control, act, title) => Object.assign(element("button", "play", view.bar, text, { type: "button", "data-control": control, title }), { onclick: act });
  view.play = button(_("▶ Play"), "play", () => { if (view.playing) pause(view); else go(view); }, _("Train, or pause"));
  view.play.classList.add("main");
  button(_("Step"), "step", () => { pause(view); ask(view, 1); }, _("One step of both students"));
  button(_("↺ Start again"), "again", () => startAgain(view), _("Both students from the same weights"));
  button(_("Twenty seeds"), "pairs", () => trainTwenty(view), _("Train twenty pairs, unseen, and see their differences"));
  view.steps = element("output", "steps", view.bar);
  view.tries = element("div", "tries", view.bar, undefined, { role: "group", "aria-label": _("Prepared situations"), "data-control": "situation" });
  view.question = element("div", "question", root);
  view.control = temperatureControl(element("div", "kd-temperature", root));
  const middle = element("div", "middle", root), settings = element("div", "settings", middle);
  view.inputs = Object.fromEntries(Object.keys(CONTROLS).map((name) => [name, controlFor(view, name, settings)]));
  view.brushes = brushesFor(view, settings);
  const right = element("div", "right", middle);
  view.large = {};
  for (const role of ROLES) {
    const box = element("section", `box ${role}`, right, undefined, { "aria-label": TITLES[role] });
    const head = element("div", "head", box), line = (element("h2", "", head, TITLES[role]), element("p", "large", head));
    view.large[role] = element("output", "", line, "–");
    element("small", "", line, _(" errors")).title = _("Test errors, of 1,000 fresh points with right labels");
    canvasFor(view, role, box);
  }
  view.errorChart = chart(right, _("Test errors of 1,000"), ROLES.map((role) => [role, TITLES[role].split(",")[0]]));
  view.lossChart = chart(right, _("Loss, in nats"), [["baseline", _("Baseline, hard loss")], ["distilled", _("Distilled, whole loss")]]);
  const aside = element("div", "aside", right);
  view.seeds = element("div", "seeds", aside);
  view.inspector = element("div", "inspector", aside);
  view.status = element("div", "said", root, undefined, { role: "status" });
  view.lossSettings = () => ({ T: hand.state.T, alpha: view.values.alpha, tSquared: view.values.t2 });
  view.pointed = () => { inspect(view); paint(view); };
  view.drawPoint = (at) => {
    if (view.values.shape !== "own" || view.own.length >= MOST_OWN) return;
    view.own = [...view.own, [at.x, at.y, view.brush]];
    changed(view, "own");
  };
  view.scheme = matchMedia("(prefers-color-scheme: dark)");
  view.scheme.onchange = () => recolour(view);
  view.sized = new ResizeObserver(() => { resize(view); paint(view); });
  for (const { canvas } of Object.values(view.canvases)) view.sized.observe(canvas);
  return view;
}

function controlFor(view, name, parent) {
  const { label, options, range, box } = CONTROLS[name], row = element("label", box ? "row switch" : "row", parent, undefined, { "data-control": name });
  element("span", "", row, label);
  const shown = range ? element("span", "shown", row) : null; // an output would take the label's place for its own
  const input = options ? element("select", "", row) : element("input", range ? "slider" : "", row, undefined, range ? { type: "range", min: range[0], max: range[1], step: range[2] } : { type: "checkbox" });
  input.setAttribute("aria-label", label);
  for (const [value, text] of Object.entries(options ?? {})) element("option", "", input, text, { value });
  input.oninput = () => {
    view.values[name] = box ? input.checked : range ? Number(input.value) : input.value;
    if (name === "shape") view.values.overlap = SHAPES[input.value]?.overlap ?? 0.1;
    changed(view, name);
  };
  return { row, input, shown };
}

function brushesFor(view, parent) { // the class of the points that are drawn
  const group = element("div", "brushes", parent, undefined, { role: "group", "aria-label": _("Class to draw"), "data-control": "own" });
  const buttons = CLASSES.map((name, k) => Object.assign(element("button", "play", group, `${MARKS_OF[k]} ${name}`, { type: "button" }), { onclick: () => { view.brush = k; show(view); } }));
  Object.assign(element("button", "play", group, _("Clear"), { type: "button" }), { onclick: () => { view.own = []; changed(view, "own"); } });
  return { group, buttons };
}

function show(view) { // the settings, as their controls have them
  const { values } = view, classes = values.shape === "own" ? 4 : SHAPES[values.shape].classes;
  if (Number(values.unseen) >= classes) values.unseen = "none";
  for (const [name, { input, shown }] of Object.entries(view.inputs)) {
    const { box, range, text } = CONTROLS[name];
    if (box) input.checked = values[name];
    else input.value = values[name];
    if (range) shown.textContent = (text ?? String)(Number(values[name].toFixed(2)));
  }
  for (const option of view.inputs.unseen.input.options) option.hidden = option.disabled = Number(option.value) >= classes;
  move({ alpha: values.alpha, tSquared: values.t2 }); // the digits below learn by them too
  view.brushes.group.hidden = values.shape !== "own";
  view.brushes.buttons.forEach((button, k) => button.setAttribute("aria-pressed", String(k === view.brush)));
  [...view.tries.children].forEach((button) => button.setAttribute("aria-pressed", String(button.situation === view.situation)));
}

const settingsOf = ({ values, own }) => ({ ...values, own: values.shape === "own" ? own : [], unseen: values.unseen === "none" ? -1 : Number(values.unseen),
  teacher: values.teacher.split(",").map(Number), student: values.student.split(",").map(Number), T: hand.state.T, tSquared: values.t2, rate: Number(values.rate) });
const canTrain = ({ values, own }) => hand.state.T !== undefined && (values.shape !== "own" || new Set(own.map(([, , k]) => k)).size > 1);

function changed(view, name) { // by the hand
  show(view);
  view.rests.rest(textOf(view));
  endSeeds(view);
  if (!canTrain(view)) { awaitPoints(view); return; }
  if (!["speed", "alpha", "t2", "rate", "examples", "unseen", "T"].includes(name)) Object.assign(view, { history: [], limit: STEPS, turn: view.turn + 1, weights: undefined });
  else if (view.ended) view.limit = (view.history.at(-1)?.step ?? 0) + MORE;
  if (view.ended || view.playing || name === "own" || name === "shape") go(view);
  else ask(view, 0);
}

function awaitPoints(view) { // of two classes: until then there is nothing to learn
  pause(view);
  const labels = view.own.map(([, , k]) => k);
  Object.assign(view, { fields: undefined, few: { inputs: view.own.flatMap(([x, y]) => [PLANE * x, PLANE * y]), labels, right: labels } });
  view.steps.textContent = _("Draw two classes.");
  for (const role of ROLES) view.large[role].textContent = "–";
  inspect(view);
  paint(view);
}

function go(view) {
  if (!canTrain(view)) { awaitPoints(view); return; }
  if (view.ended && (view.history.at(-1)?.step ?? 0) >= view.limit) view.limit += MORE;
  Object.assign(view, { playing: true, ended: false });
  view.play.textContent = _("❚❚ Pause");
  ask(view, Number(view.values.speed));
}
function pause(view) {
  view.playing = false;
  view.play.textContent = _("▶ Play");
}
function startAgain(view) {
  Object.assign(view, { history: [], limit: STEPS, turn: view.turn + 1, again: true });
  go(view);
}

// Of what waits for the worker, the newest.
function ask(view, steps) {
  if (!canTrain(view) || !view.worker) return;
  if (view.busy) { view.waiting = Math.max(steps, view.waiting ?? 0); return; }
  view.busy = true;
  view.waiting = undefined;
  view.worker.postMessage({ settings: settingsOf(view), advance: steps, again: view.again, turn: view.turn });
  view.again = false;
}

function arrived(view, answer) {
  view.busy = false;
  if (!canTrain(view)) return;
  if (answer.K !== view.K) Object.assign(view, { K: answer.K, fields: undefined });
  if (answer.few) view.few = answer.few;
  view.fields = { ...view.fields, ...answer.fields };
  for (const role of Object.keys(answer.fields)) delete view.borders[role];
  const { step, errors, taught, turn } = answer, now = turn === view.turn; // else it was asked for before all began anew
  if (now) Object.assign(view, { only: answer.only, weights: answer.weights });
  if (now && taught === 1) keep(view.history, answer);
  if (now && view.playing && taught === 1 && step >= view.limit) { pause(view); view.ended = true; atRest(view, errors); }
  if (view.waiting !== undefined) ask(view, view.waiting);
  else if (view.playing) ask(view, Number(view.values.speed)); // the worker goes on while this frame is painted
  if (!now) return;
  view.steps.textContent = taught < 1 ? _("The teacher learns: {share}%", { share: Math.round(100 * taught) }) : _("{steps} steps", { steps: step.toLocaleString("en") });
  for (const role of ROLES) view.large[role].textContent = role !== "teacher" && taught < 1 ? "–" : errors[role];
  if (view.history.length) drawCharts(view);
  if (view.at) { view.at.point = nearest(view, view.at); inspect(view); }
  paint(view);
  view.root.dataset.step = step;
  view.root.dataset.errors = JSON.stringify(errors);
}

const VERDICT = ({ only: [baseline, distilled] }) => { // McNemar's, by the normal approximation: whose errors are fewer
  const z = (baseline - distilled) / Math.sqrt(Math.max(1, baseline + distilled));
  return z > 1.96 ? "distilled" : z < -1.96 ? "baseline" : "same";
};
const ANSWERS = { distilled: _("The distilled student"), baseline: _("The baseline"), same: _("No sure difference") };

function atRest(view, errors) {
  const counts = ROLES.map((role) => `${TITLES[role]} ${errors[role]}`).join(", ");
  view.status.textContent = _("After {steps} steps: {errors} test errors of 1,000.", { steps: view.history.at(-1)?.step ?? 0, errors: counts });
  if (view.situation && view.answer) reveal(view, errors);
}

function endSeeds(view) {
  view.seedWorker?.terminate();
  view.seedWorker = undefined;
  view.seeds.replaceChildren();
  inspect(view);
}
function trainTwenty(view) {
  if (!view.weights || !canTrain(view)) return;
  view.at = null;
  endSeeds(view);
  const pairs = [], worker = (view.seedWorker = workerOf(TRAINER));
  drawPairs(view, pairs, PAIRS);
  worker.onmessage = ({ data }) => {
    if (view.seedWorker !== worker) return; // what it was employed for is gone
    pairs.push(data.pair);
    drawPairs(view, pairs, PAIRS);
    if (pairs.length === PAIRS) worker.terminate();
  };
  worker.postMessage({ pairs: PAIRS, settings: settingsOf(view), steps: STEPS, taught: view.weights });
}

// A prepared situation: its settings, then a question, and training once it is answered.
function situate(view, situation) {
  view.situation = situation;
  Object.assign(view.values, startsOf(), Object.fromEntries(Object.entries(situation.settings).filter(([name]) => name in CONTROLS).map(([name, text]) => [name, read(name, text)])));
  Object.assign(view, { answer: undefined, again: true, ended: false });
  pause(view);
  if (situation.settings.T) view.control.set(Number(situation.settings.T), true);
  pose(view);
  resize(view);
  changed(view);
}
function pose(view) {
  const { question, situation } = view;
  question.replaceChildren();
  if (!situation) return;
  element("strong", "", question, situation.question);
  const answers = element("div", "answers", question, undefined, { role: "group", "aria-label": _("Your answer") });
  for (const [name, text] of Object.entries(ANSWERS))
    Object.assign(element("button", "play", answers, text, { type: "button" }), { onclick: (event) => {
      view.answer = name;
      [...answers.children].forEach((button) => button.setAttribute("aria-pressed", String(button === event.target)));
      startAgain(view);
    } });
  view.reply = element("p", "reply", question, "", { role: "status" });
}
function reveal(view, errors) {
  const truth = VERDICT(view), { why } = view.situation;
  const values = { answer: ANSWERS[view.answer].toLowerCase(), truth: ANSWERS[truth].toLowerCase(), why, ...errors };
  view.reply.textContent = truth === view.answer
    ? _("You said: {answer}. So it is: baseline {baseline}, distilled {distilled} test errors of 1,000. {why} One run may be luck: press Twenty seeds.", values)
    : _("You said: {answer}. Here it is {truth}: baseline {baseline}, distilled {distilled} test errors of 1,000. {why} One run may be luck: press Twenty seeds.", values);
}

const startsOf = () => Object.fromEntries(Object.entries(CONTROLS).map(([name, { start }]) => [name, start]));

function ofAddress({ view, situations }) { // what an address sets
  const named = JSON.parse(view);
  return { values: Object.fromEntries(Object.keys(CONTROLS).map((name) => [name, read(name, named[name])])), own: ownOf(named.own),
    situation: situations.find(({ name }) => name === named.situation) };
}

const AROUND = 300; // pixels of a window's height that a page has above all this, and the charts below the fields

function resize(view) {
  const above = view.canvases.teacher.canvas.getBoundingClientRect().top - view.root.getBoundingClientRect().top;
  view.root.style.setProperty("--side", `max(200px, 100vh - ${Math.round(above + AROUND)}px)`);
  for (const { canvas } of Object.values(view.canvases)) {
    const side = Math.round(canvas.clientWidth * view.dense);
    if (side && canvas.width !== side) canvas.width = canvas.height = side;
  }
}

function recolour(view) { view.colours = coloursOf(view.root); paint(view); }

function follow(view, { T }) {
  if (view.T === T) return;
  const first = view.T === undefined;
  view.T = T;
  if (first) return;
  paint(view);
  if (view.at) inspect(view);
  endSeeds(view);
  if (view.ended) { view.limit = (view.history.at(-1)?.step ?? 0) + MORE; go(view); }
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".kd-playground");
  const view = (root.kdView ??= build(root)), first = view.data === undefined;
  Object.assign(view, { data, send: setStateValue });
  view.control.send = setStateValue;
  view.rests ??= settling((text) => view.send("view", text));
  view.control.take(data);
  if (first) for (const situation of data.situations)
    Object.assign(element("button", "play", view.tries, situation.title, { type: "button" }), { situation, onclick: () => situate(view, situation) });
  const named = ofAddress(data), wish = view.rests.isNew(textOf(named)) || first;
  if (wish) {
    const other = named.situation !== view.situation;
    Object.assign(view, named, { history: [], limit: STEPS, turn: view.turn + 1, weights: undefined });
    if (other) pose(view);
  }
  show(view);
  resize(view);
  recolour(view);
  inspect(view);
  if (!view.worker) {
    view.worker = workerOf(TRAINER);
    view.busy = false;
    view.worker.onmessage = ({ data: answer }) => requestAnimationFrame(() => arrived(view, answer));
  }
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches || (view.situation && !view.answer);
  if (wish) { if (still) ask(view, 0); else go(view); }
  view.stop?.();
  view.stop = followed((state) => follow(view, state));
  return () => {
    view.scheme.onchange = null;
    view.control.end(); view.rests.end(); view.stop(); view.sized.disconnect();
    view.worker?.terminate();
    view.worker = undefined;
    endSeeds(view);
  };
}
