"""The comparison of objectives: what it trains, and its statistics against scipy and sums done by hand."""

import numpy as np
import pytest
from scipy import stats

from kd_core.experiments import defaults, equal_budget, table
from kd_core.experiments.equal_budget import BASELINE, HINTON, SMOOTHED, Standing, holm, standings
from kd_core.experiments.story import StoryConfig
from kd_core.experiments.table import Row
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.models import build
from kd_core.models.config import ModelConfig
from pages.shared.figures.experiments import objective_differences


def row(name, *errors, seconds=1.0):
    return Row(name, None, dict(enumerate(errors)), 1000, {seed: seconds + seed for seed in range(len(errors))})


ROWS = [
    row(BASELINE, 300, 310, 290, 305, 295),
    row(SMOOTHED, 301, 309, 291, 306, 294),
    row(HINTON, 250, 262, 239, 255, 246),
    row("dkd", 248, 261, 241, 252, 247),
    row("crd", 330, 345, 322, 335, 324),
]


# ------------------------------------------------------------------------------------------------- what is trained


def test_ones_own_large_images_make_no_large_networks():
    given = equal_budget.budget("own.birds.0123456789ab.8.3x224x224.1640.411")
    for model in (given.teacher, given.student):
        assert build.parameter_count(build.blueprint(model, (3, 224, 224), 8)) < 10_000


def test_all_objectives_take_part_and_differ_in_what_is_minimised_alone():
    experiment = equal_budget.experiment(equal_budget.budget("mnist"))
    assert {line.label for line in experiment.lines} == {BASELINE, SMOOTHED, *OBJECTIVES}
    runs = {line.label: line.make(3, ("teacher",)) for line in experiment.lines}
    bare = {
        config.replace(role="baseline", distillation=None, training=config.training.replace(label_smoothing=0.0))
        for config in runs.values()
    }
    assert bare == {runs[BASELINE]}
    for name in OBJECTIVES:
        distillation = runs[name].distillation
        assert (distillation.objective, distillation.weights, distillation.teachers) == (name, (), ("teacher",))
        if OBJECTIVES[name].uses_temperature:
            assert distillation.temperature == defaults.default_temperature("mnist", name)
    assert runs[SMOOTHED].training.label_smoothing == equal_budget.SMOOTHING


def test_what_a_network_does_not_show_is_no_part_of_the_comparison():
    given = equal_budget.budget("mnist").replace(student=ModelConfig(hidden=(30,)), teacher=ModelConfig(hidden=(60,)))
    names = {line.label for line in equal_budget.experiment(given).lines}
    assert names == {BASELINE, SMOOTHED} | {name for name, info in OBJECTIVES.items() if info.needs != "maps"}


def test_one_teacher_serves_the_students_of_all_seeds_and_runs_are_reused():
    experiment = equal_budget.experiment(equal_budget.budget("digits"))
    redo = table.plan(experiment, range(3))
    roles = [config.role for config in redo.to_train.values()]
    assert roles.count("teacher") == 1
    assert len(roles) == 1 + 3 * len(experiment.lines)


@pytest.mark.parametrize("dataset", ["mnist", "digits", "cifar10"])
def test_a_budget_has_two_convolutional_networks_the_student_the_smaller(dataset):
    given = equal_budget.budget(dataset)
    assert isinstance(given, StoryConfig)
    assert given.student.channels < given.teacher.channels
    assert given.training.validation_fraction == 0
    assert all(equal_budget.fits(name, given) for name in OBJECTIVES)


# ------------------------------------------------------------------------------------------------------ statistics


def test_means_intervals_and_paired_differences_are_scipys():
    by_name = {entry.name: entry for entry in standings(ROWS)}
    errors = {entry.label: np.array(list(entry.errors.values()), dtype=float) for entry in ROWS}
    for name, standing in by_name.items():
        interval = stats.t.interval(0.95, 4, loc=errors[name].mean(), scale=stats.sem(errors[name]))
        assert standing.mean == pytest.approx(errors[name].mean())
        assert standing.interval == pytest.approx(interval)
        for reference, difference in ((BASELINE, standing.to_baseline), (HINTON, standing.to_hinton)):
            if name == reference:
                assert difference is None
                continue
            paired = stats.ttest_rel(errors[name], errors[reference])
            assert difference.mean == pytest.approx((errors[name] - errors[reference]).mean())
            assert (difference.low, difference.high) == pytest.approx(tuple(paired.confidence_interval(0.95)))
            assert difference.p_value == pytest.approx(paired.pvalue)


def test_standings_begin_with_the_fewest_errors_and_state_the_median_time():
    ranked = standings(ROWS)
    assert [standing.name for standing in ranked][:1] == ["dkd"]
    assert [standing.mean for standing in ranked] == sorted(standing.mean for standing in ranked)
    assert {standing.seconds for standing in ranked} == {3.0}


def test_holms_correction_is_that_of_its_definition():
    """Four tests at 0.01, 0.04, 0.03 and 0.005: 4 x 0.005, 3 x 0.01, 2 x 0.03, then no less than that."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_holms_correction_rejects_as_stepping_down_by_hand_does():
    random = np.random.default_rng(0)
    for _ in range(50):
        values = random.uniform(0, 0.05, 8) ** 1.5
        order, rejected = np.argsort(values), set()
        for rank, place in enumerate(order):
            if values[place] > 0.05 / (len(values) - rank):
                break
            rejected.add(int(place))
        assert {place for place, p_value in enumerate(holm(list(values))) if p_value <= 0.05} == rejected


def test_among_equals_at_most_5_percent_of_comparisons_are_false_alarms():
    """Twelve objectives of five seeds that are the baseline again, 400 times: uncorrected, nearly half raise one."""
    differences = np.random.default_rng(1).normal(0, 10, (400, 12, 5))
    p_values = stats.ttest_1samp(differences, 0, axis=2).pvalue
    assert (p_values.min(axis=1) < 0.05).mean() > 0.3
    alarms = sum(min(holm(list(row))) < 0.05 for row in p_values)
    assert alarms <= stats.binom.ppf(0.999, 400, 0.05)


def test_equal_differences_are_judged_by_their_signs_and_are_no_certainty():
    by_name = {
        standing.name: standing
        for standing in standings([row(BASELINE, 5, 6, 7), row(HINTON, 5, 6, 7), row("dkd", 4, 5, 6)])
    }
    assert by_name[HINTON].to_baseline == (0, 0, 0, 1, False)
    assert by_name["dkd"].to_baseline[:4] == (-1, -1, -1, stats.binomtest(3, 3).pvalue)
    assert not by_name["dkd"].to_baseline.sure


def test_of_two_seeds_there_is_a_mean_and_nothing_else():
    (first, second) = standings([row(BASELINE, 10, 10), row(HINTON, 9, 9)])
    assert (first.mean, first.interval, first.to_baseline) == (9, None, None)
    assert equal_budget.verdict([first, second]) == ["It takes 3 seeds to say anything of differences."]
    assert equal_budget.cells(first) == ("Hinton's KD", "9.0", "–", "–", "2 s")


def test_only_seeds_that_both_have_are_compared():
    partly = Row("dkd", None, {1: 300, 2: 280, 4: 290, 9: 0}, 1000, {})
    (standing,) = (entry for entry in standings([ROWS[0], partly]) if entry.name == "dkd")
    assert standing.to_baseline.mean == pytest.approx(((300 - 310) + (280 - 290) + (290 - 295)) / 3)
    assert standing.seconds is None


# ------------------------------------------------------------------------------------------------------- what is said


def test_the_verdict_names_what_the_correction_leaves_and_nothing_else():
    to_baseline, to_hinton = equal_budget.verdict(standings(ROWS))
    assert "DKD; Hinton's KD: fewer test errors than the baseline" in to_baseline
    assert "CRD: more test errors than the baseline" in to_baseline
    assert "Label smoothing" not in to_baseline
    assert "DKD" not in to_hinton


def test_where_nothing_differs_the_verdict_says_so():
    same = [row(BASELINE, 300, 310, 290), row(HINTON, 309, 291, 301), row("dkd", 292, 303, 308)]
    sentences = equal_budget.verdict(standings(same))
    assert all("none can be told apart from" in sentence for sentence in sentences)


def test_a_line_of_the_table_marks_what_is_sure():
    lines = {standing.name: equal_budget.cells(standing) for standing in standings(ROWS)}
    assert all(len(line) == len(equal_budget.HEAD) for line in lines.values())
    assert lines[HINTON][2].startswith("-49.6 (")
    assert lines[HINTON][2].endswith(" *")
    assert not lines["dkd"][3].endswith(" *")
    assert lines[BASELINE][2] == "–"


def test_the_figure_has_each_interval_at_its_place_and_the_baseline_at_0():
    figure = objective_differences([("DKD", "distilled", -10.0, -14.0, -6.0), ("CRD", "distilled", 3.0, -1.0, 7.0)])
    ends = [(trace.x[0] - trace.error_x.arrayminus[0], trace.x[0] + trace.error_x.array[0]) for trace in figure.data]
    assert ends == [(-14.0, -6.0), (-1.0, 7.0)]
    assert [trace.y[0] for trace in figure.data] == ["DKD", "CRD"]
    (line,) = figure.layout.shapes
    assert line.x0 == line.x1 == 0


def test_standings_know_no_objective_without_a_finished_run():
    assert standings([row(BASELINE, 1, 2), Row("dkd", None, {}, 0, {})])[0].name == BASELINE
    assert standings([]) == []
    assert all(isinstance(standing, Standing) for standing in standings(ROWS))
