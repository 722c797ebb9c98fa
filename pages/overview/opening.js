// The first screen: a doubtful digit, three models' bars, T under the hand, and what all this says. The bars follow the
// pen while it moves: the models run in a worker, which is fetched when a pointer or the focus comes near the sheet.

const SIDE = 280;

function build(root) {
  root.replaceChildren();
  const view = { root, blank: true, send: () => {} };
  const left = element("div", "left", root), right = element("div", "right", root);
  const canvas = element("canvas", "sheet", left, undefined, { width: SIDE, height: SIDE, "data-control": "drawing", ...SHEET });
  const aside = element("div", "aside", left);
  view.caption = element("p", "caption", aside);
  const tools = element("div", "tools", aside);
  view.clear = element("button", "play", tools, _("✎ Empty sheet"), { type: "button" });
  view.grid = element("div", "kd-grid", aside, undefined, { role: "group", "data-control": "image", "aria-label": _("Test images to choose from") });
  view.address = settling((image) => view.send("image", image));
  view.control = temperatureControl(element("div", "kd-temperature", right));
  view.bars = barsIn(element("div", "kd-bars", right));
  view.bars.picture = () => canvas.toDataURL("image/png");
  view.words = element("div", "words", right);
  view.sentences = [0, 1, 2].map(() => element("p", "", view.words));
  view.drawing = sheet(canvas, { drawn: (ended) => drawn(view, ended) });
  for (const near of ["pointerenter", "pointerdown", "focus"]) canvas.addEventListener(near, () => modelsFor(view).begin());
  view.clear.onclick = () => { modelsFor(view).begin(); view.drawing.set([], null); canvas.focus(); };
  return view;
}

const modelsFor = (view) => view.models ??= modelsOf(view.data.dataset,
  ({ image, logits }) => { if (view.drawing.touched || view.base?.logits === undefined) show(view, image, logits); },
  () => { view.caption.textContent = _("The models did not arrive. Draw again to fetch them once more."); });

function drawn(view, ended) {
  const { drawing } = view;
  if (!drawing.touched && !drawing.empty) return;
  view.base = undefined;
  markTile(view.grid, -1);
  modelsFor(view).begin();
  if (drawing.empty) { show(view, null, null); view.address.rest(""); return; }
  modelsFor(view).ask(() => ({ ink: drawing.ink(), side: SIDE }));
  view.ended = ended;
}

function choose(view, base) { // an image to begin with, {index, label, pixels, logits}; one from the address has its pixels alone
  view.base = base;
  view.drawing.set([], base.pixels);
  markTile(view.grid, view.data.examples.indexOf(base));
  if (base.logits) show(view, base.pixels, base.logits);
  else modelsFor(view).ask(() => ({ image: base.pixels }));
}

function show(view, image, logits) {
  const { roles, classes } = view.data, label = view.base?.label ?? null;
  view.bars.root.classList.toggle("blank", !logits);
  view.caption.textContent = !logits ? _("Draw a digit: the bars follow the pen.")
    : view.base?.index === undefined ? _("Your drawing")
      : _("Test image {index}, {name}. Draw on it!", { index: view.base.index, name: withArticle(classes[label]) });
  if (logits) {
    const models = roles.map(({ role, name, colour }) => ({ id: role, name, colour, logits: logits[role] }));
    if (view.bars.data && view.bars.data.label === label) view.bars.data.models = models;
    else layOut(view.bars, { models, classes, label, glossary: {} });
    models.forEach((model, m) => view.bars.bars.forEach(({ parts }) => { parts[m].bar.model = model; }));
    if (view.moved) move({ moved: movedOf(models, view.moved) });
    else if (Object.keys(hand.state.moved).length) dragged(view.bars, {}); // another image has its own logits
    view.moved = undefined;
  }
  view.blank = !logits;
  follow(view, hand.state);
  if (image && view.ended && view.base === undefined)
    packed(image).then((text) => view.address.rest(`drawn-${text}`));
}

function follow(view, state) {
  if (view.blank || state.T === undefined) return;
  draw(view.bars, state);
  sentences(view, state).forEach((text, place) => { if (view.sentences[place].textContent !== text) view.sentences[place].textContent = text; });
}

const share = (p) => (p >= 0.001 ? percent(p) : _("under 0.1%"));

function sentences(view, { T }) {
  const { classes } = view.data, [teacher, baseline, distilled] = view.bars.probabilities, cold = softmax(logitsNow(view.bars.data.models[0]), 1);
  const label = view.bars.data.label, name = (k) => withArticle(classes[k]);
  const first = topOf(teacher), second = topOf(teacher.map((p, k) => (k === first ? -1 : p)));
  const firstShare = share(teacher[first]), secondShare = share(teacher[second]);
  const could = label === null
    ? _("The teacher takes this for {first} ({firstShare}), and next for {second} ({secondShare}).", { first: name(first), firstShare, second: name(second), secondShare })
    : label === first
      ? _("This {label} could be {second}, says the teacher: {secondShare}, against {firstShare} for the {label}.", { label: classes[label], second: name(second), secondShare, firstShare })
      : _("The label says {label}, the teacher rather {first}: {firstShare} against {labelShare}.", { label: classes[label], first: classes[first], firstShare, labelShare: share(teacher[label]) });
  const other = label === null || label === first ? second : first;
  const [far, near] = [baseline, distilled].map((row) => Math.abs(row[other] - teacher[other]));
  const shares = { name: classes[other], baseline: share(baseline[other]), distilled: share(distilled[other]) };
  const learned = near < far
    ? _("The distilled student has learned that from it: {distilled} for the {name}. The baseline, which saw labels alone, gives it {baseline}.", shares)
    : _("The distilled student gives the {name} {distilled}; here the baseline, which saw labels alone, is no further from the teacher: {baseline}.", shares);
  const softer = T === 1 ? _("At T = 1 nothing is softened. Raise T: all bars come closer to each other, but their order stays.")
    : changed(T, share(cold[first]), firstShare);
  return [view.bars.back.hidden ? could : [_("Moved by hand."), could].join(" "), learned, softer];
}

function changed(T, was, is) { // what T makes of the share of the teacher's first choice
  if (was === is) return T > 1
    ? _("Softened at T = {T}, the teacher's first choice stays at {is}. What T never changes is the order of a model's bars.", { T, is })
    : _("Sharpened at T = {T}, the teacher's first choice stays at {is}. What T never changes is the order of a model's bars.", { T, is });
  return T > 1
    ? _("Softened at T = {T}, the teacher's first choice goes from {was} to {is}. What T never changes is the order of a model's bars.", { T, was, is })
    : _("Sharpened at T = {T}, the teacher's first choice goes from {was} to {is}. What T never changes is the order of a model's bars.", { T, was, is });
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".kd-opening");
  const view = (root.kdView ??= build(root));
  view.send = view.control.send = setStateValue;
  settles(view.bars, (logits) => setStateValue("logits", logits));
  const first = view.data === undefined;
  if (first) { view.moved = data.moved; move({ moved: {} }); }
  view.data ??= { ...data, examples: data.examples.map((example) => ({ ...example, pixels: bytes(example.pixels) })) };
  view.stop?.();
  view.stop = followed((state) => follow(view, state));
  view.control.take(data);
  if (first) {
    tileGrid(view.grid, data, data.examples.map(({ index, label }) => ({ caption: _("test image {index}, {name}", { index, name: withArticle(String(label)) }) })),
      (place) => { choose(view, view.data.examples[place]); view.address.rest(`test-${view.base.index}`); });
  }
  if (view.address.isNew(data.image)) {
    const named = view.data.examples.find(({ index }) => `test-${index}` === data.image);
    choose(view, named ?? (data.drawn ? { pixels: bytes(data.drawn) } : view.data.examples[0]));
  }
  return () => { view.control.end(); view.address.end(); view.stop(); view.models?.end(); };
}
