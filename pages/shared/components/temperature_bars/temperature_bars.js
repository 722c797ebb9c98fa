// Holds logits, computes softmax(z / T) itself and redraws on every move of the slider, without asking Python.
// Only the settled T goes back.

const LOG_FLOOR = -12; // the log axis ends at 10^-12
const LOWEST = 0.1, HIGHEST = 100;
const MARKS = [1, 2, 4, 8, 20];
const SETTLE_MS = 150;
const LINE = 12, TALLEST = 220; // pixels: of a label above a bar, and of a bar of 100%

const position = (T) => Math.log(T / LOWEST) / Math.log(HIGHEST / LOWEST);
const temperatureAt = (share) => LOWEST * (HIGHEST / LOWEST) ** share;
const rounded = (T) => Number(T.toPrecision(T < 1 ? 2 : 3));
const percent = (p) => p >= 0.0995 ? (100 * p).toFixed(0) + "%" : p >= 0.001 ? (100 * p).toFixed(1) + "%"
  : p === 0 ? "0" : p.toExponential(0).replace("e-", "·10⁻").replace(/\d+$/, (n) => [...n].map((d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d]).join(""));

function build(root) {
  root.replaceChildren();
  const view = { root, T: undefined, asked: undefined, sent: [] };
  const controls = element("div", "controls", root);
  const label = element("label", "label", controls);
  element("span", "", label, "Temperature T = ");
  view.value = element("output", "value", label);
  view.play = element("button", "play", controls, "▶ Sweep", { type: "button", title: "Let T run from low to high and back" });
  const logLabel = element("label", "switch", controls);
  view.logBox = element("input", "", logLabel, undefined, { type: "checkbox" });
  element("span", "", logLabel, "log axis");

  const track = element("div", "track", root);
  view.slider = element("input", "slider", track, undefined, { type: "range", min: 0, max: 1, step: 0.002, id: "kd-temperature" });
  label.htmlFor = view.slider.id;
  const marks = element("div", "marks", track);
  for (const T of [LOWEST, ...MARKS, HIGHEST]) {
    const mark = element("button", "mark", marks, String(T), { type: "button", "aria-label": `Set temperature to ${T}` });
    mark.style.left = `calc(${100 * position(T)}% + ${(0.5 - position(T)) * 18}px)`;
    mark.onclick = () => view.set(T, true);
  }
  view.legend = element("div", "legend", root);
  view.plot = element("div", "plot", root);
  view.readouts = element("table", "readouts", root);
  view.said = element("div", "said", root, undefined, { "aria-live": "polite" });

  const settle = () => {
    clearTimeout(view.timer);
    view.timer = setTimeout(() => {
      say(view);
      if ((view.sent.at(-1) ?? view.asked) !== view.T) { view.sent.push(view.T); view.send("T", view.T); }
    }, SETTLE_MS);
  };
  view.set = (T, final) => {
    view.T = rounded(Math.min(HIGHEST, Math.max(LOWEST, T)));
    view.slider.value = position(view.T);
    draw(view);
    if (final) settle();
  };
  view.slider.oninput = () => { stop(view); view.set(temperatureAt(Number(view.slider.value)), true); };
  view.slider.onkeydown = (event) => {
    const step = { ArrowRight: 1.05, ArrowUp: 1.05, ArrowLeft: 1 / 1.05, ArrowDown: 1 / 1.05, PageUp: 2, PageDown: 0.5 }[event.key];
    if (step) { event.preventDefault(); stop(view); view.set(view.T * step, true); }
  };
  view.logBox.onchange = () => { view.log = view.logBox.checked; draw(view); view.send("axis", view.log ? "log" : "linear"); };
  view.play.onclick = () => (view.sweeping ? stop(view) : sweep(view));
  return view;
}

function sweep(view) {
  view.play.textContent = "⏸ Hold";
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) { // no motion: step from mark to mark
    let next = MARKS.findIndex((T) => T > view.T + 1e-9);
    view.sweeping = setInterval(() => { view.set(MARKS[Math.max(0, next) % MARKS.length], true); next = Math.max(0, next) + 1; }, 1500);
    return;
  }
  const from = position(view.T), begin = performance.now();
  const frame = (now) => {
    const phase = (from + (now - begin) / 6000) % 2;
    view.set(temperatureAt(phase < 1 ? phase : 2 - phase), false);
    view.sweeping = requestAnimationFrame(frame);
  };
  view.sweeping = requestAnimationFrame(frame);
}

function stop(view) {
  if (!view.sweeping) return;
  cancelAnimationFrame(view.sweeping);
  clearInterval(view.sweeping);
  view.sweeping = undefined;
  view.play.textContent = "▶ Sweep";
  view.set(view.T, true);
}

function layOut(view) {
  const { models, classes, label } = view.data;
  view.lying = lie(classes);
  view.root.classList.toggle("lying", view.lying);
  view.root.classList.toggle("several", models.length > 1);
  view.shown = barsOf(classes, models[0].logits, [label, ...models.map((model) => topOf(model.logits))]);
  view.legend.replaceChildren();
  for (const model of models) legendEntry(view.legend, model.colour, model.name);
  if (label !== null) legendEntry(view.legend, null, "hard target (the label)", "hard");
  view.plot.replaceChildren();
  const axis = element("div", "axis", view.plot);
  view.ticks = [0, 1, 2, 3, 4].map((tick) => {
    const line = element("div", "tick", axis);
    line.style[view.lying ? "left" : "bottom"] = 25 * tick + "%";
    return element("span", "", line);
  });
  const groups = element("div", "groups", view.plot);
  view.bars = view.shown.map(({ name, members, others }) => {
    const group = element("div", "group", groups), right = !others && members[0] === label;
    const area = element("div", "area", group);
    if (right) element("div", "hard-bar", area);
    const bars = models.map((model) => {
      const bar = element("div", "bar", area);
      bar.style.background = model.colour;
      return { bar, text: element("span", "number", bar) };
    });
    element("div", "class" + (right ? " true" : ""), group, name).title = name;
    return bars;
  });
  const titles = ["", "entropy", "effective classes", "largest", "runner-up", ...(models.length > 1 ? ["KL from the teacher"] : [])];
  const body = bodyUnder(view.readouts, titles, view.data.glossary);
  view.rows = models.map((model) => {
    const row = element("tr", "", body);
    element("th", "", row, model.name);
    return Array.from({ length: titles.length - 1 }, () => element("td", "", row));
  });
}

function draw(view) {
  const { models, classes } = view.data;
  view.value.textContent = view.T;
  view.slider.setAttribute("aria-valuetext", `temperature ${view.T}`);
  view.ticks.forEach((span, tick) => {
    span.textContent = view.log ? "10" + [..."" + (LOG_FLOOR + tick * -LOG_FLOOR / 4)].map((c) => c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]).join("") : 25 * tick + "%";
  });
  view.probabilities = models.map((model) => softmax(model.logits, view.T));
  view.probabilities.forEach((row, m) => {
    view.shown.forEach((shown, k) => {
      const p = shareOf(shown, row);
      const share = view.log ? Math.max(0, 1 - Math.log10(Math.max(p, 1e-300)) / LOG_FLOOR) : p;
      const { bar, text } = view.bars[k][m];
      bar.style[view.lying ? "width" : "height"] = 100 * share + "%";
      text.textContent = models.length === 1 || p > 0.3 ? percent(p) : "";
      bar.title = `${models[m].name}, ${shown.others ? "" : "class "}${shown.name}: ${p.toPrecision(3)}`;
    });
    const entropy = row.reduce((sum, p) => sum - (p > 0 ? p * Math.log2(p) : 0), 0);
    const ranked = row.map((p, k) => [p, k]).sort((a, b) => b[0] - a[0]);
    const cells = [
      `${entropy.toFixed(2)} bits`, (2 ** entropy).toFixed(2),
      `${classes[ranked[0][1]]}: ${percent(ranked[0][0])}`, `${classes[ranked[1][1]]}: ${percent(ranked[1][0])}`,
    ];
    if (models.length > 1) cells.push(m === 0 ? "–" : `${Math.max(0, divergence(view.probabilities[0], row)).toPrecision(2)} nats`);
    cells.forEach((text, index) => { view.rows[m][index].textContent = text; });
  });
  if (models.length > 1) for (const bars of view.bars) apart(bars, view.lying);
  view.root.dataset.probabilities = JSON.stringify(view.probabilities);
}

function apart(bars, lying) { // equal labels side by side are written once, others one above the other
  const equal = new Map(), pixels = ({ bar }) => (parseFloat(bar.style.height) || 0) * TALLEST / 100;
  const tops = bars.map(pixels).sort((a, b) => a - b);
  for (const one of bars) {
    one.text.style.bottom = "";
    if (one.text.textContent) equal.set(one.text.textContent, [...(equal.get(one.text.textContent) || []), one]);
  }
  const shown = [...equal.values()].map((same) => {
    const kept = same[same.length >> 1];
    for (const one of same) if (one !== kept) one.text.textContent = "";
    return kept;
  });
  let free = 0;
  if (!lying) for (const one of shown.sort((a, b) => pixels(a) - pixels(b))) {
    let at = Math.max(pixels(one), free);
    for (const top of tops) if (top > at && top < at + LINE) at = top; // no bar stands in the label
    one.text.style.bottom = `calc(100% + ${(at - pixels(one)).toFixed(1)}px)`;
    free = at + LINE;
  }
}

function say(view) {
  view.said.textContent = `At temperature ${view.T}: ` + view.probabilities.map((row, m) => {
    const best = topOf(row);
    return `${view.data.models[m].name} gives class ${view.data.classes[best]} ${percent(row[best])}`;
  }).join("; ") + ".";
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".kd-bars");
  const view = (root.kdView ??= build(root));
  view.data = data;
  view.send = setStateValue;
  layOut(view);
  if (view.log === undefined) view.log = view.logBox.checked = data.log;
  const echo = view.sent.indexOf(data.temperature); // of what was sent, while the hand may have moved on
  view.sent.splice(0, echo + 1);
  const asked = view.asked !== data.temperature && echo === -1;
  view.asked = data.temperature;
  view.set(view.T === undefined || asked ? data.temperature : view.T, false);
  say(view);
  return () => { stop(view); clearTimeout(view.timer); };
}
