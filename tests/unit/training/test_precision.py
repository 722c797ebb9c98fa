"""In which numbers a run computes is decided by a rule, before it is queued, and kept: no clock has a say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from tiny import tiny_config

from kd_core.exchange import shipped
from kd_core.experiments import paper, presets, table
from kd_core.experiments import story as experiments_story
from kd_core.experiments.story import StoryConfig
from kd_core.experiments.sweep import SweepConfig
from kd_core.models.config import ModelConfig
from kd_core.runs.store import Store
from kd_core.training import loop, precision
from kd_core.training.config import RunConfig, TrainingConfig
from kd_core.training.precision import LEAST_WORK, by_rule, settled
from kd_core.training.together import MAX_PARAMETERS

QUICK, SLOW = ("cpu", True), ("cpu", False)
"""Kinds of machine: with bfloat16 in hardware, and without."""


@pytest.fixture
def machine(monkeypatch):
    """Be another kind of machine."""

    def become(kind):
        monkeypatch.setattr(precision, "machine", lambda _: kind)

    return become


def precisions(configs):
    return {config.training.precision for config in configs}


def test_no_clock_has_a_say_in_the_precision(digits, monkeypatch):
    """A machine on which float32 seems to take for ever: a stopwatch would choose bfloat16."""
    ticks = iter(range(10**9))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)) ** 3)
    config = tiny_config(precision="auto")
    chosen = {loop.Training(config.replace(seed=seed), digits).precision for seed in range(3)}
    assert chosen == {"float32"}


@given(
    work=some.floats(1, 1e15), use=some.floats(1, 1e6), more=some.floats(1, 1e6),
    device=some.sampled_from(["cpu", "cuda", "mps"]), has=some.booleans(),
)  # fmt: skip
def test_the_rule_is_a_function_of_work_and_machine(work, use, more, device, has):
    chosen = by_rule(work, use, device, has)
    assert chosen == by_rule(work, use, device, has)
    assert chosen == "float32" or has
    if chosen == "bfloat16":  # more work never takes it back
        assert by_rule(work * more, use * more, device, has) == "bfloat16"
    assert by_rule(work, use, "mps", has) == "float32"


@settings(max_examples=30, deadline=None)
@given(
    hidden=some.lists(some.sampled_from([8, 30, 400, 1200]), min_size=1, max_size=2),
    batch_size=some.sampled_from([16, 64, 512, 4096]),
    dataset=some.sampled_from(["mnist", "digits"]),
)
def test_a_settled_config_is_settled_for_good(hidden, batch_size, dataset):
    story = StoryConfig(
        dataset=dataset,
        student=ModelConfig(hidden=tuple(hidden)),
        training=TrainingConfig(batch_size=batch_size),
        teachers=("abc",),
    )
    runs = story.student_runs(("abc",))
    made = [settled(run) for run in runs]
    assert "auto" not in precisions(made)
    assert len(precisions(made)) == 1
    assert [settled(run) for run in made] == made
    assert [run.computed_in("bfloat16") for run in made] == made


def test_the_default_networks_get_what_was_measured_faster(machine):
    """On a Xeon with AMX MNIST is 2.3 to 2.6 times as fast in bfloat16, digits 0.6 to 0.9 times."""
    machine(QUICK)
    mnist, digits = StoryConfig.default("mnist"), presets.digits_story()
    assert precisions(experiments_story.plan(mnist).to_train.values()) == {"bfloat16"}
    assert precisions(experiments_story.plan(digits).to_train.values()) == {"float32"}
    assert precisions(map(settled, SweepConfig(teachers=("abc",)).cells())) == {"float32"}
    for model, size in ((ModelConfig(hidden=(1200, 1200)), 64), (ModelConfig(name="mobilenet_v3_small"), 512)):
        config = RunConfig(role="teacher", model=model, training=TrainingConfig(batch_size=size))
        assert precisions([settled(config)]) == {"float32"}  # much work, and bfloat16 no faster
    machine(SLOW)
    assert precisions(experiments_story.plan(mnist).to_train.values()) == {"float32"}


def test_students_that_train_together_compute_in_float32():
    """At the default batch size: alone and together they would round otherwise."""
    assert MAX_PARAMETERS * TrainingConfig().batch_size < LEAST_WORK["cpu"]


def test_a_story_compares_students_of_one_precision(machine, store):
    """Also where its baseline came from another kind of machine: the distilled student follows it."""
    story = StoryConfig.default("mnist")
    machine(QUICK)
    there = experiments_story.plan(story).to_train
    baseline = {run_id: config for run_id, config in there.items() if config.role == "baseline"}
    store.create(baseline)
    for run_id in baseline:
        store.apply(run_id, {"kind": "finished", "results": {"test_errors": 3}})
    machine(SLOW)
    plan = experiments_story.plan(story, store.runs())
    by_role = {config.role: config.training.precision for config in plan.to_train.values()}
    assert by_role == {"teacher": "float32", "distilled": "bfloat16"}
    assert plan.reused == tuple(baseline)


def test_an_experiment_of_the_paper_has_one_precision_a_seed(machine, store):
    machine(QUICK)
    experiment = paper.experiments()["main"]
    redo = table.plan(experiment, [0, 1])
    hard = redo.runs[(paper.HARD, 0)]
    teacher = redo.runs[("teacher", 0)]
    store.create({run_id: redo.to_train[run_id] for run_id in (teacher, hard)})
    machine(SLOW)
    again = table.plan(experiment, [0, 1], store.runs())
    assert again.runs[(paper.HARD, 0)] == hard
    by_seed = [precisions(config for config in again.to_train.values() if config.seed == seed) for seed in (0, 1)]
    assert by_seed == [{"bfloat16"}, {"float32"}]


def test_what_ships_serves_on_machines_without_bfloat16(machine, tmp_path):
    machine(SLOW)
    store = Store(tmp_path)
    shipped.take_in(store)
    assert not table.plan(paper.experiments()["main"], [0], store.runs()).to_train
    assert not experiments_story.plan(presets.digits_story(), store.runs()).to_train
    store.close()


def test_a_run_of_an_older_version_is_found_by_what_it_was_trained_in(machine, store):
    """Its config says auto, and what the stopwatch chose stands in its environment."""
    machine(QUICK)
    story = StoryConfig.default("mnist").replace(teachers=("abc",))
    old = {f"old{run.role}": run for run in story.student_runs(("abc",))}
    store.create(old)
    for run_id in old:
        started = {"kind": "started", "step": 0, "total_steps": 9, "environment": {"precision": "bfloat16"}}
        store.apply(run_id, started, {"kind": "finished", "results": {"test_errors": 3}})
    plan = experiments_story.plan(story, store.runs())
    assert not plan.to_train
    student = store.get("olddistilled")
    assert experiments_story.baseline_beside(student.settled) == store.get("oldbaseline").settled
    assert experiments_story.continued(student, 3).training.precision == "bfloat16"
    assert StoryConfig.of_runs([student.settled]).training.precision == "bfloat16"


def test_a_run_keeps_its_precision_when_it_starts_anew_elsewhere(machine, digits, tmp_path):
    config = tiny_config(precision="bfloat16")  # as a quicker machine settled it
    machine(SLOW)
    begun = loop.Training(RunConfig.from_json(config.model_dump_json()), digits)
    begun.save(tmp_path / "checkpoint.pt")
    resumed = loop.Training(config, digits)
    resumed.restore(tmp_path / "checkpoint.pt")
    assert (begun.precision, resumed.precision) == ("bfloat16", "bfloat16")


def test_the_queue_and_the_shell_settle_what_they_take(store, monkeypatch):
    from kd_core.cli import watch
    from kd_core.jobs import queue as jobs_queue

    queue = jobs_queue.Jobs(store)
    monkeypatch.setattr(queue._dispatcher, "_inbox", type("Nobody", (), {"put": lambda *_: None})())
    queue.submit({"abc": tiny_config(precision="auto")})
    monkeypatch.setattr(watch, "watch", lambda *_: "finished")
    watch.start(store, "def", tiny_config(precision="auto"))
    assert precisions(store.get(run_id).config for run_id in ("abc", "def")) == {"float32"}
