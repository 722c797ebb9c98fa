"""A forecast says in one record what a story takes: its runs, their cost and time, the loss, what may hurt."""

import pytest
from tiny import tiny_story

from kd_core.experiments.advice.before import ROLES, Known, forecast
from kd_core.models.config import ModelConfig

COSTS = {"parameters": 1000, "multiply_adds": 900}


def known(trained=(), seconds=None):
    return Known(
        trained=trained,
        runs=lambda run_ids: [run for run in trained if run.id in run_ids],
        costs=lambda model, dataset: COSTS,
        seconds=lambda config: seconds,
        span=lambda configs: (0.0, 10.0 * len(configs)) if configs else None,
        class_names=tuple("0123456789"),
    )


def test_a_new_story_trains_teacher_baseline_and_student_in_that_order():
    made = forecast(tiny_story().replace(assistant=ModelConfig(hidden=(12,))), known(seconds=7.0))
    assert [row.role for row in made.rows] == list(ROLES)
    assert len(made.to_train) == 4
    assert made.reused == ()
    assert {(row.parameters, row.multiply_adds, row.trained, row.seconds) for row in made.rows} == {
        (1000, 900, None, 7.0)
    }


def test_the_time_is_that_of_all_runs_to_train():
    made = forecast(tiny_story(), known())
    assert made.span == (0.0, 30.0)
    assert {row.seconds for row in made.rows} == {None}


def test_a_trained_teacher_serves_and_takes_no_time(store):
    store.create({"teacher": tiny_story().teacher_runs()[0]})
    store.apply("teacher", {"kind": "finished", "results": {"test_errors": 3, "epochs": 3.0}})
    made = forecast(tiny_story(), known(store.runs(), seconds=7.0))
    assert made.reused == ("teacher",)
    assert [(row.trained, row.seconds) for row in made.rows] == [("teacher", None), (None, 7.0), (None, 7.0)]
    assert made.span == (0.0, 20.0)


@pytest.mark.parametrize(
    ("changes", "latex"),
    [
        ({"alpha": 0.5, "temperature": 4.0}, r"\underbrace{0.5}_{\alpha} \cdot 4^2 \cdot\,\mathrm{KL}"),
        ({"alpha": 0.5, "t_squared": False}, r"\underbrace{0.5}_{\alpha} \cdot \,\mathrm{KL}"),
        ({"objective": "dkd"}, r"\mathcal L_\mathrm{soft}"),
    ],
)
def test_the_formula_holds_the_numbers_of_the_story(changes, latex):
    assert latex in forecast(tiny_story().replace(**changes), known()).formula.latex


def test_a_loss_without_labels_leaves_their_term_out():
    assert r"\mathrm{CE}" not in forecast(tiny_story().replace(alpha=1.0), known()).formula.latex


def test_a_student_as_large_as_its_teacher_is_warned_of():
    assert any("no smaller than its teacher" in sentence for sentence in forecast(tiny_story(), known()).warnings)
