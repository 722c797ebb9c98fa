export default function ({ data, parentElement, setTriggerValue }) {
  const grid = parentElement.querySelector(".kd-grid");
  tileGrid(grid, data, data.tiles, (index) => setTriggerValue("picked", data.tiles[index].id));
  markTile(grid, data.tiles.findIndex(({ id }) => id === data.selected));
}
