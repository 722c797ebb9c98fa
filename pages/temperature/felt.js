// What the student feels from one image: the loss with its numbers, its gradient on each logit, and the gradient's size
// over T. All of it follows T, alpha, and logits that are dragged.

const RISING = Array.from({ length: 61 }, (_, k) => 0.1 * 1000 ** (k / 60)); // temperatures of the plot
const MANY = 20, SHOWN = 16; // of more classes, those with the largest parts are shown, and the others' sum

function build(root) {
  root.replaceChildren();
  const view = { root, send: () => {} };
  const label = element("label", "label", element("div", "controls", root), undefined, { "data-control": "alpha" });
  element("span", "", label, _("alpha, the weight of the soft loss = "));
  view.weight = element("output", "value", label);
  view.alpha = element("input", "slider", label, undefined, { type: "range", min: 0, max: 1, step: 0.05, "aria-label": _("alpha: weight of the soft loss") });
  view.formula = element("div", "formula", root, undefined, { role: "math" });
  view.terms = {};
  for (const [name, text] of [["", "ℒ ="], ["alpha", "α"], ["", "·"], ["scale", "T²"], ["", "·"], ["soft", _("KL( pᵗ ‖ pˢ ) at T")], ["", "+"], ["rest", "1 − α"], ["", "·"], ["hard", "CE( y, pˢ )"], ["", "="], ["loss", _("nats")]]) {
    const term = element("span", name ? "term" : "sign", view.formula, name ? undefined : text);
    if (name) { view.terms[name] = element("output", "", term); element("small", "", term, text); }
  }
  const legend = element("div", "legend", root);
  for (const name of ["soft", "hard"]) view[`${name}Mark`] = legend.appendChild(Object.assign(document.createElement("span"), { className: "key" }));
  element("span", "key", legend, _("▬ their sum: the gradient on the logit"));
  view.chart = element("div", "felt", root, undefined, { role: "img" });
  view.sizes = element("div", "sizes", root, undefined, { role: "img" });
  view.law = element("p", "law", root);
  view.status = element("div", "said", root, undefined, { role: "status" });
  view.rests = settling((alpha) => view.send("alpha", alpha));
  view.alpha.oninput = () => { move({ alpha: Number(view.alpha.value) }); view.rests.rest(Number(view.alpha.value)); };
  return view;
}

const short = (value) => { const text = Number(value.toPrecision(3)); return Math.abs(text) >= 1e-3 || text === 0 ? String(text) : text.toExponential(1); };
const roundUp = (value) => { const decade = 10 ** Math.floor(Math.log10(value)); return [1, 2, 5, 10].find((digit) => digit * decade >= value * 0.999) * decade; };

function follow(view, state) {
  const { data } = view, { T } = state, alpha = state.alpha ?? data?.alpha;
  if (!data || T === undefined) return;
  const student = logitsNow(data.student), teacher = logitsNow(data.teacher);
  const now = felt(student, teacher, data.label, { temperature: T, alpha, tSquared: data.t_squared });
  view.now = { ...now, T, alpha };
  const scale = data.t_squared ? T * T : 1, numbers = { alpha: Number(alpha.toFixed(2)), scale: data.t_squared ? `${T}²` : "1", soft: short(now.softLoss / scale), rest: Number((1 - alpha).toFixed(2)), hard: short(now.hardLoss), loss: short(now.loss) };
  for (const [name, text] of Object.entries(numbers)) view.terms[name].textContent = text;
  view.weight.textContent = numbers.alpha;
  drawGradient(view, now, state.lit);
  const key = student.join() + teacher.join();
  if (view.key !== key) { view.key = key; drawSizes(view, gradientSizes(student, teacher, RISING)); }
  view.line.setAttribute("transform", `translate(${view.across(T)} 0)`);
  if (view.spoken === undefined) describe(view);
  clearTimeout(view.timer);
  view.timer = setTimeout(() => describe(view), 4 * SETTLE_MS);
}

function shownOf({ data, now, places }) { // the classes of the bars; of many, chosen when the hand is at rest
  const all = data.classes.map((_, k) => k);
  if (all.length <= MANY) return all;
  return places ?? all.sort((a, b) => Math.max(Math.abs(now.soft[b]), Math.abs(now.hard[b])) - Math.max(Math.abs(now.soft[a]), Math.abs(now.hard[a]))).slice(0, SHOWN);
}

function layOut(view) {
  const { data } = view;
  view.shown = shownOf(view);
  const others = data.classes.map((_, k) => k).filter((k) => !view.shown.includes(k));
  view.groups = [...view.shown.map((k) => ({ name: data.classes[k], members: [k] })), ...(others.length ? [{ name: _("{count} others", { count: others.length.toLocaleString("en") }), members: others }] : [])];
  view.chart.replaceChildren();
  view.most = element("span", "most", view.chart);
  view.least = element("span", "least", view.chart);
  view.columns = view.groups.map(({ name, members }) => {
    const column = element("div", "column", view.chart), area = element("div", "middle", column);
    const parts = ["soft", "hard"].map((part) => { const bar = element("i", "", area); bar.style.background = data.colours[part]; return bar; });
    element("span", "", column, name).title = name;
    if (members.length === 1) lights(column, members[0]);
    return { column, parts, sum: element("b", "", area), k: members.length === 1 ? members[0] : null };
  });
  for (const [part, name] of [["soft", _("soft loss")], ["hard", _("hard loss")]]) { view[`${part}Mark`].replaceChildren(); legendEntry(view[`${part}Mark`], data.colours[part], name); }
}

function drawGradient(view, now, lit) {
  if (!view.columns || view.laid !== view.data) { layOut(view); view.laid = view.data; }
  const values = view.groups.map(({ members }) => [now.soft, now.hard].map((row) => members.reduce((sum, k) => sum + row[k], 0)));
  const reach = values.map(([a, b]) => Math.max(Math.abs(Math.max(a, 0) + Math.max(b, 0)), Math.abs(Math.min(a, 0) + Math.min(b, 0))));
  const most = roundUp(Math.max(...reach, 1e-12));
  view.most.textContent = `+${short(most)}`;
  view.least.textContent = `−${short(most)}`;
  values.forEach(([soft, hard], place) => {
    const { column, parts, sum, k } = view.columns[place];
    column.classList.toggle("lit", lit !== null && k === lit);
    const from = [0, Math.sign(soft) === Math.sign(hard) ? soft : 0]; // that of the hard loss stands on the other where both push one way
    [soft, hard].forEach((value, part) => {
      const [low, high] = [Math.min(from[part], from[part] + value), Math.max(from[part], from[part] + value)];
      Object.assign(parts[part].style, { bottom: `${50 + (50 * low) / most}%`, height: `${(50 * (high - low)) / most}%` });
    });
    sum.style.bottom = `${50 + (50 * (soft + hard)) / most}%`;
    column.title = _("{name}: {sum}, soft {soft}, hard {hard}", { name: view.groups[place].name, sum: short(soft + hard), soft: short(soft), hard: short(hard) });
  });
}

const WIDE = 640, HIGH = 240, LEFT = 62, LOW = 34;

function drawSizes(view, { bare, limit, lawFrom }) {
  const times = bare.map((size, at) => size * RISING[at] ** 2), all = [...bare, ...times, ...limit].filter((size) => size > 0);
  const [low, high] = [Math.floor(Math.log10(Math.min(...all))), Math.ceil(Math.log10(Math.max(...all)))];
  view.across = (T) => LEFT + ((Math.log10(T) + 1) / 3) * (WIDE - LEFT - 8);
  const up = (size) => HIGH - LOW - ((Math.log10(Math.max(size, 1e-300)) - low) / (high - low || 1)) * (HIGH - LOW - 8);
  const path = (sizes) => sizes.map((size, at) => `${at ? "L" : "M"}${view.across(RISING[at]).toFixed(1)} ${up(size).toFixed(1)}`).join("");
  const { colours } = view.data, step = Math.max(1, Math.ceil((high - low) / 5));
  const ticks = Array.from({ length: Math.floor((high - low) / step) + 1 }, (_, at) => low + at * step);
  const text = (x, y, words, anchor = "middle") => `<text x="${x}" y="${y}" text-anchor="${anchor}">${words}</text>`;
  view.sizes.innerHTML = `<svg viewBox="0 0 ${WIDE} ${HIGH}"><defs><clipPath id="kd-plot"><rect x="${LEFT}" y="0" width="${WIDE}" height="${HIGH - LOW}"/></clipPath></defs>`
    + (lawFrom === null ? "" : `<rect class="law" x="${view.across(lawFrom)}" y="8" width="${view.across(100) - view.across(lawFrom)}" height="${HIGH - LOW - 8}"/>`)
    + ticks.map((at) => `<path class="grid" d="M${LEFT} ${up(10 ** at)}H${WIDE - 8}"/>` + text(LEFT - 6, up(10 ** at) + 4, "10" + superscript(at), "end")).join("")
    + [0.1, 1, 2, 4, 8, 20, 100].map((T) => text(view.across(T), HIGH - LOW + 16, T)).join("")
    + text((LEFT + WIDE) / 2, HIGH - 4, _("temperature T"))
    + `<g clip-path="url(#kd-plot)"><path d="${path(limit)}" style="stroke: var(--kd-muted); stroke-dasharray: 2 4"/><path d="${path(bare)}" style="stroke: ${colours.hard}"/><path d="${path(times)}" style="stroke: ${colours.soft}"/></g>`
    + `<path class="now" d="M0 8V${HIGH - LOW}"/></svg><div class="legend"></div>`;
  view.line = view.sizes.querySelector(".now");
  const legend = view.sizes.querySelector(".legend");
  for (const [colour, name] of [[colours.hard, _("without T²")], [colours.soft, _("with T²")], ["var(--kd-muted)", _("limit (z_s − z_t) / (K·T²), dotted")]]) legendEntry(legend, colour, name);
  view.law.textContent = lawFrom === null ? view.data.texts.never_holds : view.data.texts.holds.replace("{law_from}", Number(lawFrom.toPrecision(2)));
}

function describe(view) {
  const { data, now } = view, words = view.groups.map(({ name, members }) => `${name} ${short(members.reduce((sum, k) => sum + now.soft[k] + now.hard[k], 0))}`);
  view.chart.setAttribute("aria-label", _("Gradient on each logit of the student: {gradients}", { gradients: words.join(", ") }));
  view.sizes.setAttribute("aria-label", _("Size of the soft loss's gradient over temperature, with and without T squared, and its limit. {law}", { law: view.law.textContent }));
  const sentence = _("At T = {T} and alpha = {alpha} the loss is {loss} nats: soft {soft}, hard {hard}.", { T: now.T, alpha: now.alpha, loss: short(now.loss), soft: short(now.softLoss), hard: short(now.hardLoss) });
  if (view.spoken !== undefined && view.spoken !== sentence) view.status.textContent = sentence;
  view.spoken = sentence;
  if (data.classes.length > MANY) view.laid = undefined; // the largest may be others now
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".kd-felt");
  const view = (root.kdView ??= build(root));
  view.send = setStateValue;
  Object.assign(view, { data, key: undefined });
  if (view.rests.isNew(data.alpha)) { view.alpha.value = data.alpha; move({ alpha: data.alpha }); }
  view.stop?.();
  view.stop = followed((state) => follow(view, state));
  return () => { view.stop(); view.rests.end(); clearTimeout(view.timer); };
}
