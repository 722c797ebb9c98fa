"""The wheel: what is in it, and that the engine works from it alone."""

import importlib.metadata
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    [file] = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder in which the wheel lies unpacked, as an installer leaves it."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def shell(installed, tmp_path):
    """shell(words...) -> the finished command, run from the wheel in an empty folder of its own."""
    environment = {
        **os.environ, "PYTHONPATH": str(installed), "KD_HOME": str(tmp_path / "home"), "COLUMNS": "200",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    start = "from importlib.metadata import distribution; import sys; sys.argv[0] = 'kd-lab';"
    start += "[script] = distribution('kd-lab').entry_points.select(name='kd-lab'); script.load()()"

    def command(*words):
        return subprocess.run(
            [sys.executable, "-c", start, *words],
            capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120,
        )  # fmt: skip

    return command


KINDS = (".py", ".html", ".js", ".toml", ".jinja", ".json")


def test_the_wheel_holds_the_engine_and_the_shipped_models_alone(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    engine = {str(path.relative_to(ROOT)) for path in ROOT.glob("kd_core/**/*") if path.suffix in KINDS}
    ships = {
        f"kd_core/shipped/{path.relative_to(ROOT / 'checkpoints/shipped')}"
        for path in ROOT.glob("checkpoints/shipped/**/*")
        if path.is_file()
    }
    assert engine
    assert ships
    assert {name for name in names if ".dist-info/" not in name} == engine | ships


def test_the_wheel_names_its_command_and_its_extra(installed):
    [kd_lab] = importlib.metadata.distributions(name="kd-lab", path=[str(installed)])
    assert [(script.name, script.value) for script in kd_lab.entry_points] == [("kd-lab", "kd_core.__main__:main")]
    app = {Requirement(line).name for line in kd_lab.requires if "extra ==" in line}
    assert app == {"streamlit", "starlette", "itsdangerous", "plotly", "segno", "babel"}


def test_the_installed_command_trains_and_knows_what_ships(shell):
    told = shell("--help")
    assert told.returncode == 0, told.stderr
    assert "Usage: kd-lab " in told.stdout
    trained = shell("train", "--dataset", "digits", "--epochs", "1")
    assert trained.returncode == 0, trained.stderr
    assert "test errors of 445" in trained.stdout
    runs = [json.loads(line) for line in shell("runs", "--json").stdout.splitlines()]
    shipped = {path.parent.name for path in ROOT.glob("checkpoints/shipped/*/run.json")}
    assert len(runs) == 1 + len(shipped)
