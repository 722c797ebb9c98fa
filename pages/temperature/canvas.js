// A canvas to draw on with mouse, pen or finger: white on black, as MNIST's digits are. Sends a PNG once a stroke ends.

const SIDE = 280, SETTLE_MS = 120;

function build(root) {
  root.replaceChildren();
  const about = { role: "img", "aria-label": "Drawing canvas: draw a digit with mouse, pen or finger", tabIndex: -1 };
  const canvas = element("canvas", "sheet", root, undefined, { width: SIDE, height: SIDE, ...about });
  const tools = element("div", "tools", root);
  const undo = element("button", "", tools, "↶ Undo", { type: "button" });
  const clear = element("button", "", tools, "✕ Clear", { type: "button" });
  const range = { type: "range", min: 10, max: 40, value: 22, "aria-label": "Width of the brush" };
  const brush = element("input", "", element("label", "", tools, "Brush "), undefined, range);
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
