// The dark knowledge map and the tree of likeness, computed anew from all test logits whenever T moves. Hover or focus a
// class, and it lights up everywhere; a click or Enter on a cell asks Python for the images behind it.

const SLOW_MS = 12; // a pass over more examples than this takes waits until the hand rests
const LONGEST_LABEL = 16;

function build(root) {
  root.replaceChildren();
  const view = { root, picked: () => {} };
  const controls = element("div", "controls", root);
  const label = element("label", "label", controls, _("Show the diagonal "), { "data-control": "diagonal" });
  view.fade = element("input", "slider", label, undefined, { type: "range", min: 0, max: 100, step: 10 });
  view.shown = element("output", "", label);
  const panels = element("div", "panels", root);
  const figure = (name) => {
    const part = element("figure", "", panels), canvas = element("canvas", "", part, undefined, { role: "img", tabindex: 0, "aria-label": name });
    view[name] = { canvas, pen: canvas.getContext("2d"), caption: element("figcaption", "", part) };
  };
  figure("map");
  figure("tree");
  view.status = element("div", "said", root, undefined, { role: "status" });
  const { canvas } = view.map;
  canvas.setAttribute("role", "application");
  const point = (cell) => { view.cell = cell; move({ lit: cell ? view.order[cell[0]] : null }); };
  canvas.onpointermove = (event) => point(cellAt(view, event));
  canvas.onpointerleave = canvas.onblur = () => point(null);
  canvas.onclick = (event) => pick(view, cellAt(view, event));
  canvas.onfocus = () => { if (canvas.matches(":focus-visible")) point(view.cell ?? [0, 1]); };
  canvas.onkeydown = (event) => {
    const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key], last = view.order.length - 1;
    const from = view.cell ?? [0, 1];
    if (by) { point(from.map((place, axis) => Math.min(last, Math.max(0, place + by[axis])))); say(view); }
    else if (event.key === "Enter" || event.key === " ") pick(view, from);
    else return;
    event.preventDefault();
  };
  const tree = view.tree.canvas;
  tree.onpointermove = (event) => move({ lit: leafAt(view, event) });
  tree.onpointerleave = () => move({ lit: null });
  view.fade.oninput = () => { move({ diagonal: Number(view.fade.value) }); view.rests.rest(Number(view.fade.value)); };
  view.rests = settling((share) => view.send("diagonal", share));
  new ResizeObserver(() => { if (view.data) follow(view, hand.state, true); }).observe(panels);
  return view;
}

function pick(view, cell) {
  if (cell) view.picked({ x: String(view.order[cell[1]]), y: String(view.order[cell[0]]) });
}

function cellAt(view, event) {
  const { left, top, side } = view.frame, cell = [event.offsetY - top, event.offsetX - left].map((at) => Math.floor(at / side));
  return cell.every((place) => place >= 0 && place < view.order.length) ? cell : null;
}

function leafAt(view, event) {
  const { lies, at } = view.trunk, along = lies ? event.offsetY : event.offsetX;
  const leaf = view.likeness.leaves.findIndex((_, place) => Math.abs(at(5 + 10 * place) - along) < Math.abs(at(10) - at(0)) / 2);
  return leaf < 0 ? null : view.data.shown[view.likeness.leaves[leaf]];
}

function take(view, data) { // what Python sends
  const { key, rows, labels, mean, classes, shown } = data;
  if (view.key !== key) {
    Object.assign(view, { key, T: undefined, slow: false, rows: rows && halves(rows) });
    view.labels = labels && new Uint16Array(bytes(labels).buffer);
  }
  if (mean) Object.assign(view, { T: undefined, mean });
  view.data = { ...data, shown: shown ?? classes.map((_, k) => k) };
  view.names = classes.map((name) => (name.length > LONGEST_LABEL ? name.slice(0, LONGEST_LABEL - 1).trimEnd() + "…" : name));
  view.short = view.names.every((name) => name.length <= 2);
}

function colours(view) { // a canvas knows no names of tokens
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.colorScheme = getComputedStyle(view.root).colorScheme;
  for (const [name, token] of [["ink", "var(--kd-ink)"], ["accent", "var(--kd-primary)"], ["empty", "var(--kd-raised)"], ["role", view.data.colour]])
    view[name] = resolved(token, probe);
  probe.remove();
}

function compute(view, T) {
  const { classes, mean, shown } = view.data, begun = performance.now();
  view.mean = mean ?? meanSoftTargets(view.rows, view.labels, classes.length, T);
  view.likeness = shown.length > 2 ? similarityTree(view.mean) : { leaves: [0, 1], positions: [], heights: [] };
  const took = performance.now() - begun;
  view.slow = Math.min(took, view.took ?? 0) > SLOW_MS; // twice: the first pass is slow in any case
  view.took = took;
  view.T = T;
}

function follow(view, state, anew = false) {
  const { data } = view, T = state.T;
  if (!data || T === undefined || !view.root.clientWidth) return;
  const due = view.T !== (data.mean ? data.temperature : T);
  clearTimeout(view.timer);
  if (due && view.slow && view.mean) { view.timer = setTimeout(() => { view.slow = false; follow(view, hand.state, true); }, SETTLE_MS); return; }
  if (due) compute(view, data.mean ? data.temperature : T);
  const diagonal = state.diagonal ?? data.diagonal;
  view.shown.textContent = `${diagonal}%`;
  const looks = [view.T, diagonal, state.lit, view.cell, view.root.clientWidth].join();
  if (looks === view.looks && !anew) return;
  view.looks = looks;
  const leaves = view.likeness.leaves;
  view.places = data.many ? leaves : data.shown.map((_, place) => place);
  view.order = view.places.map((place) => data.shown[place]);
  drawMap(view, diagonal / 100, state.lit);
  view.tree.canvas.parentElement.hidden = data.shown.length < 3;
  if (data.shown.length > 2) drawTree(view, state.lit);
  if (view.spoken === undefined) describe(view);
  clearTimeout(view.rest);
  view.rest = setTimeout(() => describe(view), 4 * SETTLE_MS);
}

function sized({ canvas, pen }, view, width, height) { // ready to draw on, in pixels of the page
  const scale = devicePixelRatio || 1, font = `13px ${getComputedStyle(view.root).fontFamily}`;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  }
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  Object.assign(pen, { font, fillStyle: view.ink, strokeStyle: view.ink, textBaseline: "middle" });
}

function label(view, pen, name, x, y, { lit, upright, align }) {
  pen.save();
  pen.translate(x, y);
  if (upright) pen.rotate(-Math.PI / 2);
  pen.textAlign = align;
  if (lit) { pen.fillStyle = view.accent; pen.font = `bold ${pen.font}`; }
  pen.fillText(name, 0, 0);
  pen.restore();
}

function drawMap(view, diagonal, lit) {
  const { map: { pen, canvas, caption }, names, order, places, mean } = view, count = order.length;
  const room = view.short ? 22 : 7 * Math.max(...names.map((name) => name.length)) + 10;
  const width = canvas.parentElement.clientWidth, side = Math.min((width - room) / count, view.data.many ? 12 : 36);
  view.frame = { left: room, top: 4, side };
  sized(view.map, view, width, 4 + count * side + room);
  const value = (row, column) => mean[places[row]][places[column]] * (row === column ? diagonal : 1);
  let most = 1e-12;
  for (let row = 0; row < count; row++) for (let column = 0; column < count; column++) most = Math.max(most, value(row, column) || 0);
  const gap = count > 20 ? 0 : 1, every = Math.max(1, Math.ceil(12 / side));
  for (let row = 0; row < count; row++) {
    for (let column = 0; column < count; column++) {
      const share = value(row, column);
      if (Number.isNaN(share)) continue;
      const box = [room + column * side, 4 + row * side, side - gap, side - gap];
      pen.fillStyle = view.empty;
      pen.fillRect(...box);
      pen.globalAlpha = share / most;
      pen.fillStyle = view.role;
      pen.fillRect(...box);
      pen.globalAlpha = 1;
    }
    pen.fillStyle = view.ink;
    const look = { lit: order[row] === lit };
    if (row % every && !look.lit) continue;
    label(view, pen, names[order[row]], room - 6, 4 + (row + 0.5) * side, { ...look, align: "right" });
    label(view, pen, names[order[row]], room + (row + 0.5) * side, 4 + count * side + (view.short ? 12 : 6),
      { ...look, align: view.short ? "center" : "right", upright: !view.short });
  }
  pen.lineWidth = 2;
  pen.strokeStyle = view.accent;
  const at = order.indexOf(lit);
  if (at >= 0) {
    pen.strokeRect(room - 0.5, 4 + at * side - 0.5, count * side, side);
    pen.strokeRect(room + at * side - 0.5, 3.5, side, count * side);
  }
  if (view.cell) { pen.strokeStyle = view.ink; pen.strokeRect(room + view.cell[1] * side - 0.5, 4 + view.cell[0] * side - 0.5, side, side); }
  const highest = _("The most is {share}.", { share: percent(most) });
  caption.textContent = _("Rows: true class. Cells: mean soft target at T = {T}. {cell}", { T: view.T, cell: cellInWords(view) ?? highest });
}

function cellInWords({ cell, order, places, mean, data: { classes } }) {
  const share = cell && mean[places[cell[0]]][places[cell[1]]];
  if (!cell) return undefined;
  const [row, column] = cell.map((place) => classes[order[place]]);
  if (Number.isNaN(share)) return _("There is no {row} in the test set.", { row });
  const image = withArticle(row).replace(/^an? /, (article) => article.replace("a", "A"));
  return _("{image} gets {share} for {column}.", { image, share: percent(share), column });
}

function drawTree(view, lit) {
  const { tree, names, data: { shown, many }, likeness: { leaves, positions, heights } } = view, { pen, canvas, caption } = tree;
  const room = view.short ? 22 : 7 * Math.max(...names.map((name) => name.length)) + 10, count = leaves.length, lies = many;
  const width = canvas.parentElement.clientWidth, height = lies ? 20 + 13 * count : Math.max(200, view.frame.side * view.order.length + 4 + room);
  sized(tree, view, width, height);
  const ups = heights.flat(), least = 0.85 * Math.min(...ups.filter((up) => up > 0)), most = 1.03 * Math.max(...ups);
  const long = lies ? height - 8 : width - 8, tall = (lies ? width : height) - room - 8;
  const at = (along) => 4 + (along / (10 * count)) * long, rise = (up) => Math.max(0, ((up - least) / (most - least || 1)) * tall);
  const spot = (along, up) => (lies ? [room + rise(up), at(along)] : [at(along), height - room - rise(up)]);
  view.trunk = { lies, at };
  Object.assign(pen, { lineWidth: 2, lineJoin: "round", strokeStyle: view.role });
  pen.beginPath();
  positions.forEach((along, join) => along.forEach((x, corner) => pen[corner ? "lineTo" : "moveTo"](...spot(x, heights[join][corner]))));
  pen.stroke();
  leaves.forEach((leaf, place) => {
    const [x, y] = spot(5 + 10 * place, 0), look = { lit: shown[leaf] === lit, align: lies || !view.short ? "right" : "center" };
    label(view, pen, names[shown[leaf]], lies ? x - 6 : x, lies ? y : y + (view.short ? 12 : 6), { ...look, upright: !lies && !view.short });
  });
  caption.textContent = _("The lower two classes are joined, the larger the share that they lend each other, at this T, of what they give other classes.");
}

function describe(view) {
  const { data: { classes }, order, places, mean, likeness } = view;
  const likest = order.map((k, row) => {
    const others = places.map((place, column) => (column === row ? -1 : mean[places[row]][place] || 0));
    return _("{row} {other}", { row: classes[k], other: withArticle(classes[order[topOf(others)]]) });
  });
  view.map.canvas.setAttribute("aria-label", _("Dark knowledge map at T = {T}. Most like: {pairs}. Arrows choose a cell, Enter shows its images.", { T: view.T, pairs: likest.join(", ") }));
  view.tree.canvas.setAttribute("aria-label", _("Classes joined by likeness, in the order of the tree: {names}", { names: likeness.leaves.map((leaf) => classes[view.data.shown[leaf]]).join(", ") }));
  if (view.spoken !== undefined && view.spoken !== likest.join()) view.status.textContent = _("At T = {T} most like: {pairs}.", { T: view.T, pairs: likest.slice(0, 12).join(", ") });
  view.spoken = likest.join();
}
function say(view) { view.status.textContent = cellInWords(view); }

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  const root = parentElement.querySelector(".kd-knowledge");
  const view = (root.kdView ??= build(root));
  view.send = setStateValue;
  view.picked = (cell) => setTriggerValue("clicked", cell);
  root.classList.toggle("many", data.many);
  take(view, data);
  colours(view);
  if (view.rests.isNew(data.diagonal)) { view.fade.value = data.diagonal; move({ diagonal: data.diagonal }); }
  view.stop?.();
  view.stop = followed((state) => follow(view, state));
  onThemeChange(parentElement, () => { colours(view); follow(view, hand.state, true); });
  return () => { view.stop(); view.rests.end(); clearTimeout(view.timer); clearTimeout(view.rest); offThemeChange(parentElement); };
}
