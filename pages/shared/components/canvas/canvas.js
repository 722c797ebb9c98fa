// A canvas to draw on with mouse, pen, finger or keys: white on black, as MNIST's digits are. Sends a PNG once a stroke ends.

function build(root) {
  root.replaceChildren();
  const canvas = element("canvas", "sheet", root, undefined, { width: 280, height: 280, "data-control": "drawing", ...SHEET });
  const tools = element("div", "tools", root);
  const undo = element("button", "", tools, "↶ " + _("Undo"), { type: "button" });
  const clear = element("button", "", tools, "✕ " + _("Clear"), { type: "button" });
  const range = { type: "range", min: 10, max: 40, value: 22, "aria-label": _("Width of the brush") };
  const brush = element("input", "", element("label", "", tools, _("Brush") + " "), undefined, range);
  const view = { sent: "", send: () => {} };
  const drawn = (ended) => {
    clearTimeout(view.timer);
    if (ended) view.timer = setTimeout(() => {
      const url = drawing.empty ? "" : drawing.url();
      if (url !== view.sent) view.send(view.sent = url);
    }, SETTLE_MS);
  };
  const drawing = sheet(canvas, { brush: () => Number(brush.value), drawn });
  undo.onclick = drawing.undo;
  clear.onclick = () => drawing.set([], null);
  return view;
}

export default function ({ parentElement, setStateValue }) {
  const root = parentElement.querySelector(".kd-canvas");
  const view = (root.kdView ??= build(root));
  view.send = (drawing) => setStateValue("drawing", drawing);
  return () => clearTimeout(view.timer);
}
