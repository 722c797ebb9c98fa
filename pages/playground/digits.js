// Distill digits here: a 784-30-10 student and its twin learn scikit-learn's digits in the browser, from the teacher that
// ships; what is drawn meanwhile, all three answer. T, alpha and T² are the page's.

const SHEET_SIDE = 280, A_FRAME = 5;
const IMAGES = { all: [1, _("all 1,352")], fifth: [0.2, _("271, one in five")], twentieth: [0.05, _("68, one in twenty")] };
const NAMES = { teacher: _("teacher"), baseline: _("baseline"), distilled: _("distilled") };

function build(root) {
  root.replaceChildren();
  const view = { root, history: [], turn: 0, send: () => {} };
  const bar = element("div", "tools", root);
  view.start = Object.assign(element("button", "play main", bar, _("Distill digits here"), { type: "button", "data-control": "distill" }), { onclick: () => press(view) });
  const row = element("label", "row", bar, undefined, { "data-control": "digits" });
  element("span", "", row, _("Images for the students"));
  view.images = element("select", "", row, undefined, { "aria-label": _("Images for the students") });
  for (const [name, [, text]] of Object.entries(IMAGES)) element("option", "", view.images, text, { value: name });
  view.images.oninput = () => { view.rests.rest(view.images.value); if (view.worker) again(view); };
  view.state = element("output", "steps wide", bar, _("About 1 MB to fetch, then some seconds."));
  view.body = element("div", "body", root, undefined, { hidden: true });
  const left = element("div", "left", view.body);
  const canvas = element("canvas", "sheet", left, undefined, { width: SHEET_SIDE, height: SHEET_SIDE, "data-control": "drawing", ...SHEET });
  Object.assign(element("button", "play", left, _("✎ Empty sheet"), { type: "button" }), { onclick: () => { view.drawing.set([], null); canvas.focus(); } });
  const right = element("div", "side", view.body);
  view.bars = barsIn(element("div", "kd-bars", right));
  const charts = element("div", "charts", view.body);
  view.errorChart = chart(charts, _("Test errors of 445"), ROLES.map((role) => [role, TITLES[role].split(",")[0]]));
  view.lossChart = chart(charts, _("Loss, in nats"), [["baseline", _("Baseline, hard loss")], ["distilled", _("Distilled, whole loss")]]);
  view.status = element("p", "verdict", view.body, "", { role: "status" });
  view.drawing = sheet(canvas, { drawn: () => {
    if (!view.drawing.touched || !view.worker) return;
    view.ink = view.drawing.ink();
    ask(view, 0);
  } });
  return view;
}

async function press(view) {
  if (!view.worker) {
    view.start.disabled = true;
    view.state.textContent = _("Fetching the digits…");
    try {
      view.lesson = await fetched("lesson/digits");
    } catch {
      view.start.disabled = false;
      view.state.textContent = _("The digits did not arrive. Press again to fetch them once more.");
      return;
    }
    view.start.disabled = false;
    view.body.hidden = false;
    view.worker = workerOf(TRAINER);
    view.worker.onmessage = ({ data }) => requestAnimationFrame(() => (data.shown ? view.drawing.set([], data.shown) : arrived(view, data)));
    view.worker.postMessage({ lesson: view.lesson });
    again(view);
    return;
  }
  if (view.playing) { view.playing = false; named(view); return; }
  if (view.ended) { again(view); return; }
  view.playing = true;
  named(view);
  ask(view, A_FRAME);
}

function again(view) {
  Object.assign(view, { history: [], ended: false, playing: true, turn: view.turn + 1, again: true });
  named(view);
  ask(view, A_FRAME);
}
const named = (view) => { view.start.textContent = view.playing ? _("⏸ Pause") : view.ended ? _("↺ Start again") : _("▶ Go on"); };

function ask(view, steps) { // of what waits for the worker, the newest
  if (view.busy) { view.waiting = true; return; }
  const { T, alpha = 1, tSquared = true } = hand.state, settings = { T, alpha, tSquared, images: IMAGES[view.images.value][0] };
  Object.assign(view, { busy: true, waiting: false });
  view.worker.postMessage({ settings, advance: steps, again: view.again, turn: view.turn, ...(view.ink && { ink: view.ink, side: SHEET_SIDE }) });
  Object.assign(view, { again: false, ink: undefined });
}

function arrived(view, { turn, step, ended, drawn, losses, errors, logits }) {
  view.busy = false;
  const now = turn === view.turn; // else it was asked for before all began anew
  if (now && !drawn) {
    keep(view.history, { step, losses, errors });
    view.state.textContent = _("{steps} steps", { steps: step });
    drawCharts(view);
    view.root.dataset.step = step;
    view.root.dataset.errors = JSON.stringify(errors);
  }
  if (logits) answerBars(view, logits);
  if (now && ended && view.playing && !drawn) {
    Object.assign(view, { playing: false, ended: true });
    named(view);
    view.status.textContent = _("After {step} steps: teacher {teacher}, baseline {baseline}, distilled {distilled} test errors of 445. One run of few test images: a difference of a few errors may be luck.", { step, ...errors });
  } else if (!ended) view.status.textContent = "";
  if (view.waiting || view.playing) ask(view, view.playing ? A_FRAME : 0);
}

function answerBars(view, logits) {
  const models = ROLES.map((role) => ({ id: role, name: NAMES[role], colour: `var(--kd-${role})`, logits: logits[role] }));
  if (view.bars.data) view.bars.data.models = models;
  else layOut(view.bars, { models, classes: Array.from({ length: 10 }, (_, k) => String(k)), label: null, glossary: {} });
  models.forEach((model, m) => view.bars.bars.forEach(({ parts }) => { parts[m].bar.model = model; }));
  move({ moved: {} });
  draw(view.bars, hand.state);
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".kd-digits");
  const view = (root.kdView ??= build(root));
  view.send = setStateValue;
  view.rests ??= settling((name) => view.send("digits", name));
  if (view.rests.isNew(data.images)) view.images.value = data.images in IMAGES ? data.images : "fifth";
  view.stop?.();
  view.stop = followed((state) => draw(view.bars, state));
  return () => { view.rests.end(); view.stop(); view.worker?.terminate(); view.worker = undefined; };
}
