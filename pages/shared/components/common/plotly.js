// What all plotly components share: the library, loaded once a page, and the theme's colours.
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
// A figure of Python's: its colours are names of tokens, var(--kd-…), which stand for others in light than in dark.
function themed(json, parentElement) {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.colorScheme = getComputedStyle(parentElement).colorScheme;
  const known = {};
  const figure = JSON.parse(json.replace(/"var\(--kd-[^"]*"/g, (name) => known[name] ??= JSON.stringify(resolved(JSON.parse(name), probe))));
  probe.remove();
  figure.layout.autosize = true;
  figure.layout.font = { color: getComputedStyle(parentElement).color, family: getComputedStyle(parentElement).fontFamily, size: 13 };
  for (const [name, axis] of Object.entries(figure.layout)) if (/^[xy]axis/.test(name) && axis.title) axis.title.font ??= { size: 13 };
  figure.layout.hoverlabel = { font: { family: figure.layout.font.family, size: 13 } };
  return figure;
}
function resolved(colour, probe) {  // as plotly reads colours, which knows no color(srgb 0.1 0.2 0.3)
  probe.style.color = colour;
  const computed = getComputedStyle(probe).color;
  const shares = computed.match(/^color\(srgb ([\d.e-]+) ([\d.e-]+) ([\d.e-]+)\)$/)?.slice(1);
  return shares ? `rgb(${shares.map((share) => Math.round(255 * share)).join()})` : computed;
}
function onThemeChange(parentElement, redraw) {  // the theme's colours change without new data
  parentElement.kdRedraw = redraw;
  if (parentElement.kdObserver) return;
  const root = document.querySelector(".stApp");
  parentElement.kdObserver = new MutationObserver(() => parentElement.kdRedraw());
  if (root) parentElement.kdObserver.observe(root, { attributes: true, attributeFilter: ["class", "style"] });
}
function offThemeChange(parentElement) {
  parentElement.kdObserver?.disconnect();
  parentElement.kdObserver = undefined;
}
