// Points of the plane to learn from, of seeded random numbers (perceptron.js): {inputs: (N, 2), labels: (N)}. overlap, of
// 0 to 1, says how far the classes reach into each other.

const PLANE = 3; // the plane goes from -PLANE to PLANE
const SHAPES = {
  clouds: { classes: 4, overlap: 0.5, draw: (k, u, at) => at(k % 2 ? 0.45 : -0.45, k < 2 ? 0.45 : -0.45, 0.05 + 0.48 * u.overlap) },
  moons: { classes: 4, overlap: 0.5, draw: (k, u, at) => {
    const turn = Math.PI * u(), side = k % 2 ? -1 : 1, row = k < 2 ? 0.44 : -0.44;
    at(0.42 * side * (Math.cos(turn) - 0.5), row + 0.42 * side * (Math.sin(turn) - 0.3), 0.01 + 0.3 * u.overlap);
  } },
  rings: { classes: 3, overlap: 0.3, draw: (k, u, at) => {
    const turn = 2 * Math.PI * u(), radius = 0.15 + 0.32 * k;
    at(radius * Math.cos(turn), radius * Math.sin(turn), 0.01 + 0.2 * u.overlap);
  } },
  spirals: { classes: 3, overlap: 0.1, draw: (k, u, at) => {
    const along = Math.sqrt(u()), turn = 2 * Math.PI * (k / 3 + 0.64 * along);
    at((0.08 + 0.85 * along) * Math.cos(turn), (0.08 + 0.85 * along) * Math.sin(turn), 0.01 + 0.2 * u.overlap);
  } },
};
const OWN_REACH = 0.04; // a point that was drawn stands for a small cloud around it

// own: points that were drawn, [x, y, class] each, of a plane from -1 to 1; the shape's own where there are none.
function points(shape, count, seed, { overlap, own = [] }) {
  const u = Object.assign(randomNumbers(seed), { overlap });
  const inputs = new Float64Array(2 * count), labels = new Int32Array(count);
  for (let place = 0; place < count; place++) {
    const at = (x, y, reach) => { inputs.set([x, y].map((middle) => PLANE * (middle + reach * normal(u))), 2 * place); };
    if (own.length) {
      const [x, y, k] = own[place % own.length];
      at(x, y, OWN_REACH + 0.1 * overlap);
      labels[place] = k;
    } else {
      labels[place] = place % SHAPES[shape].classes;
      SHAPES[shape].draw(labels[place], u, at);
    }
  }
  return { inputs, labels };
}

// Labels of which this share, in whole points, is another class's.
function noisy(labels, K, share, seed) {
  const uniform = randomNumbers(seed), wrong = labels.slice();
  for (const place of permutation(labels.length, uniform).subarray(0, Math.round(share * labels.length)))
    wrong[place] = (wrong[place] + 1 + Math.floor(uniform() * (K - 1))) % K;
  return wrong;
}
