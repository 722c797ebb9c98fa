// The presenter's own screen, beside the one that the class sees: code, question, answers, notes.

const LOOK_MS = 1000;
const part = (id) => document.getElementById(id);
const language = new URLSearchParams(location.search).get("lang"); // where one was chosen
const spoken = (path) => {
  const address = new URL(path, document.baseURI);
  if (language) address.searchParams.set("lang", language);
  return address;
};
let known;

async function lead(act, more = {}) {
  try {
    const answer = await fetch(spoken("lead"), { method: "POST", body: JSON.stringify({ do: act, ...more }) });
    const state = await answer.json();
    part("problem").textContent = answer.ok ? "" : state;
    if (answer.ok) show(state);
    return answer.ok;
  } catch {
    part("problem").textContent = _("The server does not answer. This page tries again.");
    return false;
  }
}

function action(box, text, act, kind = "plain") {
  element("button", kind, box, text, { type: "button" }).onclick = () => lead(act);
}

function show(state) {
  part("followers").textContent = state ? _("{count} following", { count: state.followers }) : "";
  const text = JSON.stringify({ ...state, followers: 0 });
  if (text === known) return;
  known = text;
  showJoin(state);
  showPoll(state);
  showQuiz(state);
  part("said").textContent = state?.notes || _("There are none for what you show now. The lesson's steps have some.");
}

function showJoin(state) {
  const box = part("join");
  if (box.dataset.code === (state?.code ?? "")) return;
  box.dataset.code = state?.code ?? "";
  box.replaceChildren();
  if (!state) {
    element("h2", "", box, _("No class is on"));
    element("p", "", box, _("Begin one with Class at the top of any page: phones follow the window in which you do."));
    return;
  }
  const address = spoken("../class");
  address.searchParams.set("code", state.code);
  const named = new URLSearchParams(location.search).get("as");
  if (named && /^[\w.:-]+$/.test(named)) address.hostname = named;
  element("h2", "", box, state.code);
  element("img", "code", box, undefined, { alt: _("QR code of the class's address"), src: new URL(`../qr?of=${encodeURIComponent(address)}`, document.baseURI) });
  element("p", "", box, address.href);
  const row = element("div", "row", box);
  element("a", "plain", row, _("Answers as CSV"), { href: "votes.csv", download: "answers.csv" });
  const end = element("button", "plain", row, _("End the class"), { type: "button" });
  end.onclick = () => { if (confirm(_("End the class? Its answers are kept nowhere: save them as CSV before."))) lead("end"); };
}

function showPoll(state) {
  const box = part("poll"), typing = box.querySelector("textarea");
  if (typing && typing === document.activeElement && state && !state.question) return; // who types is not disturbed
  box.replaceChildren();
  if (!state) return;
  const { question, suggested } = state;
  if (!question) return askForm(box, suggested, typing?.value);
  element("h2", "", box, question.prompt);
  element("p", "note", box, question.open
    ? plural("Round {round}: {count} answer.", "Round {round}: {count} answers.", question.votes, question)
    : plural("Round {round}: {count} answer, no more are taken.", "Round {round}: {count} answers, no more are taken.", question.votes, question), { role: "status" });
  showAnswers(box, { ...question, truth: question.shown ? question.truth : null, why: question.shown ? question.why : "" });
  const row = element("div", "row", box);
  if (question.open) action(row, _("Take no more answers"), "stop");
  action(row, question.shown ? _("Hide the answers") : _("Show the answers to all"), question.shown ? "hide" : "reveal", "filled");
  if (question.round < 2) action(row, _("Vote again"), "again");
  action(row, _("Put it away"), "put away");
  element("p", "note", box, _("You alone see these counts until you show them. Vote again first hides them: let neighbours discuss."));
}

function showQuiz(state) { // before the lesson and after it
  const box = part("quiz"), gained = box.querySelector(".gain")?.textContent ?? "";
  box.replaceChildren();
  element("h2", "", box, _("Measure the lesson"));
  const row = element("div", "row", box);
  element("a", "plain", row, _("The eight items, to print"), { href: spoken("quiz").href, target: "_blank" });
  if (!state) return;
  const { open, taken } = state.quiz;
  ["before", "after"].forEach((when, place) => {
    const values = { count: taken[place] };
    const text = open === when ? _("Close the quiz ({count} in)", values)
      : when === "before" ? _("Quiz before the lesson ({count} in)", values) : _("Quiz after the lesson ({count} in)", values);
    const button = element("button", "plain", row, text, { type: "button" });
    button.onclick = () => lead("quiz", { when: open === when ? "" : when });
  });
  const gain = element("button", "plain", row, _("Normalised gain"), { type: "button" });
  const result = element("p", "note gain", box, gained, { role: "status" });
  gain.onclick = () => { result.textContent = gainOf(state.quiz); };
  element("a", "plain", row, _("Quiz as CSV"), { href: "quiz.csv", download: "quiz.csv" });
}

function gainOf({ both, before, after, gain }) {
  if (!both) return _("Nobody has taken the quiz both before and after the lesson yet.");
  const percent = (share) => `${Math.round(100 * share)}%`;
  const values = { before: percent(before), after: percent(after) };
  const scores = plural("One phone has taken both: {before} right before, {after} after.",
    "{count} phones have taken both: {before} right before, {after} after.", both, values);
  return gain === null ? _("{scores} There was nothing left to learn.", { scores })
    : _("{scores} Normalised gain {gain}: that share of what could be learned was learned (Hake 1998).", { scores, gain: gain.toFixed(2) });
}

function askForm(box, suggested, typed = "") {
  element("h2", "", box, _("Ask the class"));
  if (suggested) {
    const offer = element("div", "offer", box);
    element("p", "", offer, suggested.prompt);
    element("ol", "", offer).append(...suggested.answers.map((text, index) =>
      Object.assign(document.createElement("li"), { textContent: index === suggested.truth ? `${text} ✓` : text })));
    element("button", "filled", offer, _("Ask this"), { type: "button" }).onclick = () => lead("ask", { question: suggested });
  }
  const form = element("form", "", box);
  element("label", "", form, _("A question of your own, then each answer on a line. A * before an answer marks the true one."), { htmlFor: "own" });
  const text = element("textarea", "", form, undefined, { id: "own", rows: 6, value: typed, placeholder: _("What changes when T rises?\nthe order\n*the entropy\nboth") });
  element("button", suggested ? "plain" : "filled", form, _("Ask"), { type: "submit" });
  form.onsubmit = async (event) => {
    event.preventDefault();
    const [prompt, ...answers] = text.value.split("\n").map((line) => line.trim()).filter(Boolean);
    const truth = answers.findIndex((line) => line.startsWith("*"));
    if (answers.length < 2) { part("problem").textContent = _("Write the question on the first line, and two answers or more below it."); return; }
    const question = { prompt, answers: answers.map((line) => line.replace(/^\*\s*/, "")), truth: truth < 0 ? null : truth };
    text.value = await lead("ask", { question }) ? "" : text.value;
  };
}

const look = async () => { await lead("look"); setTimeout(look, LOOK_MS); };
look();
