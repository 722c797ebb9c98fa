// Rows of two lines to select from. What is selected is the hand's; Python answers with it, or with a wish of an address.
function inOrder({ chosen, here }) {  // as Python answers: what stands on another page, then in the order of the rows
  return [...[...chosen].filter((id) => !here.includes(id)), ...here.filter((id) => chosen.has(id))].join();
}
export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".kd-rows-of-runs");
  const view = (root.kdView ??= { echo: echoing((ids) => view.send(ids)) });
  view.send = (ids) => setTriggerValue("picked", ids);
  if (view.echo.isNew(data.selected)) view.chosen = new Set(data.selected.split(",").filter(Boolean));
  const rows = JSON.stringify(data.rows);
  if (view.rows !== rows) {
    Object.assign(view, { rows, here: data.rows.map(({ id }) => id) });
    root.replaceChildren();
    for (const { id, name, status, about } of data.rows) {
      const row = element("label", "row", root);
      const box = element("input", "", row, undefined, { type: "checkbox", value: id });
      element("b", "", row, name);
      element("span", "status", row, status);
      element("small", "", row, about);
      box.onchange = () => { view.chosen[box.checked ? "add" : "delete"](id); view.echo.send(inOrder(view)); };
    }
  }
  for (const box of root.querySelectorAll("input")) box.checked = view.chosen.has(box.value);
}
