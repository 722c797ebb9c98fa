// A class that follows: phones get what this browser shows (class_routes.py), for as long as it leads. The window in
// which the class was begun leads it; the stage shows how to join, and the answers once they are shown.

const LEAD_MS = 200, LOOK_EVERY = 5; // of a look at how the class stands, in rounds of LEAD_MS
const PICTURE_MS = 2000, PICTURE_WIDE = 720;
const CLASS_ICON = "M12 12a4 4 0 1 0-4-4 4 4 0 0 0 4 4Zm0 2c-3.3 0-8 1.7-8 5v1h16v-1c0-3.3-4.7-5-8-5Z";
const LEADS = "kd-leads", CLASS = "kd-class";
const remembered = (name, value) => { // for this tab
  try { if (value !== undefined) value === null ? sessionStorage.removeItem(name) : sessionStorage.setItem(name, value); return sessionStorage.getItem(name); } catch { return null; }
};
const classAddress = (path) => { // in the language that was chosen, if one was
  const address = new URL(`class${path}`, document.baseURI), language = new URLSearchParams(location.search).get("lang");
  if (language) address.searchParams.set("lang", language);
  return address;
};

function bars() { // of the page, where it has some
  const view = hand.state.shown;
  if (!view?.root.isConnected || view.root.classList.contains("blank")) return null;
  const { classes, label, models } = view.data;
  return { classes, label, models: models.map((model) => ({ id: model.id, name: model.name, colour: model.colour, logits: [...logitsNow(model)] })) };
}

function studied() { // the image beside the bars, as a data URL
  const view = hand.state.shown;
  if (view?.picture) return view.picture();
  const image = document.querySelector('[data-testid="stHtml"] figure img');
  if (!image?.complete || !image.naturalWidth) return null;
  if (image.kdShown?.of === image.src) return image.kdShown.url;
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight), small = document.createElement("canvas");
  const side = Math.min(160, Math.max(canvas.width, canvas.height)), by = side / Math.max(canvas.width, canvas.height);
  Object.assign(small, { width: Math.max(1, Math.round(by * canvas.width)), height: Math.max(1, Math.round(by * canvas.height)) });
  small.getContext("2d").drawImage(image, 0, 0, small.width, small.height);
  image.kdShown = { of: image.src, url: small.toDataURL("image/png") };
  return image.kdShown.url;
}

function ownView(view) {
  const address = new URL(sharedAddress(view));
  const path = address.pathname.slice(new URL(".", document.baseURI).pathname.length), shown = bars();
  for (const name of path === "lesson" ? ["stage"] : ["stage", "lesson"]) address.searchParams.delete(name);
  const step = JSON.parse(document.querySelector("[data-lesson-step]")?.dataset.lessonStep ?? "null"); // what the lesson's page says of it
  return {
    address: path + address.search,
    title: document.querySelector("h1")?.textContent.trim() || document.title,
    T: shown ? hand.state.T : null,
    bars: shown,
    image: shown ? studied() : null,
    suggested: step?.question ?? null,
    notes: step?.notes ?? "",
  };
}

async function chartOfPage() { // as SVG: the largest chart that is in sight
  const area = ({ top, bottom, width }) => Math.max(0, Math.min(bottom, innerHeight) - Math.max(top, 0)) * width;
  const charts = [...document.querySelectorAll(".kd-chart, .js-plotly-plot")].filter((chart) => chart.layout && chart.checkVisibility());
  const chart = charts.sort((a, b) => area(b.getBoundingClientRect()) - area(a.getBoundingClientRect()))[0];
  if (!chart) return "";
  const { width, height } = chart.getBoundingClientRect();
  const url = await window.Plotly.toImage(chart, { format: "svg", width: PICTURE_WIDE, height: Math.round((PICTURE_WIDE * height) / width) });
  return decodeURIComponent(url.slice(url.indexOf(",") + 1));
}

function classroom(view, bar) {
  const button = barButton(bar, CLASS_ICON, "class", _("Class"), _("Let phones follow what you show, and answer questions"));
  const back = element("a", "kd-plain", bar, _("Back to the class"), { hidden: true, href: "" });
  const panel = element("dialog", "kd-share", view.host, undefined, { "aria-label": _("A class that follows") });
  const corner = element("div", "kd-class", view.host, undefined, { "data-control": "class", role: "status" });
  const state = { sent: "", picture: "", round: 0, known: null };

  async function lead(act, more = {}) {
    const answer = await fetch(classAddress("/lead"), { method: "POST", body: JSON.stringify({ do: act, ...more }) });
    const content = await answer.json();
    if (!answer.ok) throw new Error(content);
    state.known = content;
    if (!content) { remembered(LEADS, null); corner.replaceChildren(); }
    else drawCorner(content);
    return content;
  }
  function drawCorner({ code, question, followers }) {
    const now = JSON.stringify([code, question, followers]);
    if (corner.dataset.shown === now) return;
    corner.dataset.shown = now;
    corner.replaceChildren();
    const line = element("p", "kd-join", corner);
    const address = joinAddress();
    element("span", "", line, address.host + address.pathname + " ");
    element("strong", "", line, code);
    element("span", "", line, " · " + _("{count} here", { count: followers }));
    if (!question) return;
    const box = element("section", "kd-question", corner);
    element("h2", "", box, question.prompt);
    if (question.shown) showAnswers(box, question);
    else element("p", "", box, question.open
      ? _("{votes} of {all} have answered.", { votes: question.votes, all: Math.max(question.votes, followers) }) : _("No more answers are taken."));
  }
  function joinAddress() {
    const address = new URL(sharedAddress(view)), { pathname, search } = classAddress("");
    return Object.assign(address, { pathname, search });
  }
  function fill() {
    panel.replaceChildren();
    const head = element("div", "kd-head", panel);
    element("h2", "", head, _("A class that follows"));
    element("button", "kd-plain", head, "✕", { type: "button", "aria-label": _("Close") }).onclick = () => panel.close();
    const problem = element("p", "", panel, "", { role: "alert" });
    const act = (box, text, kind, done) => {
      element("button", kind, box, text, { type: "button" }).onclick = () => done().then(fill, (error) => { problem.textContent = error.message; });
    };
    if (!state.known) {
      element("p", "", panel, _("Phones follow what this window shows: image, temperature, bars, charts. They answer what you ask, without an account and without your password. Nothing of it is kept after the class, unless you save it."));
      act(element("div", "kd-row", panel), _("Begin a class"), "kd-filled", async () => leadFromHere((await lead("begin")).code));
      return;
    }
    const address = joinAddress();
    address.searchParams.set("code", state.known.code);
    element("img", "kd-code", panel, undefined, { alt: _("QR code of the class's address"), src: new URL(`qr?of=${encodeURIComponent(address)}`, document.baseURI) });
    element("p", "", panel, _("{address}, and the code {code}", { address: address.host + address.pathname, code: state.known.code }));
    const note = notes({ data: { ...view.data, password: false } }, address.href); // phones need none
    if (note) element("p", "kd-note", panel, note);
    const row = element("div", "kd-row", panel), own = classAddress("/present");
    own.search = new URLSearchParams([["as", address.hostname], ...own.searchParams]);
    element("a", "kd-filled", row, _("Your own screen"), { href: own.href, target: "kd-presenter" });
    if (!leading()) act(row, _("Lead from here"), "kd-plain", async () => leadFromHere(state.known.code));
    act(row, _("End the class"), "kd-plain", () => lead("end"));
    element("p", "", panel, _("Your own screen has the questions, the answers and your notes. Answers that were not saved there end with the class."));
  }
  const leading = () => state.known && remembered(LEADS) === state.known.code;

  button.onclick = async () => {
    if (!panel.open) panel.showModal();
    try { await lead("look"); fill(); } catch (error) {
      panel.replaceChildren();
      element("p", "", panel, _("{problem} Who presents signs in at the foot of the page, or sits at the machine that serves.", { problem: error.message }), { role: "alert" });
      element("button", "kd-plain", panel, _("Close"), { type: "button" }).onclick = () => panel.close();
    }
  };
  panel.onclick = (event) => { if (event.target === panel) panel.close(); };

  async function step() { // what has changed goes out; now and then a look at how the class stands
    if (!view.data) return;
    state.round += 1;
    try {
      const now = ownView(view), text = JSON.stringify(now);
      if (text !== state.sent && (!state.known || leading())) {
        state.sent = text;
        await lead("show", { view: now });
      } else if (state.round % LOOK_EVERY === 0) await lead("look");
      if (leading() && !now.bars && performance.now() - (state.drawn ?? -Infinity) > PICTURE_MS) {
        state.drawn = performance.now();
        const picture = await chartOfPage();
        if (picture !== state.picture) { state.picture = picture; await lead("picture", { picture }); }
      }
    } catch { state.sent = ""; } // the next round tries again
  }
  const joined = remembered(CLASS);
  if (joined) {
    back.hidden = false;
    const address = classAddress("");
    address.searchParams.set("code", joined);
    back.href = address.href;
  }
  let timer; // of whoever leads; nobody else's browser looks at anything
  const go = async () => { await step(); timer = remembered(LEADS) ? setTimeout(go, LEAD_MS) : undefined; };
  function leadFromHere(code) {
    remembered(LEADS, code);
    state.sent = "";
    timer ??= setTimeout(go);
  }
  if (remembered(LEADS)) timer = setTimeout(go);
  return { end: () => clearTimeout(timer) };
}
