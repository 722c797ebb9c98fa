const libraries = window.__kdLabPlotly ??= {};
function plotly() {
  return libraries.ready ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL("assets/plotly.min.js", document.baseURI);
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => { libraries.ready = undefined; reject(new Error("plotly.min.js did not load")); };
    document.head.append(script);
  });
}
export default function ({ data, parentElement, setTriggerValue }) {
  const box = parentElement.querySelector(".kd-chart");
  const figure = JSON.parse(data.figure);
  const draw = async () => {
    const Plotly = await plotly();
    const style = getComputedStyle(parentElement);
    const colour = style.getPropertyValue("--st-text-color") || "#888";
    figure.layout.font = { color: colour, family: style.getPropertyValue("--st-font"), size: 13 };
    figure.layout.autosize = true;
    box.style.height = figure.layout.height + "px";
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", data.text);
    await Plotly.react(box, figure.data, figure.layout,
      { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"] });
    if (data.clickable && !box.dataset.listens) {
      box.dataset.listens = "yes";
      box.on("plotly_click", ({ points: [point] }) => parentElement.kdClicked({ x: String(point.x), y: String(point.y) }));
    }
    box.dataset.drawn = Number(box.dataset.drawn || 0) + 1;
  };
  draw().catch((error) => { box.textContent = "This chart cannot be drawn: " + error.message + ". Reload the page."; });
  if (!parentElement.kdObserver) {  // the theme's colours change without a new figure
    const root = document.querySelector(".stApp");
    parentElement.kdObserver = new MutationObserver(() => parentElement.kdDraw());
    if (root) parentElement.kdObserver.observe(root, { attributes: true, attributeFilter: ["class", "style"] });
  }
  parentElement.kdClicked = (place) => setTriggerValue("clicked", place);
  parentElement.kdDraw = draw;
  return () => { parentElement.kdObserver?.disconnect(); parentElement.kdObserver = undefined; };
}
