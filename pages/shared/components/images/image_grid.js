// Small images as a grid of buttons, all cut from one strip; a click names the image.

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".kd-grid");
  root.replaceChildren();
  root.classList.toggle("smooth", data.smooth);
  data.tiles.forEach(({ id, caption }, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = id === data.selected ? "tile selected" : "tile";
    button.title = caption;
    button.setAttribute("aria-label", caption);
    button.setAttribute("aria-pressed", String(id === data.selected));
    const image = document.createElement("span");
    image.style.backgroundImage = `url(${data.strip})`;
    image.style.backgroundSize = `${100 * data.tiles.length}% 100%`;
    image.style.backgroundPosition = data.tiles.length > 1 ? `${(100 * index) / (data.tiles.length - 1)}% 0` : "0 0";
    button.append(image);
    button.onclick = () => setTriggerValue("picked", id);
    root.append(button);
  });
}
