"""A comparison states each number once: by whom it is better, what it costs, and nothing that nobody measured."""

import numpy as np
import pytest
from measured import busy, machine
from tiny import tiny_story

from kd_core.base.config import LabError
from kd_core.evaluation.claims import NO_DIFFERENCE
from kd_core.experiments import story, sweep
from kd_core.experiments.comparison import Sources, compare

RESULTS = {"test_examples": 100, "parameters": 1000, "size_bytes": 4000, "multiply_adds": 900, "epochs": 2.0}
LABELS = np.zeros(100, dtype=np.int64)


def logits_with(errors):
    """Logits over the test set, of which so many, the first, are wrong."""
    return np.eye(2)[(np.arange(100) < errors).astype(int)]


@pytest.fixture
def runs(store):
    """Teacher, baseline and distilled student of 4, 30 and 10 test errors, the students a tenth of the teacher."""
    planned = story.plan(tiny_story()).to_train
    store.create(planned)
    for run_id, config in planned.items():
        errors = {"teacher": 4, "baseline": 30, "distilled": 10}[config.role]
        share = 1 if config.role == "teacher" else 10
        costs = {cost: RESULTS[cost] // share for cost in ("parameters", "size_bytes", "multiply_adds")}
        store.apply(run_id, {"kind": "finished", "results": {**RESULTS, **costs, "test_errors": errors}})
    return store.some([*planned])


def sources(runs):
    errors = {run.id: run.results["test_errors"] for run in runs}
    return Sources(lambda run_id: logits_with(errors[run_id]), lambda: LABELS, finished=runs)


def test_the_headline_holds_errors_gap_and_size(runs):
    headline = compare(runs).headline()
    assert "**10** test errors of 100, its teacher 4, the baseline 30" in headline
    assert "closes **20 of the 26** errors between baseline and teacher" in headline
    assert headline.endswith("It has 1/10 of the teacher's size.")


def test_the_headline_says_a_measured_speed_and_no_failed_one(runs):
    times = dict(zip([run.id for run in runs], (1.7, 1.0, 1.0), strict=True))
    assert "times** as fast" in compare(runs, speed=machine(times)).headline()
    assert NO_DIFFERENCE in compare(runs, speed=busy(times)).headline()
    failed = compare(runs, speed={"problem": "It broke."})
    assert failed.speed is None
    assert failed.headline() == compare(runs).headline()


def test_each_model_is_held_against_the_first(runs):
    teacher, baseline, distilled = compare(runs, sources=sources(runs)).models
    assert teacher.ratios == dict.fromkeys(teacher.costs, 1.0)
    assert distilled.ratios == dict.fromkeys(teacher.costs, 0.1)
    assert baseline.accuracy == pytest.approx(0.7)
    assert baseline.interval[0] < 0.7 < baseline.interval[1]


def test_pairs_name_the_better_model_where_chance_is_ruled_out(runs):
    compared = compare(runs, sources=sources(runs))
    better = {(pair.first.name, pair.second.name): pair.better and pair.better.name for pair in compared.pairs}
    assert better == {
        ("teacher", "baseline"): "teacher",
        ("teacher", "distilled"): "teacher",  # 6 images, all to one side: p = 0.031
        ("baseline", "distilled"): "distilled",
    }
    assert compared.agreements[runs[0].id] == 1.0
    assert compared.agreements[runs[2].id] == pytest.approx(0.94)


def test_what_the_student_saves_is_by_seed(runs):
    compared = compare(runs, sources=sources(runs))
    assert compared.saved.by_seed == {0: 20.0}
    assert compared.seeds_in_words()[0].startswith("On this seed the distilled student makes 20 test errors fewer")


def test_a_black_box_has_no_ratio_but_a_size(runs, store):
    hidden = {"parameters": None, "multiply_adds": None}
    store.apply(runs[0].id, {"kind": "finished", "results": {**runs[0].results, **hidden}})
    compared = compare(store.some([run.id for run in runs]), sources=sources(runs))
    assert compared.models[2].ratios == {"size_bytes": 0.1}
    assert compared.table()["parameters"] == ["–", "100", "100"]
    assert "It has 1/10 of the teacher's size" in compared.headline()


def test_without_the_test_set_there_is_no_closer_look(runs):
    with pytest.raises(LabError, match="without the test set"):
        _ = compare(runs).pairs


def test_a_map_of_errors_has_means_over_seeds_and_gaps(store):
    given = sweep.SweepConfig(
        dataset="digits", teachers=("t",), widths=(8, 4), temperatures=(1.0, 4.0), alphas=(0.5, 1.0), seeds=(0, 1)
    )
    cells = {f"run{place}": config for place, config in enumerate(given.cells())}
    store.create(cells)
    errors = {
        run_id: 10 * config.seed + int(config.distillation.temperature)
        for run_id, config in cells.items()
        if config.distillation and config.distillation.alpha == 1.0
    }
    narrow, wide = sweep.error_maps(store.runs(), errors)
    assert (narrow.network, wide.network) == ("mlp 4", "mlp 8")
    assert (wide.temperatures, wide.alphas) == ([1.0, 4.0], [0.5, 1.0])
    assert wide.means == [[None, None], [6.0, 9.0]]
