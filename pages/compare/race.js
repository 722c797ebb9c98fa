// Models classify the test set one image after another, each at its measured latency, slowed down alike for all so that
// eyes can follow. What each says of each image is what it said when it was tested.

const SLOWDOWNS = [1, 10, 100, 1000, 10000];
const SECONDS_WANTED = 12;  // of the slowest lane, for the slowdown that is chosen at first

function indices(text) {  // two bytes each, the lower first
  const letters = atob(text);
  return Uint16Array.from({ length: letters.length / 2 }, (_, n) => letters.charCodeAt(2 * n) + 256 * letters.charCodeAt(2 * n + 1));
}

function build(root, data) {
  root.replaceChildren();
  const labels = indices(data.labels);
  const view = { root, data, labels, elapsed: 0, running: false };
  const controls = element("div", "controls", root);
  view.start = element("button", "start", controls, _("▶ Start the race"), { type: "button" });
  const slow = element("label", "", controls, `${_("Speed")} `);
  view.slow = element("select", "", slow);
  for (const factor of SLOWDOWNS) {
    element("option", "", view.slow, factor === 1 ? _("real time") : _("slowed down {factor} times", { factor: factor.toLocaleString("en") })).value = factor;
  }
  const slowest = (Math.max(...data.lanes.map((lane) => lane.latency_ms)) * labels.length) / 1000;
  view.slow.value = SLOWDOWNS.reduce((best, factor) =>
    Math.abs(Math.log((slowest * factor) / SECONDS_WANTED)) < Math.abs(Math.log((slowest * best) / SECONDS_WANTED)) ? factor : best);
  view.sheet = new Image();
  view.sheet.onload = () => draw(view);
  view.sheet.src = data.sprite;
  view.lanes = data.lanes.map((lane) => {
    const row = element("div", "lane", root);
    const canvas = element("canvas", "picture", row, undefined, { width: data.side, height: data.side });
    const middle = element("div", "middle", row);
    const head = element("div", "head", middle);
    element("b", "", head, lane.title);
    const said = element("span", "said-class", head);
    const bar = element("div", "bar", middle);
    const fill = element("i", "", bar);
    fill.style.background = lane.colour;
    const counts = element("div", "counts", middle);
    const predictions = indices(lane.predictions);
    const wrong = new Uint32Array(predictions.length + 1);  // errors among the first n
    predictions.forEach((top, n) => { wrong[n + 1] = wrong[n] + (top !== labels[n] ? 1 : 0); });
    return { ...lane, row, canvas, fill, bar, counts, said, predictions, wrong, done: 0 };
  });
  view.result = element("div", "result", root, undefined, { "aria-live": "polite" });
  view.start.onclick = () => (view.running ? halt(view) : go(view));
  view.slow.onchange = () => reset(view);
  return view;
}

function reset(view) {
  halt(view);
  view.elapsed = 0;
  view.result.textContent = "";
  draw(view);
}

function halt(view) {
  cancelAnimationFrame(view.frame);
  view.running = false;
  view.start.textContent = view.elapsed ? _("▶ Go on") : _("▶ Start the race");
}

function go(view) {
  if (view.lanes.every((lane) => lane.done >= view.labels.length)) view.elapsed = 0;
  view.result.textContent = "";
  view.running = true;
  view.start.textContent = _("❚❚ Pause");
  let last = performance.now();
  const tick = (now) => {
    view.elapsed += Math.max(0, now - last) / Number(view.slow.value);  // milliseconds of the models' own time; a frame
    // may have begun before the click that started the race
    last = now;
    draw(view);
    if (view.lanes.every((lane) => lane.done >= view.labels.length)) finish(view);
    else view.frame = requestAnimationFrame(tick);
  };
  view.frame = requestAnimationFrame(tick);
}

function finish(view) {
  view.running = false;
  view.start.textContent = _("▶ Race again");
  const order = [...view.lanes].sort((a, b) => a.latency_ms - b.latency_ms);
  view.result.textContent = order.map((lane) =>  // who is level shares a place
    _("{place}. {title}: {seconds} s for all {images} images, {wrong} wrong", {
      place: 1 + order.findIndex((other) => other.latency_ms === lane.latency_ms),
      title: lane.title,
      seconds: ((lane.latency_ms * view.labels.length) / 1000).toFixed(2),
      images: view.labels.length.toLocaleString("en"),
      wrong: lane.wrong[view.labels.length].toLocaleString("en"),
    })).join(" · ");
}

function draw(view) {
  const { data, labels } = view;
  for (const lane of view.lanes) {
    lane.done = Math.min(labels.length, Math.floor(view.elapsed / lane.latency_ms));
    const current = Math.min(lane.done, labels.length - 1);
    const context = lane.canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    if (view.sheet.complete) {
      context.drawImage(view.sheet, (current % data.columns) * data.side, Math.floor(current / data.columns) * data.side,
        data.side, data.side, 0, 0, data.side, data.side);
    }
    lane.fill.style.width = `${(100 * lane.done) / labels.length}%`;
    const told = lane.predictions[current], right = told === labels[current];
    lane.said.textContent = right ? `✓ ${data.classes[told]}`
      : _("✗ {told}, it is {truth}", { told: data.classes[told], truth: data.captions[labels[current]] });
    lane.said.className = right ? "said-class" : "said-class wrong";
    lane.counts.textContent = _("{done} of {images} images · {wrong} wrong · {rate} a second, measured", {
      done: lane.done.toLocaleString("en"),
      images: labels.length.toLocaleString("en"),
      wrong: lane.wrong[lane.done].toLocaleString("en"),
      rate: Math.round(lane.per_second).toLocaleString("en"),
    });
    lane.row.dataset.done = lane.done;
    lane.row.dataset.wrong = lane.wrong[lane.done];
  }
}

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".kd-race");
  const key = JSON.stringify([data.lanes.map((lane) => [lane.title, lane.latency_ms]), data.labels.length]);
  if (root.kdKey !== key) {
    if (root.kdView) halt(root.kdView);
    root.kdKey = key;
    root.kdView = build(root, data);
    draw(root.kdView);
  }
  return () => halt(root.kdView);
}
