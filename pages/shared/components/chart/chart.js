export default function ({ data, parentElement, setTriggerValue }) {
  const box = parentElement.querySelector(".kd-chart");
  const draw = async () => {
    const Plotly = await plotly(), figure = themed(data.figure, parentElement);
    if (figure.layout.yaxis?.scaleanchor) // what is square needs no more height than it has width
      figure.layout.height = Math.min(figure.layout.height, Math.max(320, box.clientWidth + 80));
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", data.text);
    await drawn(box, figure, PLOTLY_OPTIONS, Plotly);
    if (data.clickable && !box.dataset.listens) {
      box.dataset.listens = "yes";
      box.on("plotly_click", ({ points: [point] }) => parentElement.kdClicked({ x: String(point.x), y: String(point.y) }));
    }
    box.dataset.drawn = Number(box.dataset.drawn || 0) + 1;
  };
  draw().catch((error) => { box.textContent = data.broken.replace("{problem}", error.message); });
  parentElement.kdClicked = (place) => setTriggerValue("clicked", place);
  onThemeChange(parentElement, draw);
  return () => offThemeChange(parentElement);
}
