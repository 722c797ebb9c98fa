// What the components share. Each begins with this file.

// Python's twin of this is kd_core.losses.soft_targets; a browser test holds them equal.
export function softmax(logits, temperature) {
  const top = Math.max(...logits);
  const powers = logits.map((z) => Math.exp((z - top) / temperature));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

function element(tag, className, parent, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}
