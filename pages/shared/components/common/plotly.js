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
function themedFont(parentElement) {
  const style = getComputedStyle(parentElement);
  return { color: style.getPropertyValue("--st-text-color") || "#888", family: style.getPropertyValue("--st-font"), size: 13 };
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
