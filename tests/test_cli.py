"""The command line: a story from train to compare, and every mistake in one sentence with an exit code."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from kd_core.__main__ import FAILED, PAUSED, REFUSED, app
from kd_core.runs import Store

QUICK = ["--dataset", "digits", "--hidden", "16", "--epochs", "2"]


@pytest.fixture
def shell(home):
    """shell(words…) -> the finished command, with stdout, stderr and exit_code."""
    runner = CliRunner()

    def command(*words):
        return runner.invoke(app, list(words), env={"COLUMNS": "200"})

    return command


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", "--dataset", "imagenet"], "unknown data set 'imagenet'"),
        (["train", "--dataset", "digits", "--epochs", "0"], "epochs must be at least 1, got 0"),
        (["train", "--dataset", "digits", "--model", "vgg"], "unknown model 'vgg'"),
        (["train", "--dataset", "digits", "--hidden", "wide"], "--hidden must be whole numbers"),
        (["train", "--dataset", "digits", "--learning-rate", "nan"], "learning_rate must be a finite number"),
        (["distill", "--teacher", "nobody"], "there is no run 'nobody'"),
        (["compare", "nobody"], "there is no run 'nobody'"),
        (["resume", "nobody"], "there is no run 'nobody'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(shell, words, sentence):
    result = shell(*words)
    assert result.exit_code == REFUSED
    assert result.stderr.startswith("error: ")
    assert sentence in result.stderr
    assert "Traceback" not in result.output


def test_a_story_in_the_shell(shell, home):
    assert shell("train", *QUICK).exit_code == 0
    for flag, value, sentence in (
        ("--temperature", "0", "temperature must be above 0, got 0"),
        ("--temperature", "-1", "temperature must be above 0, got -1"),
        ("--temperature", "nan", "temperature must be a finite number"),
        ("--alpha", "2", "alpha must be at most 1, got 2"),
    ):
        refused = shell("distill", "--teacher", "last", flag, value)
        assert refused.exit_code == REFUSED
        assert sentence in refused.stderr
    distilled = shell("distill", "--teacher", "last", *QUICK[2:], "--temperature", "3")
    assert distilled.exit_code == 0, distilled.output
    assert "test errors" in distilled.stdout

    rows = [json.loads(line) for line in shell("runs", "--json").stdout.splitlines()]
    assert [row["config"]["role"] for row in rows] == ["distilled", "teacher"]
    assert rows[0]["config"]["distillation"]["teachers"] == [rows[1]["id"]]
    assert rows[0]["config"]["distillation"]["temperature"] == 3
    assert {row["status"] for row in rows} == {"finished"}

    compared = shell("compare", rows[1]["id"], rows[0]["id"][:6])
    assert compared.exit_code == 0, compared.output
    for row in rows:
        assert f"{row['results']['test_errors']} of 445" in compared.stdout
    assert "latency p50, ms" in compared.stdout


def test_a_run_that_fails_is_one_sentence_and_exit_code_1(shell, home):
    shell("train", *QUICK)
    store = Store(home)
    store.folder(store.find("last").id).weights.unlink()
    store.close()
    result = shell("distill", "--teacher", "last", *QUICK[2:])
    assert result.exit_code == FAILED
    assert "is missing" in result.stderr
    assert "Traceback" not in result.output


def test_a_store_that_cannot_be_used_is_one_sentence(shell, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KD_HOME", str(tmp_path / "file"))
    result = shell("runs")
    assert result.exit_code == REFUSED
    assert "Set KD_HOME to another folder" in result.stderr


def test_ctrl_c_pauses_and_resume_finishes(shell, home):
    command = [sys.executable, "-m", "kd_core", "train", "--dataset", "digits", "--hidden", "16", "--epochs", "3000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ}, text=True)
    while not (home / "lab.sqlite").exists():
        time.sleep(0.05)
    store = Store(home)
    while not any(run.step > 10 for run in store.runs()):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == PAUSED, output
    assert "resume" in output
    run = store.find("last")
    assert run.status == "paused"
    store.ask(run.id, "stop")  # nothing to stop in a paused run: it must not stop the resumed one
    assert store.request(run.id) is None
    store.close()
    process = subprocess.Popen(
        [sys.executable, "-m", "kd_core", "resume", run.id], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    store = Store(home)
    while store.get(run.id).status != "running":
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    store.ask(run.id, "stop")  # as another process would, the app say
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert store.get(run.id).status == "stopped"
    assert store.get(run.id).results["test_errors"] < 445
    store.close()
