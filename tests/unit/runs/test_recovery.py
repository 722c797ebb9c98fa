"""A damaged list of runs costs nobody a finished run: it is put together from its backup and the runs' own folders."""

import contextlib
import math
import os
import random
import shutil
import sqlite3
import threading

import pytest
from tiny import tiny_config, train_here

from kd_core.jobs import execute
from kd_core.runs import artifacts, recovery
from kd_core.runs.reading import BACKUP, DATABASE
from kd_core.runs.run import new_id
from kd_core.runs.store import Store

SEEDS = range(20)


def as_known(store):
    """All that the list says of each run, with its curves."""
    return {
        run.id: (run, store.records(run.id, "step"), store.records(run.id, "epoch"), store.probes(run.id))
        for run in store.runs()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory, digits):
    """A home as history tells of it, and what it tells; trained once, for tests to copy."""
    folder = tmp_path_factory.mktemp("made") / "home"
    store = Store(folder)
    finished = [train_here(store, tiny_config(seed=seed)) for seed in range(2)]
    stopped = train_here(store, tiny_config(epochs=9), requested=iter([None] * 30 + ["stop"]).__next__)
    paused = train_here(store, tiny_config(epochs=9, seed=3), requested=lambda: "pause")
    store.describe(finished[0], name="Ada", note="the first", tags=["good"])
    store.back_up()
    facts = {"finished": finished, "stopped": stopped, "paused": paused, "known": as_known(store)}
    store.close()
    return folder, facts


@pytest.fixture
def store(home, request):
    """The store of this test's home, which is empty, or holds the history where the test asks for it."""
    if "history" in request.fixturenames:
        shutil.copytree(request.getfixturevalue("made")[0], home)
    opened = Store(home)
    yield opened
    opened.close()


@pytest.fixture
def history(made, store):
    """Two finished runs, one that was stopped, one that rests; and the list as it then was, backed up."""
    return made[1]


def damage(path, generator):
    """Spoil a database as a disk or a program may."""
    content = bytearray(path.read_bytes())
    match generator.choice(["header", "cut", "nothing", "pages"]):
        case "header":
            content[:100] = generator.randbytes(100)
        case "cut":
            content = content[: generator.randrange(1, len(content) // 2)]
        case "nothing":
            content = bytearray()
        case "pages":
            for _ in range(3):
                start = 4096 * generator.randrange(len(content) // 4096)
                content[start : start + 4096] = generator.randbytes(4096)
    path.write_bytes(content)


def closed(store):
    store._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_with_its_backup_a_damaged_list_comes_back_as_it_was(store, history, seed):
    closed(store)
    damage(store.home / DATABASE, random.Random(seed))
    spoiled = (store.home / DATABASE).read_bytes()
    opened = recovery.open_store(store.home)
    assert as_known(opened.store) == history["known"]
    assert opened.notice.startswith("The list of runs was damaged. It is whole again, from its backup of")
    assert opened.notice.split("0 of 4 runs came from their folders alone")[1]
    opened.store.close()
    (aside,) = store.home.glob("damaged-*")
    assert (aside / DATABASE).read_bytes() == spoiled
    assert recovery.open_store(store.home).notice is None


def test_without_a_backup_the_folders_give_back_every_run_with_its_results(store, history):
    closed(store)
    (store.home / BACKUP).unlink()
    (store.home / DATABASE).write_bytes(b"")
    opened = recovery.open_store(store.home)
    assert "the runs' folders; 4 of 4 runs" in opened.notice
    known = as_known(opened.store)
    runs = {run_id: run for run_id, (run, *_) in known.items()}
    for run_id, (before, *curves) in history["known"].items():
        assert (runs[run_id].config, runs[run_id].results) == (before.config, before.results)
        assert (runs[run_id].name, runs[run_id].note, runs[run_id].tags) == (before.name, before.note, before.tags)
        if run_id in history["finished"]:
            assert list(known[run_id][1:]) == curves
    for run_id in history["finished"]:
        assert runs[run_id].status == "finished"
        assert artifacts.test_logits(store.folder(run_id)).shape == (445, 10)
        assert as_known(opened.store)[run_id][1:] == history["known"][run_id][1:], "its curves are in its folder too"
    for run_id in (history["stopped"], history["paused"]):
        assert runs[run_id].status == "interrupted"
        opened.store.take_up(run_id)
    opened.store.close()


def test_what_ended_or_began_after_the_backup_is_found_in_its_folder(store, history):
    later = train_here(store, tiny_config(seed=7))
    resumed = history["paused"]
    store.take_up(resumed)
    execute.run_here(store, resumed, lambda event: None, lambda: None)
    after, curves = {run.id: run for run in store.runs()}, as_known(store)
    closed(store)
    (store.home / DATABASE).write_bytes(b"this is no database" * 999)
    opened = recovery.open_store(store.home)
    for run_id in (later, resumed):
        run = opened.store.get(run_id)
        assert as_known(opened.store)[run_id][1:] == curves[run_id][1:]
        assert (run.status, run.results, run.config) == ("finished", after[run_id].results, after[run_id].config)
    assert "2 of 5 runs came from their folders alone" in opened.notice
    opened.store.close()


def test_a_folder_whose_weights_are_not_those_of_its_card_is_no_finished_run(store, history):
    closed(store)
    (store.home / BACKUP).write_bytes(b"no backup either")
    (store.home / DATABASE).write_bytes(b"")
    run_id = history["finished"][0]
    store.folder(run_id).weights.write_bytes(b"cut")
    store.folder(history["finished"][1]).config.write_bytes(b"\xff{")
    opened = recovery.open_store(store.home)
    assert opened.store.get(run_id).status == "interrupted"
    assert not opened.store.get(run_id).usable
    assert len(opened.store.runs()) == 3
    opened.store.close()


def test_a_whole_list_is_left_alone_and_so_is_a_new_home(store, history, tmp_path):
    before = as_known(store)
    opened = recovery.open_store(store.home)
    assert opened.notice is None
    assert as_known(opened.store) == before
    opened.store.close()
    fresh = recovery.open_store(tmp_path / "fresh")
    assert (fresh.notice, fresh.store.runs()) == (None, [])
    fresh.store.close()
    assert not list(store.home.glob("damaged-*"))


def test_a_row_that_is_at_work_elsewhere_is_not_taken_for_lost(store, digits):
    run_id = new_id()
    store.create({run_id: tiny_config()})
    assert recovery.follow_folders(store) == 0
    assert store.get(run_id).status == "queued"


def test_a_database_of_another_program_is_moved_aside_whole(tmp_path):
    other = sqlite3.connect(tmp_path / DATABASE)
    other.execute("CREATE TABLE songs (name TEXT)")
    other.execute("INSERT INTO songs VALUES ('Lili')")
    other.commit()
    other.close()
    opened = recovery.open_store(tmp_path)
    assert opened.notice
    assert isinstance(opened.store, Store)
    opened.store.close()
    (aside,) = tmp_path.glob("damaged-*")
    kept = sqlite3.connect(aside / DATABASE)
    assert kept.execute("SELECT name FROM songs").fetchone() == ("Lili",)
    kept.close()


# ------------------------------------------------------------------- what SQLite itself takes for a whole database


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE runs SET results = substr(results, 1, 20) WHERE status = 'finished'",
        "UPDATE runs SET config = CAST(x'ff7b22' AS TEXT) WHERE status = 'paused'",
        "UPDATE records SET loss = 'x' WHERE step = 10",
        "UPDATE probes SET logits = '[[' WHERE epoch = 1",
    ],
)
def test_a_field_that_holds_what_was_never_written_is_damage(store, history, change):
    store._database.execute(change)
    closed(store)
    opened = recovery.open_store(store.home)
    assert "from its backup of" in opened.notice
    assert as_known(opened.store) == history["known"]
    opened.store.close()


@pytest.mark.parametrize("version", [0, 3])
def test_a_header_of_another_format_is_damage_and_no_want_of_permission(store, history, version):
    closed(store)
    content = bytearray((store.home / DATABASE).read_bytes())
    content[18] = version
    (store.home / DATABASE).write_bytes(content)
    opened = recovery.open_store(store.home)
    assert "from its backup of" in opened.notice
    opened.store.delete(history["stopped"])
    opened.store.close()


def test_a_database_that_is_gone_is_put_together_again(store, history):
    closed(store)
    (store.home / DATABASE).unlink()
    opened = recovery.open_store(store.home)
    assert as_known(opened.store) == history["known"]
    opened.store.close()


@pytest.mark.parametrize("backed_up", [True, False])
def test_what_the_write_ahead_log_lost_comes_from_the_backup_or_folders(store, history, backed_up):
    """The database alone, as it was before its newest run and another run's end: whole, and too old."""
    closed(store)
    old = (store.home / DATABASE).read_bytes()
    later = Store(store.home)
    new = train_here(later, tiny_config(seed=7))
    later.take_up(history["paused"])
    execute.run_here(later, history["paused"], lambda event: None, lambda: None)
    if backed_up:
        later.back_up()
    known = {run_id: (run.status, run.config, run.results) for run_id, (run, *_) in as_known(later).items()}
    closed(later)
    (store.home / DATABASE).write_bytes(old)
    for folder in (store.home / "runs").iterdir():  # long ago
        os.utime(folder / "config.json", (1e9, 1e9))
    opened = recovery.open_store(store.home)
    recovered = as_known(opened.store)
    assert {run_id: (run.status, run.config, run.results) for run_id, (run, *_) in recovered.items()} == known
    if backed_up:
        assert "from its backup of" in opened.notice
        assert len(recovered[new][2]) == 2
    else:
        assert opened.notice.startswith("The list of runs lacked what happened last to 2 of 5 runs.")
    opened.store.close()
    assert recovery.open_store(store.home).notice is None


def test_a_row_with_other_results_or_settings_than_its_card_follows_it(store, history):
    first, second = history["finished"]
    store._database.execute(
        "UPDATE runs SET results = replace(results, 'test_errors', 'test_errorz') WHERE id = ?", [first]
    )
    store._database.execute("UPDATE runs SET config = replace(config, '128', '129') WHERE id = ?", [second])
    opened = recovery.open_store(store.home)
    assert "to 2 of 4 runs" in opened.notice
    for run_id in (first, second):
        before = history["known"][run_id][0]
        run = opened.store.get(run_id)
        assert (run.status, run.results, run.config) == ("finished", before.results, before.config)
    opened.store.close()


def test_a_run_stopped_at_the_backup_and_finished_since_reads_finished(store, history):
    store.take_up(history["stopped"])
    execute.run_here(store, history["stopped"], lambda event: None, lambda: None)
    results = store.get(history["stopped"]).results
    closed(store)
    (store.home / DATABASE).write_bytes(b"")
    opened = recovery.open_store(store.home)
    run = opened.store.get(history["stopped"])
    assert (run.status, run.results) == ("finished", results)
    opened.store.close()


def test_a_folder_that_is_just_being_entered_by_another_process_is_left_to_it(store, history):
    store.folder("abc").path.mkdir()
    store.folder("abc").config.write_text(tiny_config().model_dump_json())
    opened = recovery.open_store(store.home)
    assert opened.notice is None
    assert len(opened.store.runs()) == 4
    opened.store.close()


def test_runs_that_were_entered_together_are_one_batch_again(store, digits):
    batches = [[new_id() for _ in range(3)], [new_id()]]
    for number, ids in enumerate(batches):
        store.create({run_id: tiny_config(seed=seed) for seed, run_id in enumerate(ids)})
        for position, run_id in enumerate(ids):
            written_at = 1e9 + 60 * number + position / 100
            os.utime(store.folder(run_id).config, (written_at, written_at))
    closed(store)
    (store.home / DATABASE).unlink()
    opened = recovery.open_store(store.home)
    batch_of = {run.id: run.batch for run in opened.store.runs()}
    assert [len({batch_of[run_id] for run_id in ids}) for ids in batches] == [1, 1]
    assert len(set(batch_of.values())) == 2
    opened.store.close()


def test_numbers_of_a_run_that_ran_away_are_no_damage(store, history):
    run_id = history["paused"]
    wild = [[math.nan, math.inf, -math.inf] * 4] * 20
    store.apply(run_id, {"kind": "probe", "epoch": 9, "step": 99, "logits": wild})
    store.apply(run_id, {"kind": "step", "step": 99, "epoch": 9.0, "loss": math.nan})
    store.save_finding("inside", [run_id], {"losses": wild})
    opened = recovery.open_store(store.home)
    assert opened.notice is None
    opened.store.close()


def test_runs_that_the_list_has_lost_come_back_to_their_batch_and_their_browser(store):
    ids = {new_id(): tiny_config(seed=seed) for seed in range(2)}
    store.create(ids, batch="sweep", browser="anna")
    before = store.some([*ids])
    store.close()
    for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
        (store.home / name).unlink(missing_ok=True)
    opened = recovery.open_store(store.home).store
    assert [(run.batch, run.browser, run.created_at) for run in opened.some([*ids])] == [
        (run.batch, run.browser, run.created_at) for run in before
    ]
    opened.close()


def test_an_index_that_no_longer_finds_a_run_is_damage(store):
    """As after some changed bytes: the row is there, and nobody who asks for its id gets it."""
    run_id = train_here(store, tiny_config())
    store.close()
    path = store.home / DATABASE
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_runs_1'"
        ).fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    content = bytearray(path.read_bytes())
    index = bytes(content[(page - 1) * size : page * size])
    content[(page - 1) * size : page * size] = index.replace(run_id.encode(), run_id[::-1].encode())
    path.write_bytes(content)
    opened, notice = recovery.open_store(store.home)
    assert "The list of runs was damaged" in notice
    assert opened.get(run_id).status == "finished"
    opened.close()


def test_an_epoch_without_its_seconds_is_damage(store):
    run_id = train_here(store, tiny_config())
    with store._transaction() as database:
        database.execute("UPDATE records SET seconds = NULL WHERE kind = 'epoch'")
    store.close()
    opened, notice = recovery.open_store(store.home)
    assert "The list of runs was damaged" in notice
    assert opened.get(run_id).status == "finished"
    opened.close()


@pytest.mark.parametrize("request_at", ["in the queue", "at its first step"])
def test_a_run_stopped_before_it_began_raises_no_alarm(store, caplog, request_at):
    if request_at == "in the queue":
        run_id = new_id()
        store.create({run_id: tiny_config()})
        store.apply(run_id, {"kind": "stopped"})
    else:
        run_id = train_here(store, tiny_config(), requested=lambda: "stop")
    assert store.get(run_id).status == "stopped"
    store.close()
    opened, notice = recovery.open_store(store.home)
    assert notice is None
    assert caplog.messages == []
    opened.close()


def test_a_database_closed_whole_is_checked_again_only_once_touched(store, history, monkeypatch):
    looked = []
    sound = recovery._sound
    monkeypatch.setattr(recovery, "_sound", lambda path, *tables: looked.append(path.name) or sound(path, *tables))
    store.close()
    recovery.open_store(store.home).store.close()
    assert looked == [DATABASE]
    for _ in range(2):
        opened = recovery.open_store(store.home)
        assert [run.id for run in opened.store.runs()]
        recovery.open_store(store.home).store.close()  # while another has it open
        opened.store.describe(history["finished"][0], name="renamed", note="", tags=[])
        opened.store.close()
    assert looked == [DATABASE]
    os.utime(store.home / DATABASE)
    recovery.open_store(store.home).store.close()
    assert looked == [DATABASE] * 2


def test_curves_are_looked_at_in_a_thread_after_an_unclean_end(store, history, monkeypatch):
    with store._transaction() as database:
        database.execute("UPDATE records SET loss = 'damaged' WHERE run_id = ?", (history["finished"][0],))
    opened = recovery.open_store(store.home, behind=True)  # the write-ahead log is there: nobody closed it
    assert opened.notice is None
    for thread in threading.enumerate():
        if thread.name == "kd-lab-check":
            thread.join(60)
    assert "start it again" in recovery.damage_notice(store.home)
    opened.store.close()
    store.close()
    again = recovery.open_store(store.home, behind=True)
    assert "damaged" in again.notice
    assert recovery.damage_notice(store.home) is None
    again.store.close()


def test_a_backup_leaves_to_the_folders_the_curves_that_they_hold_and_no_others(store, history):
    store.back_up()
    with contextlib.closing(sqlite3.connect(store.home / BACKUP)) as copy:
        copied = {run_id for (run_id,) in copy.execute("SELECT DISTINCT run_id FROM records")}
    assert copied.isdisjoint(history["finished"])
    assert history["paused"] in copied
    store.folder(history["finished"][1]).history.unlink()
    store._left_out.clear()  # as a new process
    store.back_up()
    closed(store)
    (store.home / DATABASE).write_bytes(b"this is no database" * 999)
    opened = recovery.open_store(store.home)
    assert as_known(opened.store) == history["known"]
    opened.store.close()
