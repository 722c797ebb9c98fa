"""Data sets come in through a process of their own: it tells how far it is, can be stopped, leaves nothing behind."""

import json
import os
import sys

import numpy as np
import pytest
from typer.testing import CliRunner
from waiting import wait_until

from kd_core.base import paths as base_paths
from kd_core.cli.app import app
from kd_core.data import intake
from kd_core.data.catalogue import info_of
from kd_core.data.intake import Intake, IntakeError
from kd_core.data.own import library, prepare
from kd_core.data.own.library import Preparation
from tests.unit.data.test_own_data import CLASSES, files, laid, zipped


@pytest.fixture
def taking_in(home):
    opened = Intake(home)
    yield opened
    opened.close()


def ended(taking_in, work_id, seconds=60):
    work = taking_in.work(work_id)
    assert work.ended.wait(seconds), "it does not end"
    return work


def test_an_upload_is_looked_at_then_prepared_and_gone(taking_in, home, tmp_path):
    path = taking_in.keep("trees.zip", zipped(tmp_path / "trees.zip", files()).read_bytes())
    assert path.parent.parent == home / intake.INCOMING
    looked = ended(taking_in, taking_in.look(path, "anna"))
    assert (looked.error, looked.result["train"]) == (None, dict.fromkeys(CLASSES, 10))
    made = ended(taking_in, taking_in.prepare(path, Preparation(label="trees", side=8), "anna"))
    assert made.error is None
    assert (made.text, made.share) == ("Preparing images", 1.0)
    assert library.names(base_paths.storage()) == [made.result["name"]]
    taking_in.discard(path)
    assert list((home / intake.INCOMING).iterdir()) == []


def test_what_is_wrong_with_an_upload_is_said_in_the_sentence_of_the_process(taking_in):
    path = taking_in.keep("../../no.zip", b"no zip at all")
    assert path.name == "no.zip"
    work = ended(taking_in, taking_in.look(path, ""))
    assert work.result is None
    assert work.error == "no.zip is no zip file, or it is cut short: pack the class folders again."


def test_a_process_that_asks_for_too_much_memory_gets_none_and_says_so(taking_in, tmp_path, monkeypatch):
    script = "bytearray(int(sys.argv[-1])); print('{\"result\": {}}')"
    for wanted, enough in ((intake.MAX_MEMORY_BYTES // 2, True), (intake.MAX_MEMORY_BYTES, False)):
        monkeypatch.setattr(intake, "COMMAND", [sys.executable, "-c", f"import sys; sys.argv[-1] = {wanted}; {script}"])
        work = ended(taking_in, taking_in.look(tmp_path, ""))
        assert (work.result == {}) == enough
        assert enough or "broke off, perhaps for want of memory; nothing was kept" in work.error


def test_a_process_that_is_stopped_or_dies_leaves_nothing_and_says_so(taking_in, tmp_path, monkeypatch):
    script = 'import time; print(\'{"text": "Preparing", "share": 0.5}\', flush=True); time.sleep(60)'
    monkeypatch.setattr(intake, "COMMAND", [sys.executable, "-c", script])
    stopped = taking_in.look(tmp_path, "")
    work = taking_in.work(stopped)
    wait_until(lambda: work.text == "Preparing")
    monkeypatch.setattr(intake, "AT_ONCE", 1)
    with pytest.raises(IntakeError, match="1 data sets are being worked on already"):
        taking_in.look(tmp_path, "")
    taking_in.stop(stopped)
    assert ended(taking_in, stopped).error == "Stopped; nothing was kept."
    monkeypatch.setattr(intake, "COMMAND", [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    assert "broke off, perhaps for want of memory" in ended(taking_in, taking_in.look(tmp_path, "")).error


def test_uploads_have_so_much_room_and_those_of_a_killed_server_are_gone(taking_in, home, monkeypatch):
    monkeypatch.setattr(intake, "KEPT", 2)
    kept = [taking_in.keep("a.zip", b"1"), taking_in.keep("a.zip", b"2")]
    with pytest.raises(IntakeError, match="2 uploads lie here already"):
        taking_in.keep("a.zip", b"3")
    os.utime(kept[0].parent, (0, 0))
    taking_in.keep("a.zip", b"3")
    assert not kept[0].exists()
    monkeypatch.setattr(intake, "MIN_FREE_BYTES", 10**18)
    monkeypatch.setattr(intake, "KEPT", 20)
    with pytest.raises(IntakeError, match="has no room for this upload"):
        taking_in.keep("a.zip", b"4")
    assert len(list((home / intake.INCOMING).iterdir())) == 2
    Intake(home)
    assert not (home / intake.INCOMING).exists()


def test_the_shell_imports_a_folder_and_trains_on_it_by_its_name(home, tmp_path):
    def shell(*words):
        return CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})

    source = laid(tmp_path / "My trees", files(12))
    assert (
        "3 classes, 30 images to train and 6 to test on"
        in shell("data", "add", str(source), "--side", "12", "--grey").stdout
    )
    (name,) = library.names(base_paths.storage())
    assert (info_of(name).label, info_of(name).image_shape) == ("my trees", (1, 12, 12))
    assert name in shell("data", "list").stdout
    trained = shell("train", "--dataset", "My trees", "--model", "mlp", "--hidden", "4", "--epochs", "1")
    assert "test errors of 6" in trained.stdout, trained.stderr
    assert shell("train", "--dataset", "leaves").stderr.startswith("error: unknown data set 'leaves': choose one of")
    assert shell("data", "look", str(source), "--json").stdout.startswith('{"result": {"train": {"ash": 12')
    assert "ash" in shell("data", "look", str(source)).stdout
    assert "oak" in shell("data", "look", str(source), "--rename", "ash=oak").stdout
    assert "--rename must be a folder and a class" in shell("data", "look", str(source), "--rename", "ash").stderr
    (tmp_path / "one").mkdir()
    refused = shell("data", "look", str(tmp_path / "one"))
    assert (refused.exit_code, refused.stderr.startswith("error: one holds no image")) == (2, True)
    assert shell("data", "remove", "mnist").exit_code == 2
    assert shell("data", "remove", "my trees").exit_code == 0
    assert library.names(base_paths.storage()) == []


def test_a_run_on_a_users_data_learns_from_its_images_and_says_which(tmp_path, home):
    """Greys of three sorts: whoever reads the right images with the right labels tells them apart."""
    from kd_core.jobs import execute
    from kd_core.models.config import ModelConfig
    from kd_core.runs import artifacts
    from kd_core.runs.run import folder_of
    from kd_core.runs.store import Store
    from kd_core.training.config import RunConfig, TrainingConfig

    name = prepare.prepare(zipped(tmp_path / "g.zip", files(30)), Preparation(label="g", side=8), base_paths.storage())
    store = Store(home)
    training = TrainingConfig(epochs=20, batch_size=16, learning_rate=1e-2, precision="float32")
    config = RunConfig(role="teacher", dataset=name, model=ModelConfig(name="cnn"), training=training)
    store.create({"a" * 12: config})
    execute.run_here(store, "a" * 12, lambda event: None, lambda: None)
    run = store.get("a" * 12)
    assert run.status == "finished", run.message
    assert run.results["test_errors"] == 0
    card = json.loads(store.folder(run.id).card.read_text())
    assert (card["class_names"], card["input"]["shape"]) == (list(CLASSES), [3, 8, 8])
    labels = library.read(base_paths.storage(), name).labels[1]
    assert np.array_equal(artifacts.test_logits(folder_of(base_paths.storage(), run.id)).argmax(axis=1), labels)
    store.close()
