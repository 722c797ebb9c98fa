// A drawing as MNIST's images are made: kd_core.data.pictures.digit's as_mnist, with Pillow's resampling.

function rint(value) { // half to even, as ONNX and Python round
  const below = Math.floor(value), rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below;
}
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

const FILTERS = {
  bilinear: [1, (x) => Math.max(0, 1 - Math.abs(x))],
  box: [0.5, (x) => (x > -0.5 && x <= 0.5 ? 1 : 0)],
  bicubic: [2, (x) => {
    const a = -0.5, d = Math.abs(x);
    return d < 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
  }],
};

function weightsOf(before, after, [reach, filter], extent = before) { // for each new pixel: its window's start and weights
  const scale = extent / after, wide = Math.max(scale, 1), support = reach * wide, all = [];
  for (let place = 0; place < after; place++) {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(before, Math.trunc(centre + support + 0.5));
    const weights = [];
    for (let x = first; x < last; x++) weights.push(filter((x - centre + 0.5) / wide));
    const sum = weights.reduce((left, right) => left + right, 0);
    all.push([first, weights.map((weight) => weight / sum)]);
  }
  return all;
}

function resized(grey, height, width, newHeight, newWidth, filter, [tall, wide] = [height, width]) {
  // columns first, then rows, rounded in between; of the part of so many rows and columns
  const across = weightsOf(width, newWidth, filter, wide), along = weightsOf(height, newHeight, filter, tall);
  const level = (sum) => clamp(Math.floor(sum + 0.5), 0, 255);
  const narrow = new Uint8Array(height * newWidth), out = new Uint8Array(newHeight * newWidth);
  for (let y = 0; y < height; y++) across.forEach(([first, weights], x) => {
    narrow[y * newWidth + x] = level(weights.reduce((sum, weight, k) => sum + weight * grey[y * width + first + k], 0));
  });
  along.forEach(([first, weights], y) => {
    for (let x = 0; x < newWidth; x++)
      out[y * newWidth + x] = level(weights.reduce((sum, weight, k) => sum + weight * narrow[(first + k) * newWidth + x], 0));
  });
  return out;
}

function asMnist(ink, height, width) { // grey levels, 0 is paper -> 28x28, or null where nothing is drawn
  const SIDE = 28, BOX = 20;
  let top = height, bottom = -1, left = width, right = -1;
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) if (ink[y * width + x]) {
    top = Math.min(top, y); bottom = Math.max(bottom, y); left = Math.min(left, x); right = Math.max(right, x);
  }
  if (bottom < 0) return null;
  let rows = bottom - top + 1, columns = right - left + 1, digit = new Uint8Array(rows * columns);
  for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++) digit[y * columns + x] = ink[(top + y) * width + left + x];
  const scale = BOX / Math.max(rows, columns);
  const newRows = Math.max(1, rint(rows * scale)), newColumns = Math.max(1, rint(columns * scale));
  if (newRows !== rows || newColumns !== columns)
    digit = resized(digit, rows, columns, newRows, newColumns, scale < 0.5 ? FILTERS.box : FILTERS.bicubic);
  let total = 0, row = 0, column = 0;
  for (let y = 0; y < newRows; y++) for (let x = 0; x < newColumns; x++) {
    const mass = digit[y * newColumns + x];
    total += mass; row += (y + 0.5) * mass; column += (x + 0.5) * mass;
  }
  total = Math.max(total, 1e-9);
  const down = clamp(rint(SIDE / 2 + 0.5 - row / total), 0, SIDE - newRows);
  const over = clamp(rint(SIDE / 2 + 0.5 - column / total), 0, SIDE - newColumns);
  const image = new Uint8Array(SIDE * SIDE);
  for (let y = 0; y < newRows; y++) for (let x = 0; x < newColumns; x++)
    image[(down + y) * SIDE + over + x] = digit[y * newColumns + x];
  return image;
}
