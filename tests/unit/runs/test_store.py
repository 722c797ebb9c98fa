"""The run store: what is entered comes back, owners that are gone are found out, and trouble is said in words."""

import json
import math
import os
import pickle
import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import psutil
import pytest
from tiny import tiny_config

from kd_core.runs import reading
from kd_core.runs import store as runs_store
from kd_core.runs.events import BUCKET_STEPS
from kd_core.runs.reading import BACKUP, CURVE_STRETCHES, DATABASE
from kd_core.runs.run import (
    LOST_WORKER,
    MAX_NAME,
    MAX_NOTE,
    MAX_TAG,
    StoreError,
    folder_of,
    new_id,
    remembered,
    settled_of,
)
from kd_core.runs.store import Store

STARTED = {"kind": "started", "step": 0, "total_steps": 100, "environment": {"device": "cpu"}}


def step(number, **changes):
    return {"kind": "step", "step": number, "epoch": number / 10, "loss": 1 / number, "learning_rate": 0.1, **changes}


@pytest.fixture
def run_id(store):
    created = new_id()
    store.create({created: tiny_config()})
    return created


def test_a_run_is_a_row_and_a_config_file_before_it_is_a_job(store, run_id):
    run = store.get(run_id)
    assert run.status == "queued"
    assert run.config == tiny_config()
    assert json.loads(store.folder(run_id).config.read_text())["role"] == "teacher"
    assert not run.usable


def test_events_tell_the_runs_story(store, run_id):
    store.apply(run_id, STARTED)
    store.apply(run_id, step(1), step(20), {"kind": "epoch", "step": 50, "epoch": 1, "loss": 0.5, "best": True})
    running = store.get(run_id)
    assert (running.status, running.step, running.progress) == ("running", 50, 0.5)
    assert [record["step"] for record in store.records(run_id, "step")] == [1, 20]
    assert store.records(run_id, "epoch")[0]["best"] == 1
    store.apply(run_id, {"kind": "finished", "results": {"test_errors": 3}})
    finished = store.get(run_id)
    assert finished.status == "finished"
    assert finished.usable
    assert finished.ended_at >= finished.started_at


def test_records_told_twice_are_kept_once_and_a_restart_drops_what_lay_ahead(store, run_id):
    store.apply(run_id, STARTED, step(1), step(10), step(20))
    store.apply(run_id, {**STARTED, "step": 10})
    assert [record["step"] for record in store.records(run_id, "step")] == [1, 10]
    store.apply(run_id, step(10, loss=0.25), step(20))
    assert [record["loss"] for record in store.records(run_id, "step")] == [1, 0.25, 0.05]


def test_what_fails_half_way_enters_nothing(store, run_id):
    with pytest.raises(StoreError, match="cannot take this entry"):
        store.apply(run_id, STARTED, {"kind": "step"})
    assert store.get(run_id).status == "queued"
    with pytest.raises(StoreError, match="cannot take this entry"):
        store.create({new_id(): tiny_config(), run_id: tiny_config()})
    assert len(store.runs()) == 1


def test_two_stores_on_one_home_follow_a_run_together(store, run_id):
    other = Store(store.home)
    assert [run.id for run in other.runs()] == [run_id]
    store.apply(run_id, STARTED, step(1))
    assert other.get(run_id).status == "running"
    assert other.records(run_id, "step") == store.records(run_id, "step")
    theirs = new_id()
    other.create({theirs: tiny_config(seed=1)})
    assert store.runs()[0].id == theirs
    other.close()
    assert store.get(theirs).config == tiny_config(seed=1)


def test_many_threads_and_two_stores_write_at_once_and_nothing_is_lost(store, run_id):
    other = Store(store.home)
    store.apply(run_id, STARTED)

    def write(number):
        (store if number % 2 else other).apply(run_id, step(number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(1, 201)))
    assert [record["step"] for record in other.records(run_id, "step")] == list(range(1, 201))
    other.close()


def test_two_stores_on_one_home_see_each_other(store, run_id):
    other = Store(store.home)
    other.ask(run_id, "stop")
    assert store.request(run_id) == "stop"
    other.close()


def test_runs_are_found_by_the_start_of_their_id_and_newest_come_first(store, run_id):
    newest = new_id()
    store.create({newest: tiny_config(seed=1)})
    assert store.find(newest[:6]).id == newest
    assert store.runs()[0].id == newest
    with pytest.raises(StoreError, match="several runs"):
        store.find("")
    with pytest.raises(StoreError, match="there is no run 'zz'"):
        store.find("zz")


@pytest.mark.parametrize("name", ["../x", "a/b", "", "..", "a.b", "é"])
def test_no_id_leads_out_of_the_home(tmp_path, name):
    with pytest.raises(StoreError, match="there is no run"):
        folder_of(tmp_path, name)


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "/etc", "a\\b", "x\0"])
def test_no_method_follows_such_an_id_and_none_is_created(store, name):
    for call in (store.get, store.find, store.folder, store.take_up):
        with pytest.raises(StoreError, match="there is no run"):
            call(name)
    with pytest.raises(StoreError, match="there is no run"):
        store.create({"good": tiny_config(), name: tiny_config()})
    assert store.runs() == []
    assert {path.name for path in store.home.parent.iterdir()} == {"home"}


def test_unknown_runs_are_said_in_words_by_whoever_is_asked(store):
    with pytest.raises(StoreError, match=r"^there is no run 'abc': see the list of runs$"):
        store.get("abc")
    with pytest.raises(StoreError, match=r"^there is no run 'zz': see the list of runs$"):
        store.find("zz")
    assert store.request("abc") is None
    assert store.records("abc", "step") == []
    store.ask("abc", "stop")
    assert store.runs() == []


def test_a_wildcard_finds_nothing(store, run_id):
    for text in ("%", "_", "*", run_id[:4] + "%"):
        with pytest.raises(StoreError, match="there is no run"):
            store.find(text)


def test_runs_are_listed_newest_first_by_batch_and_by_status(store):
    first, second, other = new_id(), new_id(), new_id()
    store.create({first: tiny_config(), second: tiny_config(seed=1)}, batch="b")
    time.sleep(0.01)  # a batch takes a millisecond a run of the clock, to keep its order
    store.create({other: tiny_config(seed=2)})
    assert [run.id for run in store.runs()] == [other, second, first]
    assert [run.id for run in store.runs(batch="b")] == [second, first]
    store.apply(first, {"kind": "failed", "text": "no"})
    assert [run.id for run in store.runs(statuses=["failed"])] == [first]
    assert [run.id for run in store.runs(batch="b", statuses=["queued", "running"])] == [second]
    assert store.runs(statuses=[]) == []


def test_records_come_back_with_every_field_to_the_last_bit(store, run_id):
    record = {
        "kind": "epoch", "step": 7, "epoch": 1, "loss": 0.1 + 0.2, "soft_loss": 1 / 3, "hard_loss": None,
        "learning_rate": 1e-300, "samples_per_second": 12345.678, "validation_errors": 3,
        "validation_accuracy": 2 / 3, "best": True, "seconds": 0.7,
    }  # fmt: skip
    store.apply(run_id, STARTED, record)
    assert store.records(run_id, "epoch") == [record]
    assert store.records(run_id, "step") == []


def test_a_step_and_an_epoch_of_one_number_do_not_replace_each_other(store, run_id):
    store.apply(run_id, STARTED, step(10), {"kind": "epoch", "step": 10, "epoch": 1, "loss": 0.5, "best": False})
    store.apply(run_id, step(10, loss=9), {"kind": "epoch", "step": 10, "epoch": 1, "loss": 8, "best": True})
    assert [record["loss"] for record in store.records(run_id, "step")] == [9]
    assert [record["loss"] for record in store.records(run_id, "epoch")] == [8]


def test_a_restart_drops_later_records_of_that_run_only(store, run_id):
    other = new_id()
    store.create({other: tiny_config(seed=1)})
    for each in (run_id, other):
        store.apply(each, STARTED, step(1), step(30), {"kind": "epoch", "step": 40, "epoch": 1, "loss": 1, "best": 1})
    store.apply(run_id, {**STARTED, "step": 30})
    assert [record["step"] for record in store.records(run_id, "step")] == [1, 30]
    assert store.records(run_id, "epoch") == []
    assert store.get(run_id).step == 30
    assert len(store.records(other, "step") + store.records(other, "epoch")) == 3


def test_a_request_is_kept_until_the_run_ends_and_a_paused_run_starts_afresh(store, run_id):
    store.ask(run_id, "stop")
    assert store.get(run_id).request == "stop"
    store.ask(run_id, "pause")
    assert store.request(run_id) == "pause"
    store.apply(run_id, STARTED, step(1))
    assert store.request(run_id) == "pause"
    store.apply(run_id, {"kind": "paused", "text": "resting"})
    paused = store.get(run_id)
    assert (paused.status, paused.request, paused.message) == ("paused", None, "resting")
    assert paused.ended_at is not None
    store.ask(run_id, "stop")
    assert store.request(run_id) is None
    store.take_up(run_id)
    queued = store.get(run_id)
    assert (queued.status, queued.request, queued.message, queued.step) == ("queued", None, None, 1)
    store.apply(run_id, {**STARTED, "step": 1})
    assert store.get(run_id).ended_at is None


@pytest.mark.parametrize("status", ["paused", "stopped", "failed", "interrupted"])
def test_what_rests_can_be_taken_up(store, run_id, status):
    store.apply(run_id, {"kind": status})
    store.take_up(run_id)
    assert store.get(run_id).status == "queued"


def test_what_is_finished_or_running_cannot_be_taken_up(store, run_id):
    store.apply(run_id, STARTED)
    with pytest.raises(StoreError, match=rf"^run {run_id} is running and cannot be resumed$"):
        store.take_up(run_id)
    store.apply(run_id, {"kind": "finished", "results": {"test_errors": 3}})
    with pytest.raises(StoreError, match="is finished and cannot be resumed"):
        store.take_up(run_id)


def test_results_of_an_earlier_stop_stay_when_a_resumed_run_fails(store, run_id):
    store.apply(run_id, STARTED, {"kind": "stopped", "results": {"test_errors": 3}})
    store.take_up(run_id)
    store.apply(run_id, STARTED, {"kind": "failed", "text": "The disk is full."})
    run = store.get(run_id)
    assert (run.status, run.message, run.results) == ("failed", "The disk is full.", {"test_errors": 3})
    assert run.usable


def test_only_a_run_that_rests_can_be_taken_up(store, run_id):
    with pytest.raises(StoreError, match="is queued and cannot be resumed"):
        store.take_up(run_id)
    store.apply(run_id, {"kind": "paused"})
    store.take_up(run_id)
    assert store.get(run_id).status == "queued"


def test_speeds_are_kept_for_a_set_of_runs_in_any_order(store):
    store.save_finding("speed", ["b", "a"], {"models": {}})
    assert store.finding("speed", ["a", "b"]) == {"models": {}}
    assert store.finding("speed", ["a"]) is None


def test_a_damaged_database_is_said_in_words_and_left_alone(home):
    home.mkdir()
    (home / "lab.sqlite").write_bytes(b"this is no database" * 99)
    with pytest.raises(StoreError, match=r"is damaged .* start KD Lab again"):
        Store(home)
    assert (home / "lab.sqlite").read_bytes().startswith(b"this is no")


def test_a_full_database_is_said_in_words_and_keeps_what_it_had(store, run_id):
    pages = store._database.execute("PRAGMA page_count").fetchone()[0]
    store._database.execute(f"PRAGMA max_page_count = {pages}")
    many = [step(number) for number in range(1, 10_000)]
    with pytest.raises(StoreError, match="its disk is full: free some space"):
        store.apply(run_id, *many)
    assert store.records(run_id, "step") == []
    assert store.get(run_id).status == "queued"


def test_a_run_that_goes_on_after_its_worker_was_lost_still_says_so(store, run_id):
    store.apply(run_id, STARTED)
    assert store.get(run_id).message is None
    store.apply(run_id, {"kind": "queued"}, {"kind": "message", "text": LOST_WORKER})
    store.apply(run_id, STARTED)
    assert store.get(run_id).message == LOST_WORKER
    store.apply(run_id, {"kind": "queued"})
    store.apply(run_id, STARTED)
    assert store.get(run_id).message is None


def test_runs_that_could_not_be_entered_leave_no_folder(store):
    taken = new_id()
    store.create({taken: tiny_config()})
    with pytest.raises(StoreError):
        store.create({new_id(): tiny_config(), taken: tiny_config()})
    assert [folder.name for folder in (store.home / "runs").iterdir()] == [taken]
    assert store.folder(taken).config.exists()


def test_a_database_cut_short_is_said_in_words(store, run_id):
    store.apply(run_id, STARTED, *[step(number) for number in range(1, 2000)])
    store.close()
    path = store.home / "lab.sqlite"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match=r"lab\.sqlite is damaged \(.*\): start KD Lab again"):
        Store(store.home).records(run_id, "step")
    assert store.folder(run_id).config.exists()


def test_a_home_that_is_a_file_is_said_in_words(tmp_path):
    (tmp_path / "home").touch()
    with pytest.raises(StoreError, match="Set KD_HOME to another folder"):
        Store(tmp_path / "home")


def test_a_database_that_cannot_be_opened_is_said_in_words(tmp_path):
    (tmp_path / "lab.sqlite").mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        Store(tmp_path)


# --------------------------------------------------------------------------------------- names, tags and deletion


def test_a_run_bears_the_name_note_and_tags_that_it_was_given(store, run_id):
    made = store.get(run_id).label
    assert run_id[:4] in made
    store.describe(run_id, name="  My best  ", note=" it\nworks ", tags=["b", " a ", "", "b", "  "])
    run = store.get(run_id)
    assert (run.label, run.name, run.note, run.tags) == ("My best", "My best", "it\nworks", ("b", "a"))
    store.describe(run_id, name=" ", note="", tags=[])
    run = store.get(run_id)
    assert (run.label, run.note, run.tags) == (made, "", ())


def test_what_is_said_of_a_run_is_kept_as_it_is_up_to_a_length(store, run_id):
    odd = "<b>'; DROP TABLE runs; --</b> \u202e 数字 \U0001f600"
    store.describe(run_id, name=odd, note=odd * 200, tags=[odd[:MAX_TAG], "x" * 100])
    run = store.get(run_id)
    assert run.name == odd[:MAX_NAME]
    assert run.note == (odd * 200)[:MAX_NOTE]
    assert run.tags == (odd[:MAX_TAG].strip(), "x" * MAX_TAG)


def test_describing_touches_no_other_run_and_training_touches_no_description(store, run_id):
    other = new_id()
    store.create({other: tiny_config(seed=1)})
    store.describe(run_id, name="one", note="n", tags=["t"])
    store.apply(run_id, STARTED, step(1), {"kind": "finished", "results": {"test_errors": 3}})
    run = store.get(run_id)
    assert (run.name, run.note, run.tags, run.status) == ("one", "n", ("t",), "finished")
    assert (store.get(other).name, store.get(other).tags) == ("", ())


def everywhere(store, run_id):
    """Whether each way of reading finds a run."""
    listed = run_id in [run.id for run in store.runs()]
    return [listed, bool(store.some([run_id])), finds(store.get, run_id), finds(store.find, run_id)]


def finds(call, run_id):
    try:
        return bool(call(run_id))
    except StoreError:
        return False


def test_a_deleted_run_is_in_no_list_and_restore_brings_it_back_as_it_was(store, run_id):
    store.apply(run_id, STARTED, step(1), {"kind": "finished", "results": {"test_errors": 3}})
    before = store.get(run_id)
    store.delete(run_id)
    assert everywhere(store, run_id) == [False] * 4
    with pytest.raises(StoreError, match="there is no run"):
        store.delete(run_id)
    assert store.folder(run_id).config.exists()
    store.restore(run_id)
    assert everywhere(store, run_id) == [True] * 4
    assert store.get(run_id) == before
    assert len(store.records(run_id, "step")) == 1


def test_a_deleted_run_cannot_be_taken_up(store, run_id):
    store.apply(run_id, {"kind": "paused"})
    store.delete(run_id)
    with pytest.raises(StoreError, match="there is no run"):
        store.take_up(run_id)
    store.restore(run_id)
    assert store.get(run_id).status == "paused"


@pytest.mark.parametrize("status", ["queued", "running"])
def test_a_run_at_work_is_not_deleted(store, run_id, status):
    if status == "running":
        store.apply(run_id, STARTED)
    with pytest.raises(StoreError, match=rf"is {status}: stop it first, then delete it$"):
        store.delete(run_id)
    assert everywhere(store, run_id) == [True] * 4


@pytest.mark.parametrize("need", ["teacher", "start"])
def test_what_a_run_at_work_needs_is_not_deleted_until_it_has_ended(store, run_id, need):
    store.apply(run_id, STARTED, {"kind": "finished", "results": {"test_errors": 3}})
    config = tiny_config("distilled", teachers=("someone", run_id)) if need == "teacher" else tiny_config(seed=1)
    store.create({"def": config if need == "teacher" else config.replace(continues=run_id)})
    with pytest.raises(StoreError, match=r"is queued and needs .*: wait for it, or stop it$"):
        store.delete(run_id)
    store.apply("def", STARTED)
    with pytest.raises(StoreError, match="is running and needs"):
        store.delete(run_id)
    store.apply("def", {"kind": "finished", "results": {"test_errors": 3}})
    store.delete(run_id)
    assert [run.id for run in store.runs()] == ["def"]


def test_purge_removes_only_what_was_deleted_long_ago_with_its_files(store, run_id):
    kept, recent = new_id(), new_id()
    store.create({kept: tiny_config(seed=1), recent: tiny_config(seed=2)})
    for each in (run_id, kept, recent):
        store.folder(each).weights.write_bytes(b"weights")
        probe = {"kind": "probe", "epoch": 0, "step": 0, "logits": [[1.0]]}
        store.apply(each, STARTED, probe, step(1), {"kind": "finished", "results": {"test_errors": 3}})
    store.delete(run_id)
    store.delete(recent)
    store._database.execute("UPDATE runs SET deleted_at = ? WHERE id = ?", (time.time() - 2 * 86_400, run_id))
    assert store.purge() == [run_id]
    assert not store.folder(run_id).path.exists()
    store.restore(run_id)
    assert everywhere(store, run_id) == [False] * 4
    for table in ("records", "extremes", "probes"):
        assert {row["run_id"] for row in store._rows(f"SELECT run_id FROM {table}")} == {kept, recent}
    store.restore(recent)
    for each in (kept, recent):
        assert store.folder(each).weights.read_bytes() == b"weights"
        assert len(store.records(each, "step")) == len(store.probes(each)) == 1
    assert store.purge(days=0) == []


def test_prune_takes_old_checkpoints_and_never_weights_or_active_runs(store, run_id):
    made = {"finished": new_id(), "old": new_id(), "surplus": new_id(), "kept": new_id()}
    store.create({other: tiny_config(seed=i) for i, other in enumerate(made.values(), start=1)})
    now = time.time()
    ages = {run_id: 90, made["finished"]: 0, made["old"]: 15, made["surplus"]: 3, made["kept"]: 2}
    for each, days in ages.items():
        store.folder(each).checkpoint.write_bytes(b"x" * 100)
        store.folder(each).weights.write_bytes(b"weights")
        os.utime(store.folder(each).checkpoint, (now - 86_400 * days,) * 2)
    store.apply(run_id, STARTED)
    for name in ("old", "surplus", "kept"):
        store.apply(made[name], {"kind": "paused"})
    store.apply(made["finished"], {"kind": "finished", "results": {"test_errors": 3}})
    gone = store.folder("b" * 10)
    gone.path.mkdir()
    gone.checkpoint.write_bytes(b"x")
    partial = store.folder(run_id).path / ".weights.safetensors.0a.partial"
    partial.write_bytes(b"half")
    os.utime(partial, (now - 2 * 86_400,) * 2)
    assert set(store.prune(days=14, most_bytes=150)) == {made["finished"], made["old"], made["surplus"], "b" * 10}
    assert {each for each in ages if store.folder(each).checkpoint.exists()} == {run_id, made["kept"]}
    assert all(store.folder(each).weights.read_bytes() == b"weights" for each in ages)
    assert not partial.exists()
    assert store.prune(days=14, most_bytes=150) == []


def test_a_backup_holds_what_the_list_held_and_a_failed_one_leaves_the_last(store, run_id, monkeypatch):
    store.apply(run_id, STARTED, step(1), {"kind": "finished", "results": {"test_errors": 3}})
    store.back_up()
    copy = sqlite3.connect(store.home / BACKUP)
    assert copy.execute("SELECT id, status FROM runs").fetchall() == [(run_id, "finished")]
    assert copy.execute("SELECT count(*) FROM records").fetchone() == (1,)
    copy.close()
    before = (store.home / BACKUP).read_bytes()
    store.close()
    (store.home / DATABASE).write_bytes(b"this is no database" * 99)
    with pytest.raises(StoreError, match="is damaged"):
        store.back_up()
    assert (store.home / BACKUP).read_bytes() == before
    assert not list(store.home.glob("*.partial")) + list(store.home.glob(".*.partial"))


# --------------------------------------------------------------------------------------------- reading in part


def test_some_gives_just_the_runs_asked_for_in_their_order(store, run_id):
    other, gone = new_id(), new_id()
    store.create({other: tiny_config(seed=1), gone: tiny_config(seed=2)})
    store.apply(gone, {"kind": "paused"})
    store.delete(gone)
    assert [run.id for run in store.some([other, "nobody", run_id, gone, other])] == [other, run_id]
    assert store.some([]) == []
    assert store.some(["' OR 1=1 --", "%"]) == []


def test_records_are_read_after_a_step_and_up_to_another(store, run_id):
    store.apply(run_id, STARTED, *(step(number) for number in (1, 10, 20, 30)))
    store.apply(run_id, {"kind": "epoch", "step": 20, "epoch": 1, "loss": 1.0, "best": True})

    def steps(*span):
        return [record["step"] for record in store.records(run_id, "step", *span)]

    assert steps() == [1, 10, 20, 30]
    assert steps(10) == [20, 30]
    assert steps(1, 20) == [10, 20]
    assert steps(30) == steps(5, 5) == []
    assert [record["step"] for record in store.records(run_id, "epoch", 19, 20)] == [20]


def test_validation_errors_are_those_of_the_newest_epoch_of_each_run_of_a_batch(store):
    config = tiny_config()
    store.create({"a": config, "b": config, "c": config}, batch="mine")
    store.create({"d": config}, batch="other")
    for run_id, counts in {"a": [9, 4, 7], "b": [None], "d": [1]}.items():
        for epoch, errors in enumerate(counts, 1):
            record = {"kind": "epoch", "step": 10 * epoch, "epoch": epoch, "loss": 1.0, "best": True}
            store.apply(run_id, {**record, "validation_errors": errors})
    assert store.validation_errors("mine") == {"a": 7}


def test_the_last_record_is_the_newest_of_either_kind(store, run_id):
    assert store.last_record(run_id) is None
    store.apply(run_id, STARTED, step(1), step(9, loss=0.25))
    assert (store.last_record(run_id)["kind"], store.last_record(run_id)["loss"]) == ("step", 0.25)
    store.apply(run_id, {"kind": "epoch", "step": 10, "epoch": 1, "loss": 0.5, "best": True, "seconds": 2.5})
    assert (store.last_record(run_id)["kind"], store.last_record(run_id)["loss"]) == ("epoch", 0.5)
    store.apply(run_id, step(11))
    assert store.last_record(run_id)["step"] == 11
    assert store.epoch_seconds(run_id) == [2.5]


def test_each_start_of_a_run_counts_as_an_attempt(store, run_id):
    assert store.get(run_id).attempt == 0
    for attempt in (1, 2, 3):
        store.apply(run_id, STARTED, step(1), {"kind": "paused"})
        assert store.get(run_id).attempt == attempt
        store.take_up(run_id)
        assert store.get(run_id).attempt == attempt


def test_probes_after_a_restart_replace_those_that_it_dropped(store, run_id):
    def probe(epoch, value):
        return {"kind": "probe", "epoch": epoch, "step": 10 * epoch, "logits": [[value, 1 / 3]]}

    store.apply(run_id, STARTED, *(probe(epoch, 1.0) for epoch in range(4)))
    assert [epoch for epoch, _ in store.probes(run_id, after=1)] == [2, 3]
    store.apply(run_id, {**STARTED, "step": 15})
    assert store.probes(run_id) == [(0, [[1.0, 1 / 3]]), (1, [[1.0, 1 / 3]])]
    store.apply(run_id, probe(2, 7.0), probe(2, 8.0))
    assert store.probes(run_id) == [(0, [[1.0, 1 / 3]]), (1, [[1.0, 1 / 3]]), (2, [[8.0, 1 / 3]])]


# ------------------------------------------------------------------------------------------------------- curves

STEPS_APART = 20  # as training's records are where epochs are long


def losses_of(count):
    """(count,) losses that wander, with one spike up and one down, at a third and at two thirds."""
    draw = np.random.default_rng(5)
    values = np.exp(0.02 * draw.standard_normal(count).cumsum())
    values[count // 3], values[2 * count // 3] = 1e3, 1e-6
    return values


def enter_losses(store, run_id, values):
    """As many step records, in pieces, the hard loss being twice the loss and the soft loss missing at times."""
    for start in range(0, len(values), 1000):
        pieces = enumerate(values[start : start + 1000].tolist(), start=start + 1)
        store.apply(
            run_id,
            *(
                step(STEPS_APART * n, epoch=n / 8, loss=loss, hard_loss=2 * loss, soft_loss=loss if n % 50 else None)
                for n, loss in pieces
            ),
        )


def min_max(values):
    """The lowest and the highest of each stretch of buckets, [(epoch, value), …], by numpy on all values at once."""
    count = np.arange(1, len(values) + 1)
    buckets = STEPS_APART * count // BUCKET_STEPS
    stretches = buckets // (1 + buckets[-1] // CURVE_STRETCHES)
    kept = set()
    for stretch in np.unique(stretches):
        (members,) = np.nonzero((stretches == stretch) & ~np.isnan(values))
        kept |= {members[values[members].argmin()], members[values[members].argmax()]}
    return [(count[index] / 8, values[index]) for index in sorted(kept)]


def test_the_curve_of_a_short_run_is_all_its_records_in_order(store, run_id):
    values = losses_of(2 * CURVE_STRETCHES)
    enter_losses(store, run_id, values)
    everything = [(n / 8, value) for n, value in enumerate(values.tolist(), start=1)]
    assert store.curve(run_id, "loss") == everything
    assert store.curve(run_id, "soft_loss") == [point for n, point in enumerate(everything, start=1) if n % 50]
    assert store.curve(run_id, "hard_loss") == [(epoch, 2 * value) for epoch, value in everything]


def test_a_curve_of_nothing_is_empty_and_of_an_unknown_part_refused(store, run_id):
    assert store.curve(run_id, "loss") == store.curve("nobody", "loss") == []
    store.apply(run_id, STARTED, step(1))
    assert store.curve(run_id, "soft_loss") == []
    with pytest.raises(ValueError, match="a curve is one of loss, soft_loss, hard_loss, got kind"):
        store.curve(run_id, "kind")


def test_a_middling_runs_curve_keeps_each_buckets_extremes_and_the_end(store, run_id):
    values = losses_of(5000)
    enter_losses(store, run_id, values)
    expected = {(5000 / 8, values[-1])}
    for start in range(0, 5000, 10):  # 500 stretches of 10
        piece = values[start : start + 10]
        expected |= {((start + 1 + index) / 8, piece[index]) for index in (piece.argmin(), piece.argmax())}
    assert store.curve(run_id, "loss") == sorted(expected)


def test_a_long_runs_curve_keeps_its_spikes_and_is_numpys_min_and_max(store, run_id):
    values = losses_of(25_000)
    enter_losses(store, run_id, values)
    curve = store.curve(run_id, "loss")
    assert len(curve) <= 2 * CURVE_STRETCHES + 2
    assert curve == sorted(curve)
    assert max(curve, key=lambda point: point[1]) == ((25_000 // 3 + 1) / 8, 1e3)
    assert min(curve, key=lambda point: point[1]) == ((2 * 25_000 // 3 + 1) / 8, 1e-6)
    assert curve == min_max(values)
    assert store.curve(run_id, "hard_loss") == [(epoch, 2 * value) for epoch, value in curve]
    assert store.curve(run_id, "soft_loss") == min_max(np.where(np.arange(1, 25_001) % 50, values, np.nan))


@pytest.mark.parametrize("kept", [24_997, 22_400, 20_001, 12_345, 1])
def test_the_curve_of_a_run_resumed_inside_a_bucket_forgets_all_beyond(store, run_id, kept):
    """The spike that came after the checkpoint is gone, and what comes anew is in the curve."""
    values = losses_of(25_000)
    values[kept:] *= 1e9
    enter_losses(store, run_id, values)
    store.apply(run_id, {**STARTED, "step": STEPS_APART * kept})
    curve = store.curve(run_id, "loss")
    assert max(epoch for epoch, _ in curve) <= kept / 8
    assert max(value for _, value in curve) < 1e6
    if kept > 20_000:
        assert curve == min_max(values[:kept])
    store.apply(run_id, step(STEPS_APART * (kept + 1), epoch=(kept + 1) / 8, loss=5e4))
    assert ((kept + 1) / 8, 5e4) == max(store.curve(run_id, "loss"), key=lambda point: point[1])


def test_the_curve_of_a_run_that_ran_away_still_shows_where_it_was_finite(store, run_id):
    values = losses_of(25_000)
    values[20_000:] = math.nan
    enter_losses(store, run_id, values)
    curve = store.curve(run_id, "loss")
    assert len(curve) > CURVE_STRETCHES
    assert max(epoch for epoch, _ in curve) <= 20_000 / 8
    assert all(math.isfinite(value) for _, value in curve)


def test_a_config_is_read_once_however_many_pages_list_its_run(store):
    run_id = new_id()
    store.create({run_id: tiny_config()})
    assert store.get(run_id).config is store.runs()[0].config


# ----------------------------------------------------------------------------------------------- whose runs these are


def owned_by(store, run_id, **owner):
    """Have a run belong to another process, as it would have entered it."""
    store.create({run_id: tiny_config()})
    with store._transaction() as database:
        database.execute("UPDATE runs SET owner = ? WHERE id = ?", (json.dumps(owner), run_id))


@pytest.fixture
def neighbour():
    """A living process of this machine that is not this one, as it enters itself."""
    return {"host": socket.gethostname(), **runs_store._birth(os.getppid())}


def test_a_clock_that_is_set_makes_no_living_process_an_orphan(store, neighbour, monkeypatch):
    """psutil tells the start of a process by the clock on the wall: set by an hour, all seem to have begun then."""
    store.create({"mine": tiny_config()})
    owned_by(store, "theirs", **neighbour)
    true_start = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: true_start(process) + 3600)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    assert store.interrupt_orphans() == []
    assert Store(store.home).interrupt_orphans() == [], "a second store of the same process"


def test_a_process_that_has_the_number_of_one_that_ended_owns_none_of_its_runs(store, neighbour):
    """As in a container, where the app has the same number in every life."""
    owned_by(store, "former", **{**neighbour, "pid": os.getpid(), "life": "another-boot 12"})
    assert store.interrupt_orphans() == ["former"]


def test_owners_that_earlier_versions_entered_are_still_read(store, neighbour):
    del neighbour["life"]
    owned_by(store, "living", **neighbour)
    owned_by(store, "gone", **{**neighbour, "started": neighbour["started"] - 60})
    assert store.interrupt_orphans() == ["gone"]


def test_a_store_without_a_column_for_those_who_joined_opens(home):
    old = Store(home)
    old.create({"abc": tiny_config()}, browser="anna")
    with old._transaction() as database:
        database.execute("ALTER TABLE runs DROP COLUMN joined")
    assert old.get("abc").browsers == ("anna",)
    old.close()
    store = Store(home)
    store.join("abc", "ben")
    assert store.get("abc").browsers == ("anna", "ben")
    assert store.leave("abc", "anna")
    assert not store.leave("abc", "ben")
    assert store.get("abc").browsers == ("ben",)
    store.close()


def test_a_run_waits_for_its_teacher_until_that_has_left_weights(store):
    store.create({"teacher": tiny_config(), "student": tiny_config("distilled", teachers=("teacher",))})
    assert store.blocked(store.runs()) == {"student"}
    store.apply("teacher", {"kind": "finished", "results": {"test_errors": 1}})
    assert store.blocked(store.runs()) == set()


def modes(home):
    names = (".", "lab.sqlite", "lab.sqlite-wal", "lab.backup.sqlite", "runs")
    return [oct((home / name).stat().st_mode & 0o777) for name in names]


def used(home):
    store = Store(home)
    store.create({new_id(): tiny_config()}, browser="anna")
    store.back_up()
    return store


def test_nobody_else_on_the_machine_reads_whose_run_is_whose(tmp_path):
    """A browser's id is all that its runs ask for."""
    before = os.umask(0)
    try:
        new, old, shared = tmp_path / "new", tmp_path / "old", tmp_path / "shared"
        used(new).close()
        assert new.stat().st_mode & 0o777 == 0o700
        old.mkdir(mode=0o755)
        used(old)
        assert modes(old) == ["0o755", "0o600", "0o600", "0o600", "0o777"]
        for name in ("lab.sqlite", "lab.backup.sqlite"):
            (old / name).chmod(0o644)  # as versions of before left them
        used(old)
        assert modes(old) == ["0o755", "0o600", "0o600", "0o600", "0o700"]
        shared.mkdir()
        shared.chmod(0o770)
        used(shared)
        assert modes(shared) == ["0o770", "0o644", "0o644", "0o644", "0o777"]
    finally:
        os.umask(before)


def test_a_kept_listing_is_always_what_a_new_reader_reads(store, run_id):
    def same() -> None:
        fresh = Store(store.home)
        kept, read = store.listing(), fresh.listing()
        assert [*kept.runs] == [*read.runs] == fresh.runs() == store.runs()
        assert list(kept.batches.items()) == list(read.batches.items())
        assert kept.grouped(settled_of) == read.grouped(settled_of)
        assert store.runs(statuses=["finished"]) == [run for run in read.runs if run.status == "finished"]
        fresh.close()

    same()
    other = Store(store.home)  # as another process, which writes beside
    ids = [new_id() for _ in range(3)]
    other.create({name: tiny_config(seed=seed) for seed, name in enumerate(ids)})
    same()
    before = store.listing()
    other.apply(ids[0], {"kind": "started", "step": 0, "total_steps": 4, "environment": {"precision": "float32"}})
    other.apply(ids[0], {"kind": "finished", "results": {"test_errors": 1}})
    store.describe(ids[1], name="kept", note="", tags=[])
    same()
    assert before.by_id[ids[0]].status == "queued"
    assert store.listing().by_id[run_id] is before.by_id[run_id]
    other.apply(ids[1], {"kind": "stopped"})
    other.delete(ids[1])
    same()
    store.restore(ids[1])
    same()
    store.delete(ids[1])
    assert store.purge(days=0) == [ids[1]]
    same()
    other.close()


def test_a_change_that_was_rolled_back_is_in_no_listing(store, run_id):
    store.listing()
    with pytest.raises(KeyError):
        store.apply(run_id, {"kind": "message", "text": "lost"}, {"kind": "probe"})
    assert store.listing().by_id[run_id].message is None
    store.apply(run_id, {"kind": "message", "text": "kept"})
    assert store.listing().by_id[run_id].message == "kept"


def test_a_store_without_its_triggers_is_followed_as_well(home, run_id, store):
    with closing(sqlite3.connect(store.home / DATABASE)) as database:
        database.executescript("DROP TRIGGER runs_note_delete; DROP TRIGGER runs_note_insert; DROP TABLE changes")
    older = Store(home)
    older._notes_changes = False  # as on a disk that cannot be written
    assert older.listing().by_id.keys() == {run_id}
    store.create({"more": tiny_config(seed=9)})
    assert older.listing().by_id.keys() == {run_id, "more"}
    older.close()


def test_the_newest_runs_are_read_a_few_at_a_time(store, run_id, monkeypatch):
    monkeypatch.setattr(reading, "MANY", 2)
    for seed in range(4):
        store.create({new_id(): tiny_config(seed=seed), new_id(): tiny_config(seed=seed + 10)})
    assert [*store.newest()] == store.runs()


def test_a_run_goes_to_another_process_without_what_is_remembered_of_it(store, run_id):
    run = store.get(run_id)
    assert remembered(lambda run: object())(run) is not None
    sent = pickle.loads(pickle.dumps(run))
    assert sent == run
    assert sent.facts == {}


def test_what_is_kept_of_a_batch_is_computed_once_until_a_run_changes(store, run_id):
    calls = []

    @remembered
    def count(runs):
        calls.append(len(runs))
        return len(runs)

    batch = store.get(run_id).batch
    store.create({"other": tiny_config(seed=3)})
    assert [count(store.listing().batches[batch]) for _ in range(3)] == [1] * 3
    assert len(calls) == 1
    store.apply("other", {"kind": "message", "text": "of another batch"})
    count(store.listing().batches[batch])
    assert len(calls) == 1
    store.describe(run_id, name="new", note="", tags=[])
    count(store.listing().batches[batch])
    assert len(calls) == 2
