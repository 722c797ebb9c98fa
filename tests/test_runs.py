"""The run store: what is entered comes back, owners that are gone are found out, and trouble is said in words."""

import json
import os
import sqlite3
import subprocess
import sys

import pytest
from conftest import tiny_config

from kd_core.runs import Store, StoreError, folder_of, new_id

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


def test_two_stores_on_one_home_see_each_other(store, run_id):
    other = Store(store.home)
    other.ask(run_id, "stop")
    assert store.request(run_id) == "stop"
    other.close()


def test_runs_are_found_by_the_start_of_their_id_and_last_is_the_newest(store, run_id):
    newest = new_id()
    store.create({newest: tiny_config(seed=1)})
    assert store.find(newest[:6]).id == newest
    assert store.find("last").id == newest
    with pytest.raises(StoreError, match="several runs"):
        store.find("")
    with pytest.raises(StoreError, match="there is no run 'zz'"):
        store.find("zz")


@pytest.mark.parametrize("name", ["../x", "a/b", "", "..", "a.b", "é"])
def test_no_id_leads_out_of_the_home(tmp_path, name):
    with pytest.raises(StoreError, match="there is no run"):
        folder_of(tmp_path, name)


def test_only_a_run_that_rests_can_be_taken_up(store, run_id):
    with pytest.raises(StoreError, match="is queued and cannot be resumed"):
        store.take_up(run_id)
    store.apply(run_id, {"kind": "paused"})
    store.take_up(run_id)
    assert store.get(run_id).status == "queued"


def test_runs_of_a_process_that_is_gone_read_interrupted_and_others_do_not(store, run_id):
    theirs = new_id()
    code = (
        "import sys; from pathlib import Path; from kd_core.runs import Store; from kd_core.config import RunConfig;"
        "Store(Path(sys.argv[1])).create({sys.argv[2]: RunConfig(role='teacher')})"
    )
    subprocess.run([sys.executable, "-c", code, str(store.home), theirs], check=True)
    store.apply(theirs, STARTED)
    assert store.interrupt_orphans() == [theirs]
    assert store.get(theirs).status == "interrupted"
    assert "Resume goes on" in store.get(theirs).message
    assert store.get(run_id).status == "queued"


def test_speeds_are_kept_for_a_set_of_runs_in_any_order(store):
    store.save_speed(["b", "a"], {"models": {}})
    assert store.speed(["a", "b"]) == {"models": {}}
    assert store.speed(["a"]) is None


def test_a_damaged_database_is_said_in_words_and_left_alone(home):
    home.mkdir()
    (home / "lab.sqlite").write_bytes(b"this is no database" * 99)
    with pytest.raises(StoreError, match=r"is damaged .* move it away"):
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


def test_a_home_that_is_a_file_is_said_in_words(tmp_path):
    (tmp_path / "home").touch()
    with pytest.raises(StoreError, match="Set KD_HOME to another folder"):
        Store(tmp_path / "home")


def test_a_database_that_cannot_be_opened_is_said_in_words(tmp_path):
    (tmp_path / "lab.sqlite").mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        Store(tmp_path)


def test_the_store_survives_a_kill_in_the_middle_of_writing(home):
    """WAL: what was committed before the kill is there after it, and the database is whole."""
    code = (
        "import os, sys; from pathlib import Path;"
        "from kd_core.runs import Store; from kd_core.config import RunConfig;"
        "store = Store(Path(sys.argv[1])); store.create({'abc': RunConfig(role='teacher')});"
        "store._database.execute('BEGIN'); store._database.execute('DELETE FROM runs'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(home)], env={**os.environ}, check=False)
    store = Store(home)
    assert store.get("abc").status == "queued"
    store.close()
    whole = sqlite3.connect(home / "lab.sqlite")
    assert whole.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    whole.close()
