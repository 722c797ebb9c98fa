"""A file system that is really full."""

import shutil
import subprocess
import sys

import pytest
from serving import ROOT


def in_a_small_file_system(folder, code, size="64k"):
    """Run code, with folder as its argument, on a file system of that size that no other process sees; else skip."""
    folder.mkdir()
    if sys.platform != "linux" or not shutil.which("unshare"):
        pytest.skip("a small file system of our own needs Linux and util-linux's unshare")
    mount = f'mount -t tmpfs -o size={size} tmpfs "$1" || exit 77; shift; exec "$@"'
    words = ["unshare", "-rm", "sh", "-c", mount, "sh", str(folder), sys.executable, "-c", code, str(folder)]
    result = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=60)
    if result.returncode == 77 or "unshare:" in result.stderr:
        pytest.skip(f"this machine lets us mount no file system: {result.stderr.strip()}")
    return result


def test_a_file_system_that_is_really_full_keeps_the_old_file_whole(tmp_path):
    result = in_a_small_file_system(
        tmp_path / "small",
        "import os, sys; from pathlib import Path; from kd_core.base.files import SaveError, write_atomic\n"
        "folder = Path(sys.argv[1])\n"
        "write_atomic(folder / 'weights', b'o' * 40_000)\n"
        "try:\n"
        "    write_atomic(folder / 'weights', b'n' * 40_000)\n"
        "except SaveError as error:\n"
        "    print(error)\n"
        "assert (folder / 'weights').read_bytes() == b'o' * 40_000\n"
        "print(os.listdir(folder))\n"
        "write_atomic(folder / 'weights', b'n' * 100)\n"
        "assert (folder / 'weights').read_bytes() == b'n' * 100",
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        f"The disk of {tmp_path / 'small'} is full: free some space; what was saved before is whole.",
        "['weights']",
    ]


KILLED = (
    "import os, subprocess, sys; from pathlib import Path; from kd_core.base.config import LabError; "
    "from kd_core.training.config import RunConfig\n"
    "from kd_core.runs.recovery import open_store; from kd_core.runs.store import Store\n"
    "folder = Path(sys.argv[1])\n"
    "if not os.fork():\n"
    "    Store(folder).create({'abc': RunConfig(role='teacher')})\n"
    "    os._exit(0)\n"
    "os.wait()\n"
)
"""A process that had the store open and was killed: its log and shared memory lie beside the database."""


def test_a_read_only_disk_is_a_sentence_read_and_written_once_it_may_be(tmp_path):
    code = KILLED + (
        "def remount(mode): subprocess.run(['mount', '-o', f'remount,{mode}', str(folder)], check=True)\n"
        "remount('ro'); store = open_store(folder).store\n"
        "try: store.ask('abc', 'stop')\n"
        "except LabError as error: print(error)\n"
        "print(store.get('abc').status)\n"
        "remount('rw'); store.ask('abc', 'stop'); print(store.request('abc'))\n"
    )
    result = in_a_small_file_system(tmp_path / "small", code, "1m")
    assert result.returncode == 0, result.stderr
    sentence, *rest = result.stdout.splitlines()
    assert "cannot be used: it cannot be written: give it write permission or set KD_HOME" in sentence
    assert rest == ["queued", "stop"]


@pytest.mark.parametrize("opened_by", ["Store", "open_store"])
def test_a_store_on_a_full_disk_is_read_and_written_once_there_is_room(tmp_path, opened_by):
    """SQLite calls it an I/O error: it cannot lay out its shared memory."""
    code = KILLED + (
        "(folder / 'lab.sqlite-shm').unlink()\n"
        "with (folder / 'ballast').open('wb', buffering=0) as ballast:\n"
        "    try:\n"
        "        while True: ballast.write(b'x' * 4096)\n"
        "    except OSError: pass\n"
        f"opened = {opened_by}(folder); store = getattr(opened, 'store', opened)\n"
        "print([(run.id, run.status) for run in store.runs()])\n"
        "try: store.ask('abc', 'stop')\n"
        "except LabError as error: print(error)\n"
        "(folder / 'ballast').unlink(); store.ask('abc', 'stop'); print(store.request('abc'))\n"
    )
    result = in_a_small_file_system(tmp_path / "small", code, "1m")
    assert result.returncode == 0, result.stderr
    full = f"The run store in {tmp_path / 'small'} cannot be used: its disk is full: free some space."
    assert result.stdout.splitlines() == ["[('abc', 'queued')]", full, "stop"]


def test_runs_on_a_full_file_system_stay_whole_and_go_on_once_there_is_room(tmp_path):
    """The database, the write-ahead log and a run's config file on 300 KiB that a ballast fills up."""
    code = (
        "import sys; from pathlib import Path; from kd_core.base.config import LabError; "
        "from kd_core.training.config import RunConfig\n"
        "from kd_core.runs.store import Store\n"
        "folder = Path(sys.argv[1]); store = Store(folder); store.create({'abc': RunConfig(role='teacher')})\n"
        "def step(number): store.apply('abc', {'kind': 'step', 'step': number, 'loss': 1.0})\n"
        "step(1)\n"
        "ballast = (folder / 'ballast').open('wb', buffering=0)\n"
        "try:\n"
        "    while True: ballast.write(b'x' * 4096)\n"
        "except OSError: pass\n"
        "def told(call):\n"
        "    try:\n"
        "        for number in range(2, 2000): call(number)\n"
        "    except LabError as error: print(error)\n"
        "told(step); told(step)\n"
        "told(lambda number: store.create({f'n{number}': RunConfig(role='teacher')}))\n"
        "kept = len(store.records('abc', 'step')); assert len(store.runs()) == 1\n"
        "(folder / 'ballast').unlink(); ballast.close()\n"
        "step(9000); step(9001); assert len(store.records('abc', 'step')) == kept + 2\n"
        "store.close(); store = Store(folder); assert len(store.records('abc', 'step')) == kept + 2\n"
        "print(store._database.execute('PRAGMA integrity_check').fetchone()[0])\n"
    )
    result = in_a_small_file_system(tmp_path / "small", code, "300k")
    assert result.returncode == 0, result.stderr
    full = f"The run store in {tmp_path / 'small'} cannot be used: its disk is full: free some space."
    lines = result.stdout.splitlines()
    assert lines[:2] == [full, full]
    assert "is full: free some space" in lines[2]
    assert lines[3] == "ok"
