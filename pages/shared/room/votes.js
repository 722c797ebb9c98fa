// What pages of a class share. Its answers as bars: a row for each answer, and in it a bar for each round.

function showAnswers(box, { answers, counts, truth, why }, own) {
  const table = element("div", "votes", box, undefined, { role: "list" });
  answers.forEach((text, index) => {
    const right = truth === index, row = element("div", right ? "vote right" : "vote", table, undefined, { role: "listitem" });
    element("span", "", row, (right ? "✓ " : "") + (own === index ? _("{answer} (yours)", { answer: text }) : text));
    counts.forEach((votes, round) => {
      const all = votes.reduce((sum, count) => sum + count, 0), share = all ? votes[index] / all : 0;
      const values = { round: round + 1, votes: votes[index], all };
      const track = element("span", `track round-${round + 1}`, row, undefined, {
        "aria-label": counts.length > 1 ? _("round {round}: {votes} of {all}", values) : _("{votes} of {all}", values), role: "img" });
      element("i", "", track).style.width = `${100 * share}%`;
      element("b", "", track, all ? `${Math.round(100 * share)}%` : "–");
    });
  });
  if (counts.length > 1) element("p", "note", box, _("Above the first round, below it the second."));
  if (why) element("p", "why", box, why);
}

// The quiz's items as fields, and what was chosen in them: the index of an answer, or null.
function quizFields(form, items) {
  items.forEach(({ prompt, answers }, number) => {
    const field = element("fieldset", "item", form);
    element("legend", "", field, `${number + 1}. ${prompt}`);
    answers.forEach((text, index) => {
      const label = element("label", "choice", field);
      element("input", "", label, undefined, { type: "radio", name: `item-${number}`, value: String(index) });
      element("span", "", label, text);
    });
  });
}
const quizAnswers = (form, items) => items.map((item, number) => {
  const chosen = form.querySelector(`[name="item-${number}"]:checked`);
  return chosen ? Number(chosen.value) : null;
});
