// The uploaded picture with a box on it: drag a corner, the box, or a new one. Sends the box once the hand rests.

const NEAR_PIXELS = 22, STEP = 0.02, LEAST = 0.04, WHOLE = [0, 0, 1, 1];
const clamp = (value) => Math.min(1, Math.max(0, value));

function build(root) {
  root.replaceChildren();
  const canvas = Object.assign(document.createElement("canvas"), { tabIndex: 0 });
  canvas.setAttribute("role", "application");
  const whole = Object.assign(document.createElement("button"), { type: "button", textContent: _("Whole picture") });
  const status = Object.assign(document.createElement("div"), { className: "said", role: "status" });
  root.append(canvas, whole, status);
  const view = { canvas, box: [...WHOLE], image: new Image(), send: () => {} };
  const pen = canvas.getContext("2d");

  const sides = () => view.box.map((share) => Math.round(100 * share)).join(", ");
  const draw = () => {
    const { width, height } = canvas;
    const [left, top, right, bottom] = view.box.map((share, side) => share * (side % 2 ? height : width));
    canvas.setAttribute("aria-label", _("Uploaded picture, cut from {sides} percent (left, top, right, bottom): arrow keys move the box, with shift they change its size", { sides: sides() }));
    pen.drawImage(view.image, 0, 0, width, height);
    pen.fillStyle = "rgb(0 0 0 / 55%)";
    pen.fillRect(0, 0, width, top);
    pen.fillRect(0, bottom, width, height - bottom);
    pen.fillRect(0, top, left, bottom - top);
    pen.fillRect(right, top, width - right, bottom - top);
    const line = width / Math.max(1, canvas.clientWidth);
    for (const [colour, thick] of [["black", 4], ["white", 2]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = thick * line;
      pen.strokeRect(left, top, right - left, bottom - top);
    }
    pen.fillStyle = "white";
    for (const x of [left, right]) for (const y of [top, bottom]) pen.fillRect(x - 5 * line, y - 5 * line, 10 * line, 10 * line);
  };
  const move = ([left, top, right, bottom], x, y) => {
    const across = Math.min(Math.max(x, -left), 1 - right), down = Math.min(Math.max(y, -top), 1 - bottom);
    return [left + across, top + down, right + across, bottom + down];
  };
  const between = ([x, y], [otherX, otherY]) =>
    [Math.min(x, otherX), Math.min(y, otherY), Math.max(x, otherX), Math.max(y, otherY)].map(clamp);
  const place = (event) => {
    const area = canvas.getBoundingClientRect();
    return [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
  };
  const settle = () => {
    if (view.box[2] - view.box[0] < LEAST || view.box[3] - view.box[1] < LEAST) view.box = view.before ?? [...WHOLE];
    draw();
    status.textContent = _("Cut from {sides} percent.", { sides: sides() });
    view.send(view.box.map((share) => Math.round(share * 1000) / 1000));
  };
  canvas.onpointerdown = (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    const [x, y] = place(event), [left, top, right, bottom] = (view.before = view.box);
    const near = (corner) => Math.hypot((x - corner[0]) * canvas.clientWidth, (y - corner[1]) * canvas.clientHeight) < NEAR_PIXELS;
    const corner = [left, right].flatMap((side) => [[side, top], [side, bottom]]).find(near);
    const whole = left === 0 && top === 0 && right === 1 && bottom === 1;
    const inside = !whole && x > left && x < right && y > top && y < bottom;
    const fixed = corner ? [left + right - corner[0], top + bottom - corner[1]] : [x, y];
    view.drag = !corner && inside ? (at) => move(view.before, at[0] - x, at[1] - y) : (at) => between(fixed, at);
  };
  canvas.onpointermove = (event) => {
    if (!view.drag) return;
    view.box = view.drag(place(event));
    draw();
  };
  canvas.onpointerup = canvas.onpointercancel = () => {
    if (view.drag) settle();
    view.drag = undefined;
  };
  canvas.onkeydown = (event) => {
    const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    if (!x && !y) return;
    event.preventDefault();
    const [left, top, right, bottom] = (view.before = view.box);
    view.box = event.shiftKey
      ? [left, top, clamp(right + x * STEP), clamp(bottom + y * STEP)]
      : move(view.box, x * STEP, y * STEP);
    draw();
    clearTimeout(view.timer);
    view.timer = setTimeout(settle, 300);
  };
  whole.onclick = () => { view.box = [...WHOLE]; settle(); };
  view.image.onload = () => {
    [canvas.width, canvas.height] = [view.image.width, view.image.height];
    draw();
  };
  return view;
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".kd-crop");
  const view = (root.kdView ??= build(root));
  view.send = (box) => setStateValue("box", box);
  if (view.image.src !== data.picture) view.image.src = data.picture;
  return () => clearTimeout(view.timer);
}
