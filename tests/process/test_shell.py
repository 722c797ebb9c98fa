"""What somebody in a shell can rely on, over all commands: whose run is taken, what goes where, and the exit codes."""

import json
import re
import shlex
import signal
import subprocess
import sys
import tomllib
import typing
from pathlib import Path

import pytest
import typer
from tiny import BUDGET, PAPER, assert_same_weights, tiny_config, train_here
from typer.testing import CliRunner

from kd_core.base import tensors
from kd_core.base.config import ConfigError
from kd_core.cli import INTERRUPTED, REFUSED, watch
from kd_core.cli.app import app
from kd_core.exchange import shipped
from kd_core.experiments import defaults, equal_budget, paper
from kd_core.jobs.queue import Jobs
from kd_core.jobs.turns import Limits
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.models import build
from kd_core.models.config import MODELS, ModelConfig
from kd_core.runs.run import new_id
from kd_core.runs.store import Store

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = shipped.FOLDER


def shell(*words, columns=200):
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": str(columns)})


def commands(group, words=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))
every_command = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)


@pytest.fixture
def started(monkeypatch):
    """The configs of the runs that commands start, which are not trained."""
    configs = []
    monkeypatch.setattr(watch, "watch", lambda store, run_id: configs.append(store.get(run_id).config) or "")
    return configs


def entered(store, config=None, status="finished", *, browser="", errors=7, tags=()):
    """A run as it would stand after training, newer than those before it."""
    run_id = new_id()
    store.create({run_id: config or tiny_config()}, browser=browser)
    if status != "queued":
        store.apply(run_id, {"kind": status, "results": {"test_errors": errors, "test_examples": 445}})
    store.describe(run_id, name="", note="", tags=tags)
    return run_id


def student_of(teacher, **changes):
    return tiny_config("distilled", teachers=(teacher,)).replace(**changes)


# ------------------------------------------------------------------------------------------------------------- help


def choices(hints):
    """What Literal options offer, however deep in their annotations."""
    for hint in hints.values() if isinstance(hints, dict) else typing.get_args(hints):
        if isinstance(hint, str):
            yield hint
        else:
            yield from choices(hint)


@every_command
def test_help_in_80_columns_shows_every_name_and_choice_whole(words):
    text = shell(*words, "--help", columns=80).output
    assert "…" not in text.replace("0, 1, …", "")
    for parameter in COMMANDS[words].params:
        if getattr(parameter, "hidden", False):
            continue
        for name in (*parameter.opts, *parameter.secondary_opts):
            assert name.lower() in text.lower(), name
    for choice in choices(typing.get_type_hints(COMMANDS[words].callback)):
        assert choice in text
    for name in (*MODELS, *OBJECTIVES) if words == ("distill",) else ():
        assert name in text
    assert max(map(len, text.splitlines())) <= 80


@every_command
def test_every_command_answers_programs_and_names_its_exit_codes(words):
    assert any("--json" in parameter.opts for parameter in COMMANDS[words].params)
    assert "Exit codes: 0 done; 1 " in " ".join(shell(*words, "--help").output.split())


def test_the_version_is_the_projects():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert shell("--version").stdout.startswith(f"kd-lab {project['version']} (Python ")


@pytest.mark.parametrize(
    ("typed", "offered"), [("show ", ["last"]), ("train --dataset di", ["digits"]), ("adv", ["advise"])]
)
def test_a_shell_completes_commands_runs_and_data_sets(store, typed, offered):
    run_id = entered(store)
    words = {"_KD_LAB_COMPLETE": "complete_bash", "COMP_WORDS": f"kd-lab {typed}"}
    words["COMP_CWORD"] = str(len(f"kd-lab {typed}".split(" ")) - 1)
    lines = CliRunner().invoke(app, prog_name="kd-lab", env=words).stdout.split()
    assert lines == ([*offered, run_id] if typed == "show " else offered)


def test_a_file_of_a_runs_settings_starts_the_same_run_again(store, digits, tmp_path):
    run_id = train_here(store, tiny_config(seed=3, label_smoothing=0.1))
    file = tmp_path / "config.toml"
    file.write_text(shell("show", run_id, "--config").stdout)
    for source in (file, store.folder(run_id).path / "config.json"):
        again = json.loads(shell("run", source, "--json").stdout)
        assert again["config"] == store.get(run_id).config.model_dump(mode="json")
        assert again["results"] == store.get(run_id).results
        assert_same_weights(*(tensors.load_tensors(store.folder(name).weights) for name in (run_id, again["id"])))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("role = ", "is neither TOML nor JSON"),
        ("[training]\nepochs = 0", "epochs must be"),
        ("role = 'teacher'\ncolour = 1", "colour"),
        ("role = 'teacher'\ndataset = 'nothing'", "unknown data set 'nothing'"),
        ("[1]", "there is no setting called '1'"),
    ],
)
def test_a_file_that_describes_no_run_is_refused_in_a_sentence(store, tmp_path, text, sentence):
    (tmp_path / "config.toml").write_text(text)
    refused = shell("run", tmp_path / "config.toml")
    assert (refused.exit_code, refused.stdout) == (REFUSED, "")
    assert sentence in refused.stderr
    assert "Traceback" not in refused.output
    assert store.runs() == []


# --------------------------------------------------------------------------------------------- errors and exit codes


def wrong(words, tmp_path):
    """A command line that asks for what is not there."""
    given = {"teacher": ["--teacher", "nobody"]} if words == ("distill",) else {}
    for parameter in COMMANDS[words].params:
        if parameter.param_type_name == "argument":
            given[parameter.name] = [tmp_path if parameter.name == "source" else "nobody"]
        elif parameter.required and parameter.name not in given:
            given[parameter.name] = [parameter.opts[0], "1"]
    return [*words, *(word for value in given.values() for word in value)]


@pytest.mark.parametrize(
    "words", [words for words in COMMANDS if words[0] not in ("scheduler", "worker") and words != ("data", "list")],
    ids=" ".join,
)  # fmt: skip
def test_what_cannot_be_done_exits_with_2_and_leaves_output_to_results(home, tmp_path, words):
    home.write_text("a file where the folder of the runs should be")
    (tmp_path / "source").mkdir()
    line = wrong(words, tmp_path / "source")
    refused = shell(*line)
    assert (refused.exit_code, refused.stdout) == (REFUSED, ""), refused.output
    assert refused.stderr.startswith("error: ")
    assert "Traceback" not in refused.output
    if any("--json" in parameter.opts for parameter in COMMANDS[words].params):
        refused = shell(*line, "--json")
        assert refused.exit_code == REFUSED
        assert list(json.loads(refused.stdout)) == ["error"]


def test_progress_goes_to_standard_error_and_results_to_standard_output(home):
    done = shell("train", "--dataset", "digits", "--hidden", "8", "--epochs", "3", "--name", "Small")
    assert re.fullmatch(r"run [0-9a-f]{10} finished: \d+ test errors of 445; weights in .*\n", done.stdout)
    assert done.stderr.count("epoch ") == 3
    fetched = shell("data", "fetch", "digits", "--json")
    assert (fetched.exit_code, json.loads(fetched.stdout)) == (0, {"result": {"name": "digits"}})
    assert shell("runs", "--name", "SMALL").stdout.count("teacher mlp 8, 3 epochs, seed 0") == 1


@pytest.mark.usefixtures("heeded_signals")
@pytest.mark.parametrize("moment", ["typer", "kd_core.training.config", "torch.types"])
def test_ctrl_c_during_start_up_ends_with_130_and_no_traceback(home, moment):
    """importtime tells on standard error of each module that was just imported; torch's is the command's own."""
    words = [sys.executable, "-X", "importtime", "-m", "kd_core", "compare", "nobody"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.rpartition("|")[2].strip() == moment:
                process.send_signal(signal.SIGINT)
                break
        else:
            pytest.fail(f"{moment} is not imported")
        errors = process.stderr.read()
    assert process.returncode == INTERRUPTED, errors[-2000:]
    assert "Traceback" not in errors


# ------------------------------------------------------------------------------------------------------------- last


def test_distill_takes_for_last_the_newest_finished_teacher(store, started):
    old = entered(store)
    teacher = entered(store, errors=103)
    entered(store, tiny_config("baseline"))
    entered(store, student_of(old))
    entered(store, status="failed")
    entered(store, status="queued")
    entered(store, tiny_config(epochs=1).replace(mistake="hasty_teacher"))
    entered(store, browser="somebody")
    done = shell("distill", "--teacher", "last")
    assert done.exit_code == 0, done.output
    assert started[-1].distillation.teachers == (teacher,)
    assert done.stderr.startswith(
        f"learns from {teacher[:4]}, teacher mlp 16 on Digits (scikit-learn), 103 test errors"
        " (last: the newest finished teacher started in a shell)\n"
    )
    assert f"learns from {old[:4]}, " in shell("distill", "--teacher", old).stderr
    assert started[-1].distillation.teachers == (old,)


def test_last_is_of_the_data_set_and_falls_back_to_browsers_and_shipped(store, started):
    ships = entered(store, tags=(shipped.TAG,))
    shell("distill", "--teacher", "last")
    assert started[-1].distillation.teachers == (ships,)
    theirs = entered(store, browser="somebody")
    stderr = shell("distill", "--teacher", "last").stderr
    assert started[-1].distillation.teachers == (theirs,)
    assert "from a browser, as a shell started none" in stderr
    refused = shell("distill", "--teacher", "last", "--dataset", "mnist")
    assert refused.exit_code == REFUSED
    assert refused.stderr == (
        "error: there is no finished teacher on MNIST to be the 'last': train one with"
        " 'python -m kd_core train --dataset mnist', or name a run\n"
    )


def test_each_command_takes_for_last_what_it_can_use(store, digits, tmp_path, started):
    teacher = train_here(store, tiny_config())
    student = train_here(store, student_of(teacher))
    baseline = train_here(store, tiny_config("baseline"))
    paused = entered(store, tiny_config(seed=1), "paused")
    taken = {
        "advises on": (shell("advise", "last"), student),
        "packs": (shell("pack", "last", tmp_path / "run.zip"), baseline),
        "goes on from": (shell("continue", "last", "--epochs", "2"), baseline),
        "resumes": (shell("resume", "last"), paused),
    }
    for verb, (done, run_id) in taken.items():
        assert done.exit_code == 0, done.output
        assert done.stderr.startswith(f"{verb} {run_id[:4]}, ")
        assert "(last: the newest " in done.stderr
    assert started[0].continues == baseline
    newest = store.runs()[0]
    assert json.loads(shell("show", "last", "--json").stdout)["id"] == newest.id
    compared = shell("compare", teacher, "last")
    assert f"compares {baseline[:4]}" in compared.stderr
    nothing = shell("compare", "last", "nobody")
    assert (nothing.exit_code, nothing.stdout) == (REFUSED, "")


# ----------------------------------------------------------------------------------------------- the list of runs


def test_runs_of_one_label_are_told_apart_filtered_and_all_of_it_is_json(store):
    first = entered(store)
    second = entered(store, tiny_config(seed=3, epochs=9), browser="somebody")
    student = entered(store, student_of(first), status="stopped")
    store.describe(second, name="Long one", note="a note", tags=("kept",))
    listed = shell("runs").stdout
    assert "teacher mlp 16, 2 epochs, seed 0" in listed
    assert "Long one: teacher mlp 16, 9 epochs, seed 3" in listed
    narrow = shell("runs", columns=80).stdout
    assert all(run_id in narrow for run_id in (first, second, student))
    assert "…" not in narrow

    def ids(*words):
        return [json.loads(line)["id"] for line in shell("runs", "--json", *words).stdout.splitlines()]

    assert ids() == [student, second, first]
    assert ids("--limit", "2") == [student, second]
    assert ids("--role", "teacher") == [second, first]
    assert ids("--status", "stopped") == [student]
    assert ids("--name", "LONG") == [second]
    assert ids("--dataset", "mnist") == []
    row = json.loads(shell("show", second[:6], "--json").stdout)
    assert (row["name"], row["note"], row["tags"], row["seed"], row["epochs"]) == ("Long one", "a note", ["kept"], 3, 9)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", row["created"])
    assert json.loads(shell("show", student, "--json").stdout)["teachers"] == [first]
    assert "config.training.epochs: 9" in shell("show", second).stdout


# ------------------------------------------------------------------------------------------- what would be lost


def test_no_file_is_replaced_unless_forced(store, digits, tmp_path):
    run_id = train_here(store, tiny_config())
    file, folder = tmp_path / "thesis.tex", tmp_path / "out"
    file.write_text("two years")
    refused = shell("pack", run_id, file)
    assert refused.exit_code == REFUSED
    assert refused.stderr == f"error: {file} is there already: name another place, or replace it with --force\n"
    assert file.read_text() == "two years"
    assert shell("pack", run_id, file, "--force").exit_code == 0
    assert file.read_bytes().startswith(b"PK")
    folder.mkdir()
    (folder / "README.md").write_text("mine")
    assert shell("export", run_id, "--out", folder).exit_code == REFUSED
    assert [path.name for path in folder.iterdir()] == ["README.md"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "words",
    [["--hidden", "30"], ["--channels", "8"], ["--dropout", "0.4"], ["--dropout-input", "0.3"], ["--batch-norm"]],
    ids=lambda words: words[0],
)
def test_an_option_changes_the_model_or_is_refused(home, started, model, words):
    done = shell("train", "--role", "baseline", "--dataset", "digits", "--model", model, *words)
    if done.exit_code == REFUSED:
        assert f"{model} does not read {words[0]}" in done.stderr
        assert started == []
        return
    plain = build.build(ModelConfig(name=model, hidden=(30,)), (1, 28, 28), 10)
    if words[0] == "--hidden":
        plain = build.build(ModelConfig(name=model), (1, 28, 28), 10)
    assert repr(build.build(started[-1].model, (1, 28, 28), 10)) != repr(plain)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--objective", "rkd", "--no-t-squared"], "rkd has no temperature: leave --t-squared and --no-t-squared out"),
        (["--ensemble", "logits"], "one teacher has nothing to average"),
        (["--alpha", "1", "--label-smoothing", "0.1"], "without a hard loss no label is read"),
        (["--hidden", "", "--dropout", "0.2"], "a linear model does not read --dropout"),
        (["--model", "torchvision/resnet18", "--hidden", "9"], "torchvision/resnet18 does not read --hidden"),
        (["--hidden", "20000-20000-20000-20000"], "and a run has 4.0 GB here: choose fewer or narrower layers"),
        (["--device", "mps"], "this machine has no mps device: choose device auto or cpu"),
        (["--device", "cuda"], "this machine has no cuda device: choose device auto or cpu"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_nothing_reads_or_has_is_refused_before_a_run_is_made(store, started, monkeypatch, words, sentence):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    monkeypatch.setenv("KD_MAX_RUN_GB", "4")
    teacher = entered(store)
    refused = shell("distill", "--teacher", "last", *words)
    assert refused.exit_code == REFUSED
    assert sentence in refused.stderr
    assert [run.id for run in store.runs()] == [teacher]


def test_the_app_too_refuses_what_this_machine_cannot_do_before_a_run_is_made(store, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    queue = Jobs(store, limits=Limits(at_once=2))
    with pytest.raises(ConfigError, match="this machine has no cuda device"):
        queue.submit({new_id(): tiny_config(device="cuda")})
    monkeypatch.setattr("kd_core.jobs.queue.memory_here", lambda: 8e9)
    giant = tiny_config().replace(model=ModelConfig(hidden=(20_000,) * 8))
    with pytest.raises(ConfigError, match=r"would take about 158\.\d GB of memory, .*, and a run has 4\.0 GB here"):
        queue.submit({new_id(): tiny_config(), new_id(): giant})
    queue.close()
    assert store.runs() == []


# ----------------------------------------------------------------------------------------------------- the document


def block_of_the_document():
    """The words of each command of the shell block, and the file that its output goes to."""
    text = (ROOT / "docs" / "command-line.md").read_text()
    block = re.search(r"# The command line\n.*?```sh\n(.*?)```", text, re.DOTALL).group(1)
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        assert words[:3] == [".venv/bin/python", "-m", "kd_core"]
        yield words[3:]


def test_the_documents_shell_block_runs_as_written(home, tmp_path, monkeypatch):
    """Cut for time: digits for MNIST, an epoch a run, tiny experiments of two seeds, and the digits models verified."""
    whole = defaults.default_training
    monkeypatch.setattr(defaults, "default_training", lambda role, data: whole(role, data).replace(epochs=1))
    monkeypatch.setattr(paper, "PROTOCOLS", {"digits": PAPER})
    monkeypatch.setattr(equal_budget, "OBJECTIVES", {name: OBJECTIVES[name] for name in ("hinton", "rkd")})
    monkeypatch.setattr(equal_budget, "budget", lambda dataset: BUDGET)
    monkeypatch.chdir(tmp_path)
    made = {}
    for words in block_of_the_document():
        cut = [{"mnist": "digits", "5": "2", "12": "1"}.get(word, word) for word in words]
        if cut[0] in ("recipe", "objectives") and "--dataset" not in cut:
            cut += ["--dataset", "digits"]
        if cut[0] == "verify":
            shipped.FOLDER.mkdir(exist_ok=True)
            for name in ("digits-teacher", "digits-distilled"):
                (shipped.FOLDER / name).symlink_to(SHIPPED / name)
        if "ID" in cut:
            ids = [json.loads(line)["id"] for line in shell("runs", "--json").stdout.splitlines()]
            cut = [ids.pop() if word == "ID" else word for word in cut]
        into = cut[cut.index(">") + 1] if ">" in cut else None
        done = shell(*(cut[: cut.index(">")] if into else cut))
        assert done.exit_code == 0, (cut, done.output)
        if into:
            (tmp_path / into).write_text(done.stdout)
        made[" ".join(words)] = done
        if words[0] == "objectives":
            as_csv = "--csv" in words
            assert done.stdout.startswith("objective,mean_errors," if as_csv else "| " + " | ".join(equal_budget.HEAD))
            assert "epoch " not in done.stdout
    store = Store(home)
    mine = [run for run in store.runs() if shipped.TAG not in run.tags]
    teacher, student, baseline, sees_no_3, longer = mine[::-1][:5]
    store.close()
    assert [run.config.role for run in (teacher, student, baseline)] == ["teacher", "distilled", "baseline"]
    assert student.config.distillation.teachers == sees_no_3.config.distillation.teachers == (teacher.id,)
    assert sees_no_3.config.transfer_set.only_classes == (0, 1, 2, 4, 5, 6, 7, 8, 9)
    assert (longer.config.continues, longer.name) == (sees_no_3.id, "longer")
    assert (tmp_path / "run.zip").exists()
