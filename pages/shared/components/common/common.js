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

function element(tag, className, parent, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}
