"""Runs of one batch that train as one: the same results, each with its own control, nothing lost on the way."""

import json
import os
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import psutil
import pytest
from tiny import tiny_config, train_here
from waiting import wait_until

from kd_core.experiments.sweep import SweepConfig
from kd_core.jobs import execute, execute_group
from kd_core.jobs import queue as jobs_queue
from kd_core.jobs.execute import Supervisor
from kd_core.jobs.turns import training_group
from kd_core.models.config import ModelConfig
from kd_core.runs import artifacts
from kd_core.runs.run import ACTIVE, new_id
from kd_core.runs.store import Store

EPOCHS = 3


@pytest.fixture
def store(home):
    opened = Store(home)
    yield opened
    opened.close()


@pytest.fixture
def cells(store):
    """Six students of a trained teacher: two baselines, four distilled."""
    teacher = train_here(store, tiny_config())
    sweep = SweepConfig(
        dataset="digits",
        teachers=(teacher,),
        model=ModelConfig(hidden=(8,)),
        widths=(8,),
        temperatures=(1.0, 4.0),
        alphas=(0.9,),
        seeds=(0, 1),
        training=tiny_config(epochs=EPOCHS).training,
    )
    return {new_id(): cell for cell in sweep.cells()}


def perform(store, ids, *, emit=None, requested=lambda run_id: None, absent=()):
    def tell(run_id, event):
        if emit is not None:
            emit(run_id, event)
        store.apply(run_id, event)

    last = {run_id: store.last_record(run_id) or {"step": -1} for run_id in ids}
    supervisors = {
        run_id: Supervisor(partial(tell, run_id), partial(requested, run_id), last[run_id]["step"]) for run_id in ids
    }
    execute_group.execute_group([*map(store.folder, ids)], supervisors, absent)


def results(store, ids):
    return [(store.get(run_id).results["test_errors"], artifacts.test_logits(store.folder(run_id))) for run_id in ids]


def test_each_is_the_run_that_it_would_have_been_alone(store, cells):
    store.create(cells)
    perform(store, list(cells))
    assert {store.get(run_id).status for run_id in cells} == {"finished"}
    for run_id, config in cells.items():
        alone = train_here(store, config)
        assert store.get(run_id).results["test_errors"] == store.get(alone).results["test_errors"]
        assert (
            np.abs(artifacts.test_logits(store.folder(run_id)) - artifacts.test_logits(store.folder(alone))).max()
            < 1e-3
        )
        assert len(store.records(run_id, "epoch")) == EPOCHS


def test_a_killed_worker_goes_on_from_the_common_checkpoint_to_the_same_results(store, cells, monkeypatch):
    monkeypatch.setattr(execute, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(execute, "TRAINING_PER_CHECKPOINT", 0)
    undisturbed = {new_id(): config for config in cells.values()}
    store.create(undisturbed)
    perform(store, list(undisturbed))
    store.create(cells)
    epochs = []

    def killed(run_id, event):
        if event["kind"] == "epoch" and event["epoch"] == EPOCHS:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        perform(store, list(cells), emit=killed)
    assert store.folder(next(iter(cells))).together.exists()
    perform(store, list(cells), emit=lambda _, event: epochs.append(event.get("epoch")))
    # The epochs before are not trained again; the last one entered is repeated from the checkpoint.
    assert {epoch for epoch in epochs if epoch} == {EPOCHS - 1, EPOCHS}
    for (errors, logits), (expected, expected_logits) in zip(
        results(store, cells), results(store, undisturbed), strict=True
    ):
        assert errors == expected
        assert np.array_equal(logits, expected_logits)
    assert not store.folder(next(iter(cells))).together.exists()


def test_one_that_is_stopped_leaves_with_what_it_learned_and_the_others_go_on(store, cells):
    store.create(cells)
    first, second, *others = cells
    perform(store, list(cells), requested={first: "stop", second: "pause"}.get)
    assert store.get(first).status == "stopped"
    assert store.get(first).results["epochs"] == 1
    assert store.get(second).status == "paused"
    assert {store.get(run_id).status for run_id in others} == {"finished"}


def test_the_queue_trains_many_small_students_as_one_and_few_one_by_one(store, cells):
    queue = jobs_queue.Jobs(store)
    try:
        queue.submit(cells)
        few = {new_id(): tiny_config("baseline", seed=seed) for seed in (5, 6)}
        queue.submit(few)
        wait_until(lambda: not any(run.status in ACTIVE for run in store.runs()))
    finally:
        queue.close()
    assert {store.get(run_id).status for run_id in (*cells, *few)} == {"finished"}
    assert {store.get(run_id).environment.get("trained_together") for run_id in cells} == {len(cells)}
    assert {store.get(run_id).environment.get("trained_together") for run_id in few} == {None}


SERVER = """
import json, sys, time
from pathlib import Path
from kd_core.jobs.queue import Jobs
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig
if __name__ == "__main__":
    queue = Jobs(Store(Path(sys.argv[1])))
    cells = json.loads(Path(sys.argv[2]).read_text())
    queue.submit({run_id: RunConfig.model_validate(config) for run_id, config in cells.items()})
    time.sleep(120)
"""


def test_a_group_leaves_out_whom_a_teacher_has_yet_to_be_trained_for(store, cells):
    """Its baselines would otherwise take along students whose teacher another worker is busy with."""
    others = {new_id(): tiny_config("baseline", seed=seed) for seed in range(4)}
    teacher = {new_id(): tiny_config(seed=9)}
    taught = {new_id(): tiny_config("distilled", teachers=(*teacher,), seed=seed) for seed in range(2)}
    store.create(teacher | others | taught)
    waiting = [*others, *taught]
    assert set(training_group(store, next(iter(others)), waiting)) == others.keys()
    execute.run_here(store, *teacher, lambda event: None, lambda: None)
    assert set(training_group(store, next(iter(others)), waiting)) == others.keys() | taught.keys()


def test_a_sweep_of_a_killed_server_goes_on_and_retrains_no_finished_cell(home, store, cells, tmp_path):
    """kill -9 of the server when one group of the sweep has ended and another is half way."""
    longer = {
        new_id(): config.replace(training=config.training.replace(epochs=60), model=ModelConfig(hidden=(12,)))
        for config in cells.values()
    }
    sweep = cells | longer
    script, listed = tmp_path / "server.py", tmp_path / "cells.json"
    script.write_text(SERVER)
    listed.write_text(json.dumps({run_id: config.model_dump(mode="json") for run_id, config in sweep.items()}))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    server = subprocess.Popen([sys.executable, script, home, listed], env=environment, stderr=subprocess.DEVNULL)

    def half_way():
        ended = {run.id for run in store.runs(statuses=["finished"])}
        return ended >= set(cells) and any(
            run.step > 20 and run.id in longer for run in store.runs(statuses=["running"])
        )

    wait_until(half_way)
    workers = psutil.Process(server.pid).children(recursive=True)
    server.send_signal(signal.SIGKILL)
    server.wait()
    psutil.wait_procs(workers, timeout=30)
    before = {run_id: (store.folder(run_id).weights.stat().st_mtime_ns, store.get(run_id)) for run_id in cells}

    assert set(store.interrupt_orphans()) == set(longer)
    queue = jobs_queue.Jobs(store)
    try:
        queue.resume(*longer)
        wait_until(lambda: not any(run.status in ACTIVE for run in store.runs()))
    finally:
        queue.close()
    assert {store.get(run_id).status for run_id in sweep} == {"finished"}
    assert {run_id: (store.folder(run_id).weights.stat().st_mtime_ns, store.get(run_id)) for run_id in cells} == before
    undisturbed = {new_id(): config for config in longer.values()}
    store.create(undisturbed)
    perform(store, list(undisturbed))
    for (errors, logits), (expected, expected_logits) in zip(
        results(store, longer), results(store, undisturbed), strict=True
    ):
        assert errors == expected
        np.testing.assert_allclose(logits, expected_logits, atol=1e-4)  # this process has other threads than a worker


def interrupted_at(event_kind, epoch):
    """An emit that ends the process, as it were, at an event of that kind and epoch."""

    def emit(run_id, event):
        if event["kind"] == event_kind and event.get("epoch") == epoch:
            raise KeyboardInterrupt

    return emit


def weights_of(store, ids):
    return [store.folder(run_id).weights.read_bytes() for run_id in ids]


@pytest.fixture
def undisturbed(store, cells):
    """The same runs, whom nobody disturbed."""
    ids = {new_id(): config for config in cells.values()}
    store.create(ids)
    perform(store, list(ids))
    store.create(cells)
    return list(ids)


@pytest.mark.parametrize("damage", ["cut", "a number changed"])
def test_damage_to_the_common_checkpoint_is_said_and_weights_end_the_same(
    store, cells, undisturbed, monkeypatch, damage
):
    monkeypatch.setattr(execute, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(execute, "TRAINING_PER_CHECKPOINT", 0)
    with pytest.raises(KeyboardInterrupt):
        perform(store, list(cells), emit=interrupted_at("epoch", EPOCHS))
    checkpoint = store.folder(next(iter(cells))).together
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 64
    checkpoint.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    messages = []
    perform(store, list(cells), emit=lambda run_id, event: messages.append((run_id, event.get("text"))))
    assert {run_id for run_id, text in messages if text == execute.DAMAGED_CHECKPOINT} == {*cells}
    assert weights_of(store, cells) == weights_of(store, undisturbed)


def test_a_crash_between_two_saves_leaves_no_run_behind_the_others(store, cells, undisturbed, monkeypatch):
    """Fewer of them would not compute the same sums: all go on together, or have all been saved."""
    monkeypatch.setattr(execute, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(execute, "TRAINING_PER_CHECKPOINT", 0)
    save_results, left = artifacts.save_results, []

    def dies_at_the_third(folder, student):
        if len(left) == 2:
            raise KeyboardInterrupt
        left.append(folder)
        return save_results(folder, student)

    monkeypatch.setattr(artifacts, "save_results", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        perform(store, list(cells))
    assert "finished" not in {store.get(run_id).status for run_id in cells}
    monkeypatch.setattr(artifacts, "save_results", save_results)
    perform(store, list(cells))
    assert {store.get(run_id).status for run_id in cells} == {"finished"}
    assert weights_of(store, cells) == weights_of(store, undisturbed)


def test_students_whose_end_nobody_could_enter_do_not_train_again(store, cells):
    store.create(cells)
    with pytest.raises(KeyboardInterrupt):
        perform(store, list(cells), emit=interrupted_at("finished", None))
    kinds = []
    perform(store, list(cells), emit=lambda run_id, event: kinds.append(event["kind"]))
    assert kinds == ["epoch"] * len(cells) + ["finished"] * len(cells)
    assert all(store.get(run_id).results["epochs"] == EPOCHS for run_id in cells)


def test_one_that_had_left_trains_along_for_the_others_sake_and_leaves_nothing(store, cells, undisturbed):
    first, *others = cells
    store.apply(first, {"kind": "stopped"})
    perform(store, list(cells), absent=[first])
    assert store.get(first).status == "stopped"
    assert not store.folder(first).weights.exists()
    assert weights_of(store, others) == weights_of(store, undisturbed)[1:]
