export default function ({ data, parentElement, setTriggerValue }) {
  const grid = parentElement.querySelector(".kd-grid");
  grid.setAttribute("role", "group");
  grid.setAttribute("aria-label", _("Images to choose from"));
  tileGrid(grid, data, data.tiles, (index) => setTriggerValue("picked", data.tiles[index].id));
  markTile(grid, data.tiles.findIndex(({ id }) => id === data.selected));
}
