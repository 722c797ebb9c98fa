"""The paper's experiments: which runs they take, what is said of them, and the correction of biases."""

import re

import numpy as np
import pytest
from tiny import PAPER as TINY

from kd_core.evaluation import accuracy
from kd_core.evaluation import bias as evaluation_bias
from kd_core.experiments import paper, table
from kd_core.experiments.table import Redone
from kd_core.jobs import execute
from kd_core.runs.store import Store


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path)
    yield opened
    opened.close()


def train_all(store, redo):
    for run_id, config in redo.to_train.items():
        store.create({run_id: config})
        execute.run_here(store, run_id, lambda _: None, lambda: None)


def stood(store, config, run_id, status, errors=None):
    """A run in the store that reads so, without any training."""
    results = {"test_errors": errors, "test_examples": 10_000, "parameters": 1, "epochs": 2.0}
    store.create({run_id: config})
    store.apply(run_id, {"kind": status, "text": "", **({"results": results} if errors is not None else {})})
    return store.get(run_id)


def rows(experiment, plan, runs, seconds=None):
    return table.rows(Redone(experiment, 0, plan, runs, []), seconds)


def redone(store, experiment, errors):
    """An experiment whose line i made errors[i][seed] test errors."""
    seeds = range(len(errors[0]))
    plan = table.plan(experiment, seeds)
    runs = {}
    for line, by_seed in zip(experiment.lines, errors, strict=True):
        for seed in seeds:
            run_id = plan.runs[line.label, seed]
            runs[run_id] = stood(store, plan.to_train[run_id], run_id, "finished", by_seed[seed])
    return plan, runs


@pytest.mark.parametrize("name", paper.experiments())
def test_both_students_of_a_contest_differ_in_the_teacher_alone(name):
    experiment = paper.experiments()[name]
    if experiment.contest is None:
        return
    teachers = tuple(f"teacher{i}" for i in range(len(experiment.teachers(3))))
    first, second = (
        next(line for line in experiment.lines if line.label == label).make(3, teachers) for label in experiment.contest
    )
    assert first.replace(role="baseline", distillation=None) == second.replace(role="baseline", distillation=None)


def test_the_papers_student_sees_no_shifted_image_and_its_nets_are_the_papers():
    experiment = paper.experiments()["main"]
    teacher, hard, soft = (line.make(0, ("teacher",)) for line in experiment.lines)
    assert teacher.model.hidden == (1200, 1200)
    assert teacher.training.jitter_pixels == 2
    assert hard.model.hidden == soft.model.hidden == (800, 800)
    assert hard.training.jitter_pixels == soft.training.jitter_pixels == 0
    assert soft.distillation.temperature == 20
    assert [line.printed for line in experiment.lines] == [67, 146, 74]


def test_a_seed_more_trains_its_own_runs_alone_and_experiments_share_runs(store):
    made = paper.experiments(TINY)
    first = table.plan(made["main"], [0])
    assert [config.role for config in first.to_train.values()] == ["teacher", "baseline", "distilled"]
    train_all(store, first)
    again = table.plan(made["main"], [0], store.runs())
    assert not again.to_train
    assert again.runs == first.runs
    more = table.plan(made["main"], [0, 1], store.runs())
    assert [config.seed for config in more.to_train.values()] == [1, 1, 1]
    other = table.plan(made["no_3"], [0], store.runs())
    assert [config.role for config in other.to_train.values()] == ["distilled"]
    assert next(iter(other.to_train.values())).transfer_set.missing(10) == (3,)


def test_what_was_interrupted_goes_on_unless_the_same_has_finished_elsewhere(store):
    experiment = paper.experiments(TINY)["main"]
    config = experiment.teachers(0)[0]
    interrupted = stood(store, config, "a", "interrupted")
    redo = table.plan(experiment, [0], [interrupted])
    assert redo.to_resume == ("a",)
    assert config not in redo.to_train.values()
    done = stood(store, config, "c", "finished", 70)
    assert table.plan(experiment, [0], [interrupted, done]).to_resume == ()


def test_rows_say_median_and_range_of_the_finished_seeds_alone(store):
    experiment = paper.experiments(TINY)["main"]
    plan, runs = redone(store, experiment, [[60, 70, 66], [150, 140, 146], [74, 71, 90]])
    lines = rows(experiment, plan, runs)
    assert [row.errors_in_words() for row in lines] == ["66 (60 to 70)", "146 (140 to 150)", "74 (71 to 90)"]
    assert rows(experiment, plan, {})[0].errors_in_words() == ""


@pytest.mark.parametrize(
    ("soft", "word"),
    [([74, 71, 80], "wins"), ([200, 210, 190], "loses"), ([100, 190, 146], "inconclusive"), ([74], "inconclusive")],
)
def test_the_verdict_follows_the_interval_of_the_differences(store, soft, word):
    experiment = paper.experiments(TINY)["main"]
    hard = [150, 140, 146][: len(soft)]
    plan, runs = redone(store, experiment, [[60] * len(soft), hard, soft])
    verdict, *_ = table.verdicts(experiment, rows(experiment, plan, runs))
    assert verdict.word == word
    if len(soft) == 3:
        differences = np.subtract(hard, soft)
        half = 4.302653 * differences.std(ddof=1) / np.sqrt(3)  # Student's t of two degrees of freedom, from a table
        assert f"{differences.mean() - half:.1f} to {differences.mean() + half:.1f}" in verdict.sentence


@pytest.mark.parametrize(
    ("ours", "word"),
    [([60, 61, 62], "wins"), ([90, 91, 95], "loses"), ([60, 67, 75], "inconclusive"), ([60, 61], "inconclusive")],
)
def test_each_line_is_judged_beside_what_the_paper_prints(store, ours, word):
    experiment = paper.experiments()["main"]
    others = [[140] * len(ours), [80] * len(ours)]
    plan, runs = redone(store, experiment, [ours, *others])
    judged = table.verdicts(experiment, rows(experiment, plan, runs))[1]
    assert judged.word == word
    assert "'teacher' against the paper's 67" in judged.sentence
    if len(ours) == 3:
        half = 4.302653 * np.std(ours, ddof=1) / np.sqrt(3)
        saved = 67 - np.mean(ours)
        assert f"{saved - half:.1f} to {saved + half:.1f}" in judged.sentence


@pytest.mark.parametrize("name", paper.experiments())
def test_every_recipe_ends_in_a_verdict(store, name):
    experiment = paper.experiments()[name]
    plan, runs = redone(store, experiment, [[70, 80, 90]] * len(experiment.lines))
    assert table.verdicts(experiment, rows(experiment, plan, runs))


def test_only_the_main_experiment_has_one_teacher_per_seed():
    made = paper.experiments(TINY)
    main = table.plan(made["main"], [0, 1])
    for seed in (0, 1):
        soft = main.to_train[main.runs[paper.SOFT, seed]]
        assert soft.distillation.teachers == (main.runs["teacher", seed],)
    jitter = table.plan(made["jitter"], [0, 1])
    assert [config.role for config in jitter.to_train.values()].count("teacher") == 1


def test_rows_tell_the_median_time_of_a_run(store):
    experiment = paper.experiments(TINY)["main"]
    plan, runs = redone(store, experiment, [[60, 70, 66], [150, 140, 146], [74, 71, 90]])
    took = {plan.runs["teacher", seed]: 100.0 + seed for seed in range(3)}
    assert [row.time() for row in rows(experiment, plan, runs, took)] == ["101 s", "", ""]


def test_no_number_of_the_paper_stands_beside_other_data():
    small = paper.experiments(paper.SMALL)
    assert small.keys() == paper.experiments().keys()
    assert all(line.printed is None for experiment in small.values() for line in experiment.lines)
    assert all(line.make(0, ("a",)).dataset == "digits" for experiment in small.values() for line in experiment.lines)


def brute_force(logits, labels, classes, biases):
    return [
        int((accuracy.predictions(evaluation_bias.with_bias(logits, classes, bias)) != labels).sum()) for bias in biases
    ]


@pytest.mark.parametrize("classes", [(3,), (0, 1, 2, 3, 4, 5, 6, 9)])
def test_no_bias_makes_fewer_errors_than_the_best(classes):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, 500)
    logits = generator.normal(size=(500, 10)) + 2 * np.eye(10)[labels]
    logits[:, list(classes)] -= 3
    best = evaluation_bias.best_bias(logits, labels, classes)
    grid = brute_force(logits, labels, classes, np.linspace(-10, 15, 2501))
    assert brute_force(logits, labels, classes, [best])[0] <= min(grid)
    assert best == pytest.approx(3, abs=1.5)


def test_the_bias_for_a_share_gives_that_share():
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(1000, 10))
    bias = evaluation_bias.bias_for_share(logits, (3,), 0.25)
    taken = accuracy.predictions(evaluation_bias.with_bias(logits, (3,), bias + 1e-9)) == 3
    assert taken.mean() == pytest.approx(0.25, abs=2e-3)


def test_raising_some_biases_is_lowering_the_others():
    logits = np.random.default_rng(2).normal(size=(50, 10))
    others = [label for label in range(10) if label not in (7, 8)]
    raised = evaluation_bias.with_bias(logits, others, 7.6)
    lowered = evaluation_bias.with_bias(logits, (7, 8), -7.6)
    assert np.allclose(raised - lowered, 7.6)


@pytest.mark.parametrize("name", paper.experiments())
def test_on_digits_the_papers_numbers_are_said_to_be_of_its_own_data(name):
    experiment = paper.experiments(paper.SMALL)[name]
    for text in (experiment.shows, experiment.corrected):
        printed = re.findall(r"\d[\d,.]*%?", text.replace("T = 20", ""))
        assert not printed or "MNIST" in text or "speech" in text
    assert "whose numbers are MNIST's" in experiment.differs
