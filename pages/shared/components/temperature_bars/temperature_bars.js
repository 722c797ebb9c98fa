// Bars of softmax(z / T) of several models, each of which can be dragged: its logit follows, and all that hangs on it.

const LOG_FLOOR = -12; // the log axis ends at 10^-12
const LINE = 13; // pixels of a label above a bar
const NUDGE = 0.5; // of a logit, a press of a key

function barsIn(root) {
  const view = { root, settled: () => {} };
  view.legend = element("div", "legend", root);
  view.plot = element("div", "plot", root);
  view.readouts = element("table", "readouts", root);
  view.status = element("div", "said", root, undefined, { role: "status" });
  view.measure = new ResizeObserver(() => { view.tall = view.bars?.[0]?.area.clientHeight; });
  view.end = () => { clearTimeout(view.timer); clearTimeout(view.rest); view.measure.disconnect(); view.stop?.(); };
  return view;
}

function layOut(view, data) {
  const { models, classes, label } = view.data = data;
  hand.state.shown = view; // what a class's phones follow (room/class.js)
  view.lying = lie(classes);
  view.root.classList.toggle("lying", view.lying);
  view.root.classList.toggle("several", models.length > 1);
  view.shown = barsOf(classes, models[0].logits, [label, ...models.map((model) => topOf(model.logits))]);
  view.legend.replaceChildren();
  for (const model of models) legendEntry(view.legend, model.colour, model.name);
  if (label !== null) legendEntry(view.legend, null, _("the label"), "hard");
  view.back = element("button", "play", view.legend, "↺ " + _("Back to the image"), { type: "button" });
  view.back.onclick = () => { dragged(view, {}); view.bars[0].parts[0].bar.focus(); };
  view.plot.replaceChildren();
  const axis = element("div", "axis", view.plot);
  view.ticks = [0, 1, 2, 3, 4].map((tick) => {
    const line = element("div", "tick", axis);
    line.style[view.lying ? "left" : "bottom"] = 25 * tick + "%";
    return element("span", "", line);
  });
  const groups = element("div", "groups", view.plot, undefined, { role: "group", "data-control": "logits",
    "aria-label": _("Bars to drag. Arrows left and right choose a bar, up and down move its logit.") });
  view.bars = view.shown.map(({ name, members, others }) => {
    const group = element("div", "group", groups), right = !others && members[0] === label;
    const area = element("div", "area", group);
    if (right) element("div", "hard-bar", area);
    const parts = models.map((model) => {
      const bar = element("div", others ? "bar" : "bar free", area);
      bar.style.background = model.colour;
      bar.model = model;
      if (!others) draggable(view, bar, members[0]);
      return { bar, text: element("span", "number", bar) };
    });
    element("div", "class" + (right ? " true" : ""), group, name).title = name;
    if (!others) lights(group, members[0]);
    return { group, area, parts, k: others ? null : members[0] };
  });
  const free = view.bars.flatMap(({ parts, k }) => (k === null ? [] : parts.map(({ bar }) => bar)));
  free.forEach((bar, place) => {
    bar.tabIndex = place ? -1 : 0;
    bar.step = (by) => {
      const next = free[(place + by + free.length) % free.length];
      for (const other of free) other.tabIndex = other === next ? 0 : -1;
      next.focus();
    };
  });
  const titles = ["", _("entropy"), _("effective classes"), _("largest"), _("runner-up"), ...(models.length > 1 ? [_("KL from the teacher")] : [])];
  const body = bodyUnder(view.readouts, titles, data.glossary);
  view.rows = models.map((model) => {
    const row = element("tr", "", body);
    element("th", "", row, model.name);
    return Array.from({ length: titles.length - 1 }, () => element("td", "", row));
  });
  view.measure.observe(view.bars[0].area);
  view.tall = view.bars[0].area.clientHeight;
}

function dragged(view, moved) {
  move({ moved });
  view.settled(moved);
}

function draggable(view, bar, k) {
  const now = () => logitsNow(bar.model);
  const put = (z) => {
    const logits = [...now()];
    logits[k] = Math.min(200, Math.max(-200, z));
    dragged(view, { ...hand.state.moved, [bar.model.id]: logits });
  };
  for (const [name, value] of Object.entries({ role: "slider", "aria-valuemin": 0, "aria-valuemax": 100 })) bar.setAttribute(name, value);
  bar.setAttribute("aria-label", _("{model}, class {name}", { model: bar.model.name, name: view.data.classes[k] }));
  bar.onpointerdown = (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    bar.setPointerCapture(event.pointerId);
    bar.focus({ preventScroll: true });
    bar.held = bar.parentElement.getBoundingClientRect();
  };
  bar.onpointermove = (event) => {
    if (!bar.held) return;
    const box = bar.held;
    const along = view.lying ? (event.clientX - box.left) / box.width : (box.bottom - event.clientY) / box.height;
    const share = hand.state.log ? 10 ** (LOG_FLOOR * (1 - along)) : along;
    put(logitFor(now(), k, Math.min(0.999, Math.max(hand.state.log ? 1e-12 : 1e-4, share)), hand.state.T));
  };
  bar.onpointerup = bar.onpointercancel = () => { bar.held = undefined; };
  bar.onkeydown = (event) => {
    const by = { ArrowUp: NUDGE, ArrowDown: -NUDGE, PageUp: 4 * NUDGE, PageDown: -4 * NUDGE }[event.key];
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by) put(now()[k] + by);
    else if (step) bar.step(step);
    else return;
    event.preventDefault();
  };
}

function draw(view, { T, log, lit }) {
  if (!view.data || T === undefined) return;
  const { models, classes } = view.data;
  view.back.hidden = !models.some((model) => hand.state.moved[model.id]);
  view.ticks.forEach((span, tick) => { span.textContent = log ? "10" + superscript(LOG_FLOOR + tick * -LOG_FLOOR / 4) : 25 * tick + "%"; });
  view.probabilities = models.map((model) => softmax(logitsNow(model), T));
  view.bars.forEach(({ group, k }) => group.classList.toggle("lit", lit !== null && lit === k));
  const tall = view.shown.map((shown) => view.probabilities.some((row) => shareOf(shown, row) > 0.3)); // whose bars have numbers
  view.probabilities.forEach((row, m) => {
    view.shown.forEach((shown, place) => {
      const p = shareOf(shown, row);
      const share = log ? Math.max(0, 1 - Math.log10(Math.max(p, 1e-300)) / LOG_FLOOR) : p;
      const { bar, text } = view.bars[place].parts[m];
      bar.style[view.lying ? "width" : "height"] = 100 * share + "%";
      text.textContent = models.length === 1 || (tall[place] && p > 0.1) || view.bars[place].k === lit ? percent(p) : "";
      const values = { model: models[m].name, name: shown.name, share: p.toPrecision(3) };
      bar.title = shown.others ? _("{model}, {name}: {share}", values) : _("{model}, class {name}: {share}", values);
      if (shown.others) return;
      bar.setAttribute("aria-valuenow", (100 * p).toFixed(1));
      bar.setAttribute("aria-valuetext", _("{share}, logit {logit}", { share: percent(p), logit: logitsNow(models[m])[shown.members[0]].toFixed(1) }));
    });
    const entropy = entropyBits(row), ranked = row.map((p, k) => [p, k]).sort((a, b) => b[0] - a[0]);
    const cells = [
      _("{entropy} bits", { entropy: entropy.toFixed(2) }), (2 ** entropy).toFixed(2),
      `${classes[ranked[0][1]]}: ${percent(ranked[0][0])}`, `${classes[ranked[1][1]]}: ${percent(ranked[1][0])}`,
    ];
    if (models.length > 1) cells.push(m === 0 ? "–" : _("{divergence} nats", { divergence: Math.max(0, divergence(view.probabilities[0], row)).toPrecision(2) }));
    cells.forEach((text, index) => { view.rows[m][index].textContent = text; });
  });
  if (models.length > 1) for (const { parts } of view.bars) apart(parts, view.lying, view.tall);
  view.root.dataset.probabilities = JSON.stringify(view.probabilities);
  clearTimeout(view.timer);
  view.timer = setTimeout(() => say(view, T), 4 * SETTLE_MS);
}

function apart(bars, lying, tall) { // equal labels side by side are written once, others one above the other
  const equal = new Map(), pixels = ({ bar }) => (parseFloat(bar.style.height) || 0) * tall / 100;
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

function say(view, T) {
  const { models, classes } = view.data;
  const each = view.probabilities.map((row, m) => {
    const best = topOf(row);
    return _("{model} gives class {name} {share}", { model: models[m].name, name: classes[best], share: percent(row[best]) });
  }).join("; ");
  view.status.textContent = view.back.hidden ? _("At temperature {T}: {each}.", { T, each })
    : _("At temperature {T}: {each}. Logits were moved by hand.", { T, each });
}

const STEP = 0.01; // of a logit in an address: pages.shared.session.address

function settles(view, send) { // what was dragged and rests goes into the address
  view.settled = (moved) => {
    clearTimeout(view.rest);
    view.rest = setTimeout(async () => {
      const rows = view.data.models.flatMap((model) => moved[model.id] ?? model.logits);
      send(Object.keys(moved).length ? await packed(Int16Array.from(rows, (z) => Math.round(z / STEP))) : "");
    }, 2 * SETTLE_MS);
  };
}
const movedOf = (models, rows) => Object.fromEntries((rows ?? []).map((row, m) => [models[m].id, row])); // of the address

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".kd-bars");
  const view = (root.kdView ??= barsIn(root));
  settles(view, (logits) => setStateValue("logits", logits));
  const first = view.subject === undefined, other = view.subject !== data.subject;
  view.subject = data.subject;
  if (first) move({ moved: movedOf(data.models, data.moved) });
  else if (other) dragged(view, {}); // another image has its own logits
  const looks = JSON.stringify({ ...data, moved: undefined });
  if (view.looks !== looks) layOut(view, data); // else the bar that has the focus keeps it
  view.looks = looks;
  view.draw = (state) => draw(view, state);
  view.stop?.();
  view.stop = followed(view.draw);
  return () => view.end();
}
