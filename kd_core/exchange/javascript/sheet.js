// A square canvas to draw on with mouse, pen, finger or keys, white on black. drawn(ended) is called at most once a
// frame, with true where no stroke is on its way. base: an image of 28x28 grey levels under the strokes, or null.
function sheet(canvas, { brush = () => 22, drawn }) {
  const SIDE = canvas.width, STEP = 8, pen = canvas.getContext("2d", { willReadFrequently: true });
  const view = { strokes: [], base: null, active: undefined, cursor: null, down: false };
  const under = new OffscreenCanvas(28, 28), underPen = under.getContext("2d");

  const paint = () => {
    pen.fillStyle = "black";
    pen.fillRect(0, 0, SIDE, SIDE);
    if (view.base) {
      const picture = underPen.createImageData(28, 28);
      view.base.forEach((level, i) => picture.data.set([level, level, level, 255], 4 * i));
      underPen.putImageData(picture, 0, 0);
      pen.imageSmoothingEnabled = false;
      pen.drawImage(under, 0, 0, SIDE, SIDE);
    }
    pen.strokeStyle = "white";
    pen.lineCap = pen.lineJoin = "round";
    for (const { width, points } of view.strokes) {
      pen.lineWidth = width;
      pen.beginPath();
      points.forEach(([x, y], index) => (index ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      if (points.length === 1) pen.lineTo(points[0][0] + 0.01, points[0][1]);
      pen.stroke();
    }
  };
  const mark = () => { // where the keys' pen is; it is no ink
    if (!view.cursor) return;
    pen.strokeStyle = view.down ? "#2fc39a" : "#8a9793";
    pen.lineWidth = 3;
    pen.beginPath();
    pen.arc(...view.cursor, brush() / 2, 0, 2 * Math.PI);
    pen.stroke();
  };
  const ended = () => view.active === undefined && !view.down;
  const later = () => { view.frame ??= requestAnimationFrame(() => { view.frame = undefined; paint(); mark(); drawn(ended()); }); };
  const begin = (point) => view.strokes.push({ width: brush(), points: [point] });
  const set = (strokes, base) => { Object.assign(view, { strokes, base, active: undefined, down: false }); later(); };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * SIDE) / box.width, ((event.clientY - box.top) * SIDE) / box.height];
  };

  canvas.onpointerdown = (event) => {
    if (event.button !== 0 || view.active !== undefined) return;
    canvas.setPointerCapture(event.pointerId);
    Object.assign(view, { active: event.pointerId, cursor: null, down: false });
    begin(place(event));
    later();
  };
  canvas.onpointermove = (event) => {
    if (view.active !== event.pointerId) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    for (const step of passed.length ? passed : [event]) view.strokes.at(-1).points.push(place(step));
    later();
  };
  canvas.onpointerup = canvas.onpointercancel = (event) => {
    if (view.active !== event.pointerId) return;
    view.active = undefined;
    later();
  };
  canvas.onkeydown = (event) => {
    const moves = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }, edge = brush() / 2;
    view.cursor ??= [SIDE / 2, SIDE / 2];
    if (event.key in moves) {
      view.cursor = view.cursor.map((value, axis) => Math.min(Math.max(value + moves[event.key][axis], edge), SIDE - edge));
      if (view.down) view.strokes.at(-1).points.push(view.cursor);
    } else if (event.key === " ") {
      view.down = !view.down;
      if (view.down) begin(view.cursor);
    } else if (event.key === "Delete" || event.key === "Backspace") set([], null);
    else return;
    event.preventDefault();
    later();
  };
  canvas.onblur = () => { view.cursor = null; view.down = false; later(); };
  paint();
  return {
    get empty() { return !view.strokes.length && !view.base; },
    get touched() { return view.strokes.length > 0; },
    set,
    undo: () => set(view.strokes.slice(0, -1), view.base),
    url: () => { paint(); const url = canvas.toDataURL("image/png"); mark(); return url; },
    ink: () => { // SIDE * SIDE grey levels
      paint();
      const rgba = pen.getImageData(0, 0, SIDE, SIDE).data;
      mark();
      return Uint8Array.from({ length: SIDE * SIDE }, (_, index) => rgba[4 * index]);
    },
  };
}
const sheetLabel = (_) => _("Canvas to draw a digit on, with mouse, pen or finger. Keyboard: arrows move the pen, Space puts it down or lifts it, Delete clears.");
const SHEET = { tabindex: 0, role: "application", "aria-label": sheetLabel(typeof _ === "undefined" ? String : _) }; // without common.js in English
