// What the components share. Each begins with this file.

// Python's twin of this is kd_core.losses.hinton.soft_targets; a browser test holds them equal.
export function softmax(logits, temperature) {
  const top = Math.max(...logits);
  const powers = logits.map((z) => Math.exp((z - top) / temperature));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

const MOST_CLASSES = 12; // of more, bars would be too thin: the likeliest have their own, and all others one together

// What to draw a bar for: lists of classes, each with its name. first: the logits that say which are likeliest; also:
// classes that are shown whatever these say.
function barsOf(classes, first, also) {
  if (classes.length <= MOST_CLASSES) return classes.map((name, k) => ({ name, members: [k] }));
  const wanted = new Set(also.filter((k) => k !== null && k !== undefined));
  const ranked = classes.map((_, k) => k).sort((a, b) => first[b] - first[a]);
  for (const k of ranked) if (wanted.size < MOST_CLASSES - 1) wanted.add(k);
  const bars = ranked.filter((k) => wanted.has(k)).map((k) => ({ name: classes[k], members: [k] }));
  const others = ranked.filter((k) => !wanted.has(k));
  return [...bars, { name: `${others.length.toLocaleString("en")} others`, members: others, others: true }];
}
const shareOf = (bar, probabilities) => bar.members.reduce((sum, k) => sum + probabilities[k], 0);
const topOf = (row) => row.indexOf(Math.max(...row));

// Long names want bars that lie: a name fits beside one, not under it.
const lie = (classes) => classes.some((name) => name.length > 3) || classes.length > MOST_CLASSES;

// A heading with a term of the glossary, {term: what it means}, is explained where it stands.
function explained(text, parent, glossary) {
  const known = Object.keys(glossary).find((term) => text.includes(term));
  element(known ? "abbr" : "span", "", parent, text).title = known ? glossary[known] : "";
}

function element(tag, className, parent, text, properties = {}) {  // what is no property is set as an attribute
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(properties)) name in made ? made[name] = value : made.setAttribute(name, value);
  parent.append(made);
  return made;
}

function legendEntry(legend, colour, text, kind = "") {
  const entry = element("span", "key", legend);
  const mark = element("i", kind, entry);
  if (colour) mark.style.background = colour;
  element("span", "", entry, text);
}

// Empty a table, write its head and return its body.
function bodyUnder(table, titles, glossary) {
  table.replaceChildren();
  const head = element("tr", "", element("thead", "", table));
  for (const title of titles) explained(title, element(title ? "th" : "td", "", head), glossary);
  return element("tbody", "", table);
}

const divergence = (p, q) =>  // Kullback-Leibler, in nats
  p.reduce((sum, share, k) => sum + (share > 0 ? share * Math.log(share / Math.max(q[k], 1e-300)) : 0), 0);

// Small images as a grid of buttons, all cut from one strip. tiles: {caption, label} each; choose: called with an index.
function tileGrid(grid, { strip, smooth }, tiles, choose) {
  grid.replaceChildren();
  grid.classList.toggle("smooth", smooth);
  tiles.forEach(({ caption, label }, index) => {
    const tile = element("button", "tile", grid, undefined, { type: "button", title: caption, "aria-label": label ?? caption });
    const { style } = element("span", "", tile);
    style.backgroundImage = `url(${strip})`;
    style.backgroundSize = `${100 * tiles.length}% 100%`;
    style.backgroundPosition = tiles.length > 1 ? `${(100 * index) / (tiles.length - 1)}% 0` : "0 0";
    tile.onclick = () => choose(index);
  });
}

function markTile(grid, chosen) {
  [...grid.children].forEach((tile, index) => {
    tile.classList.toggle("selected", index === chosen);
    tile.setAttribute("aria-pressed", String(index === chosen));
  });
}
