// A test image as the students learn it: their softened bars move towards the teacher's, epoch by epoch. A scrubber
// goes back in time; left at its end, it follows the run. Logits come from the server's /probes, softmax happens here.

const FOLLOW_MS = 1500, PLAY_SECONDS = 6;

function build(root) {
  root.replaceChildren();
  const view = { root, told: new Map(), image: 0, share: 1, follow: true };
  view.grid = element("div", "kd-grid", root);
  view.legend = element("div", "legend", root);
  const plot = element("div", "plot", root);
  const axis = element("div", "axis", plot);
  for (const tick of [0, 25, 50, 75, 100]) {
    const line = element("div", "tick", axis);
    line.style.setProperty("--at", `${tick}%`);
    element("span", "", line, `${tick}%`);
  }
  view.axis = element("div", "groups", plot);
  const scrub = element("div", "controls", root);
  view.play = element("button", "play", scrub, _("▶ Replay"), { type: "button" });
  const range = { type: "range", min: 0, max: 1, step: 1, value: 1, "aria-label": _("Epoch") };
  view.slider = element("input", "slider", scrub, undefined, range);
  view.when = element("output", "when", scrub);
  view.readouts = element("table", "readouts", root);
  view.said = element("div", "said", root, undefined, { "aria-live": "polite" });
  view.slider.oninput = () => { stop(view); go(view, Number(view.slider.value)); };
  view.play.onclick = () => (view.playing ? stop(view) : play(view));
  return view;
}

const students = (view) => view.data.runs.filter((run) => run.role !== "teacher");
const lastEpoch = (view) => Math.max(0, ...students(view).map((run) => view.told.get(run.id)?.epochs.at(-1) ?? 0));

function go(view, epoch) {
  view.epoch = epoch;
  view.follow = epoch >= lastEpoch(view);
  draw(view);
}

function play(view) {
  const last = lastEpoch(view), start = performance.now();
  view.play.textContent = _("❚❚ Pause");
  const from = view.epoch >= last ? 0 : view.epoch;
  const tick = (now) => {
    const share = Math.min(1, (now - start) / (1000 * PLAY_SECONDS));
    go(view, Math.round(from + share * (last - from)));
    if (share < 1) view.playing = requestAnimationFrame(tick);
    else stop(view);
  };
  view.playing = requestAnimationFrame(tick);
}

function stop(view) {
  cancelAnimationFrame(view.playing);
  view.playing = undefined;
  view.play.textContent = _("▶ Replay");
}

function at(told, epoch) {  // the newest logits that are not after the epoch
  let index = told.epochs.findIndex((other) => other > epoch);
  index = index === -1 ? told.epochs.length - 1 : Math.max(0, index - 1);
  return told.logits[index];
}

function teacherProbabilities(view) {  // an ensemble's mean of softened probabilities, or of logits
  const members = view.data.runs.filter((run) => run.role === "teacher").map((run) => view.told.get(run.id)?.logits.at(-1)).filter(Boolean);
  if (!members.length) return null;
  const mean = (rows) => rows[0].map((_, k) => rows.reduce((sum, row) => sum + row[k], 0) / rows.length);
  const T = view.data.temperature;
  return view.data.ensemble === "logits" ? softmax(mean(members), T) : mean(members.map((logits) => softmax(logits, T)));
}

function draw(view) {
  const { data } = view, T = data.temperature, last = lastEpoch(view);
  if (view.follow || view.epoch === undefined) view.epoch = last;
  Object.assign(view.slider, { max: Math.max(1, last), value: view.epoch });
  view.when.textContent = view.epoch === 0 ? _("before training") : _("epoch {epoch} of {last}", { epoch: view.epoch, last });
  const teacher = teacherProbabilities(view);
  const shown = [];
  if (teacher) shown.push({ title: _("teacher"), colour: data.colours.teacher, p: teacher, final: teacher });
  for (const run of students(view)) {
    const told = view.told.get(run.id);
    if (told?.epochs.length) shown.push({ title: run.title, colour: run.colour, p: softmax(at(told, view.epoch), T), final: told.logits.at(-1), student: true });
  }
  view.legend.replaceChildren();
  for (const model of shown) legendEntry(view.legend, model.colour, model.title);
  element("span", "key", view.legend, _("softened at T = {T}", { T: Number(T.toPrecision(3)) }));
  const label = data.labels[view.image];
  const lying = lie(data.classes);
  view.root.classList.toggle("lying", lying);
  const known = (teacher ? shown : shown.slice(-1)).map((model) => model.final);
  const bars = known.length ? barsOf(data.classes, known[0], [label, ...known.map(topOf)]) : [];
  const key = `${shown.length}:${bars.map((bar) => bar.name).join("\n")}`;
  if (view.drawn !== key) {
    view.drawn = key;
    view.axis.replaceChildren();
    view.bars = [];
    bars.forEach(({ name }) => {
      const group = element("div", "group", view.axis);
      const area = element("div", "area", group);
      shown.forEach(() => view.bars.push(element("div", "bar", area)));
      element("div", "class", group, name).title = name;
    });
  }
  [...view.axis.children].forEach((group, k) => {
    group.lastChild.classList.toggle("true", !bars[k].others && bars[k].members[0] === label);
    shown.forEach((model, i) => {
      const bar = view.bars[k * shown.length + i];
      const share = shareOf(bars[k], model.p);
      bar.style[lying ? "width" : "height"] = `${(100 * share).toFixed(2)}%`;
      bar.style.background = model.colour;
      bar.title = _("{model}: {share}% for {name}", { model: model.title, share: (100 * share).toFixed(2), name: bars[k].name });
    });
  });
  const body = bodyUnder(view.readouts, ["", _("takes it for"), _("KL from the teacher at this T")], data.glossary);
  for (const model of shown) {
    const row = element("tr", "", body);
    const top = topOf(model.p);
    element("th", "", row, model.title);
    element("td", "", row, top === label ? data.classes[top] : _("{name} (wrong)", { name: data.classes[top] }));
    element("td", "", row, teacher && model.student ? _("{loss} nats", { loss: divergence(teacher, model.p).toPrecision(3) }) : "");
  }
  view.root.dataset.epoch = view.epoch;
}

async function ask(view) {
  clearTimeout(view.timer);
  if (view.gone) return;
  const image = view.image;
  try {
    const seen = [...view.told.values()].map((told) => `${told.id}:${told.attempt}:${told.epochs.at(-1) ?? 0}`).join();
    const address = new URL("probes", document.baseURI);
    address.search = new URLSearchParams({ runs: view.data.runs.map((run) => run.id).join(), image, seen });
    const answer = await fetch(address, { signal: AbortSignal.timeout(10000) });
    if (answer.ok && !view.gone && image === view.image) {
      for (const run of (await answer.json()).runs) {
        const known = view.told.get(run.id);
        if (run.whole || !known) view.told.set(run.id, run);
        else { known.epochs.push(...run.epochs); known.logits.push(...run.logits); }
      }
      draw(view);
    }
  } catch { /* the live view says that the server does not answer; here the next turn tries again */ }
  if (view.data.active && !view.gone) view.timer = setTimeout(() => ask(view), FOLLOW_MS);
}

function layOutGrid(view) {
  const tiles = view.data.captions.map((caption, index) => ({ caption, label: _("test image {number}, {caption}", { number: index + 1, caption }) }));
  tileGrid(view.grid, view.data, tiles, (index) => { view.image = index; view.told.clear(); markTile(view.grid, index); ask(view); });
  markTile(view.grid, view.image);
}

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".kd-bars");
  const view = root.kdView ??= build(root);
  const another = view.data?.strip !== data.strip || view.data?.runs.map((run) => run.id).join() !== data.runs.map((run) => run.id).join();
  view.gone = false;
  view.data = data;
  if (another) {
    Object.assign(view, { told: new Map(), image: data.start, follow: true, drawn: undefined });
    layOutGrid(view);
  }
  ask(view);
  return () => { view.gone = true; clearTimeout(view.timer); stop(view); };
}
