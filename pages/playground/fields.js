// The three fields: the plane coloured by each network's class probabilities at T, with its borders and the points learned from.

const ROLES = ["teacher", "baseline", "distilled"];
const TITLES = { teacher: _("Teacher"), baseline: _("Baseline, labels alone"), distilled: _("Distilled") };
const CLASSES = ["A", "B", "C", "D"], MARKS_OF = ["●", "■", "▲", "◆"]; // by shape too, not by colour alone
const STRENGTH = 0.62; // of a class's colour in a field, beside the page's own
const NEAR = 0.06; // how near the hand gets to a point that it means

const across = (x, side) => (side * (x + 1)) / 2; // from the plane, -1 to 1, to pixels
const down = (y, side) => (side * (1 - y)) / 2;

// Where the top class changes, in a field's own steps: lines through the zeros of the difference of two logits.
function bordersOf(field, K) {
  const side = Math.sqrt(field.length / K), path = new Path2D(), top = new Uint8Array(side * side);
  for (let place = 0; place < top.length; place++)
    for (let k = 1; k < K; k++) if (field[place * K + k] > field[place * K + top[place]]) top[place] = k;
  for (let row = 0; row < side - 1; row++) for (let column = 0; column < side - 1; column++) {
    const a = row * side + column, corners = [[a, 0, 0], [a + 1, 1, 0], [a + side + 1, 1, 1], [a + side, 0, 1]];
    if (top[a] === top[a + 1] && top[a] === top[a + side] && top[a] === top[a + side + 1]) continue;
    const crossings = [];
    corners.forEach(([from, x, y], place) => {
      const [to, x2, y2] = corners[(place + 1) % 4], [k, l] = [top[from], top[to]];
      if (k === l) return;
      const here = field[from * K + k] - field[from * K + l], there = field[to * K + l] - field[to * K + k];
      const share = here / (here + there || 1);
      crossings.push([column + 0.5 + x + share * (x2 - x), row + 0.5 + y + share * (y2 - y)]);
    });
    const middle = [0, 1].map((axis) => crossings.reduce((sum, crossing) => sum + crossing[axis], 0) / crossings.length);
    for (const crossing of crossings) { path.moveTo(...crossing); path.lineTo(...middle); }
  }
  return path;
}

// Logits at a place of the plane, between the field's own places.
function logitsAt(field, K, x, y) {
  const side = Math.sqrt(field.length / K), inside = (value) => Math.min(side - 1.001, Math.max(0, value));
  const column = inside(across(x, side) - 0.5), row = inside(down(y, side) - 0.5), [j, i] = [Math.floor(column), Math.floor(row)];
  const of = (r, c, k) => field[(r * side + c) * K + k], [u, v] = [column - j, row - i];
  return Array.from({ length: K }, (_, k) => (1 - v) * ((1 - u) * of(i, j, k) + u * of(i, j + 1, k)) + v * ((1 - u) * of(i + 1, j, k) + u * of(i + 1, j + 1, k)));
}

function coloursOf(root) { // resolved, for a canvas knows no variables
  const probe = element("i", "", root), of = (name) => { probe.style.color = `var(--kd-${name})`; return getComputedStyle(probe).color; };
  const colours = { ink: of("ink"), surface: of("surface"), classes: CLASSES.map((_, k) => of(`class-${"abcd"[k]}`)) };
  colours.parts = [...colours.classes, colours.surface].map((text) => text.match(/[\d.]+/g).slice(0, 3).map(Number));
  probe.remove();
  return colours;
}

function paintField(view, role, T) {
  const { canvas, pen, plane } = view.canvases[role], field = view.fields[role], { K, colours } = view;
  const side = canvas.width, steps = Math.sqrt(field.length / K), image = plane.image, ground = colours.parts.at(-1);
  const logs = logSoftmaxRows(field, K, T, (view.logs?.length === field.length ? view.logs : (view.logs = new Float64Array(field.length))));
  for (let place = 0, z = 0, at = 0; place < steps * steps; place++, at += 4) {
    let red = 0, green = 0, blue = 0;
    for (let k = 0; k < K; k++, z++) {
      const share = Math.exp(logs[z]), colour = colours.parts[k];
      red += share * colour[0]; green += share * colour[1]; blue += share * colour[2];
    }
    image.data[at] = STRENGTH * red + (1 - STRENGTH) * ground[0];
    image.data[at + 1] = STRENGTH * green + (1 - STRENGTH) * ground[1];
    image.data[at + 2] = STRENGTH * blue + (1 - STRENGTH) * ground[2];
    image.data[at + 3] = 255;
  }
  plane.pen.putImageData(image, 0, 0);
  pen.imageSmoothingEnabled = true;
  pen.drawImage(plane.canvas, 0, 0, side, side);
  const borders = (view.borders[role] ??= bordersOf(field, K));
  pen.save();
  pen.scale(side / steps, side / steps);
  pen.lineWidth = (1.6 * steps * view.dense) / side;
  pen.strokeStyle = colours.ink;
  pen.stroke(borders);
  pen.restore();
}

function mark(pen, k, x, y, size) {
  pen.beginPath();
  if (k === 0) pen.arc(x, y, size, 0, 2 * Math.PI);
  else if (k === 1) pen.rect(x - size * 0.88, y - size * 0.88, size * 1.76, size * 1.76);
  else {
    const corners = k === 2 ? [[0, -1.2], [1.1, 0.8], [-1.1, 0.8]] : [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]];
    corners.forEach(([dx, dy], place) => pen[place ? "lineTo" : "moveTo"](x + size * dx, y + size * dy));
    pen.closePath();
  }
}

function paintPoints(view, role) {
  const { pen, canvas } = view.canvases[role], { few, colours, dense } = view, side = canvas.width;
  const pixels = (place) => [across(few.inputs[2 * place] / PLANE, side), down(few.inputs[2 * place + 1] / PLANE, side)];
  if (role !== "teacher" || view.values.shape === "own") few.labels.forEach((k, place) => {
    const [x, y] = pixels(place);
    mark(pen, k, x, y, 5 * dense);
    pen.fillStyle = colours.classes[k];
    pen.fill();
    pen.lineWidth = 1.5 * dense;
    pen.strokeStyle = colours.surface;
    pen.stroke();
    if (k === few.right[place]) return; // a wrong label has a ring
    pen.beginPath();
    pen.arc(x, y, 8.5 * dense, 0, 2 * Math.PI);
    pen.strokeStyle = colours.ink;
    pen.stroke();
  });
  if (!view.at) return;
  const [x, y] = [across(view.at.x, side), down(view.at.y, side)];
  pen.lineWidth = 2 * dense;
  pen.strokeStyle = colours.ink;
  pen.beginPath();
  pen.arc(x, y, 10 * dense, 0, 2 * Math.PI);
  pen.stroke();
}

function paint(view) {
  const { T } = hand.state;
  if (!view.few || T === undefined) return;
  for (const role of ROLES) {
    const { pen, canvas } = view.canvases[role];
    if (view.fields?.[role]) paintField(view, role, T);
    else pen.clearRect(0, 0, canvas.width, canvas.height);
    paintPoints(view, role);
  }
}

// What stands at a place: the nearest of the students' points, if it is near.
function nearest({ few }, { x, y }) {
  let best = null, least = NEAR;
  few?.labels.forEach((_, place) => {
    const away = Math.hypot(few.inputs[2 * place] / PLANE - x, few.inputs[2 * place + 1] / PLANE - y);
    if (away < least) [best, least] = [place, away];
  });
  return best;
}

const KEY_STEP = 0.05;
function canvasFor(view, role, parent) {
  const canvas = element("canvas", "field", parent, undefined, { tabIndex: 0, role: "application", "data-control": "field",
    "aria-label": _("{title}: the plane, coloured by its class probabilities. Arrows move a place, PageDown and PageUp go from point to point, Enter draws a point.", { title: TITLES[role] }) });
  const plane = new OffscreenCanvas(100, 100), planePen = plane.getContext("2d");
  view.canvases[role] = { canvas, pen: canvas.getContext("2d"), plane: { canvas: plane, pen: planePen, image: planePen.createImageData(100, 100) } };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: (2 * (event.clientX - box.left)) / box.width - 1, y: 1 - (2 * (event.clientY - box.top)) / box.height };
  };
  const point = (at) => { view.at = at && { ...at, point: nearest(view, at) }; view.pointed(); };
  canvas.onpointermove = canvas.onpointerdown = (event) => point(place(event));
  canvas.onpointerleave = ({ pointerType }) => { if (pointerType === "mouse") point(null); }; // where a finger was stays
  canvas.onblur = () => point(null);
  canvas.onclick = (event) => view.drawPoint(place(event));
  canvas.onkeydown = (event) => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }, at = view.at ?? { x: 0, y: 0, point: null };
    const turn = { PageDown: 1, PageUp: -1 }[event.key], count = view.few?.labels.length;
    if (event.key in moves) point(Object.fromEntries(["x", "y"].map((axis, k) => [axis, Math.min(1, Math.max(-1, at[axis] + KEY_STEP * moves[event.key][k]))])));
    else if (turn && count) {
      const next = ((at.point ?? (turn > 0 ? -1 : 0)) + turn + count) % count;
      point({ x: view.few.inputs[2 * next] / PLANE, y: view.few.inputs[2 * next + 1] / PLANE });
    } else if (event.key === "Enter") view.drawPoint(at);
    else return;
    event.preventDefault();
  };
  return canvas;
}
