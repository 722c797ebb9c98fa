"""The queue and its workers: a run goes from row to weights, and stops, pauses, resumes and survives as promised."""

import contextlib
import itertools
import math
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import psutil
import pytest
import torch
from load.judging import REFUSED
from serving import workers_under
from tiny import TINY, assert_same_weights, tiny_config, train_here, undisturbed_weights
from waiting import wait_until

from kd_core.base import tensors
from kd_core.base.config import ConfigError, LabError
from kd_core.experiments.story import StoryConfig, plan
from kd_core.jobs import cluster as jobs_cluster
from kd_core.jobs import dispatch as jobs_dispatch
from kd_core.jobs import execute
from kd_core.jobs import queue as jobs_queue
from kd_core.jobs import turns as jobs_turns
from kd_core.jobs.cluster import SchedulerError, Worker
from kd_core.jobs.dispatch import Dispatcher
from kd_core.jobs.queue import Jobs
from kd_core.jobs.turns import turns
from kd_core.losses.config import DistillationConfig
from kd_core.models import build
from kd_core.models.config import ModelConfig
from kd_core.runs import artifacts, checks
from kd_core.runs.reading import BACKUP
from kd_core.runs.run import ACTIVE, LOST_WORKER, StoreError, new_id
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig
from kd_core.training.loop import Training

LONG = 120
ANEW = "Resume starts it anew, towards the same weights."


def long_config(**training):
    """A run of seconds, with many chances to be stopped."""
    return tiny_config("baseline", **{"epochs": LONG, "batch_size": 64, "seed": 9, **training})


@pytest.fixture(scope="module")
def long_weights(tmp_path_factory):
    """What long_config() leaves when nobody interferes."""
    return undisturbed_weights(tmp_path_factory.mktemp("long"), long_config())


@pytest.fixture(scope="module")
def running_jobs(tmp_path_factory):
    """One queue with its worker for all tests of this file: bringing one up takes seconds."""
    store = Store(tmp_path_factory.mktemp("jobs"))
    queue = Jobs(store, limits=jobs_turns.Limits(at_once=1))
    yield queue
    queue.close()
    store.close()


def tiny_story(**changes):
    """Teacher, baseline and distilled student, in a second."""
    small = {"teacher": TINY, "teacher_training": tiny_config(epochs=4).training, "student": TINY}
    story = StoryConfig(dataset="digits", training=tiny_config(epochs=3).training, temperature=2.0, **small)
    return plan(story.replace(**changes)).to_train


def ended(queue, *run_ids):
    return all(queue.store.get(run_id).status not in ACTIVE for run_id in run_ids)


def test_a_story_trains_teacher_baseline_and_distilled_in_one_batch(running_jobs, digits):
    queue = running_jobs
    ids = queue.submit(tiny_story())
    wait_until(lambda: ended(queue, *ids))
    runs = [queue.store.get(run_id) for run_id in ids]
    assert [(run.config.role, run.status) for run in runs] == [
        ("teacher", "finished"),
        ("baseline", "finished"),
        ("distilled", "finished"),
    ]
    assert len({run.batch for run in runs}) == 1
    for run in runs:
        epochs = queue.store.records(run.id, "epoch")
        assert len(epochs) == run.config.training.epochs
        assert queue.store.records(run.id, "step")[0]["step"] == 1
        assert run.progress == 1
        assert run.environment["device"] == "cpu"
        logits = artifacts.test_logits(queue.store.folder(run.id))
        wrong = int((logits.argmax(1) != digits.test_labels.numpy()).sum())
        assert run.results["test_errors"] == wrong
        assert not queue.store.folder(run.id).checkpoint.exists()
    assert runs[2].started_at >= runs[0].ended_at - 1


def test_pause_keeps_everything_and_resume_goes_on_to_the_same_weights(running_jobs, long_weights):
    queue, config = running_jobs, long_config()
    (run_id,) = queue.submit({new_id(): config})
    wait_until(lambda: queue.store.get(run_id).step > 50)
    queue.ask(run_id, "pause")
    wait_until(lambda: ended(queue, run_id))
    paused = queue.store.get(run_id)
    assert paused.status == "paused"
    assert 0 < paused.progress < 1
    assert queue.store.folder(run_id).checkpoint.exists()
    queue.resume(run_id)
    wait_until(lambda: ended(queue, run_id))
    assert queue.store.get(run_id).status == "finished"
    steps = [record["step"] for record in queue.store.records(run_id, "epoch")]
    assert steps == [20 * epoch for epoch in range(1, LONG + 1)]
    assert_same_weights(tensors.load_tensors(queue.store.folder(run_id).weights), long_weights)


def test_stopped_run_keeps_its_last_checkpoint_and_its_best_weights(running_jobs):
    queue = running_jobs
    (run_id,) = queue.submit({new_id(): long_config()})
    wait_until(lambda: len(queue.store.records(run_id, "epoch")) > 2)
    queue.ask(run_id, "stop")
    wait_until(lambda: ended(queue, run_id))
    run = queue.store.get(run_id)
    assert run.status == "stopped"
    assert run.results["test_errors"] < 445
    assert queue.store.folder(run_id).checkpoint.exists()
    assert queue.store.folder(run_id).weights.exists()


def test_a_queued_run_can_be_stopped_before_it_starts(running_jobs):
    queue = running_jobs
    first, second = queue.submit({new_id(): long_config(), new_id(): long_config()})
    queue.ask(second, "stop")
    wait_until(lambda: queue.store.get(second).status == "stopped")
    queue.ask(first, "stop")
    wait_until(lambda: ended(queue, first))


def test_killed_worker_is_replaced_and_the_run_ends_with_the_same_weights(running_jobs, long_weights):
    queue, config = running_jobs, long_config()
    (run_id,) = queue.submit({new_id(): config})
    wait_until(lambda: queue.store.get(run_id).step > 50)
    (worker,) = workers_under(psutil.Process())
    worker.kill()
    wait_until(lambda: ended(queue, run_id))
    assert queue.store.get(run_id).status == "finished"
    assert_same_weights(tensors.load_tensors(queue.store.folder(run_id).weights), long_weights)


def test_a_hanging_worker_is_killed_and_its_run_ends_with_the_same_weights(running_jobs, monkeypatch, long_weights):
    queue, config = running_jobs, long_config()
    (run_id,) = queue.submit({new_id(): config})
    wait_until(lambda: queue.store.get(run_id).step > 50)
    (worker,) = workers_under(psutil.Process())
    worker.suspend()
    with (
        monkeypatch.context() as hasty
    ):  # no longer than it has to be: on a busy machine healthy workers are silent too
        hasty.setattr(jobs_cluster, "SECONDS_UNTIL_LOST", 4.0)
        wait_until(lambda: queue.store.get(run_id).message == LOST_WORKER)
    wait_until(lambda: ended(queue, run_id))
    assert queue.store.get(run_id).status == "finished"
    assert not worker.is_running()
    steps = [record["step"] for record in queue.store.records(run_id, "epoch")]
    assert steps == [20 * epoch for epoch in range(1, LONG + 1)]
    assert len(queue.store.probes(run_id)) == LONG + 1
    assert_same_weights(tensors.load_tensors(queue.store.folder(run_id).weights), long_weights)


def test_a_failed_teacher_stops_its_students_in_words(running_jobs, monkeypatch):
    """As on a cluster, whose workers alone know their devices."""
    queue = running_jobs
    monkeypatch.setattr(jobs_queue, "check_devices", lambda configs: None)
    if torch.cuda.is_available():
        pytest.skip("this machine has the device that is asked for in vain")
    ids = queue.submit(tiny_story(teacher_training=tiny_config(device="cuda").training, baseline=False))
    wait_until(lambda: ended(queue, *ids))
    failed, student = (queue.store.get(run_id) for run_id in ids)
    assert failed.status == "failed"
    assert failed.message == "this machine has no cuda device: choose device auto or cpu"
    assert student.status == "stopped"
    assert student.message.startswith(REFUSED)
    assert student.message.endswith("is failed and left no weights: resume that one first, then this.")


def test_a_student_of_a_deleted_teacher_is_stopped_and_holds_nobody_up(running_jobs):
    queue = running_jobs
    teacher = train_here(queue.store, tiny_config())
    student = train_here(queue.store, tiny_config("distilled", teachers=(teacher,)), requested=lambda: "pause")
    assert queue.store.get(student).status == "paused"
    queue.store.delete(teacher)
    queue.resume(student)
    (other,) = queue.submit({new_id(): tiny_config(seed=5)})
    wait_until(lambda: ended(queue, student, other))
    assert queue.store.get(student).status == "stopped"
    assert queue.store.get(student).message == f"Not started: its teacher, run {teacher}, was deleted."
    assert queue.store.get(other).status == "finished"
    assert queue.trouble is None
    queue.store.restore(teacher)
    queue.resume(student)
    wait_until(lambda: ended(queue, student))
    assert queue.store.get(student).status == "finished"


def test_the_list_is_backed_up_when_a_run_has_ended(running_jobs):
    queue = running_jobs
    (run_id,) = queue.submit({new_id(): tiny_config(seed=11)})
    wait_until(lambda: ended(queue, run_id))

    def is_backed_up():
        if not (queue.store.home / BACKUP).exists():
            return False
        with contextlib.closing(sqlite3.connect(queue.store.home / BACKUP)) as copy:
            return copy.execute("SELECT status FROM runs WHERE id = ?", (run_id,)).fetchall() == [("finished",)]

    wait_until(is_backed_up)


def test_the_lineup_shows_who_works_and_who_waits_in_order_of_turns(running_jobs):
    queue = running_jobs
    seeds = itertools.count(100)

    def ask(browser, count=1):
        return queue.submit({new_id(): long_config(seed=next(seeds), epochs=10_000) for _ in range(count)}, browser)

    busy = ask("greedy")
    wait_until(lambda: dict(queue.lineup()) == dict.fromkeys(busy, 0))
    theirs = ask("greedy", 2)
    (other,), (mine,) = ask("other"), ask("mine")
    waiting = [(other, 1), (mine, 2), (theirs[0], 3), (theirs[1], 4)]
    wait_until(lambda: queue.lineup()[1:] == tuple(waiting))
    assert [queue.store.get(run_id).browser for run_id, _ in queue.lineup()[-2:]] == ["greedy", "greedy"]
    queue.ask(other, "stop")
    wait_until(lambda: queue.lineup()[1:] == ((mine, 1), (theirs[0], 2), (theirs[1], 3)))
    for run_id in (mine, *theirs, *busy):
        queue.ask(run_id, "stop")
    wait_until(lambda: queue.lineup() == ())


def test_speed_is_measured_side_by_side_and_kept(running_jobs):
    queue = running_jobs
    ids = [train_here(queue.store, tiny_config(seed=seed)) for seed in (0, 1)]
    queue.find_out("speed", ids)
    wait_until(lambda: queue.store.finding("speed", ids) is not None)
    assert set(queue.store.finding("speed", ids)["runtimes"]) == set(ids)
    assert queue.store.finding("speed", reversed(ids)) == queue.store.finding("speed", ids)


@pytest.mark.parametrize(
    ("teacher", "sentence"),
    [("missing", "there is no teacher run 'missing'"), ("unusable", "and left no weights"), ("classes", "7 classes")],
)
def test_submitting_with_a_teacher_that_cannot_teach_is_refused_in_words(store, teacher, sentence):
    run_id = new_id()
    store.create({run_id: tiny_config()})
    if teacher == "unusable":
        store.apply(run_id, {"kind": "failed", "text": "for this test"})
    if teacher == "classes":
        store.apply(run_id, {"kind": "finished", "results": {"classes": 7}})
    named = "missing" if teacher == "missing" else run_id
    student = RunConfig(role="distilled", dataset="digits", distillation=DistillationConfig(teachers=(named,)))
    with pytest.raises(ConfigError, match=sentence):
        checks.check(store, {new_id(): student})


@pytest.mark.parametrize(
    ("named", "changes", "sentence"),
    [
        ("missing", {}, "there is no run 'missing' to continue"),
        ("queued", {}, "run queued is queued and left no weights to continue from"),
        ("failed", {}, "run failed is failed and left no weights to continue from"),
        ("done", {"model": ModelConfig(hidden=(17,))}, "run done is a mlp 16 on digits: what continues it must be the"),
        ("done", {"dataset": "mnist"}, "run done is a mlp 16 on digits: what continues it must be the same network"),
        ("done", {"model": ModelConfig(name="cnn")}, "run done is a mlp 16 on digits"),
    ],
)
def test_continuing_without_weights_or_another_network_is_refused_in_words(store, named, changes, sentence):
    store.create({run_id: tiny_config() for run_id in ("queued", "failed", "done")})
    store.apply("failed", {"kind": "failed", "text": "for this test"})
    store.apply("done", {"kind": "finished", "results": {"test_errors": 3}})
    with pytest.raises(ConfigError, match=sentence):
        checks.check(store, {new_id(): tiny_config("baseline").replace(continues=named, **changes)})
    checks.check(store, {new_id(): tiny_config("baseline", epochs=9, seed=4).replace(continues="done")})


def test_a_run_that_continues_another_starts_from_its_best_weights(store, digits):
    first = train_here(store, tiny_config(epochs=3))
    events = []
    config = tiny_config("baseline", seed=8).replace(continues=first)
    second = train_here(store, config, on_event=events.append)
    assert store.get(second).status == "finished"
    model = artifacts.load_model(store.folder(first), digits)
    expected = build.logits_of(model, digits.test_images[digits.probes], digits.normalise)
    start = next(event["logits"] for event in events if event["kind"] == "probe")
    torch.testing.assert_close(torch.tensor(start), expected, rtol=0, atol=1e-4)
    continued = tensors.load_tensors(store.folder(second).weights)
    assert not torch.equal(continued["1.weight"], tensors.load_tensors(store.folder(first).weights)["1.weight"])


def test_a_paused_run_goes_on_though_the_one_it_continues_is_gone(store):
    """Its checkpoint holds all it needs."""
    first = train_here(store, tiny_config())
    config = tiny_config("baseline", seed=8).replace(continues=first)
    undisturbed = train_here(store, config)
    second = train_here(store, config, requested=lambda: "pause")
    store.delete(first)
    store.purge(days=0)
    store.take_up(second)
    execute.run_here(store, second, lambda event: None, lambda: None)
    assert store.get(second).status == "finished"
    left, right = (tensors.load_tensors(store.folder(run_id).weights) for run_id in (undisturbed, second))
    assert_same_weights(left, right)


def test_a_run_shows_probe_images_before_step_1_and_after_each_epoch(store, digits):
    events = []
    run_id = train_here(store, tiny_config(epochs=3), on_event=events.append)
    probes = [event for event in events if event["kind"] == "probe"]
    steps = [0] + [event["step"] for event in events if event["kind"] == "epoch"]
    assert [(event["epoch"], event["step"]) for event in probes] == list(enumerate(steps))
    assert [event["kind"] for event in events[:2]] == ["started", "probe"]
    assert all(len(event["logits"]) == 20 for event in probes)
    assert all(len(row) == 10 for event in probes for row in event["logits"])
    assert store.probes(run_id) == [(event["epoch"], event["logits"]) for event in probes]


def test_a_run_taken_up_again_shows_its_probe_images_as_one_never_interrupted(store):
    def pause_at(step):
        return lambda: "pause" if store.runs()[0].step >= step else None

    whole = train_here(store, tiny_config(epochs=4))
    resumed = train_here(store, tiny_config(epochs=4), requested=pause_at(15))
    assert store.get(resumed).status == "paused"
    assert len(store.probes(resumed)) < 5
    store.take_up(resumed)
    execute.run_here(store, resumed, lambda event: None, lambda: None)
    assert store.get(resumed).attempt == 2
    assert [epoch for epoch, _ in store.probes(resumed)] == [0, 1, 2, 3, 4]
    assert store.probes(resumed) == store.probes(whole)


def test_a_teacher_whose_weights_have_other_classes_is_refused_in_words(store, digits):
    teacher = train_here(store, tiny_config())
    weights = tensors.load_tensors(store.folder(teacher).weights)
    last = sorted(weights)[-1].split(".")[0]
    cut = {name: tensor[:7] if name.startswith(last) else tensor for name, tensor in weights.items()}
    tensors.save_tensors(store.folder(teacher).weights, cut)
    student = train_here(store, tiny_config("distilled", teachers=(teacher,)))
    run = store.get(student)
    assert run.status == "failed"
    assert "does not fit digits (10 classes" in run.message


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_an_ensemble_teaches_with_the_mean_of_its_members(store, digits, average):
    members = tuple(train_here(store, tiny_config(seed=seed)) for seed in (0, 1))
    config = tiny_config("distilled", teachers=members)
    config = config.replace(distillation=config.distillation.replace(ensemble=average))
    student = train_here(store, config)
    assert store.get(student).status == "finished"
    build = [artifacts.load_model(store.folder(member), digits) for member in members]
    logits = [model(digits.normalise(digits.train_images)).detach() for model in build]
    run = Training(config, digits, teacher_logits=artifacts.training_logits([*map(store.folder, members)], "digits"))
    kept, _ = digits.split(config.training.validation_fraction, config.seed)
    soft = [torch.softmax(member[kept] / 2.0, dim=1) for member in logits]
    expected = (soft[0] + soft[1]) / 2
    if average == "logits":
        expected = torch.softmax((logits[0] + logits[1])[kept] / 4.0, dim=1)
    torch.testing.assert_close(torch.softmax(run.teacher_logits / 2.0, dim=1), expected, rtol=1e-4, atol=1e-5)


def test_logits_of_other_weights_are_never_used(store, digits):
    teacher, stranger = (train_here(store, tiny_config(seed=seed)) for seed in (0, 1))
    assert artifacts.training_logits([store.folder(teacher)], "digits") is not None
    store.folder(teacher).weights.write_bytes(store.folder(stranger).weights.read_bytes())
    assert artifacts.training_logits([store.folder(teacher)], "digits") is None


def test_a_full_disk_fails_the_run_in_words_and_loses_no_finished_one(store, monkeypatch):
    finished = train_here(store, tiny_config())
    before = store.folder(finished).weights.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    run_id = new_id()
    store.create({run_id: tiny_config(seed=1)})
    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(execute, "SECONDS_BETWEEN_TRIES", 0.0)
    monkeypatch.setattr(execute, "SECONDS_TO_MAKE_ROOM", 0.0)
    events = []
    execute.run_here(store, run_id, events.append, lambda: "stop" if events[-1]["kind"] == "message" else None)
    monkeypatch.undo()
    run = store.get(run_id)
    assert run.status == "failed"
    assert "is full: free some space" in run.message
    assert store.folder(finished).weights.read_bytes() == before
    store.take_up(run_id)
    execute.run_here(store, run_id, lambda event: None, lambda: None)
    assert store.get(run_id).status == "finished"


def test_what_cannot_be_written_is_tried_again_until_there_is_room(store, tmp_path, monkeypatch):
    """A checkpoint while training goes on, and what was learned at the end."""
    room, events, whole = [False], [], os.fsync

    def fsync(descriptor):
        if not room[0]:
            raise OSError(28, "No space left on device")
        whole(descriptor)

    config, run_id = tiny_config(seed=1), new_id()
    store.create({run_id: config})
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(execute, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(execute, "SECONDS_BETWEEN_TRIES", 0.0)

    def hear(event):
        events.append(event)
        room[0] = event["kind"] == "message" and event["text"].endswith(execute.SAVED_LATER)

    execute.run_here(store, run_id, hear, lambda: None)
    monkeypatch.undo()
    messages = [event["text"] for event in events if event["kind"] == "message"]
    assert all("is full: free some space" in text for text in messages[:-1])
    assert "Training goes on, and saves its checkpoint once that can be written." in messages[0]
    assert messages[-1] == ""
    run = store.get(run_id)
    assert (run.status, run.message) == ("finished", None)
    assert_same_weights(tensors.load_tensors(store.folder(run_id).weights), undisturbed_weights(tmp_path, config))


def test_a_shell_trains_on_while_the_list_of_runs_cannot_be_written(store, monkeypatch):
    config, run_id = tiny_config(), new_id()
    store.create({run_id: config})
    monkeypatch.setattr(execute, "SECONDS_BETWEEN_TRIES", 0.0)
    whole, tries = store.apply, itertools.count()

    def apply(*arguments):
        if 2 < next(tries) < 60:
            raise StoreError("its disk is full: free some space")
        whole(*arguments)

    monkeypatch.setattr(store, "apply", apply)
    execute.run_here(store, run_id, lambda event: None, lambda: None)
    assert store.get(run_id).status == "finished"
    assert [record["epoch"] for record in store.records(run_id, "epoch")] == [1, 2]
    assert len(store.probes(run_id)) == 3


@pytest.mark.parametrize("ends", [False, True])
def test_a_checkpoint_newer_than_the_records_brings_them_along(store, monkeypatch, ends):
    """A worker cut off from its queue went on to a checkpoint, or to its end, that the store never heard of."""
    monkeypatch.setattr(execute, "CHECKPOINT_SECONDS", 0.0)
    config = tiny_config(epochs=4)
    whole = train_here(store, config)
    run_id = new_id()
    store.create({run_id: config})
    lost, epochs = [], itertools.count()

    def emit(event):
        if event["kind"] == "epoch" and next(epochs) == 1:
            lost.append(event)
        if not lost:
            store.apply(run_id, event)

    def requested():
        return "yield" if lost and not ends else None

    execute.execute_run(store.folder(run_id), execute.Supervisor(emit, requested))
    assert len(store.records(run_id, "epoch")) == 1
    store.apply(run_id, {"kind": "queued"})
    execute.run_here(store, run_id, lambda event: None, lambda: None)
    assert store.get(run_id).status == "finished"
    for kind in ("step", "epoch"):
        steps = [[record["step"] for record in store.records(each, kind)] for each in (run_id, whole)]
        assert steps[0] == steps[1]
    assert store.probes(run_id) == store.probes(whole)


@pytest.mark.parametrize("damage", ["rubbish", "cut", "another config", "another age"])
def test_a_damaged_checkpoint_is_reported_and_the_run_starts_anew(store, tmp_path, damage):
    config, run_id, other = tiny_config(epochs=3, seed=5), new_id(), new_id()
    store.create({run_id: config, other: tiny_config(seed=6)})
    for each in (run_id, other):
        execute.run_here(store, each, lambda event: None, lambda: "pause")
    checkpoint = store.folder(run_id).checkpoint
    match damage:
        case "rubbish":
            checkpoint.write_bytes(b"not a checkpoint")
        case "cut":
            checkpoint.write_bytes(checkpoint.read_bytes()[: checkpoint.stat().st_size // 2])
        case "another config":
            checkpoint.write_bytes(store.folder(other).checkpoint.read_bytes())
        case "another age":
            tensors.save_state(checkpoint, {"config": config.model_dump_json(), "step": 1})
    events = []
    store.take_up(run_id)
    execute.run_here(store, run_id, events.append, lambda: None)
    assert {"kind": "message", "text": execute.DAMAGED_CHECKPOINT} in events
    assert store.get(run_id).status == "finished"
    assert_same_weights(tensors.load_tensors(store.folder(run_id).weights), undisturbed_weights(tmp_path, config))


@pytest.mark.parametrize("error", [RuntimeError("DefaultCPUAllocator: can't allocate memory"), OSError(5, "I/O error")])
def test_a_checkpoint_that_cannot_be_read_just_now_is_kept(store, monkeypatch, error):
    run_id, events = new_id(), []
    store.create({run_id: tiny_config()})
    execute.run_here(store, run_id, lambda event: None, lambda: "pause")

    def fail(*arguments, **options):
        raise error

    with monkeypatch.context() as short:
        if isinstance(error, OSError):
            short.setattr(tensors, "read_bytes", fail)
        else:
            short.setattr(tensors.torch, "load", fail)
        store.take_up(run_id)
        execute.run_here(store, run_id, lambda event: None, lambda: None)
    assert store.get(run_id).status == "failed"
    assert store.folder(run_id).checkpoint.exists()
    store.take_up(run_id)
    execute.run_here(store, run_id, events.append, lambda: None)
    assert events[0]["step"] > 0
    assert store.get(run_id).status == "finished"


SERVER = """
import sys, time
from pathlib import Path
from kd_core.jobs.queue import Jobs
from kd_core.runs.store import Store; from kd_core.runs.run import new_id
from kd_core.training.config import RunConfig
if __name__ == "__main__":
    queue = Jobs(Store(Path(sys.argv[1])))
    queue.submit({sys.argv[2]: RunConfig.from_json(sys.argv[3])})
    time.sleep(120)
"""


def test_a_killed_servers_run_is_interrupted_and_resumes_to_the_same(home, tmp_path, long_weights):
    config, run_id = long_config(), new_id()
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    server = subprocess.Popen(
        [sys.executable, script, home, run_id, config.model_dump_json()], env=environment, stderr=subprocess.DEVNULL
    )
    while not (home / "lab.sqlite").exists():
        time.sleep(0.05)
    store = Store(home)
    wait_until(lambda: any(run.step > 50 for run in store.runs()))
    workers = psutil.Process(server.pid).children(recursive=True)
    server.send_signal(signal.SIGKILL)
    server.wait()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive, "workers outlive their server"

    assert store.interrupt_orphans() == [run_id]
    assert store.get(run_id).status == "interrupted"
    store.take_up(run_id)
    execute.run_here(store, run_id, lambda event: None, lambda: None)
    assert store.get(run_id).status == "finished"
    assert_same_weights(tensors.load_tensors(store.folder(run_id).weights), long_weights)
    store.close()


# -------------------------------------------------------------------------------------------------------- turns


def some_queue(draw):
    """Waiting runs of up to five browsers, how many of each are at work, and when each was served."""
    browsers = "abcde"[: draw.randint(1, 5)]
    waiting = {f"run{number}": draw.choice(browsers) for number in range(draw.randint(0, 12))}
    at_work = {browser: draw.randint(0, 3) for browser in browsers if draw.random() < 0.6}
    served = {browser: draw.random() for browser in browsers if draw.random() < 0.6}
    return waiting, at_work, served


def test_a_long_run_yields_to_a_waiting_browser_and_ends_the_same(running_jobs, monkeypatch, long_weights):
    monkeypatch.setattr(jobs_dispatch, "SLICE_SECONDS", 0.5)
    queue, config = running_jobs, long_config()
    (long_one,) = queue.submit({new_id(): config}, "anna")
    wait_until(lambda: queue.store.get(long_one).step > 20)
    (short,) = queue.submit({new_id(): tiny_config(seed=22)}, "ben")
    wait_until(lambda: ended(queue, short))
    assert queue.store.get(short).status == "finished"
    assert queue.store.get(long_one).status in ACTIVE
    wait_until(lambda: ended(queue, long_one))
    run = queue.store.get(long_one)
    assert (run.status, run.attempt > 1) == ("finished", True)
    steps = [record["step"] for record in queue.store.records(long_one, "epoch")]
    assert steps == [20 * epoch for epoch in range(1, LONG + 1)]
    weights = tensors.load_tensors(queue.store.folder(long_one).weights)
    assert_same_weights(weights, long_weights)


def test_nobody_yields_to_more_runs_of_the_same_browser(running_jobs, monkeypatch):
    monkeypatch.setattr(jobs_dispatch, "SLICE_SECONDS", 0.1)
    queue = running_jobs
    first, second = queue.submit({new_id(): long_config(), new_id(): tiny_config(seed=24)}, "anna")
    wait_until(lambda: ended(queue, first, second))
    assert [run.attempt for run in queue.store.some([first, second])] == [1, 1]


def test_what_its_user_asked_of_a_run_outlives_its_yielding(store):
    run_id = new_id()
    store.create({run_id: tiny_config()})
    store.apply(run_id, {"kind": "started", "step": 0, "total_steps": 9, "environment": {}})
    store.ask(run_id, "stop")
    store.apply(run_id, {"kind": "queued"})
    assert (store.get(run_id).status, store.request(run_id)) == ("queued", "stop")


def test_turns_are_fair():
    """Each run once; a browser's own in their order; each turn to one with the fewest at work, who waits longest."""
    draw = random.Random(0)
    for _ in range(500):
        waiting, at_work, served = some_queue(draw)
        before = (dict(waiting), dict(at_work), dict(served))
        order = turns(waiting, at_work, served)
        assert (waiting, at_work, served) == before
        assert sorted(order) == sorted(waiting)
        load = {browser: at_work.get(browser, 0) for browser in waiting.values()}
        since_served = {browser: served.get(browser, -1) for browser in load}
        for browser in load:
            own = [run_id for run_id in waiting if waiting[run_id] == browser]
            assert [run_id for run_id in order if waiting[run_id] == browser] == own
        for place, run_id in enumerate(order):
            mine = waiting[run_id]
            others = {waiting[later] for later in order[place:]} - {mine}
            assert all((load[other], since_served[other]) >= (load[mine], since_served[mine]) for other in others)
            load[mine] += 1
            since_served[mine] = 2 + place


def test_a_browser_with_many_runs_does_not_keep_a_newcomer_waiting():
    waiting = {f"m{number}": "many" for number in range(50)} | {"n": "newcomer"}
    assert turns(waiting, {}, {"many": 5.0})[0] == "n"
    assert turns(waiting, {"many": 1}, {"newcomer": 9.0})[0] == "n"
    assert turns(waiting, {}, {})[1] == "n"
    assert turns({}, {"many": 3}, {}) == []


@pytest.fixture
def limited(store, monkeypatch):
    """A queue that holds four runs, two of one browser, and starts none."""
    monkeypatch.setattr(Dispatcher, "_serve", lambda dispatcher: None)
    queue = Jobs(store, limits=jobs_turns.Limits(queue=4, browser=2))
    yield queue
    queue.close()


SEEDS = itertools.count(1000)


def some(count):
    return {new_id(): tiny_config(seed=next(SEEDS)) for _ in range(count)}


def test_a_browser_is_held_to_its_limit_and_others_are_not(limited):
    queued = limited.submit(some(2), "anna")
    with pytest.raises(ConfigError, match="2 of your runs wait or are at work, and this server takes 2 at most"):
        limited.submit(some(1), "anna")
    limited.submit(some(1), "ben")
    assert len(limited.store.runs()) == 3
    limited.store.apply(queued[0], {"kind": "finished", "results": {"test_errors": 1}})
    limited.submit(some(1), "anna")


def test_a_full_queue_says_its_room_and_takes_no_part_of_a_large_batch(limited):
    limited.submit(some(2), "anna")
    limited.submit(some(1), "ben")
    with pytest.raises(ConfigError, match="holds 4 runs at most and has room for 1, not 2; wait until some have ended"):
        limited.submit(some(2), "cora")
    assert len(limited.store.runs()) == 3
    limited.submit(some(1), "cora")


def test_the_presenter_is_held_to_the_limit_of_the_queue_alone(limited):
    limited.submit(some(3), "anna", privileged=True)
    with pytest.raises(ConfigError, match="has room for 1, not 2"):
        limited.submit(some(2), "anna", privileged=True)


def test_runs_that_rested_count_again_when_they_go_on(limited):
    rested = []
    for _ in range(3):
        (run_id,) = limited.submit(some(1), "anna")
        limited.store.apply(run_id, {"kind": "paused"})
        rested.append(run_id)
    with pytest.raises(ConfigError, match="this server takes 2 at most from one browser"):
        limited.resume(*rested, privileged=False)
    statuses = [limited.store.get(run_id).status for run_id in rested]
    assert statuses == ["queued", "queued", "paused"]
    limited.resume(rested[2])


def test_a_browser_asks_for_so_much_to_be_found_out_and_others_still_may(limited, monkeypatch):
    monkeypatch.setattr(jobs_queue, "MAX_FINDINGS_PER_BROWSER", 2)
    for run_id in ("a", "b", "a"):  # what waits is not asked for twice
        limited.find_out("inside", [run_id], "anna", privileged=False)
    with pytest.raises(LabError, match="Enough waits to be measured or written already: look again once"):
        limited.find_out("inside", ["c"], "anna", privileged=False)
    limited.find_out("inside", ["c"], "ben", privileged=False)
    limited.find_out("inside", ["d"], "anna", privileged=True)
    monkeypatch.setattr(jobs_queue, "MAX_FINDINGS", 4)
    with pytest.raises(LabError, match="Enough waits"):
        limited.find_out("inside", ["e"], "carl", privileged=True)
    assert len(limited._dispatcher.roster.wishes) == 4


def test_two_who_ask_for_the_last_place_at_once_do_not_both_get_it(limited):
    limited.submit(some(2), "anna")
    refused = []

    def ask(browser):
        try:
            limited.submit(some(1), browser)
        except ConfigError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=ask, args=(f"browser{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 6
    assert len(limited.store.runs()) == 4


def test_no_run_is_queued_on_a_disk_without_room(limited, monkeypatch):
    monkeypatch.setattr(jobs_queue.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**6))
    with pytest.raises(ConfigError, match=r"has only 1 MB left.* free at least 200 MB"):
        limited.submit(some(1), "anna")
    assert limited.store.runs() == []


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "²"])
def test_a_limit_that_is_no_number_of_runs_is_refused_in_words(monkeypatch, text):
    monkeypatch.setenv("KD_MAX_PER_BROWSER", text)
    with pytest.raises(ConfigError, match=r"KD_MAX_PER_BROWSER is .* give a whole number of runs above 0"):
        jobs_turns.Limits.from_environment()


def test_limits_come_from_the_environment(monkeypatch):
    monkeypatch.delenv("KD_MAX_QUEUED", raising=False)
    monkeypatch.setenv("KD_MAX_PER_BROWSER", " 6 ")
    assert jobs_turns.Limits.from_environment() == jobs_turns.Limits(queue=500, browser=6)


def test_a_run_whose_end_nobody_could_enter_does_not_train_again(store):
    run_id = train_here(store, tiny_config())
    results, written_at = store.get(run_id).results, store.folder(run_id).weights.stat().st_mtime_ns
    store.apply(run_id, {"kind": "interrupted"})
    events = []
    store.take_up(run_id)
    execute.run_here(store, run_id, events.append, lambda: None)
    kinds = [event["kind"] for event in events]
    assert kinds == ["epoch", "probe", "finished"], "the last epoch comes again, as its probe may be missing"
    assert events[-1] == {"kind": "finished", "results": results}
    assert store.folder(run_id).weights.stat().st_mtime_ns == written_at
    store.folder(run_id).weights.write_bytes(b"cut")
    store.apply(run_id, {"kind": "interrupted"})
    store.take_up(run_id)
    events.clear()
    execute.run_here(store, run_id, events.append, lambda: None)
    assert [event["kind"] for event in events].count("epoch") == 2
    assert store.get(run_id).results == results


@pytest.fixture
def idle(store):
    """A queue that does nothing of itself: the test hands it its messages."""
    queue = Jobs(store)
    queue.close()
    return queue


def fails_once(monkeypatch, target, name):
    """Have a method of the store fail at its next call, as on a full disk."""
    whole = getattr(target, name)

    def failing(*arguments):
        monkeypatch.setattr(target, name, whole)
        raise StoreError("its disk is full: free some space")

    monkeypatch.setattr(target, name, failing)


def work_of(*run_ids, status="finished", finding=None, **facts):
    """What a worker had, as the queue keeps it, once it has ended."""
    task = SimpleNamespace(status=status, cancel=lambda: None, **facts)
    return jobs_turns.Work(task, Worker("tcp://a:1", "a", gpu=False), run_ids, "", finding, 0.0)


def test_work_of_a_lost_cluster_waits_again_though_the_store_failed_at_first(idle, monkeypatch):
    first, second = new_id(), new_id()
    idle.store.create({first: tiny_config(), second: tiny_config(seed=1)})
    idle._dispatcher._closing = False
    for run_id in (first, second):
        idle._dispatcher.roster.works[run_id], idle._dispatcher.roster._given[run_id] = work_of(run_id), run_id
    idle._dispatcher.roster._came = {first: 1, second: 2}
    fails_once(monkeypatch, idle.store, "apply")
    with pytest.raises(StoreError):
        idle._dispatcher._look_after_workers()
    idle._dispatcher._look_after_workers()
    assert list(idle._dispatcher.roster.waiting) == [first, second]
    assert [run.status for run in idle.store.some([first, second])] == ["queued", "queued"]


@pytest.mark.parametrize("losses", [1, 3])
def test_a_lost_worker_that_the_store_failed_to_enter_is_entered_next_time(idle, monkeypatch, losses):
    run_id = new_id()
    idle.store.create({run_id: tiny_config()})
    idle._dispatcher.roster.works["key"], idle._dispatcher.roster._given[run_id] = work_of(run_id), "key"
    idle._dispatcher.roster._losses[run_id] = losses - 1
    fails_once(monkeypatch, idle.store, "apply")
    with pytest.raises(StoreError):
        idle._dispatcher.roster.lose("key", blamed=True)
    idle._dispatcher.roster.lose("key", blamed=True)
    run = idle.store.get(run_id)
    assert (run.status, run.message) == (
        ("queued", LOST_WORKER) if losses < 3 else ("interrupted", f"{jobs_dispatch.GIVEN_UP} {ANEW}")
    )
    assert [*idle._dispatcher.roster.waiting] == ([run_id] if losses < 3 else [])
    assert idle._dispatcher.roster.works == {}


@pytest.mark.parametrize("killed", [True, False])
def test_a_worker_killed_for_memory_says_so_and_its_run_is_not_retried(idle, monkeypatch, killed):
    run_id, roster = new_id(), idle._dispatcher.roster
    idle.store.create({run_id: tiny_config()})
    monkeypatch.setattr(jobs_dispatch, "memory_kills", lambda: 7 + killed)
    work = work_of(run_id)
    roster.works["key"] = work._replace(kills=7, worker=work.worker._replace(host="127.0.0.1"))
    roster._given[run_id] = "key"
    roster.lose("key", blamed=True)
    run = idle.store.get(run_id)
    assert (run.status, run.message) == (("interrupted", jobs_dispatch.KILLED) if killed else ("queued", LOST_WORKER))


@pytest.mark.parametrize("blamed", [True, False])
def test_a_finding_whose_worker_is_lost_is_asked_of_another(idle, blamed):
    roster, what = idle._dispatcher.roster, ("speed", ("x",))
    for _loss in range(2):
        roster.works["key"] = work_of(finding=what)
        roster.lose("key", blamed=blamed)
        assert idle.store.finding(*what) is None
        assert roster.wishes.pop(what).browser == ""
    roster.works["key"] = work_of(finding=what)
    roster.lose("key", blamed=blamed)
    assert ("problem" in (idle.store.finding(*what) or {}), [*roster.wishes]) == (blamed, [] if blamed else [what])


def test_a_broken_off_run_says_so_though_the_store_failed_at_first(idle, monkeypatch):
    run_id = new_id()
    idle.store.create({run_id: tiny_config()})
    broken = work_of(run_id, status="error", exception=lambda: ValueError("no"))
    idle._dispatcher.roster.works["key"], idle._dispatcher.roster._given[run_id] = broken, "key"
    fails_once(monkeypatch, idle.store, "apply")
    with pytest.raises(StoreError):
        idle._dispatcher.end_work("key")
    idle._dispatcher.end_work("key")
    run = idle.store.get(run_id)
    assert (run.status, run.message) == ("interrupted", f"{jobs_dispatch.BROKEN_OFF} {ANEW}")
    assert idle._dispatcher.roster.works == {}


@pytest.mark.parametrize("reason", ["stop", "teacher"])
def test_a_waiting_runs_stop_that_the_store_refused_is_tried_again(idle, monkeypatch, reason):
    config, run_id = tiny_config(), new_id()
    if reason == "teacher":
        config = tiny_config("distilled", teachers=("gone",))
    idle.store.create({run_id: config})
    if reason == "stop":
        idle.store.ask(run_id, "stop")
    idle._dispatcher.enqueue([run_id])
    fails_once(monkeypatch, idle.store, "apply")
    with pytest.raises(StoreError):
        idle._dispatcher._dispatch()
    idle._dispatcher._dispatch()
    assert idle.store.get(run_id).status == "stopped"
    assert idle._dispatcher.roster.waiting == {}


def test_a_finding_that_the_store_could_not_keep_is_kept_at_the_next_try(idle, monkeypatch):
    idle._dispatcher.roster.works["key"] = work_of(finding=("speed", ("x",)), result=lambda: {"a": 1})
    fails_once(monkeypatch, idle.store, "save_finding")
    with pytest.raises(StoreError):
        idle._dispatcher.end_work("key")
    idle._dispatcher.end_work("key")
    assert idle.store.finding("speed", ["x"]) == {"a": 1}
    assert idle._dispatcher.roster.works == {}


def test_a_worker_whose_run_broke_off_unexpectedly_is_not_used_again(idle):
    """After a shortage of memory oneDNN fails every later run of the same process."""
    replaced, dispatcher = [], idle._dispatcher
    dispatcher._cluster = SimpleNamespace(replace=replaced.append, close=lambda: None)
    for unexpected in (False, True):
        run_id = new_id()
        idle.store.create({run_id: tiny_config()})
        dispatcher.roster.works[run_id], dispatcher.roster._given[run_id] = work_of(run_id), run_id
        dispatcher.take_events(run_id, run_id, [{"kind": "failed", "text": "no", "unexpected": unexpected}])
        dispatcher.end_work(run_id)
        assert replaced == ["tcp://a:1"] * unexpected
    for error in (LabError("no"), RuntimeError("could not create a primitive")):
        dispatcher.roster.works["speed"] = work_of(
            status="error", finding=("speed", ("x",)), exception=lambda error=error: error
        )
        dispatcher.end_work("speed")
    assert replaced == ["tcp://a:1"] * 2


def test_a_worker_that_is_silent_keeps_its_work_until_it_is_taken_for_lost(idle):
    there = [Worker("tcp://a:1", "a", gpu=False, answers=False)]
    idle._dispatcher._closing, run_id = False, new_id()
    idle._dispatcher._cluster = SimpleNamespace(
        workers=lambda: there, reachable=True, close=lambda: None, tell=lambda *words: None
    )
    idle.store.create({run_id: tiny_config()})
    idle._dispatcher.roster.works["key"], idle._dispatcher.roster._given[run_id] = work_of(run_id), "key"
    idle._dispatcher._look_after_workers()
    assert [*idle._dispatcher.roster.works] == ["key"]
    there.clear()
    idle._dispatcher._look_after_workers()
    assert idle.store.get(run_id).message == LOST_WORKER


def test_where_no_worker_answers_what_waits_says_so_and_may_still_be_stopped(idle):
    (worker,) = silent = [Worker("tcp://a:1", "a", gpu=False, answers=False)]
    idle._dispatcher._cluster = SimpleNamespace(workers=lambda: silent, reachable=True, close=lambda: None)
    run_id = new_id()
    idle.store.create({run_id: tiny_config()})
    idle._dispatcher.enqueue([run_id])
    with pytest.raises(SchedulerError, match="No worker is free: none answers"):
        idle._dispatcher._dispatch()
    assert jobs_turns.free_workers([worker], []) == []
    idle.store.ask(run_id, "stop")
    with contextlib.suppress(SchedulerError):
        idle._dispatcher._dispatch()
    assert idle.store.get(run_id).status == "stopped"


def test_a_run_that_has_ended_hears_nothing_more_of_its_worker(idle):
    run_id = train_here(idle.store, tiny_config())
    before, curve = idle.store.get(run_id), idle.store.records(run_id, "step")
    for event in ({"kind": "started", "step": 0, "total_steps": 9, "environment": {}}, {"kind": "paused"}):
        idle._dispatcher.take_events("key", run_id, [event])
    assert (idle.store.get(run_id), idle.store.records(run_id, "step")) == (before, curve)


def test_a_run_that_was_deleted_as_it_ended_does_not_hold_the_queue_up(idle):
    run_id = train_here(idle.store, tiny_config())
    idle._dispatcher.roster.works["key"] = work_of(run_id)
    idle.store.delete(run_id)
    idle._dispatcher.take_events("key", run_id, [{"kind": "paused"}])
    idle._dispatcher.end_work("key")
    assert idle._dispatcher.roster.works == {}


def test_the_list_is_to_be_backed_up_once_runs_were_queued(idle):
    idle._dispatcher.enqueue([])
    idle._dispatcher._ticked_at = 0.0
    idle._dispatcher.tick()
    idle._dispatcher._backing_up.join()
    assert (idle.store.home / BACKUP).exists()


def test_a_store_that_cannot_be_written_when_the_queue_begins_is_said_at_once(store, monkeypatch):
    """Its runs read as training, though their program has ended."""
    monkeypatch.setattr(Dispatcher, "_serve", lambda dispatcher: None)
    fails_once(monkeypatch, store, "interrupt_orphans")
    queue = Jobs(store)
    assert queue.trouble == "its disk is full: free some space"
    queue.close()


@pytest.mark.parametrize("name", ["give_sign", "interrupt_orphans", "purge"])
def test_a_store_that_cannot_be_written_is_said_until_it_can(idle, monkeypatch, name):
    """Each try meets it again; the second passed over what had failed, and the sentence went."""
    idle._dispatcher._purged_at = -math.inf
    whole = getattr(idle.store, name)
    for _ in range(3):
        fails_once(monkeypatch, idle.store, name)
        with pytest.raises(StoreError):
            idle._dispatcher.tick()
    monkeypatch.setattr(idle.store, name, whole)
    idle._dispatcher.tick()
