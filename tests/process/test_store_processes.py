"""The store of runs, and the processes that own them."""

import os
import sqlite3
import subprocess
import sys

from kd_core.runs.run import new_id
from kd_core.runs.store import Store
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


def test_processes_that_open_a_new_home_at_once_all_open_it_and_print_no_sql(tmp_path):
    code = (
        "import sys; from pathlib import Path; from kd_core.exchange import shipped\n"
        "from kd_core.runs import recovery\n"
        "store = recovery.open_store(Path(sys.argv[1])).store; shipped.offer(store); print(len(store.runs()))"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "home")]
    opening = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(3)]
    assert [process.communicate(timeout=60)[0].split() for process in opening] == [[b"6"]] * 3
