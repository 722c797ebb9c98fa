// A phone in a class: what the presenter shows, computed here from logits, and the question that they ask.

const POLL_MS = 450, AWAY_MS = 3000;
const part = (id) => document.getElementById(id);
const address = new URL(location.href), language = document.documentElement.lang;
const here = (path) => new URL(path, document.baseURI);
const kept = (name, make) => { // in this browser; where it keeps nothing, for as long as this page is open
  try { return (localStorage[name] ??= make()); } catch { return (window[`kd-${name}`] ??= make()); }
};
const random = () => [...crypto.getRandomValues(new Uint8Array(10))].map((byte) => byte.toString(36).padStart(2, "0")).join("");
const me = kept("kd-phone", random), chosen = {};
const shown = { version: "", bars: barsIn(part("bars")) };
let code = address.searchParams.get("code") ?? "";
move({ log: false });
followed((state) => { if (shown.bars.data) draw(shown.bars, state); });

const ask = (path) => fetch(here(`class/${path}code=${encodeURIComponent(code)}&me=${me}&lang=${language}`), { cache: "no-store" });

async function look() {
  let wait = document.hidden ? AWAY_MS : POLL_MS;
  try {
    const answer = await ask(`now?seen=${shown.version}&`);
    if (answer.status === 404) return leave(await answer.json());
    if (answer.status === 200) take(await answer.json());
    part("problem").textContent = "";
  } catch {
    part("problem").textContent = _("The connection is lost. This page tries again.");
    wait = AWAY_MS;
  }
  setTimeout(look, wait);
}

function leave(problem) {
  part("join").hidden = false;
  document.querySelector("main").hidden = part("roam").hidden = true;
  part("problem").textContent = code ? problem : "";
  part("code").textContent = "";
  shown.version = "";
  part("typed").focus();
}

function take({ version, view, question, picture, quiz }) {
  shown.version = version;
  document.querySelector("main").hidden = false;
  part("join").hidden = true;
  part("code").textContent = code.toUpperCase();
  part("roam").hidden = !view;
  if (view) showView(view, picture);
  else part("title").textContent = _("The class begins in a moment.");
  showQuestion(question);
  showQuiz(quiz);
}

function showView({ address: where, title, T, bars, image }, picture) {
  const roam = here(where || ".");
  if (address.searchParams.has("lang")) roam.searchParams.set("lang", language);
  part("roam").href = roam;
  try { sessionStorage["kd-class"] = code; } catch { /* then the app offers no way back */ }
  part("title").textContent = title;
  part("image").hidden = !image;
  if (image && part("image").src !== image) part("image").src = image;
  part("temperature").textContent = bars && T ? `T = ${T}` : "";
  part("bars").hidden = !bars;
  const layout = bars && JSON.stringify([bars.classes, bars.label, bars.models.map(({ id }) => id)]);
  if (bars && layout !== shown.layout) {
    layOut(shown.bars, { ...bars, glossary: {} });
    shown.bars.plot.inert = true; // the presenter moves them
  } else if (bars) {
    shown.bars.data = { ...shown.bars.data, models: bars.models };
    shown.bars.bars.forEach(({ parts }) => parts.forEach(({ bar }, m) => { bar.model = bars.models[m]; }));
  }
  shown.layout = layout;
  if (bars) move({ T, moved: {} });
  const drawn = !bars && picture;
  part("picture").hidden = !drawn;
  if (drawn) {
    part("picture").src = here(`class/picture?code=${code}&me=${me}&v=${shown.version}`);
    part("picture").alt = _("What the presenter sees: {title}", { title });
  }
}

function showQuestion(question) {
  const box = part("question"), state = JSON.stringify(question);
  if (state === shown.question) return;
  shown.question = state;
  box.replaceChildren();
  if (!question) return;
  element("h2", "", box, question.prompt);
  const turn = `${question.number}.${question.round}`;
  if (question.round > 1 && question.open) element("p", "note", box, _("Once more, after your discussion."));
  if (question.shown) return showAnswers(box, question, chosen[turn]);
  const answers = element("div", "answers", box, undefined, { role: "group", "aria-label": question.prompt });
  question.answers.forEach((text, index) => {
    const button = element("button", "answer", answers, text, { type: "button", disabled: !question.open, "aria-pressed": String(chosen[turn] === index) });
    button.onclick = () => vote(turn, index, answers, note);
  });
  const note = element("p", "note", box, question.open ? (chosen[turn] === undefined ? "" : _("Counted. You may change it.")) : _("No more answers are taken."), { role: "status" });
}

function showQuiz(quiz) { // the same eight items before the lesson and after it
  const form = part("quiz"), when = quiz ? quiz.when : "";
  form.hidden = !quiz;
  if (form.dataset.when === when) return;
  form.dataset.when = when;
  form.replaceChildren();
  if (!quiz) return;
  element("h1", "", form, when === "before" ? _("Before the lesson") : _("After the lesson"));
  element("p", "note", form, _("Nobody learns who answered what. Leave out what you do not know."));
  quizFields(form, quiz.items);
  const note = element("p", "note", form, "", { role: "status" });
  element("button", "filled", form, _("Hand in"), { type: "submit" });
  form.onsubmit = async (event) => {
    event.preventDefault();
    note.textContent = await send({ quiz: quizAnswers(form, quiz.items) }, _("Handed in. You may change it and hand it in again."));
  };
}

async function send(what, thanks) { // returns what to say of it
  try {
    const answer = await fetch(here(`class/vote?lang=${language}`), { method: "POST", body: JSON.stringify({ code, me, ...what }) });
    return answer.ok ? thanks : await answer.json();
  } catch {
    return _("This did not arrive. Press it again.");
  }
}

async function vote(turn, index, answers, note) {
  const thanks = _("Counted. You may change it."), reply = await send({ answer: index }, thanks);
  note.textContent = reply;
  if (reply !== thanks) return;
  chosen[turn] = index;
  [...answers.children].forEach((button, place) => button.setAttribute("aria-pressed", String(place === index)));
}

part("join").onsubmit = (event) => {
  event.preventDefault();
  code = part("typed").value.trim().toUpperCase();
  address.searchParams.set("code", code);
  history.replaceState(null, "", address);
  look();
};
if (code) look();
else leave("");
