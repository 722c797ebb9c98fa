// Runs as they train: state, buttons and learning curves. Asks the server for what is new since the last answer and
// keeps the rest itself; Python is told only what its user presses, and that a run has changed its state.

const POINTS_KEPT = 4000;  // of one curve; beyond it the whole is asked for again, which comes thinned
const RETRY_MS = 1500, IDLE_MS = 5000, ASK_AGAIN_MS = 1500, SAY_MS = 8000, SILENT_MS = 10000;
const MOST_DECADES = 6;  // that have a tick
const MOST_SAID = 4;  // runs that are said one by one
const ICONS = { pause: "❚❚", stop: "■", resume: "▶" };
const STATUSES = { queued: _("queued"), running: _("running"), paused: _("paused"), finished: _("finished"), stopped: _("stopped"),
  failed: _("failed"), interrupted: _("interrupted") };

export function smoothed(values, weight) {  // exponential moving average without bias towards its start, as TensorBoard's
  let mean = 0, total = 0;
  return values.map((value) => {
    mean = weight * mean + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return mean / total;
  });
}

export function decadeTicks(values) {  // 1, 2 and 5 of each decade that the values reach into; of many decades, 1 of a few
  const logs = values.filter((value) => value > 0).map(Math.log10);
  if (!logs.length) return [];
  const low = Math.floor(logs.reduce((a, b) => Math.min(a, b))) - 1, high = Math.ceil(logs.reduce((a, b) => Math.max(a, b)));
  const ticks = [], every = Math.ceil((high - low) / MOST_DECADES);
  for (let decade = low; decade <= high; decade += every)
    for (const digit of high - low < 4 ? [1, 2, 5] : [1]) ticks.push(Number(`${digit}e${decade}`));
  return ticks;
}

export function duration(exact) {
  const seconds = Math.max(1, Math.round(exact));
  if (seconds < 60) return _("{seconds} s", { seconds });
  if (seconds < 3600) return _("{minutes} min {seconds} s", { minutes: Math.floor(seconds / 60), seconds: seconds % 60 });
  const minutes = Math.round(seconds / 60);
  return _("{hours} h {minutes} min", { hours: Math.floor(minutes / 60), minutes: minutes % 60 });
}

function sentence(run, asked) {
  const request = run.request || asked, status = STATUSES[run.status];
  if (run.status === "running" && request && run.message) return run.message;
  if (run.status === "running" && request) return request === "stop" ? _("Stopping at the next step") : _("Pausing at the next step");
  if (run.status === "queued") {
    const waits = run.waits_for_teacher ? _("Waits for its teacher")
      : run.position ? _("Waiting for its turn, place {place} in the queue", { place: run.position }) : _("Waiting for its turn");
    const state = run.message || waits;
    return run.begins_in >= 1 ? _("{state}, begins in about {duration}", { state, duration: duration(run.begins_in) }) : state;
  }
  if (run.test_errors !== null && run.status !== "running")
    return _("{status}: {errors} test errors of {examples}",
      { status, errors: run.test_errors.toLocaleString("en"), examples: run.test_examples.toLocaleString("en") });
  if (run.status === "running" && run.message && !run.step) return run.message;
  const epoch = Math.min(run.epochs_total, Math.floor(run.epochs_done) + 1);
  const parts = [_("{status}: epoch {epoch} of {epochs}", { status, epoch, epochs: run.epochs_total })];
  if (run.seconds_left !== null) parts.push(_("{duration} left", { duration: duration(run.seconds_left) }));
  if (run.status === "running" && run.samples_per_second) parts.push(_("{count} images/s", { count: Math.round(run.samples_per_second).toLocaleString("en") }));
  if (run.status === "running" && run.learning_rate) parts.push(_("rate {rate}", { rate: Number(run.learning_rate.toPrecision(2)) }));
  return parts.join(" · ");
}

function build(root) {
  root.replaceChildren();
  const view = { root, runs: new Map(), asked: new Map(), hidden: new Set(), smoothing: 0, log: true, by: "step" };
  view.heardAt = performance.now();
  view.rows = element("div", "kd-rows", root);
  view.trouble = element("div", "kd-trouble", root);
  view.queue = element("div", "kd-queue", root);
  view.tools = element("div", "kd-tools", root);
  const smooth = element("label", "", view.tools, _("Smoothing") + " ");
  view.smooth = element("input", "", smooth);
  Object.assign(view.smooth, { type: "range", min: 0, max: 0.98, step: 0.02, value: 0 });
  view.smooth.oninput = () => { view.smoothing = Number(view.smooth.value); draw(view); };
  view.smooth.onchange = () => view.keep("smoothing", view.smoothing); // the hand rests
  const log = element("label", "", view.tools);
  view.logBox = element("input", "", log);
  view.logBox.type = "checkbox";
  log.append(" " + _("log axis"));
  view.logBox.onchange = () => { view.log = view.logBox.checked; draw(view); view.keep("axis", view.log ? "log" : "linear"); };
  const each = element("label", "", view.tools, _("A point") + " ");
  view.points = element("select", "", each);
  for (const [value, text] of [["step", _("every few steps")], ["epoch", _("every epoch")]]) element("option", "", view.points, text).value = value;
  view.points.onchange = () => { view.by = view.points.value; draw(view); view.keep("points", view.by); };
  view.waiting = element("div", "kd-waiting", root, _("The curves start with the first training step."));
  view.chart = element("div", "kd-chart", root);
  view.said = element("div", "kd-said", root);
  view.said.setAttribute("aria-live", "polite");
  return view;
}

function layOutRows(view, known) {
  const laidOut = JSON.stringify(known);
  if (view.laidOut === laidOut) return;
  view.laidOut = laidOut;
  view.ids = known.map((run) => run.id).join();
  view.rows.replaceChildren();
  view.cells = new Map();
  for (const run of known) {
    const row = element("div", "kd-run", view.rows);
    row.classList.toggle("kd-done", view.pageStatuses.includes(`${run.id}:finished`)); // before the first answer
    const dot = element("button", "kd-dot", row);
    Object.assign(dot, { type: "button", title: _("Show or hide the curves of the {role}", { role: run.role }) });
    dot.setAttribute("aria-label", dot.title);
    dot.setAttribute("aria-pressed", "true");
    dot.innerHTML = `<svg width="26" height="12" aria-hidden="true"><line x1="1" x2="25" y1="6" y2="6" stroke-width="4"/></svg>`;
    dot.firstChild.firstChild.setAttribute("stroke", run.colour);
    dot.firstChild.firstChild.setAttribute("stroke-dasharray", { dash: "7 4", dot: "3 3", dashdot: "7 3 3 3", longdash: "11 4" }[run.dash] || "");
    dot.onclick = () => {
      view.hidden.has(run.id) ? view.hidden.delete(run.id) : view.hidden.add(run.id);
      dot.setAttribute("aria-pressed", String(!view.hidden.has(run.id)));
      row.classList.toggle("kd-hidden", view.hidden.has(run.id));
      draw(view);
    };
    const who = element("div", "kd-who", row);
    element("b", "", who, run.title);
    element("small", "", who, run.details);
    const how = element("div", "kd-how", row);
    const bar = element("div", "kd-progress", how);
    bar.setAttribute("role", "progressbar");
    bar.setAttribute("aria-label", _("Progress of the {role}", { role: run.role }));
    const fill = element("i", "", bar);
    fill.style.background = run.colour;
    const text = element("div", "kd-text", how);
    const message = element("div", "kd-message", how);
    view.cells.set(run.id, { row, bar, fill, text, message, buttons: element("div", "kd-buttons", row), role: run.role, title: run.title, yours: run.yours, mine: run.mine });
  }
}

function showState(view, run) {
  const cell = view.cells.get(run.id);
  if (!cell) return;
  cell.row.classList.toggle("kd-done", run.status === "finished");
  cell.fill.style.width = `${(100 * run.progress).toFixed(2)}%`;
  cell.bar.setAttribute("aria-valuenow", Math.round(100 * run.progress));
  const text = sentence(run, view.asked.get(run.id));
  if (cell.text.textContent !== text) cell.text.textContent = text;
  const said = ["failed", "interrupted", "stopped"].includes(run.status) || (run.status === "running" && run.step && !run.request);
  const message = said ? run.message || "" : "";
  if (cell.message.textContent !== message) cell.message.textContent = message;
  const active = run.status === "queued" || run.status === "running";
  const offered = !cell.yours ? [] : active ? ["pause", "stop"] : ["paused", "stopped", "failed", "interrupted"].includes(run.status) ? ["resume"] : [];
  const offer = `${offered} ${run.ended_at}`;  // a run that fails as soon as it is resumed may be resumed again
  if (cell.offered !== offer) {
    cell.offered = offer;
    view.asked.delete(run.id);
    cell.buttons.replaceChildren();
    for (const what of offered) {
      const button = element("button", "kd-button", cell.buttons, ICONS[what]);
      button.type = "button";
      const { role } = cell, [title, label] = what === "resume" ? [_("Resume the {role}", { role }), _("resume {role}", { role })]
        : what === "stop" ? [_("Stop the {role}; what it learned is kept", { role }), _("stop {role}", { role })]
          : [_("Pause the {role}; what it learned is kept", { role }), _("pause {role}", { role })];
      button.title = title;
      button.setAttribute("aria-label", label);
      button.onclick = () => {
        view.asked.set(run.id, what);
        for (const one of cell.buttons.children) one.disabled = true;
        askFor(view);
        clearTimeout(view.timer);
        view.timer = setTimeout(() => poll(view), 100);
      };
    }
  }
  if (run.request) view.asked.delete(run.id);
  if (active && run.request) for (const one of cell.buttons.children) one.disabled = true;
}

function askFor(view) {  // all that is open: of two triggers before the script runs, Streamlit keeps the later
  view.askedAt = performance.now();
  view.ask([...view.asked].map(([id, what]) => ({ run: id, what, mine: view.cells.get(id)?.mine })));
}

function showQueue(view, queue, more) {
  const text = JSON.stringify([queue, more]);
  if (view.queueText === text) return;
  view.queueText = text;
  view.queue.replaceChildren();
  const own = new Set(view.runs.keys());
  if (!queue.some((entry) => !own.has(entry.id))) return;  // the rows say it all
  element("b", "", view.queue, _("Queue"));
  const list = element("ol", "", view.queue);
  for (const entry of queue) {
    const item = element("li", "", list);
    const dot = element("i", "", item);
    dot.style.background = entry.colour;
    const place = entry.place ? `${entry.place}.` : entry.place === 0 ? _("training:") : _("waits for its teacher:");
    item.append(`${place} ` + (entry.yours ? _("{run} (yours)", { run: entry.label }) : entry.label));
  }
  if (more) element("li", "", list, _("and {count} more", { count: more }));
}

function take(view, told) {
  const known = view.runs.get(told.id);
  if (told.whole || !known) {
    view.runs.set(told.id, told);
    return true;
  }
  let grown = told.epochs.epoch.length > 0;
  for (const [part, [epochs, values]] of Object.entries(told.steps)) {
    const [x, y] = known.steps[part];
    const last = x.length ? x[x.length - 1] : -1;
    epochs.forEach((epoch, index) => { if (epoch > last) { x.push(epoch); y.push(values[index]); grown = true; } });
  }
  for (const [name, values] of Object.entries(told.epochs)) known.epochs[name].push(...values);
  view.runs.set(told.id, { ...told, steps: known.steps, epochs: known.epochs });
  return grown;
}

function say(view, runs) {  // for a screen reader: what the rows show, without what changes at every step
  view.saidAt = performance.now();
  const count = (status) => runs.filter((run) => run.status === status).length;
  const parts = runs.length > MOST_SAID
    ? [_("{runs} runs: {finished} finished, {training} training, {waiting} waiting",
      { runs: runs.length, finished: count("finished"), training: count("running"), waiting: count("queued") })]
    : runs.map((run) => `${view.cells.get(run.id)?.title}: ${sentence(run).split(" · ").slice(0, 2).join(" · ")}`);
  const text = parts.join("; ");
  if (view.said.textContent !== text) view.said.textContent = text;
}

async function poll(view) {
  clearTimeout(view.timer);
  if (view.gone || view.polling) return;
  view.polling = true;
  let wait = RETRY_MS;
  try {
    const seen = [...view.runs.values()].filter((run) => Object.values(run.steps).every(([x]) => x.length < POINTS_KEPT))
      .map((run) => `${run.id}:${run.attempt}:${run.step}`).join();
    const address = new URL("live", document.baseURI);
    address.search = new URLSearchParams({ runs: view.ids, seen, lang: document.documentElement.lang, watcher: view.watcher ??= String(Math.random()).slice(2) });
    const answer = await fetch(address, { signal: AbortSignal.timeout(SILENT_MS) });
    const text = await answer.text();
    const told = answer.ok ? JSON.parse(text) : { trouble: text.slice(0, 300).replace(/^"|"$/g, "") };
    if (view.gone) return;
    view.trouble.textContent = told.trouble || "";
    if (!answer.ok) return;
    view.heardAt = performance.now();
    const grown = told.runs.map((run) => take(view, run)).some(Boolean);
    for (const run of told.runs) showState(view, run);
    if (view.asked.size && performance.now() - view.askedAt > ASK_AGAIN_MS) askFor(view);  // it was lost on the way
    showQueue(view, told.queue, told.queue_more);
    const statuses = told.runs.map((run) => `${run.id}:${run.status}`).join();
    if (statuses !== view.statuses || performance.now() - view.saidAt > SAY_MS) say(view, told.runs);
    if (statuses !== view.statuses) {
      const first = view.statuses === undefined;
      view.statuses = statuses;
      if (!first || statuses !== view.pageStatuses) view.changed(statuses);
    }
    if (grown || !view.drawn) draw(view);
    view.root.dataset.answers = Number(view.root.dataset.answers || 0) + 1;
    const active = told.runs.some((run) => run.status === "queued" || run.status === "running");
    wait = active ? told.poll_ms : told.queue.length ? Math.max(2000, told.poll_ms) : IDLE_MS;
  } catch (error) {
    const age = duration((performance.now() - view.heardAt) / 1000);
    view.trouble.textContent = _("The server does not answer: what stands here is {age} old. Trying again.", { age });
    console.warn(error);
  } finally {
    view.polling = false;
    if (!view.gone) view.timer = setTimeout(() => poll(view), wait);
  }
}

function draw(view) {
  if (!view.figure || view.gone) return;
  const any = [...view.runs.values()].some((run) => run.step > 0 && (run.steps.loss[0].length || run.epochs.epoch.length));
  view.waiting.hidden = any;
  view.tools.hidden = view.chart.hidden = !any;
  if (!any) return;
  plotly().then((Plotly) => {
    const narrow = view.root.clientWidth < 640;
    const figure = themed(view.figure, view.parent);
    const layout = narrow ? themed(view.narrow, view.parent).layout : figure.layout;
    const heights = {};
    const traces = figure.data.map((trace) => {
      const { run: id, panel, raw } = trace.meta, run = view.runs.get(id);
      if (!run) return trace;
      let x, y;
      if (panel === "validation_accuracy") {
        x = run.epochs.epoch;
        y = run.epochs[panel].map((share) => (share === null ? null : 100 * share));
      } else {
        [x, y] = view.by === "epoch" ? [run.epochs.epoch, run.epochs[panel]] : run.steps[panel];
        if (view.by === "epoch") { const there = y.map((value, index) => index).filter((index) => y[index] !== null); x = there.map((i) => x[i]); y = there.map((i) => y[i]); }
        (heights[panel] ??= []).push(...y);
        if (raw && view.smoothing === 0) [x, y] = [[], []];
        if (!raw && view.smoothing > 0) y = smoothed(y, view.smoothing);
      }
      return { ...trace, x: x.slice(), y: y.slice(), visible: !view.hidden.has(id) };
    });
    const judged = [...view.runs.values()].some((run) => run.epochs.validation_accuracy.some((share) => share !== null));
    view.panels.forEach((panel, index) => {
      const axis = layout[`yaxis${index ? index + 1 : ""}`];
      if (panel === "validation_accuracy" && !judged) {
        axis.range = [0, 100];
        const place = index ? `${index + 1}` : "";
        const text = view.unjudged ? _("No validation split was kept:<br>the last epoch's weights are taken.") : "";
        layout.annotations = [...(layout.annotations || []), { text, showarrow: false, xref: `x${place} domain`, yref: `y${place} domain`, x: 0.5, y: 0.5 }];
      }
      if (panel === "validation_accuracy" || !view.log) return;
      axis.type = "log";
      axis.tickvals = decadeTicks(heights[panel] || []);
      axis.ticktext = axis.tickvals.map((tick) => (tick < 1e-3 ? tick.toExponential() : String(tick)));
    });
    layout.uirevision = `${view.log}`;
    view.chart.setAttribute("role", "img");
    view.chart.setAttribute("aria-label", _("Learning curves. {runs}", { runs: view.said.textContent }));
    return drawn(view.chart, { data: traces, layout }, PLOTLY_OPTIONS, Plotly);
  }).then(() => { view.drawn = true; view.chart.dataset.drawn = Number(view.chart.dataset.drawn || 0) + 1; })
    .catch((error) => { view.trouble.textContent = _("The curves cannot be drawn: {problem}. Reload the page.", { problem: error.message }); });
}

function look(view, { smoothing, axis, points }) { // as the address has it
  view.smooth.value = view.smoothing = smoothing;
  view.logBox.checked = view.log = axis === "log";
  view.points.value = view.by = points;
}

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  const root = parentElement.querySelector(".kd-live");
  const view = root.kdView ??= build(root);
  view.keep = setStateValue;
  if (!view.looked && data.look) look(view, data.look);
  view.looked ||= Boolean(data.look);
  view.gone = false;
  view.parent = parentElement;
  view.ask = (requests) => setTriggerValue("asked", requests);
  view.changed = (statuses) => setTriggerValue("changed", statuses);
  view.pageStatuses = data.statuses;
  const ids = data.runs.map((run) => run.id).join();
  if (view.ids !== ids) { view.runs.clear(); view.statuses = undefined; view.hidden.clear(); }
  layOutRows(view, data.runs);
  view.panels = data.panels;
  view.unjudged = data.unjudged;
  view.figure = data.figure;
  if (view.figure) plotly().catch(() => {});  // load it while the first answer is on its way; draw says what fails
  view.narrow = data.narrow;
  view.tools.hidden = view.chart.hidden = true;
  view.waiting.hidden = !view.figure;
  for (const run of view.runs.values()) showState(view, run);
  draw(view);
  poll(view);
  onThemeChange(parentElement, () => draw(view));
  return () => { view.gone = true; clearTimeout(view.timer); offThemeChange(parentElement); };
}
