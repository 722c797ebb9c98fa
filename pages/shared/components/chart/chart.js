export default function ({ data, parentElement, setTriggerValue }) {
  const box = parentElement.querySelector(".kd-chart");
  if (!box.dataset.drawn) box.style.minHeight = `${data.height}px`; // until it is drawn, taller where its window is narrow
  const draw = async () => {
    const Plotly = await plotly(), figure = themed(data.figure, parentElement);
    if (figure.layout.yaxis?.scaleanchor) // what is square needs no more height than it has width
      figure.layout.height = Math.min(figure.layout.height, Math.max(320, box.clientWidth + 80));
    breakTitle(figure.layout, box.clientWidth);
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", data.text);
    await drawn(box, figure, PLOTLY_OPTIONS, Plotly);
    if (data.clickable && !box.dataset.listens) {
      box.dataset.listens = "yes";
      box.on("plotly_click", ({ points: [point] }) => parentElement.kdClicked({ x: String(point.x), y: String(point.y) }));
    }
    box.style.minHeight = "";
    box.dataset.drawn = Number(box.dataset.drawn || 0) + 1;
  };
  draw().catch((error) => { box.textContent = data.broken.replace("{problem}", error.message); });
  parentElement.kdClicked = (place) => setTriggerValue("clicked", place);
  onThemeChange(parentElement, draw);
  return () => offThemeChange(parentElement);
}
function breakTitle(layout, width) {  // on a phone it is wider than its chart, which would cut it; each line makes the chart taller
  if (!layout.title?.text || layout.title.text.includes("<")) return;
  const pen = document.createElement("canvas").getContext("2d"), room = width - (layout.margin?.l ?? 60), LINE = 18, lines = [];
  pen.font = `${layout.title.font?.size ?? 14}px ${layout.font.family}`;
  for (const word of layout.title.text.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`;
    if (lines.length && pen.measureText(longer).width <= room) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  const more = LINE * (lines.length - 1);
  if (!more) return;
  layout.title.text = lines.join("<br>");
  layout.margin = { ...layout.margin, t: (layout.margin?.t ?? 36) + more };
  layout.height += more;
}
