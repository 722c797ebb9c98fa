// The lesson's questions: what is true is said once something was predicted, or the question was skipped.

for (const item of document.querySelectorAll(".item")) {
  const choices = [...item.querySelectorAll(".choice")], answer = Number(item.dataset.answer);
  const truth = item.querySelector(".truth"), why = truth.querySelector("template"), again = item.querySelector(".again"), skip = item.querySelector(".skip");
  const reveal = () => {
    choices.forEach((choice, place) => {
      const input = choice.querySelector("input");
      choice.classList.toggle("right", place === answer);
      choice.querySelector("small").hidden = !input.checked;
      input.disabled = true;
    });
    truth.replaceChildren(why.content.cloneNode(true));
    skip.hidden = true;
    again.hidden = false;
  };
  item.querySelector("fieldset").onchange = reveal;
  skip.onclick = () => { reveal(); again.focus(); };
  again.onclick = () => {
    for (const choice of choices) {
      choice.classList.remove("right");
      choice.querySelector("small").hidden = true;
      Object.assign(choice.querySelector("input"), { checked: false, disabled: false });
    }
    truth.replaceChildren();
    skip.hidden = false;
    again.hidden = true;
    choices[0].querySelector("input").focus();
  };
  truth.replaceChildren();
}
