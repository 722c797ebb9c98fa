// The digit in a photograph: kd_core.data.pictures.digit's digit_in, line by line.

const LOOKED_AT = 480, PAPER_SIDE = 48, FAINTEST = 24, DARKEST = 16, FAINT = 0.3, FULL = 0.8, APART = 0.25, LEAST_INK = 0.05;
const ONE_SHADE = "This picture is of one shade: choose one in which a digit stands out from its background.";

function reduced(plane, height, width, factor) { // means of squares, those at the edges cut off
  const rows = Math.ceil(height / factor), columns = Math.ceil(width / factor), out = new Uint8Array(rows * columns);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) {
    let sum = 0, count = 0;
    for (let y = i * factor; y < Math.min(height, (i + 1) * factor); y++)
      for (let x = j * factor; x < Math.min(width, (j + 1) * factor); x++, count++) sum += plane[y * width + x];
    out[i * columns + j] = Math.floor(sum / count + 0.5);
  }
  return out;
}

function thumbnailSize(height, width) { // as Pillow's thumbnail keeps the aspect
  if (Math.max(height, width) <= PAPER_SIDE) return [height, width];
  const aspect = width / height, off = ([rows, columns]) => (rows ? Math.abs(aspect - columns / rows) : 0);
  const nearest = (sizes) => sizes.reduce((best, other) => (off(other) < off(best) ? other : best)).map((side) => Math.max(1, side));
  const rows = PAPER_SIDE / aspect, columns = PAPER_SIDE * aspect;
  if (aspect <= 1) return nearest([[PAPER_SIDE, Math.floor(columns)], [PAPER_SIDE, Math.ceil(columns)]]);
  return nearest([[Math.floor(rows), PAPER_SIDE], [Math.ceil(rows), PAPER_SIDE]]);
}

function thumbnail(plane, height, width) {
  const [rows, columns] = thumbnailSize(height, width);
  if (rows === height && columns === width) return plane;
  const step = (side, into) => Math.max(1, Math.trunc(side / into / 2));
  const tall = step(height, rows), wide = step(width, columns); // what Pillow halves beforehand
  let small = plane, size = [height, width];
  if (tall > 1 || wide > 1) {
    if (tall !== wide) throw new Error("a picture much longer than wide: cut out the digit");
    small = reduced(plane, height, width, tall);
    size = [Math.ceil(height / tall), Math.ceil(width / wide)];
  }
  return resized(small, ...size, rows, columns, FILTERS.box, [height / tall, width / wide]);
}

function medians(plane, height, width, side) { // of a square of that side around each pixel
  const reach = side >> 1, half = (side * side) >> 1, out = new Uint8Array(plane.length), counts = new Uint16Array(256);
  for (let i = 0; i < height; i++) for (let j = 0; j < width; j++) {
    counts.fill(0);
    for (let y = i - reach; y <= i + reach; y++) for (let x = j - reach; x <= j + reach; x++)
      counts[plane[clamp(y, 0, height - 1) * width + clamp(x, 0, width - 1)]]++;
    let level = -1;
    for (let seen = 0; seen <= half; ) seen += counts[++level];
    out[i * width + j] = level;
  }
  return out;
}

function smoothed(plane, height, width) { // means of 3x3
  return Float32Array.from(plane, (_, i) => {
    const x = i % width, y = (i - x) / width;
    let sum = 0;
    for (const row of [y - 1, y, y + 1]) for (const column of [x - 1, x, x + 1])
      sum += plane[clamp(row, 0, height - 1) * width + clamp(column, 0, width - 1)];
    return sum / 9;
  });
}

function contrastToPaper(planes, height, width) { // three of a picture of LOOKED_AT at most
  const [rows, columns] = thumbnailSize(height, width), side = Math.max(3, Math.min(rows, columns) >> 1) | 1;
  const papers = planes.map((plane) =>
    resized(medians(thumbnail(plane, height, width), rows, columns, side), rows, columns, height, width, FILTERS.bilinear));
  if (!planes.some((plane, band) => plane.some((level, i) => Math.abs(papers[band][i] - level) >= FAINTEST))) throw new Error(ONE_SHADE);
  const levels = Math.max(height, width) > PAPER_SIDE ? planes.map((plane) => smoothed(plane, height, width)) : planes;
  const times = (i) => papers.map((paper, band) => Math.log((paper[i] + DARKEST) / (levels[band][i] + DARKEST)));
  const most = new Float32Array(height * width), least = new Float32Array(height * width);
  for (let i = 0; i < most.length; i++) {
    const all = times(i);
    most[i] = Math.max(...all);
    least[i] = -Math.min(...all);
  }
  const strokes = Math.max(1, Math.floor(most.length / 300));
  const ofStrokes = (values) => values.sort().subarray(-strokes).reduce((sum, value) => sum + value, 0);
  const dark = ofStrokes(most) >= ofStrokes(least);
  const share = (paper, level) => (dark ? (paper - level) / (paper + DARKEST) : (level - paper) / (255 + DARKEST - paper));
  return Float32Array.from(most, (_, i) => Math.max(0, ...papers.map((paper, band) => share(paper[i], levels[band][i]))));
}

function areas(mask, ink, height, width) { // connected areas: of each pixel its number, 0 outside; of each its box and its ink
  const labels = new Int32Array(mask.length), all = [];
  mask.forEach((inside, start) => {
    if (!inside || labels[start]) return;
    const area = { top: height, bottom: 0, left: width, right: 0, ink: 0 }, waiting = [start];
    labels[start] = all.push(area);
    while (waiting.length) {
      const i = waiting.pop(), x = i % width, y = (i - x) / width;
      area.ink += ink[i];
      area.top = Math.min(area.top, y); area.bottom = Math.max(area.bottom, y + 1);
      area.left = Math.min(area.left, x); area.right = Math.max(area.right, x + 1);
      for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row++)
        for (let column = Math.max(0, x - 1); column <= Math.min(width - 1, x + 1); column++) {
          const other = row * width + column;
          if (mask[other] && !labels[other]) labels[other] = all.length, waiting.push(other);
        }
    }
  });
  return [labels, all];
}

function quantile(values, share) {
  const ordered = Float32Array.from(values).sort(), place = share * (ordered.length - 1), below = Math.floor(place);
  return ordered[below] + (place - below) * (ordered[Math.min(below + 1, ordered.length - 1)] - ordered[below]);
}

function grown(mask, height, width) { // by one pixel up, down, left and right
  return mask.map((inside, i) => inside || (i % width > 0 && mask[i - 1]) || (i % width < width - 1 && mask[i + 1]) || mask[i - width] || mask[i + width] || 0);
}

function digitIn(rgba, height, width) { // 4 bytes a pixel -> 28x28, light on black. Throws where the picture is of one shade
  const factor = Math.max(1, Math.ceil(Math.max(height, width) / LOOKED_AT));
  const planes = [0, 1, 2].map((band) => reduced(Uint8Array.from({ length: height * width }, (_, i) => rgba[4 * i + band]), height, width, factor));
  [height, width] = [Math.ceil(height / factor), Math.ceil(width / factor)];
  const largest = (all) => all.reduce((best, area) => (area.ink > best.ink ? area : best));
  const contrast = contrastToPaper(planes, height, width), half = quantile(contrast, 0.9995) / 2;
  const [labels, spots] = areas(contrast.map((value) => value > half), contrast, height, width);
  if (!spots.length) throw new Error(ONE_SHADE);
  const pen = quantile(contrast.filter((_, i) => labels[i] === 1 + spots.indexOf(largest(spots))), 0.95);
  const ink = contrast.map((value) => clamp((value / pen - FAINT) / (FULL - FAINT), 0, 1));
  const [parts, boxes] = areas(ink.map((value) => value > 0.3), ink, height, width), digit = largest(boxes);
  const reach = APART * Math.max(digit.bottom - digit.top, digit.right - digit.left);
  const near = (box) => box.top - digit.bottom < reach && digit.top - box.bottom < reach && box.left - digit.right < reach && digit.left - box.right < reach;
  const kept = boxes.map((box) => box.ink >= LEAST_INK * digit.ink && near(box));
  let mask = Uint8Array.from(parts, (part) => (part && kept[part - 1] ? 1 : 0));
  for (let time = 0; time < 2; time++) mask = grown(mask, height, width); // with the soft edges of its strokes
  return asMnist(Uint8Array.from(ink, (value, i) => rint(255 * value * mask[i])), height, width);
}
