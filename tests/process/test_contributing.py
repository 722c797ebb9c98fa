"""The examples of CONTRIBUTING.md, applied to a copy of the tree, add what they say and nothing else has to change."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRAINED = """
import typer.testing

from kd_core.cli.app import app


def shell(*words):
    result = typer.testing.CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return result.stdout


assert "brier" in shell("distill", "--help")
assert "all_cnn" in shell("train", "--help")
quick = ("--epochs", "2", "--model", "all_cnn", "--precision", "float32")
shell("train", "--dataset", "stripes", *quick, "--channels", "8-16")
shell("distill", "--teacher", "last", *quick, "--channels", "4", "--objective", "brier", "--weight", "distance=2")
shell("distill", "--teacher", "last", *quick, "--channels", "4", "--objective", "attention")
print(shell("runs", "--json"), end="")
"""
FORM = """
import streamlit as st

from kd_core.experiments.story import StoryConfig
from kd_core.models.config import ModelConfig
from pages.train import fields

student = ModelConfig(name="all_cnn", channels=(4, 8))
story = StoryConfig.default("stripes").replace(objective="brier", weights={"distance": 2}, student=student)
fields.loss_fields(story, st.container())
fields.model_fields("Student", story.student, "student", [])
"""
FILLED_IN = """
from streamlit.testing.v1 import AppTest

app = AppTest.from_file("form.py", default_timeout=60).run()
assert not app.exception, app.exception
assert "Brier distance" in app.selectbox(key="form_objective").options
assert app.selectbox(key="form_objective").value == "brier"
assert any("Bounded" in caption.value for caption in app.caption)
assert "All-convolutional network" in app.selectbox(key="form_student_model").options
assert app.text_input(key="form_student_channels").value == "4, 8"
"""


def diffs():
    """The diffs in CONTRIBUTING.md, in their order."""
    return re.findall(r"```diff\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), flags=re.S)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the app with the three examples in it."""
    copy = tmp_path_factory.mktemp("tree")
    for folder in ("kd_core", "pages"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for diff in diffs():
        applied = ["git", "apply", "-"]
        subprocess.run(applied, input=diff, text=True, check=True, cwd=copy, capture_output=True)
    return copy


def run(tree, code):
    home = str(tree / "home")
    environment = {**os.environ, "KD_HOME": home, "PYTHONPATH": str(tree), "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_example_is_one_new_file_and_two_lines_in_a_catalogue():
    """The entry, and the import of what it names."""
    for diff in diffs():
        new_file, catalogue = re.split(r"^--- a/", diff, flags=re.M)
        assert new_file.startswith("--- /dev/null")
        added = re.findall(r"^\+(?!\+\+)(.*)$", catalogue, flags=re.M)
        assert len(added) == 2
        assert not re.findall(r"^-", catalogue, flags=re.M)


def test_the_examples_train_from_the_shell(tree):
    runs = [json.loads(line) for line in run(tree, TRAINED).splitlines()]
    configs = [each["config"] for each in runs]
    assert [each["status"] for each in runs] == ["finished"] * 3
    assert {(config["dataset"], config["model"]["name"]) for config in configs} == {("stripes", "all_cnn")}
    objectives = [config["distillation"]["objective"] for config in configs if config["distillation"] is not None]
    assert sorted(objectives) == ["attention", "brier"]


def test_the_form_offers_the_examples(tree):
    (tree / "form.py").write_text(FORM, encoding="utf-8")
    run(tree, FILLED_IN)
