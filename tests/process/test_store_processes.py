"""The store of runs, and the processes that own them."""

import contextlib
import os
import sqlite3
import subprocess
import sys

import pytest

from kd_core.runs import recovery
from kd_core.runs.run import new_id
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig
from tests.unit.runs.test_store import STARTED
from tests.unit.runs.test_store import run_id as run_id  # a fixture


def test_runs_of_a_process_that_is_gone_read_interrupted_and_others_do_not(store, run_id):
    theirs = new_id()
    code = (
        "import sys; from pathlib import Path; from kd_core.runs.store import Store; "
        "from kd_core.training.config import RunConfig;"
        "Store(Path(sys.argv[1])).create({sys.argv[2]: RunConfig(role='teacher')})"
    )
    subprocess.run([sys.executable, "-c", code, str(store.home), theirs], check=True)
    store.apply(theirs, STARTED)
    assert store.interrupt_orphans() == [theirs]
    assert store.get(theirs).status == "interrupted"
    assert "Resume starts it anew" in store.get(theirs).message
    assert store.get(run_id).status == "queued"


def test_the_store_survives_a_kill_in_the_middle_of_writing(home):
    """WAL: what was committed before the kill is there after it, and the database is whole."""
    code = (
        "import os, sys; from pathlib import Path;"
        "from kd_core.runs.store import Store; "
        "from kd_core.training.config import RunConfig;"
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


@pytest.mark.parametrize("meanwhile", ["a second Store", "the look at the curves after a kill"])
def test_the_write_ahead_log_stays_while_a_process_writes(home, meanwhile):
    """SQLite's locks end where their process closes the file, and who then reads the runs elsewhere takes the log away:
    what was written after that was lost, and the database in the end malformed."""
    writing = recovery.open_store(home).store
    writing.create({"abc": RunConfig(role="teacher")})
    if meanwhile == "a second Store":
        Store(home).close()
    else:
        looking = recovery._Use(home)
        looking._check()
        looking.end()
    reading = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT 1 FROM runs'); db.close()"
    subprocess.run([sys.executable, "-c", reading, str(home / "lab.sqlite")], check=True)
    assert (home / "lab.sqlite-wal").exists()
    writing.create({"def": RunConfig(role="teacher")})
    writing.close()
    with contextlib.closing(sqlite3.connect(home / "lab.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT id FROM runs").fetchall() == [("abc",), ("def",)]


def test_a_list_found_damaged_is_left_to_the_process_that_has_it_open(home):
    """Moved aside under its hands, what that process writes would go to a file that nobody reads."""
    writing = recovery.open_store(home).store
    writing.create({"abc": RunConfig(role="teacher")})
    (home / recovery.DAMAGE).touch()
    beside = recovery.open_store(home)
    assert (beside.notice, [run.id for run in beside.store.runs()]) == (None, ["abc"])
    beside.store.close()
    assert recovery.damage_notice(home)
    assert not list(home.glob("damaged-*"))
    writing.close()


def test_processes_that_open_a_new_home_at_once_all_open_it_and_print_no_sql(tmp_path):
    code = (
        "import sys; from pathlib import Path; from kd_core.exchange import shipped\n"
        "from kd_core.runs import recovery\n"
        "store = recovery.open_store(Path(sys.argv[1])).store; shipped.offer(store); print(len(store.runs()))"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "home")]
    opening = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(3)]
    assert [process.communicate(timeout=60)[0].split() for process in opening] == [[b"6"]] * 3
