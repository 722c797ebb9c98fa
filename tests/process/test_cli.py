"""The command line: a story from train to compare, and every mistake in one sentence with an exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny import BUDGET, LIMITS, PAPER, tiny_config, tiny_story
from typer.testing import CliRunner

from kd_core.cli import ENDED, FAILED, PAUSED, REFUSED
from kd_core.cli.app import app
from kd_core.exchange import shipped
from kd_core.experiments import broken, equal_budget, paper, presets
from kd_core.experiments.limits import catalogue as limits
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.runs.store import Store

ROOT = Path(__file__).resolve().parents[2]
SHELL = [sys.executable, "-m", "kd_core"]
QUICK = ["--dataset", "digits", "--hidden", "16", "--epochs", "2"]


def in_a_shell(*words):
    """The finished command, as a process of its own in a wide terminal."""
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run([*SHELL, *words], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """With more, models this small wait for cores that other programs hold: measured 40 times slower beside one."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def nothing_ships(home):
    """Commands in processes of their own find what ships; this test's home has been given it before."""
    given = [json.loads(file.read_text())["run"]["id"] for file in ROOT.glob("checkpoints/shipped/*/run.json")]
    store = Store(home)
    store.save_finding("shipped", (), {"ids": given})
    store.close()


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
        (["train", "--dataset", "digits", "--model", "mlp 10"], "write --model mlp --hidden 10"),
        (["train", "--dataset", "digits", "--hidden", "wide"], "--hidden must be whole numbers"),
        (["train", "--dataset", "digits", "--model", "cnn", "--channels", "8-x"], "--channels must be whole numbers"),
        (["train", "--dataset", "digits", "--model", "cnn", "--channels", "0"], "channels must be at least 1, got 0"),
        (["train", "--dataset", "digits", "--learning-rate", "nan"], "learning_rate must be a finite number"),
        (["distill", "--teacher", "nobody"], "there is no run 'nobody'"),
        (["train", "--dataset", "digits", "--seed", "-1"], "seed must be at least 0, got -1"),
        (["train", "--dataset", "digits", "--dropout", "1"], "dropout_hidden must be below 1, got 1"),
        (["train", "--dataset", "digits", "--jitter", "33"], "jitter_pixels must be at most 32, got 33"),
        (["distill", "--teacher", "last"], "there is no finished teacher to be the 'last': train one with"),
        (["distill", "--teacher", "../x"], "there is no run '../x'"),
        (["distill", "--teacher", "nobody", "--temperature", "0"], "there is no run 'nobody'"),
        (["compare", "nobody"], "there is no run 'nobody'"),
        (["resume", "nobody"], "there is no run 'nobody'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(shell, words, sentence):
    result = shell(*words)
    assert result.exit_code == REFUSED
    assert result.stderr.startswith("error: ")
    assert sentence in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.output


@pytest.mark.parametrize("words", [["distill"], ["compare"], ["train", "--epochs", "x"], ["train", "--role", "pupil"]])
def test_what_the_shell_cannot_read_is_said_without_a_traceback_and_exit_code_2(shell, words):
    result = shell(*words)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_no_mistake_enters_a_run(shell, home):
    for words in (["--epochs", "0"], ["--hidden", "x"], ["--model", "vgg"]):
        assert shell("train", "--dataset", "digits", *words).exit_code == REFUSED
    assert shell("runs", "--json").stdout == ""
    assert "There is no such run" in shell("runs").stderr
    assert not (home / "runs").exists()


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


def test_an_objective_its_weights_and_a_schedule_in_the_shell(shell):
    """A chain, too: what was distilled is the teacher of the next."""
    assert shell("train", *QUICK).exit_code == 0
    quick = ["distill", *QUICK[2:], "--teacher"]
    for words, sentence in (
        (["--objective", "vid"], "unknown objective 'vid'"),
        (["--objective", "dkd", "--weight", "beta=1"], "dkd has no weight 'beta'"),
        (["--objective", "dkd", "--weight", "nontarget"], "--weight must be a name and a number"),
        (["--objective", "dkd", "--alpha", "0.5"], "dkd is not weighed by alpha: leave --alpha out"),
        (["--objective", "logit_matching", "--temperature", "2"], "logit_matching has no temperature"),
        (["--objective", "nkd", "--no-labelled"], "nkd reads the label of every example"),
        (["--final-alpha", "2"], "final_alpha must be at most 1, got 2"),
        (["--label-smoothing", "1"], "label_smoothing must be below 1, got 1"),
    ):
        refused = shell(*quick, "last", *words)
        assert refused.exit_code == REFUSED
        assert sentence in refused.stderr
    assert shell(*quick, "last", "--objective", "dkd", "--weight", "nontarget=4", "--weight", "hard=0.5").exit_code == 0
    student = json.loads(shell("runs", "--json", "--limit", "1").stdout)["id"]
    assert shell(*quick, student, "--final-temperature", "1", "--final-alpha", "0").exit_code == 0
    second, first, _ = [json.loads(line) for line in shell("runs", "--json").stdout.splitlines()]
    distillation = first["config"]["distillation"]
    assert (distillation["objective"], distillation["temperature"]) == ("dkd", 4)
    assert distillation["weights"] == {"hard": 0.5, "nontarget": 4}
    assert second["config"]["distillation"]["teachers"] == [first["id"]]
    assert second["config"]["distillation"]["final_temperature"] == 1
    assert second["status"] == "finished"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: folder.weights.write_bytes(b"junk"), "weights.safetensors is damaged and cannot be read"),
        (lambda folder: folder.config.write_text("{"), "this is not a config"),
        (lambda folder: folder.config.unlink(), "config.json is missing"),
    ],
)
def test_a_teacher_whose_files_were_damaged_fails_its_student_in_one_sentence(shell, home, damage, sentence):
    shell("train", *QUICK[:-1], "1")
    store = Store(home)
    teacher = store.runs()[0]
    damage(store.folder(teacher.id))
    result = shell("distill", "--teacher", teacher.id, *QUICK[2:])
    assert result.exit_code == FAILED
    assert sentence in result.stderr
    assert "Traceback" not in result.output
    assert sentence in store.runs()[0].message
    compared = shell("compare", teacher.id)
    assert compared.exit_code == REFUSED
    assert sentence in compared.stderr
    store.close()


def test_a_student_of_a_teacher_without_weights_is_refused_before_entry(shell, store):
    store.create({"abc": tiny_config()})
    store.apply("abc", {"kind": "failed", "text": "no"})
    result = shell("distill", "--teacher", "abc")
    assert result.exit_code == REFUSED
    assert result.stderr == "error: teacher run abc is failed and left no weights: choose another\n"
    compared = shell("compare", "abc")
    assert compared.exit_code == REFUSED
    assert compared.stderr == "error: run abc is failed and left no weights to compare\n"
    assert [run.id for run in store.runs()] == ["abc"]


def test_what_is_finished_is_not_resumed(shell, store):
    store.create({"abc": tiny_config()})
    store.apply("abc", {"kind": "finished", "results": {"test_errors": 1}})
    result = shell("resume", "abc")
    assert result.exit_code == REFUSED
    assert result.stderr == "error: run abc is finished and cannot be resumed\n"


def test_a_run_that_fails_is_one_sentence_and_exit_code_1(shell, home):
    shell("train", *QUICK)
    store = Store(home)
    store.folder(store.runs()[0].id).weights.unlink()
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


@pytest.mark.usefixtures("heeded_signals")
def test_ctrl_c_pauses_and_resume_finishes(shell, home):
    command = [sys.executable, "-m", "kd_core", "train", "--dataset", "digits", "--hidden", "16", "--epochs", "3000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ}, text=True)
    while not (home / "lab.sqlite").exists():
        time.sleep(0.05)
    store = Store(home)
    while not any(run.step > 100 for run in store.runs()):  # some epochs: a stopped run has weights after its first
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == PAUSED, output
    assert "resume" in output
    run = store.runs()[0]
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


def test_mistakes_in_a_real_shell_are_one_sentence_on_standard_error(home):
    for words, sentence in (
        (
            ["train", "--dataset", "imagenet"],
            "error: unknown data set 'imagenet': choose one of digits, mnist, fashion_mnist, kmnist, cifar10\n",
        ),
        (["distill", "--teacher", "nobody"], "error: there is no run 'nobody': see the list of runs\n"),
    ):
        result = in_a_shell(*words)
        assert (result.returncode, result.stdout, result.stderr) == (REFUSED, "", sentence)


@pytest.mark.usefixtures("heeded_signals")
def test_a_run_paused_by_a_signal_resumes_to_the_same_weights(shell, home):
    words = ["train", "--dataset", "digits", "--hidden", "16", "--epochs", "100", "--precision", "float32"]
    process = subprocess.Popen([*SHELL, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT, text=True)
    while not (home / "lab.sqlite").exists():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)
    store = Store(home)
    while not any(run.step > 0 for run in store.runs()):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGHUP)  # as when its terminal is closed
    output, _ = process.communicate(timeout=60)
    assert process.returncode == ENDED, output
    assert "Traceback" not in output
    paused = store.runs()[0]
    assert paused.status == "paused"
    assert 0 < paused.progress < 1
    assert not paused.usable
    assert store.folder(paused.id).checkpoint.exists()

    resumed = shell("resume", paused.id[:5])
    assert resumed.exit_code == 0, resumed.output
    finished = store.get(paused.id)
    assert (finished.status, finished.progress) == ("finished", 1)
    assert not store.folder(paused.id).checkpoint.exists()

    assert shell(*words).exit_code == 0
    straight = store.runs()[0]
    assert straight.results["test_errors"] == finished.results["test_errors"]
    assert store.folder(straight.id).weights.read_bytes() == store.folder(paused.id).weights.read_bytes()
    store.close()


def test_a_killed_run_reads_interrupted_at_the_next_command_and_can_be_resumed(shell, home):
    words = ["train", "--dataset", "digits", "--hidden", "16", "--epochs", "3000"]
    process = subprocess.Popen([*SHELL, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    store = Store(home)
    while not any(run.step > 0 for run in store.runs()):
        assert process.poll() is None
        time.sleep(0.02)
    assert [json.loads(line)["status"] for line in shell("runs", "--json").stdout.splitlines()] == ["running"]
    process.kill()
    process.wait()
    assert [json.loads(line)["status"] for line in shell("runs", "--json").stdout.splitlines()] == ["interrupted"]
    store.take_up(store.runs()[0].id)
    store.close()


def test_a_recipe_trains_what_is_missing_of_it_and_prints_paper_and_ours(shell, monkeypatch):
    monkeypatch.setattr(paper, "PROTOCOLS", {"mnist": PAPER})
    done = shell("recipe", "main", "--markdown")
    assert done.exit_code == 0, done.output
    assert "| run | paper | ours: median (range) | seeds |" in done.stdout
    assert done.stderr.count("finished: ") == 3
    assert "inconclusive" in done.stdout
    again = shell("recipe", "main", "--markdown")
    assert "finished: " not in again.output
    assert again.stdout == done.stdout
    assert "there is no recipe 'speech'" in shell("recipe", "speech").output
    assert "there is no recipe for 'cifar'" in shell("recipe", "main", "--dataset", "cifar").output


def test_objectives_are_compared_by_one_command_that_goes_on_where_it_was(shell, monkeypatch):
    monkeypatch.setattr(equal_budget, "OBJECTIVES", {name: OBJECTIVES[name] for name in ("hinton", "rkd")})
    monkeypatch.setattr(equal_budget, "budget", lambda dataset: BUDGET)
    done = shell("objectives", "--dataset", "digits", "--seeds", "3", "--markdown")
    assert done.exit_code == 0, done.output
    assert done.stderr.count("finished: ") == 1 + 4 * 3
    assert "| " + " | ".join(equal_budget.HEAD) + " |" in done.stdout
    assert "After Holm's correction for 3 comparisons" in done.stdout
    more = shell("objectives", "--dataset", "digits", "--seeds", "4", "--markdown")
    assert more.stderr.count("finished: ") == 4
    again = shell("objectives", "--dataset", "digits", "--seeds", "4", "--markdown")
    assert again.stdout == more.stdout


def test_a_limit_is_tried_by_one_command_its_students_trained_as_one(shell, store, monkeypatch):
    monkeypatch.setattr(limits, "SCALES", {"digits": LIMITS})
    monkeypatch.setattr(broken, "teacher", lambda dataset: tiny_config())
    done = shell("limits", "small", "--seeds", "3", "--markdown")
    assert done.exit_code == 0, done.output
    assert done.stderr.count("finished: ") == 1 + 4 * 3
    assert sum("trained_together" in run.environment for run in store.runs()) == 12
    assert "| The student at T = 20 | " in done.stdout
    assert "Hinton, Vinyals and Dean 2015" in done.stdout
    again = shell("limits", "small", "--seeds", "3", "--json")
    assert "finished: " not in again.output
    written = json.loads(again.stdout)
    assert [len(written["errors"][line]) for line in ("baseline", "cold", "warm", "hot")] == [3] * 4
    assert "no results of 'small' on digits came with KD Lab" in shell("limits", "small", "--shipped").output
    assert "there is no experiment 'speech'" in shell("limits", "speech").output
    elsewhere = shell("limits", "small", "--dataset", "cifar10", "--shipped")
    assert "no results of 'small' on cifar10 came with KD Lab" in elsewhere.output
    assert "unknown data set 'speech'" in shell("limits", "--dataset", "speech").output


def test_what_a_mistake_costs_is_asked_by_one_command_of_any_pair(shell, store):
    shell("train", *QUICK)
    of = ("mistakes", "no_t_squared", "--teacher", "last", "--student", "mlp 8", "--epochs", "1", "--seeds", "3")
    done = shell(*of, "--markdown")
    assert done.exit_code == 0, done.output
    assert done.stderr.count("finished: ") == 2 * 3
    assert "| " + " | ".join(broken.ERROR_HEAD) + " |" in done.stdout
    again = shell(*of, "--json")
    assert "finished: " not in again.output
    records = [json.loads(line) for line in again.stdout.splitlines()]
    assert [(record["mistake"], record["seed"]) for record in records] == [("no_t_squared", seed) for seed in range(3)]
    right, wrong = (
        [run for run in store.runs() if run.config.role == "distilled" and run.config.mistake == mistake]
        for mistake in (None, "no_t_squared")
    )
    errors = [{run.config.seed: run.results["test_errors"] for run in runs} for runs in (right, wrong)]
    assert [record["difference"] for record in records] == [errors[1][seed] - errors[0][seed] for seed in range(3)]
    assert "there is no mistake 'haste'" in shell("mistakes", "haste").output


def test_a_run_is_advised_on_and_what_is_no_student_is_not(shell, store):
    teacher = shell("train", *QUICK)
    student = shell("distill", "--teacher", "last", "--hidden", "8", "--epochs", "2", "--temperature", "2")
    assert (teacher.exit_code, student.exit_code) == (0, 0)
    result = shell("advise", "last")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("1. ")
    assert "Train longer" in result.stdout
    assert "Next: Train for 4 epochs (training.epochs 2 -> 4)" in result.stdout
    refused = shell("advise", store.runs()[-1].id)
    assert refused.exit_code == REFUSED
    assert "no distilled student" in refused.output


def test_what_ships_is_made_by_one_command_and_verified_by_another(shell, monkeypatch, home):
    monkeypatch.setattr(paper.experiments, "__defaults__", (PAPER,))
    monkeypatch.setattr(presets, "digits_story", tiny_story)
    nothing = shell("verify")
    assert nothing.exit_code == REFUSED
    assert "holds no model" in nothing.output
    made = shell("ship")
    assert made.exit_code == 0, made.output
    assert made.stdout.count("holds run") == 6
    assert shell("verify").stdout.count("holds") == 3
    facts = shipped.FOLDER / "digits-teacher" / shipped.FACTS
    facts.write_text(facts.read_text().replace('"test_errors": ', '"test_errors": 1'))
    refuted = shell("verify")
    assert refuted.exit_code == FAILED
    assert "other test errors than claimed" in refuted.stdout


def test_a_teacher_is_brought_from_a_file_and_teaches(shell, home, tmp_path):
    assert shell("train", *QUICK).exit_code == 0
    store = Store(home)
    trained = store.runs()[0]
    file = tmp_path / "mine.safetensors"
    file.write_bytes(store.folder(trained.id).weights.read_bytes())
    brought = shell("teacher", str(file), "--dataset", "digits", "--name", "Mine")
    assert brought.exit_code == 0, brought.output
    assert f"{trained.results['test_errors']} test errors of 445" in brought.output
    run = store.runs()[0]
    assert (run.label, run.status, run.results["test_errors"]) == ("Mine", "finished", trained.results["test_errors"])
    assert shell("distill", "--teacher", "last", *QUICK).exit_code == 0
    assert "brought" in shell("compare", run.id, trained.id).output
    store.close()


def test_a_teacher_that_guesses_is_not_taken_unless_it_is_wanted_anyway(shell, home, tmp_path):
    file = tmp_path / "untrained.pt"
    torch.save({"a.weight": torch.zeros(10, 784), "a.bias": torch.zeros(10)}, file)
    refused = shell("teacher", str(file), "--dataset", "digits")
    assert refused.exit_code == REFUSED
    assert "errs as if it guessed" in refused.output
    assert "--anyway" in refused.output
    store = Store(home)
    assert not [run for run in store.runs() if run.config.brought]
    store.close()
    for words, sentence in {
        ("--pixels", "loud"): "--pixels must be one of own",
        ("--mean", "x", "--std", "1"): "--mean must be numbers",
        ("--answer", "tanh"): "--answer must be a question and an option",
        ("--answer", "stride=2"): "leaves no stride open",
    }.items():
        wrong = shell("teacher", str(file), "--dataset", "digits", *words)
        assert (wrong.exit_code, sentence in wrong.output) == (REFUSED, True), wrong.output
    assert shell("teacher", str(tmp_path / "none.pt")).exit_code == REFUSED


LOST = """
import os, signal
from kd_core.cli import cluster, options
from kd_core.jobs import hosts

class Closing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        sum(range(1000))  # Python runs the signal's handler here, and loses what it raises

def close(*_):
    Closing()
"""


def test_a_scheduler_ends_though_the_signal_comes_while_something_is_closed():
    closing = "real = hosts.serve_scheduler\nhosts.serve_scheduler = lambda host, port, ready: real(host, port, close)"
    words = [sys.executable, "-c", f"{LOST}{closing}\ncluster.scheduler('127.0.0.1', 0)"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "ended")


def test_a_look_at_data_ends_though_the_signal_comes_while_something_is_closed():
    look = "with options.interrupted_by_sigterm() as check:\n    close()\n    check()\n    print('went on')"
    done = subprocess.run([sys.executable, "-c", LOST + look], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.stdout, done.stderr.splitlines()[-1]) == ("", "KeyboardInterrupt")
