// The quiz as a page: what is right, and the gain of a class that took it on paper.

const sheetForm = document.getElementById("sheet"), key = [...sheetForm.dataset.key].map(Number);
const items = [...sheetForm.querySelectorAll(".item")];

sheetForm.onsubmit = (event) => {
  event.preventDefault();
  const given = quizAnswers(sheetForm, items), right = given.filter((answer, number) => answer === key[number]).length;
  items.forEach((item, number) => {
    item.querySelector(".why").hidden = false;
    [...item.querySelectorAll(".choice")].forEach((label, index) => label.classList.toggle("right", index === key[number]));
  });
  document.getElementById("score").textContent = _("{right} of {all} right.", { right, all: items.length });
};
sheetForm.onreset = () => {
  for (const item of items) {
    item.querySelector(".why").hidden = true;
    for (const label of item.querySelectorAll(".right")) label.classList.remove("right");
  }
  document.getElementById("score").textContent = "";
};
document.getElementById("print").onclick = () => print();

document.getElementById("gain").onsubmit = (event) => {
  event.preventDefault();
  const [before, after] = ["before", "after"].map((name) => Number(document.getElementById(name).value) / items.length);
  document.getElementById("gained").textContent = before === 1 ? _("Everybody knew everything before the lesson: there is nothing to gain.")
    : _("Normalised gain {gain}: that share of what could be learned was learned (Hake 1998).", { gain: ((after - before) / (1 - before)).toFixed(2) });
};
