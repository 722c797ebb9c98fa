// Temperature without a server: which image is under study, and what all components show of it. In the app Python does this,
// in pages/temperature/subject.py, gradient.py and dark_knowledge.py.

const { named, keep, show } = window.kdLab, data = window.kdLab.page.data.temperature, { names, kinds, any, glossary } = data;
const SIDE = 280, BEHIND = 16, TEST = "test-", DRAWN = "drawn-", ANY = "any";
const find = (id) => document.getElementById(id);
const floats = (text) => new Float32Array(bytes(text).buffer);

function opened(file) { // what Temperature shows of a story: pages/site/content.py
  const story = JSON.parse(new TextDecoder().decode(file)), [channels, height, width] = story.shape, K = story.classes.length;
  const pixels = bytes(story.pixels), size = channels * height * width, rows = Object.fromEntries(Object.entries(story.logits).map(([id, text]) => [id, floats(text)]));
  return { ...story, pixelsOf: (place) => pixels.subarray(place * size, (place + 1) * size), logitsOf: (place) => Object.fromEntries(story.models.map(({ id }) => [id, [...rows[id].subarray(place * K, (place + 1) * K)]])) };
}

function paint(canvas, { shape: [channels, height, width] }, images) { // side by side
  Object.assign(canvas, { width: width * images.length, height });
  const pen = canvas.getContext("2d"), all = height * width;
  images.forEach((pixels, at) => {
    const picture = pen.createImageData(width, height), level = (channel, i) => pixels[(channels === 1 ? 0 : channel) * all + i];
    for (let i = 0; i < all; i++) picture.data.set([level(0, i), level(1, i), level(2, i), 255], 4 * i);
    pen.putImageData(picture, at * width, 0);
  });
}
function tiles(view, grid, places, captions, choose) {
  const canvas = document.createElement("canvas"), { story } = view;
  if (places.length) paint(canvas, story, places.map(story.pixelsOf));
  tileGrid(grid, { strip: places.length ? canvas.toDataURL("image/png") : "", smooth: story.smooth }, captions.map((caption) => ({ caption })), (at) => choose(places[at]));
}
const captionOf = ({ story }, place) => _("test image {index}, {name}", { index: story.index[place], name: withArticle(story.classes[story.labels[place]]) });

function select(parent, text, options, start, changed) {
  const label = element("label", "", parent, text), list = element("select", "", label, undefined, { "aria-label": text });
  for (const [value, name] of options) element("option", "", list, name, { value });
  list.value = options.some(([value]) => value === start) ? start : options[0][0];
  list.onchange = () => changed(list.value);
  return list;
}

function build(story) {
  const view = { story, subject: undefined }, choice = find("choice");
  const tabs = element("div", "tabs", choice, undefined, { role: "group", "aria-label": _("Image") });
  view.tabs = Object.fromEntries([["test", _("Test images")], ["draw", _("Draw")]].map(([source, text]) => [source, Object.assign(element("button", "play", tabs, text, { type: "button" }), { onclick: () => turn(view, source) })]));
  tabs.hidden = !story.draws;
  view.tested = element("div", "", choice);
  const fields = element("div", "fields", view.tested), classes = [[ANY, any], ...story.classes.map((name, k) => [String(k), name])];
  view.kind = select(fields, _("Show"), kinds, named.get("gallery_kind") ?? kinds[1][0], (kind) => { keep("gallery_kind", kind); gallery(view); });
  view.wanted = select(fields, _("True class"), classes, named.get("gallery_class") ?? ANY, (wanted) => { keep("gallery_class", wanted); gallery(view); });
  view.grid = element("div", "kd-grid", view.tested, undefined, { role: "group", "aria-label": _("Test images to choose from") });
  view.none = element("p", "caption", view.tested, _("No test image is of this kind. Choose another."), { hidden: true });
  view.sheet = element("div", "", choice, undefined, { hidden: true });
  const canvas = element("canvas", "sheet", view.sheet, undefined, { width: SIDE, height: SIDE, ...SHEET }), tools = element("div", "tools", view.sheet);
  view.trouble = element("p", "caption", view.sheet, "", { role: "status" });
  if (story.draws) {
    view.models = modelsOf(story.draws, ({ image, logits }) => answered(view, image, logits), () => { view.trouble.textContent = _("The models did not arrive. Draw again to fetch them once more."); });
    view.drawing = sheet(canvas, { drawn: (ended) => {
      if (!view.drawing.touched) return;
      view.ended = ended;
      view.models.ask(() => ({ ink: view.drawing.ink(), side: SIDE }));
    } });
    Object.assign(element("button", "play", tools, "↶ " + _("Undo"), { type: "button" }), { onclick: () => view.drawing.undo() });
    Object.assign(element("button", "play", tools, "✕ " + _("Clear"), { type: "button" }), { onclick: () => view.drawing.set([], null) });
  }
  const subject = find("subject");
  view.picture = element("canvas", story.smooth ? "smooth" : "", subject, undefined, { role: "img", "aria-label": _("Image") });
  view.verdicts = element("div", "verdicts", subject);
  if (find("felt_settings")) settle(view, find("felt_settings"));
  return view;
}

function settle(view, parent) { // which student feels what
  const { story } = view, fields = element("div", "fields", parent), students = story.models.filter(({ role }) => role !== "teacher");
  view.student = select(fields, _("Student"), students.map(({ id }) => [id, names[id]]), named.get("student") ?? students.at(-1).id, (id) => { keep("student", id); feel(view); });
  view.label = select(fields, _("Label"), story.classes.map((name, k) => [String(k), name]), "0", () => feel(view));
  const box = element("label", "box", fields);
  view.squared = element("input", "", box, undefined, { type: "checkbox", checked: named.get("t_squared") !== "false" });
  element("span", "", box, _("Multiply the soft loss by T²"));
  view.squared.onchange = () => { keep("t_squared", view.squared.checked ? "" : "false"); feel(view); };
}

function turn(view, source) { // test images, or the sheet
  for (const [name, tab] of Object.entries(view.tabs)) tab.setAttribute("aria-pressed", String(name === source));
  view.tested.hidden = source !== "test";
  view.sheet.hidden = source !== "draw";
  if (source === "draw") view.models.begin();
}

function gallery(view) {
  const places = view.story.galleries[`${view.kind.value}/${view.wanted.value}`];
  view.shown = places;
  tiles(view, view.grid, places, places.map((place) => captionOf(view, place)), (place) => choose(view, place));
  view.none.hidden = places.length > 0;
  markTile(view.grid, places.indexOf(view.place));
}

function choose(view, place) {
  view.place = place;
  markTile(view.grid, view.shown.indexOf(place));
  keep("image", `${TEST}${view.story.index[place]}`);
  study(view, { pixels: view.story.pixelsOf(place), label: view.story.labels[place], caption: captionOf(view, place), logits: view.story.logitsOf(place) });
}
function answered(view, pixels, logits) { // a drawing, or null where nothing is drawn
  view.trouble.textContent = pixels ? "" : _("There is nothing on it yet: draw a digit.");
  if (!pixels) return;
  view.place = undefined;
  markTile(view.grid, -1);
  study(view, { pixels, label: null, caption: _("as the models see it: 28x28 pixels, centred as MNIST's are"), logits: Object.fromEntries(view.story.models.map(({ id, role }) => [id, [...logits[role]]])) });
  if (view.ended) packed(pixels).then((text) => keep("image", `${DRAWN}${text}`));
}

function study(view, subject, moved = null) {
  const { story } = view, { logits } = subject;
  view.subject = subject;
  paint(view.picture, story, [subject.pixels]);
  view.picture.setAttribute("aria-label", subject.caption);
  view.verdicts.replaceChildren();
  element("p", "caption", view.verdicts, subject.caption);
  for (const { id, colour } of story.models) {
    const top = topOf(logits[id]), line = element("span", "", view.verdicts), mark = subject.label === null ? "" : top === subject.label ? " ✓" : " ✗";
    element("i", "", line).style.background = colour;
    line.append(_("{name} says {top}", { name: names[id], top: story.classes[top] }) + mark);
  }
  show("temperature_bars", { models: story.models.map(({ id, colour }) => ({ id, name: names[id], colour, logits: logits[id] })), subject: JSON.stringify(logits), classes: story.classes, label: subject.label, glossary, moved });
  if (!view.student) return;
  view.label.parentElement.hidden = subject.label !== null;
  view.label.value = String(subject.label ?? topOf(logits[story.models[0].id]));
  feel(view);
}
function feel(view) {
  const { story, subject } = view, of = (id) => ({ id, logits: subject.logits[id] });
  show("felt", { ...data.felt, student: of(view.student.value), teacher: of(story.models[0].id), label: Number(view.label.value), t_squared: view.squared.checked, classes: story.classes });
}

function behind(view, row, column) { // a cell of the map: images of a class that the teacher finds most like another one
  const { story } = view, teacher = story.models[0].id, T = hand.state.T, parent = find("behind");
  const shares = story.labels.flatMap((label, place) => (label === row ? [[place, softmax(story.logitsOf(place)[teacher], T)[column]]] : []));
  const most = shares.sort((a, b) => b[1] - a[1]).slice(0, BEHIND), name = story.classes[column];
  parent.replaceChildren();
  element("p", "", parent, _("Images of {name} that the teacher finds most like {other}, of {count} that are here:", { name: story.classes[row], other: withArticle(name), count: shares.length }));
  const grid = element("div", "kd-grid", parent, undefined, { role: "group", "aria-label": _("Images to choose from") });
  tiles(view, grid, most.map(([place]) => place), most.map(([place, share]) => _("test image {index}: {share} for {name}", { index: story.index[place], share: percent(share), name })), (place) => { turn(view, "test"); choose(view, place); markTile(grid, most.findIndex(([other]) => other === place)); });
  markTile(grid, -1);
}

async function begin() {
  const view = build(opened(await fetched("story"))), { story } = view, image = named.get("image") ?? "";
  window.kdLab.happened = (component, event, place) => {
    const [column, row] = [Number(place.x), Number(place.y)];
    keep("cell", `${column},${row}`);
    behind(view, row, column);
  };
  gallery(view);
  const drawn = story.draws ? await window.kdLab.drawingOf(image) : null, index = image.startsWith(TEST) ? story.index.indexOf(Number(image.slice(TEST.length))) : -1;
  turn(view, drawn ? "draw" : "test");
  if (drawn) { view.drawing.set([], drawn); view.models.ask(() => ({ image: drawn })); }
  else {
    const place = index >= 0 ? index : view.shown[0] ?? 0, moved = await window.kdLab.logitsOf(named.get("logits"), story.models.length, story.classes.length);
    choose(view, place);
    if (moved) study(view, view.subject, moved);
  }
  show("knowledge", { ...story.map, classes: story.classes });
  const [column, row] = (named.get("cell") ?? "").split(",").map(Number);
  if (story.classes[row] !== undefined && story.classes[column] !== undefined) behind(view, row, column);
}
begin();
