// The slider of T, which moves the hand of common.js. Only the T that came to rest goes to Python.

const LOWEST = 0.1, HIGHEST = 100;
const MARKS = [1, 2, 4, 8, 20];

const position = (T) => Math.log(T / LOWEST) / Math.log(HIGHEST / LOWEST);
const temperatureAt = (share) => LOWEST * (HIGHEST / LOWEST) ** share;
const rounded = (T) => Number(T.toPrecision(T < 1 ? 2 : 3));

function temperatureControl(root) {
  const view = { root, send: () => {}, rests: settling((T) => view.send("T", T)) };
  const controls = element("div", "controls", root);
  const label = element("label", "label", controls, undefined, { "data-control": "T" });
  element("span", "", label, _("Temperature T = "));
  view.value = element("output", "value", label);
  const track = element("div", "track", controls, undefined, { "data-control": "T" });
  view.slider = element("input", "slider", track, undefined, { type: "range", min: 0, max: 1, step: 0.002, id: "kd-temperature" });
  label.htmlFor = view.slider.id;
  const marks = element("div", "marks", track);
  for (const T of [LOWEST, ...MARKS, HIGHEST]) {
    const mark = element("button", "mark", marks, String(T), { type: "button", "aria-label": _("Set temperature to {T}", { T }) });
    mark.style.left = `calc(${100 * position(T)}% + ${(0.5 - position(T)) * 18}px)`;
    mark.onclick = () => view.set(T, true);
  }
  view.play = element("button", "play", controls, "▶ " + _("Sweep"), { type: "button", "data-control": "T", title: _("Let T run from low to high and back") });
  const logLabel = element("label", "switch", controls, undefined, { "data-control": "axis" });
  view.logBox = element("input", "", logLabel, undefined, { type: "checkbox" });
  element("span", "", logLabel, _("log axis"));

  view.set = (T, final) => {
    view.T = rounded(Math.min(HIGHEST, Math.max(LOWEST, T)));
    view.slider.value = position(view.T);
    view.value.textContent = view.T;
    view.slider.setAttribute("aria-valuetext", _("temperature {T}", { T: view.T }));
    move({ T: view.T });
    if (final) view.rests.rest(view.T);
  };
  view.slider.oninput = () => { hold(view); view.set(temperatureAt(Number(view.slider.value)), true); };
  view.slider.onkeydown = (event) => {
    const step = { ArrowRight: 1.05, ArrowUp: 1.05, ArrowLeft: 1 / 1.05, ArrowDown: 1 / 1.05, PageUp: 2, PageDown: 0.5 }[event.key];
    if (step) { event.preventDefault(); hold(view); view.set(view.T * step, true); }
  };
  view.logBox.onchange = () => { move({ log: view.logBox.checked }); view.send("axis", view.logBox.checked ? "log" : "linear"); };
  view.play.onclick = () => (view.sweeping ? hold(view) : sweep(view));
  view.take = ({ temperature, log }) => { // what Python names
    if (view.T === undefined) { view.logBox.checked = log; move({ log }); }
    const wish = view.rests.isNew(temperature);
    view.set(view.T === undefined || wish ? temperature : view.T, false);
  };
  view.end = () => { hold(view); view.rests.end(); };
  return view;
}

function sweep(view) {
  view.play.textContent = "❚❚ " + _("Hold");
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

function hold(view) {
  if (!view.sweeping) return;
  cancelAnimationFrame(view.sweeping);
  clearInterval(view.sweeping);
  view.sweeping = undefined;
  view.play.textContent = "▶ " + _("Sweep");
  view.set(view.T, true);
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".kd-temperature");
  const view = (root.kdView ??= temperatureControl(root));
  view.send = setStateValue;
  view.take(data);
  window.dispatchEvent(new Event("kd-drawn"));
  return () => view.end();
}
