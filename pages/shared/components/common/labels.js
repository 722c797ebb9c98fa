// Names at the ends of lines, or beside points, instead of a legend, where up to MOST_LABELS fit: a trace has its name in
// meta.label, and traces of one name share it. They lie in a layer over the plot and follow its zoom and its size.
const MOST_LABELS = 6, LABEL_PX = 18, SWATCH_PX = 22, AXIS_PX = 70, NARROW_PX = 640;
const LABEL_LINES = { dash: "dashed", longdash: "dashed", dot: "dotted", dashdot: "dotted" };
function axesOf(layout, letter) {
  return Object.keys(layout).filter((name) => name.startsWith(`${letter}axis`)).sort().map((name) => layout[name]);
}
function labelWidth(text, { family, size }) {
  const pen = (libraries.pen ??= document.createElement("canvas").getContext("2d"));
  pen.font = `${size}px ${family}`;
  return Math.ceil(pen.measureText(text).width);
}
function stacked(layout) {  // panels side by side become panels one over the other
  const across = axesOf(layout, "x"), down = axesOf(layout, "y"), { margin: { t, b } } = layout;
  const high = layout.height - t - b, whole = across.length * (high + AXIS_PX) - AXIS_PX;
  layout.height = whole + t + b;
  for (const axis of across) axis.domain = [0, 1];
  down.forEach((axis, place) => {
    const top = whole - place * (high + AXIS_PX);
    Object.assign(axis, { domain: [Math.max(0, top - high) / whole, top / whole], showticklabels: true, title: down[0].title });
  });
}
function withLabels({ data, layout }, box) {  // makes room for them, or leaves the legend
  if (layout.meta?.stacks && box.clientWidth < NARROW_PX) stacked(layout);
  const named = data.filter((trace) => trace.meta?.label), ends = named.some(({ mode }) => mode !== "markers");
  const labels = new Set(named.map((trace) => trace.meta.label)), widest = Math.max(...[...labels].map((label) => labelWidth(label, layout.font)));
  const across = axesOf(layout, "x"), startOf = ({ domain: [start] = [0] }) => start;
  const starts = [...new Set(across.map(startOf))].sort((a, b) => a - b), columns = starts.length;
  const right = ends ? widest + SWATCH_PX + 14 : layout.margin.r, gap = ends ? right + AXIS_PX : 0;
  const free = box.clientWidth - layout.margin.l - right, panel = (free - gap * (columns - 1)) / columns;
  box.kdLabels = named.length > 0 && labels.size <= MOST_LABELS && widest < (ends ? 0.6 : 0.45) * panel;
  if (!box.kdLabels) return;
  layout.showlegend = false;
  layout.margin = { ...layout.margin, r: right };
  if (!ends || columns === 1) return;
  const moved = (start) => starts.findIndex((known) => Math.abs(known - start) < 0.01) * (panel + gap) / free;
  for (const title of layout.annotations ?? []) if (title.xref === "paper" && title.x > 0) title.x = moved(title.x);
  for (const axis of across) axis.domain = [moved(startOf(axis)), Math.min(1, moved(startOf(axis)) + panel / free)];
}
// As near as may be to the wanted places, in their order and this far apart, between least and most (by pooling
// neighbours: de Leeuw, Hornik and Mair 2009).
function spread(wanted, far, least, most) {
  const order = wanted.map((_, item) => item).sort((a, b) => wanted[a] - wanted[b]), pools = [], places = [];
  for (const [rank, item] of order.entries()) {
    pools.push({ sum: wanted[item] - rank * far, items: [item] });
    while (pools.length > 1 && pools.at(-2).sum / pools.at(-2).items.length > pools.at(-1).sum / pools.at(-1).items.length) {
      const { sum, items } = pools.pop();
      pools.at(-1).sum += sum;
      pools.at(-1).items.push(...items);
    }
  }
  let rank = 0;
  for (const { sum, items } of pools) for (const item of items)
    places[item] = Math.min(Math.max(sum / items.length, least), Math.max(least, most - (order.length - 1) * far)) + far * rank++;
  return places;
}
function beside(points, panel) {  // a box for each point's label, over no other label, marker or whisker while there is room
  const taken = points.map(({ x, low, high }) => ({ left: x - 9, right: x + 9, top: high - 9, bottom: low + 9 })), boxes = [];
  const within = (box) => box.left >= panel.left && box.right <= panel.right && box.top >= panel.top && box.bottom <= panel.bottom;
  const free = (box) => taken.every((other) => box.right <= other.left || box.left >= other.right || box.bottom <= other.top || box.top >= other.bottom);
  for (const { x, y, low, high, width } of points) {
    const at = (left, top) => ({ left, right: left + width, top, bottom: top + LABEL_PX });
    const right = x + 11, left = x - 11 - width, over = Math.min(Math.max(x - width / 2, panel.left), panel.right - width);
    const wishes = [at(right, y - 9), at(left, y - 9), at(over, high - 9 - LABEL_PX), at(over, low + 9)];
    for (let step = LABEL_PX; step <= panel.bottom - panel.top; step += LABEL_PX)
      for (const side of [right, left]) wishes.push(at(side, y - 9 + step), at(side, y - 9 - step));
    const box = wishes.find((wish) => within(wish) && free(wish)) ?? wishes.find(within) ?? wishes[0];
    taken.push(box);
    boxes.push(box);
  }
  return boxes;
}
function lastPoint(trace, xAxis, yAxis) {  // in pixels, of what a zoom leaves in sight
  const most = Math.max(...xAxis.range.map((end) => xAxis.r2p(end)));
  for (let place = trace.x.length - 1; place >= 0; place -= 1) {
    const x = xAxis.d2p(trace.x[place]), y = yAxis.d2p(trace.y[place]);
    if (x <= most + 1 && Number.isFinite(y) && trace.y[place] !== null) return { x: xAxis._offset + x, y: yAxis._offset + y, place };
  }
}
function writeLabels(box) {
  box.kdLayer?.remove();
  if (!box.kdLabels) return;
  const full = box._fullLayout, panels = new Map();
  for (const trace of box._fullData) {
    if (!trace.meta?.label || trace.visible !== true) continue;
    const [xAxis, yAxis] = [trace.xaxis, trace.yaxis].map((name) => full[name.replace(/^[xy]/, "$&axis")]), end = lastPoint(trace, xAxis, yAxis);
    if (!end || end.y < yAxis._offset - 1 || end.y > yAxis._offset + yAxis._length + 1) continue;
    const panel = { left: xAxis._offset, right: xAxis._offset + xAxis._length, top: yAxis._offset, bottom: yAxis._offset + yAxis._length };
    const key = trace.xaxis + trace.yaxis, { label } = trace.meta;
    if (!panels.has(key)) panels.set(key, { panel, named: new Map() });
    const { named } = panels.get(key);
    if (!named.has(label)) named.set(label, { label, trace, ends: [] });
    const whisker = (name) => Number(trace.error_y?.[name]?.[end.place]) || 0, value = trace.y[end.place];
    named.get(label).ends.push({ ...end, width: labelWidth(label, full.font) + 2,
      high: yAxis._offset + yAxis.d2p(value + whisker("array")), low: yAxis._offset + yAxis.d2p(value - whisker("arrayminus")) });
  }
  const layer = (box.kdLayer = document.createElement("div"));
  layer.className = "kd-labels";
  layer.style.cssText = `position:absolute;inset:0;pointer-events:none;font:${full.font.size}px/${LABEL_PX}px ${full.font.family};color:${full.font.color}`;
  for (const { panel, named } of panels.values()) {
    const lines = [...named.values()].filter(({ trace }) => trace.mode !== "markers"), points = [...named.values()].filter(({ trace }) => trace.mode === "markers");
    const tops = spread(lines.map(({ ends }) => ends.reduce((sum, { y }) => sum + y, 0) / ends.length - LABEL_PX / 2), LABEL_PX, panel.top - LABEL_PX / 2, panel.bottom + LABEL_PX / 2);
    lines.forEach(({ label, trace }, place) => {
      const name = writeLabel(layer, label, panel.right + 8, tops[place]), swatch = document.createElement("i");
      swatch.style.cssText = `display:inline-block;width:${SWATCH_PX - 6}px;margin-right:6px;vertical-align:4px;border-top:2px ${LABEL_LINES[trace.line.dash] ?? "solid"} ${trace.line.color}`;
      name.prepend(swatch);
    });
    beside(points.map(({ ends: [end] }) => end), panel).forEach(({ left, top }, place) => {
      writeLabel(layer, points[place].label, left, top).style.background = "var(--kd-surface)";
    });
  }
  box.style.position = "relative";
  box.append(layer);
}
function writeLabel(layer, text, left, top) {
  const name = layer.appendChild(document.createElement("span"));
  name.textContent = text;
  name.style.cssText = `position:absolute;white-space:nowrap;left:${left}px;top:${top}px`;
  return name;
}
async function drawn(box, figure, options, Plotly) {  // a themed figure, anew or for the first time
  withLabels(figure, box);
  box.style.height = `${figure.layout.height}px`;
  await Plotly.react(box, figure.data, figure.layout, options);
  if (!box.kdListens) {
    box.kdListens = true;
    box.on("plotly_afterplot", () => writeLabels(box));
  }
  writeLabels(box);
}
