// Beside the fields: losses and test errors over the steps, what stands at a place, and twenty pairs.

const WIDE = 300, HIGH = 92, LEFT = 34, LOW = 18, MOST_KEPT = 400;

// What stood at each frame, {step, ...}, thinned where it gets long.
function keep(history, now) {
  if (history.length && history.at(-1).step === now.step) history.pop();
  history.push(now);
  if (history.length > MOST_KEPT) history.splice(0, history.length, ...history.filter((_, place) => place % 2 === 0 || place === history.length - 1));
}

const shorter = (value) => (value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(2))));
function lines(svg, history, series, floor) {
  const last = Math.max(1, history.at(-1)?.step ?? 1), all = series.flatMap(({ of }) => history.map(of)).filter(Number.isFinite);
  const most = Math.max(floor, ...all) * 1.05, x = (step) => LEFT + ((WIDE - LEFT - 4) * step) / last, y = (value) => HIGH - LOW - ((HIGH - LOW - 6) * value) / most;
  const path = (of) => history.filter((now) => Number.isFinite(of(now))).map((now, place) => `${place ? "L" : "M"}${x(now.step).toFixed(1)} ${y(of(now)).toFixed(1)}`).join("");
  const text = (at, high, words, anchor) => `<text x="${at}" y="${high}" text-anchor="${anchor}">${words}</text>`;
  svg.innerHTML = [0, 0.5, 1].map((share) => `<path class="grid" d="M${LEFT} ${y((share * most) / 1.05)}H${WIDE - 4}"/>` + text(LEFT - 4, y((share * most) / 1.05) + 4, shorter((share * most) / 1.05), "end")).join("")
    + text(LEFT, HIGH - 3, "0", "middle") + text(WIDE - 4, HIGH - 3, _("{steps} steps", { steps: last }), "end")
    + series.map(({ of, colour, dash }) => `<path d="${path(of)}" style="stroke: var(--kd-${colour}); ${dash ? "stroke-dasharray: 4 3" : ""}"/>`).join("");
}

function chart(parent, title, keys) {
  const box = element("figure", "chart", parent);
  element("figcaption", "", box, title);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of Object.entries({ viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": title })) svg.setAttribute(name, value);
  box.append(svg);
  const legend = element("div", "keys", box);
  for (const [colour, text] of keys) legendEntry(legend, `var(--kd-${colour})`, text);
  return svg;
}

function drawCharts(view) {
  const { history } = view;
  lines(view.errorChart, history, ROLES.map((role) => ({ of: (now) => now.errors[role], colour: role, dash: role === "teacher" })), 20);
  lines(view.lossChart, history, [{ of: (now) => now.losses?.baseline.hardLoss, colour: "baseline" }, { of: (now) => now.losses?.distilled.loss, colour: "distilled" }], 0.01);
  const now = history.at(-1);
  view.errorChart.setAttribute("aria-label", _("Test errors over the steps. Now {errors}.", { errors: ROLES.map((role) => `${TITLES[role]}: ${now.errors[role]}`).join(", ") }));
}

// The bars of all three networks at a place, and the gradient that the distilled student gets there.
function inspect(view) {
  const { at, K, fields, few, inspector } = view, { T, alpha } = view.lossSettings();
  inspector.replaceChildren();
  view.seeds.hidden = Boolean(at);
  if (!at || !fields?.teacher) {
    if (!view.seeds.childElementCount) element("p", "hint", inspector, view.values.shape === "own" ? _("Click on a field to draw a point of the class that is chosen.")
      : _("Point at a field: what each network says there, and the gradient that the place gives."));
    return;
  }
  const logits = Object.fromEntries(ROLES.map((role) => [role, logitsAt(fields[role], K, at.x, at.y)]));
  const label = at.point === null ? null : few.labels[at.point], shares = ROLES.map((role) => softmax(logits[role], T));
  const now = felt(logits.distilled, logits.teacher, label ?? 0, { temperature: T, alpha: label === null ? 1 : alpha, tSquared: view.lossSettings().tSquared });
  const sum = now.soft.map((soft, k) => soft + (label === null ? 0 : now.hard[k])), most = Math.max(1e-9, ...sum.map(Math.abs));
  element("p", "hint", inspector, label === null ? _("Here, at T = {T}; the gradient of the soft loss:", { T }) : _("A point with label {label}, at T = {T}; the gradient of the loss:", { label: CLASSES[label], T }));
  const table = element("table", "", inspector), head = element("tr", "", table);
  for (const title of ["", ...ROLES.map((role) => TITLES[role].split(",")[0]), _("gradient")]) element("th", "", head, title);
  for (let k = 0; k < K; k++) {
    const row = element("tr", "", table), name = element("th", "", row, `${MARKS_OF[k]} ${CLASSES[k]}`);
    name.style.color = label === k ? "var(--kd-primary)" : "";
    shares.forEach((share, place) => {
      const cell = element("td", "share", row, percent(share[k]));
      cell.style.backgroundSize = `${100 * share[k]}% 100%`;
      cell.style.setProperty("--role", `var(--kd-${ROLES[place]})`);
    });
    const cell = element("td", "push", row, `${sum[k] < 0 ? "−" : "+"}${Math.abs(sum[k]).toPrecision(2)}`), bar = element("i", "", cell);
    Object.assign(bar.style, { width: `${(50 * Math.abs(sum[k])) / most}%`, left: sum[k] < 0 ? `${50 - (50 * -sum[k]) / most}%` : "50%" });
  }
}

// Paired differences of the pairs that are trained so far, and once all are, the interval and the verdict.
function drawPairs(view, pairs, count) {
  const box = view.seeds, done = pairs.length === count;
  box.replaceChildren();
  element("p", "hint", box, _("Twenty pairs of other points and other starts, with this teacher:"));
  inspect(view);
  if (!pairs.length) return;
  const apart = pairs.map(({ baseline, distilled }) => baseline - distilled), reach = Math.max(10, ...apart.map(Math.abs)) * 1.1, x = (value) => 160 + (150 * value) / reach;
  const { mean, low, high } = done ? differenceOf(pairs) : {}, figure = element("div", "dots", box);
  const label = _("Test errors of the baseline minus those of its distilled twin, for each pair: {differences}", { differences: apart.join(", ") });
  const [left, right] = [_("baseline has fewer"), _("distilled has fewer")];
  figure.innerHTML = `<svg viewBox="0 0 320 56" role="img" aria-label="${label}">`
    + `<path class="grid" d="M10 28H310M160 6V46"/>` + apart.map((value, place) => `<circle cx="${x(value)}" cy="${28 + 9 * Math.sin(7 * place)}" r="4" style="fill: var(--kd-${value > 0 ? "distilled" : value < 0 ? "baseline" : "muted"})"/>`).join("")
    + (done ? `<path class="interval" d="M${x(low)} 28H${x(high)}M${x(mean)} 20V36"/>` : "")
    + `<text x="10" y="54">${left}</text><text x="160" y="54" text-anchor="middle">0</text><text x="310" y="54" text-anchor="end">${right}</text></svg>`;
  const words = element("p", "verdict", box, undefined, { role: "status" });
  if (!done) { words.textContent = _("{done} of {count} pairs.", { done: pairs.length, count }); return; }
  const number = (value) => Math.abs(value).toFixed(1), signed = (value) => (value < 0 ? "−" : "+") + number(value);
  const values = { difference: number(mean), interval: _("95% interval {low} to {high}", { low: signed(low), high: signed(high) }),
    won: _("distilled was better in {better} of {count} pairs", { better: apart.filter((value) => value > 0).length, count }) };
  words.textContent = low > 0 ? _("Distilled makes {difference} fewer test errors of 1,000 than its twin ({interval}); {won}.", values)
    : high < 0 ? _("Distilled makes {difference} more test errors of 1,000 than its twin ({interval}); {won}.", values)
      : mean < 0 ? _("Cannot tell: {difference} more test errors of 1,000 on average ({interval}); {won}.", values)
        : _("Cannot tell: {difference} fewer test errors of 1,000 on average ({interval}); {won}.", values);
}
