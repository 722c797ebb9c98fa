"""What an adversary of the engine found: damaged files, odd names, several writers; each is met with a sentence."""

import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_config, train_here
from typer.testing import CliRunner

from kd_core.base import files, tensors
from kd_core.base.config import ConfigError
from kd_core.base.files import SaveError
from kd_core.cli.app import app
from kd_core.data import download, load
from kd_core.data.sets import like_mnist
from kd_core.evaluation import accuracy
from kd_core.runs.run import new_id
from kd_core.training.config import RunConfig

ROOT = Path(__file__).resolve().parents[2]


def shell(*words, **environment):
    return CliRunner().invoke(app, list(words), env={"COLUMNS": "80", **environment})


def test_square_brackets_in_a_mistake_are_no_markup(home):
    result = shell("train", "--dataset", "[/red]")
    assert result.exit_code == 2
    assert "unknown data set '[/red]'" in result.stderr


def test_square_brackets_in_kd_home_are_no_markup(tmp_path):
    result = shell("train", "--dataset", "digits", "--hidden", "8", "--epochs", "1", KD_HOME=str(tmp_path / "[/x]"))
    assert result.exit_code == 0


def test_a_superscript_is_no_number_of_units(home):
    assert shell("train", "--dataset", "digits", "--hidden", "²").exit_code == 2


@pytest.mark.parametrize(
    "words", [["--hidden", "9" * 5000], ["--role", "baseline", "--only-classes", "5-" + "9" * 5000]]
)
def test_a_number_that_python_does_not_read_is_said_in_words(home, words):
    result = shell("train", "--dataset", "digits", *words)
    assert result.exit_code == 2
    assert "must be whole numbers" in result.stderr


def test_one_sentence_is_one_line_in_a_pipe(home):
    assert shell("train", "--dataset", "digits", "--model", "perceptron").stderr.count("\n") == 1


def test_a_home_of_an_unknown_user_is_said_in_words():
    assert shell("runs", KD_HOME="~nosuchuser/x").exit_code == 2


@pytest.mark.parametrize(
    "words", [["resume", "\udcff"], ["distill", "--teacher", "\udcff"], ["train", "--dataset", "\udcff"]]
)
def test_bytes_that_are_no_text_are_said_in_words(home, words):
    """A shell hands them over as half a surrogate pair each."""
    result = shell(*words)
    assert result.exit_code == 2
    assert "holds what is no text in UTF-8" in result.stderr


def test_a_file_whose_name_is_no_text_is_named_all_the_same(store, digits, tmp_path):
    run_id = train_here(store, tiny_config())
    file = os.fsencode(tmp_path) + b"/\xff.zip"
    command = [sys.executable, "-m", "kd_core", "pack", run_id, file]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "KD_HOME": str(store.home)}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert b"\\udcff.zip holds the run" in done.stdout


@pytest.mark.parametrize("damage", [("config", b"\xff\xfe"), ("card", b"[]")])
def test_binary_rubbish_in_a_runs_files_is_said_in_words(store, digits, damage):
    run_id = train_here(store, tiny_config())
    getattr(store.folder(run_id), damage[0]).write_bytes(damage[1])
    assert shell("compare", run_id).exit_code == 2


def test_a_missing_checkpoint_is_missing_and_not_damaged(tmp_path):
    with pytest.raises(SaveError, match="is missing"):
        tensors.load_state(tmp_path / "nothing")


@pytest.mark.parametrize("kind", [9, 10])
def test_an_idx_file_of_another_type_is_said_in_words(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("KD_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(like_mnist, "IMAGES", {"train": 3, "t10k": 3})
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">BBBBiii", 0, 0, kind, 3, 3, 28, 28) + bytes(2352))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 2049, 3) + bytes(3))
    like_mnist.read.cache_clear()
    with pytest.raises(download.DatasetError):
        load.load("mnist")


def test_confusion_counts_small_integer_labels_of_many_classes():
    matrix = accuracy.confusion_matrix(np.eye(20)[[19]], np.array([19], dtype=np.uint8))
    assert matrix[19, 19] == 1


def test_json_with_a_field_called_self_is_refused_in_words():
    with pytest.raises(ConfigError):
        RunConfig.from_json('{"role": "teacher", "self": 1}')


def test_one_row_that_cannot_be_read_does_not_hide_the_others(store):
    store.create({"good": tiny_config(), "bad": tiny_config()})
    store._database.execute('UPDATE runs SET config = \'{"role": "teacher", "newer": 1}\' WHERE id = \'bad\'')
    assert "good" in [run.id for run in store.runs()]


def test_a_batch_is_older_than_a_run_created_after_it(store):
    store.create({new_id(): tiny_config(seed=n) for n in range(20)})
    newest = new_id()
    store.create({newest: tiny_config()})
    assert store.runs()[0].id == newest


def test_a_killed_owner_that_nobody_reaped_is_gone(store):
    code = (
        "import sys, time; from pathlib import Path;"
        "from kd_core.runs.store import Store; from kd_core.training.config import RunConfig;"
        "Store(Path(sys.argv[1])).create({'abc': RunConfig(role='teacher')}); print(flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(store.home)], stdout=subprocess.PIPE)
    process.stdout.readline()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the process table
    try:
        assert store.interrupt_orphans() == ["abc"]
    finally:
        process.stdout.close()
        process.wait()


def test_two_threads_writing_one_file_leave_one_whole_and_nobody_fails(tmp_path, monkeypatch):
    path, real, first = tmp_path / "file", os.fsync, threading.Event()

    def fsync(descriptor):
        if not first.is_set():
            first.set()
            files.write_atomic(path, b"second")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    files.write_atomic(path, b"first")
    assert path.read_bytes() == b"first"


def test_an_interrupted_write_leaves_no_partial_file(tmp_path, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomic(tmp_path / "file", b"x")
    assert list(tmp_path.iterdir()) == []
