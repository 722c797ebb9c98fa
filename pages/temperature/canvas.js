// A canvas to draw on with mouse, pen or finger: white on black, as MNIST's digits are. Sends a PNG once a stroke ends.

const SIDE = 280, SETTLE_MS = 120;

function element(tag, parent, properties) {
  const made = Object.assign(document.createElement(tag), properties);
  parent.append(made);
  return made;
}

function build(root) {
  root.replaceChildren();
  const canvas = element("canvas", root, { width: SIDE, height: SIDE, className: "sheet", tabIndex: -1 });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Drawing canvas: draw a digit with mouse, pen or finger");
  const tools = element("div", root, { className: "tools" });
  const undo = element("button", tools, { type: "button", textContent: "↶ Undo" });
  const clear = element("button", tools, { type: "button", textContent: "✕ Clear" });
  const label = element("label", tools, { textContent: "Brush " });
  const brush = element("input", label, { type: "range", min: 10, max: 40, value: 22 });
  brush.setAttribute("aria-label", "Width of the brush");
  const view = { strokes: [], send: () => {} };
  const pen = canvas.getContext("2d");

  const draw = () => {
    pen.fillStyle = "black";
    pen.fillRect(0, 0, SIDE, SIDE);
    pen.strokeStyle = pen.fillStyle = "white";
    pen.lineCap = pen.lineJoin = "round";
    for (const { width, points } of view.strokes) {
      pen.lineWidth = width;
      pen.beginPath();
      points.forEach(([x, y], index) => (index ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      if (points.length === 1) pen.lineTo(points[0][0] + 0.01, points[0][1]);
      pen.stroke();
    }
  };
  const settle = () => {
    clearTimeout(view.timer);
    view.timer = setTimeout(() => view.send(view.strokes.length ? canvas.toDataURL("image/png") : ""), SETTLE_MS);
  };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * SIDE) / box.width, ((event.clientY - box.top) * SIDE) / box.height];
  };
  canvas.onpointerdown = (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    view.active = event.pointerId;
    clearTimeout(view.timer);
    view.strokes.push({ width: Number(brush.value), points: [place(event)] });
    draw();
  };
  canvas.onpointermove = (event) => {
    if (view.active !== event.pointerId) return;
    for (const step of event.getCoalescedEvents?.() ?? [event]) view.strokes.at(-1).points.push(place(step));
    draw();
  };
  canvas.onpointerup = canvas.onpointercancel = (event) => {
    if (view.active !== event.pointerId) return;
    view.active = undefined;
    settle();
  };
  undo.onclick = () => { view.strokes.pop(); draw(); settle(); };
  clear.onclick = () => { view.strokes = []; draw(); settle(); };
  draw();
  return view;
}

export default function ({ parentElement, setStateValue }) {
  const root = parentElement.querySelector(".kd-canvas");
  const view = (root.kdView ??= build(root));
  view.send = (drawing) => setStateValue("drawing", drawing);
  return () => clearTimeout(view.timer);
}
