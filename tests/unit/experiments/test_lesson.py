"""The lesson's truths, measured on the models and students that ship; its words; its notebook."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import shipped_logits

from kd_core.data.catalogue import info_of
from kd_core.exchange import lesson as shipped_lesson
from kd_core.experiments import presets
from kd_core.experiments.lesson import catalogue, notebook, students
from kd_core.experiments.lesson.catalogue import STEPS
from kd_core.experiments.lesson.material import FEW, PRINTED, UNITS, Material, Missing, Seeds, Students, microjoules
from kd_core.experiments.lesson.questions import TRUTHS, ask
from kd_core.losses.hinton import soft_target_loss

ROOT = Path(__file__).resolve().parents[3]
TEN = tuple(map(str, range(10)))


def material_of(dataset, missing=None):
    teacher, _, student, labels = shipped_logits(dataset)
    made, info = shipped_lesson.shipped_for("digits").errors, info_of("digits")
    unseen = shipped_lesson.shipped_for(dataset).unseen
    return Material(
        class_names=TEN,
        labels=labels,
        teacher=teacher,
        student=student,
        digits=True,
        seeds=Seeds(
            "digits", info.test_examples, 0, dict(enumerate(zip(made["story_baseline"], made["story"], strict=True)))
        ),
        students=Students("digits", info.test_examples, FEW, UNITS, made),
        missing=Missing(dataset, unseen.classes, unseen.logits, labels, unseen.prior_bias, missing),
    )


@pytest.fixture(scope="module")
def digits():
    return material_of("digits")


def small(logits, labels, names=("ash", "birch", "cedar"), student=None):
    return Material(names, np.array(labels), np.array(logits, float), None if student is None else np.array(student))


def truth(name, material):
    return TRUTHS[name](material)


# ------------------------------------------------------------------------------------------------------- the truths


def test_on_digits_a_2_is_most_like_a_3_and_t_changes_the_entropy_alone(digits):
    assert ask("most_alike", digits).answer == "3"
    changes = truth("what_t_changes", digits)
    assert (changes.answer, changes.values["reordered"], changes.values["risen"]) == ("entropy", "none", "all")


def test_without_t_squared_at_20_the_teacher_speaks_400_times_weaker(digits):
    forgotten = truth("without_t_squared", digits)
    assert (forgotten.answer, forgotten.values["times"]) == ("square", "400")


def test_on_digits_the_bare_gradient_rises_from_t_1_to_2(digits):
    rising = truth("bare_gradient", digits)
    assert rising.answer == "rises"
    assert float(rising.values["share"].rstrip("%")) == pytest.approx(93.9, abs=0.3)


def test_a_student_at_t_100_is_about_as_good_as_at_t_4(digits):
    hot = truth("hot", digits)
    assert hot.answer == "alike"
    assert [hot.values[f"{line}_errors"] for line in ("hot", "cold", "baseline")] == ["9.2", "8.8", "15.6"]


def test_this_seed_saves_7_errors_and_eight_others_2_on_average(digits):
    other = truth("next_seed", digits)
    assert (other.answer, other.values["saved"], other.values["seeds"]) == ("smaller", "7", 8)
    assert float(other.values["mean"]) == pytest.approx(2.0, abs=0.15)


def test_twice_as_many_labels_and_a_teacher_cannot_be_told_apart(digits):
    worth = truth("labels_or_teacher", digits)
    assert worth.answer == "alike"
    assert [worth.values[f"{line}_errors"] for line in ("few", "twice", "taught")] == ["49.8", "36.2", "35.2"]


def test_a_student_that_never_saw_a_3_knows_more_threes_with_its_bias_raised(digits):
    unseen = truth("missing_class", digits)
    known, corrected, examples = (int(unseen.values[name]) for name in ("known", "corrected", "examples"))
    assert examples == 45
    assert (unseen.answer, known, corrected) == ("half", 24, 43)


@pytest.mark.usefixtures("mnist")
def test_on_mnist_the_truths_are_those_that_the_review_measured():
    mnist = material_of("mnist", PRINTED)
    assert ask("most_alike", mnist).answer == "7"
    assert truth("bare_gradient", mnist).values["share"] == "97.0%"
    assert truth("without_t_squared", mnist).answer == "square"
    assert (mnist.sure, mnist.subject) == (35, 2)
    unseen = truth("missing_class", mnist)
    assert unseen.answer == "most"
    assert int(unseen.values["known"]) == pytest.approx(983, abs=1)
    assert int(unseen.values["corrected"].replace(",", "")) == pytest.approx(1003, abs=1)
    assert "The paper's student knew 877 of its 1,010, and 996 with its bias raised." in ask("missing_class", mnist).why


def test_truths_follow_the_models_and_are_no_constants(digits):
    like_birch = [[5, 3, 0], [5, 3, 0], [0, 5, 1], [1, 0, 5]]
    like_cedar = [[5, 0, 3], [5, 0, 3], [0, 5, 1], [1, 0, 5]]
    answers = []
    for logits in (like_birch, like_cedar):
        question = ask("most_alike", small(logits, [0, 0, 1, 2]))
        answers.append((question.prompt, question.answers[question.answer]))
    assert answers == [
        ("Which class does the teacher find most like **ash**?", "birch"),
        ("Which class does the teacher find most like **ash**?", "cedar"),
    ]
    apart = small([[50, 0, 0]] * 4, [0, 0, 1, 2], student=[[0, 50, 0]] * 4)  # sure of different classes: the law holds
    assert truth("bare_gradient", apart).answer == "falls"
    assert truth("hot", digits_with(digits, hot=[30, 31, 29, 30, 30])).answer == "worse"
    assert truth("hot", digits_with(digits, hot=[1, 2, 1, 1, 2])).answer == "better"
    assert truth("labels_or_teacher", digits_with(digits, taught=[5, 6, 5, 6, 5])).answer == "teacher"
    assert truth("labels_or_teacher", digits_with(digits, twice=[5, 6, 5, 6, 5])).answer == "labels"


def digits_with(material, **lines):
    errors = {**material.students.errors, **lines}
    return Material(
        TEN, material.labels, material.teacher, material.student, True, None, material.students._replace(errors=errors)
    )


def test_a_teacher_alone_and_two_classes_are_asked_what_they_can_answer():
    alone = small([[3, 1], [0, 2], [4, 0]], [0, 1, 0], names=("left", "right"))
    names = {name for name in TRUTHS if ask(name, alone) is not None}
    assert names == {"what_t_changes"}
    assert alone.labels[alone.sure] == alone.subject


def test_the_image_of_which_the_teacher_is_sure_has_its_likest_class_second(digits):
    assert digits.sure == 15
    assert digits.teacher[digits.doubtful].argmax() == digits.labels[digits.doubtful]


def test_energy_is_counted_from_multiply_adds():
    assert microjoules(1_000_000) == pytest.approx(4.6)


# --------------------------------------------------------------------------------------------------------- the words


def test_every_placeholder_of_a_question_has_a_value_for_whatever_is_true(digits):
    for name in TRUTHS:
        values, entry = truth(name, digits).values, catalogue.entry(f"questions.{name}")
        entry["prompt"].format(**values)
        for sentence in entry["why"].values():
            sentence.format(**values)
        assert {step.question for step in STEPS} >= {name}


def test_every_step_has_notes_and_the_lesson_takes_twenty_minutes(digits):
    for step in STEPS:
        assert all(step.notes)
        step.text.format(**digits.values)
        assert not step.ahead or step.ahead == STEPS[STEPS.index(step) + 1].question
    assert sum(step.minutes for step in STEPS) == 20


def test_the_documents_have_the_catalogues_notes_and_the_students_that_ship():
    written = " ".join((ROOT / "docs" / "lesson.md").read_text(encoding="utf-8").split())
    for step in STEPS:
        assert f"### {step.title}" in written
        assert all(sentence in written for sentence in step.notes), step.name
    for line, errors in shipped_lesson.shipped_for("digits").errors.items():
        assert f"| {', '.join(map(str, errors))} |" in written, line


# ----------------------------------------------------------------------------------------------------- the students


def test_students_that_ship_differ_in_what_their_line_names_alone():
    lines = students.lines()
    cold, hot = lines["cold"][0], lines["hot"][0]
    assert hot == cold.replace(distillation=cold.distillation.replace(temperature=100.0))
    assert lines["twice"][0].transfer_set.fraction == 2 * lines["few"][0].transfer_set.fraction
    assert lines["taught"][0].transfer_set == lines["few"][0].transfer_set
    made = shipped_lesson.shipped_for("digits").errors
    assert {line: len(configs) for line, configs in lines.items()} == {line: len(made[line]) for line in made}
    assert students.never_saw().transfer_set.missing(10) == (3,)


def test_what_ships_and_is_damaged_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped_lesson.shipped, "FOLDER", tmp_path)
    (tmp_path / shipped_lesson.FILE).write_text("[1")
    assert shipped_lesson.shipped_for("digits") == shipped_lesson.Shipped({}, None)


# ----------------------------------------------------------------------------------------------------- the notebook


def cells_of(line):
    made = json.loads(notebook.notebook(presets.quick_demo("digits").replace(temperature=7.0), line))
    return ["".join(cell["source"]) for cell in made["cells"] if cell["cell_type"] == "code"]


def run_until_checked(line):
    scope = {}
    for source in cells_of(line)[:3]:
        exec(source, scope)


def test_the_notebook_checks_the_missing_line_by_its_result():
    student, teacher = torch.tensor(notebook.STUDENT), torch.tensor(notebook.TEACHER)
    expected = float(soft_target_loss(student, teacher, temperature=7.0))
    assert f"{expected:.4f}" in cells_of(notebook.HOLE)[2].replace(f"{expected:.6f}", f"{expected:.4f}")
    run_until_checked(notebook.LINE)
    with pytest.raises(AssertionError, match="must come out"):
        run_until_checked(notebook.LINE.replace(" * T**2", ""))
    with pytest.raises(TypeError):
        run_until_checked(notebook.HOLE)


def test_the_notebook_distils_in_25_lines():
    setup, loss, _, train, run = cells_of(notebook.LINE)
    scope = {}
    for source in (re.sub(r"= 7, 0\.9, \d+", "= 7, 0.9, 1", setup), loss, train, run.replace("400, 400", "16")):
        exec(source, scope)
    lines = [line for source in (loss, train) for line in source.splitlines() if line.strip()]
    assert len(lines) <= 25
    assert scope["errors"](scope["teacher"]) < 445
