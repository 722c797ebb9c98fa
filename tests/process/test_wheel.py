"""The wheel: what is in it, and that the engine works from it alone, installed by pip in a new environment."""

import importlib.metadata
import json
import os
import subprocess
import sys
import tomllib
import venv
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
def environment(tmp_path_factory):
    """A new environment after `pip install .`; it sees the packages of this one, where pip finds what KD Lab needs."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    [packages] = folder.glob("lib/python*/site-packages")
    here = [path for path in sys.path if path.endswith("-packages")]
    (packages / "here.pth").write_text("\n".join(here))
    installed = subprocess.run(
        [sys.executable, "-m", "pip", "--python", folder / "bin/python", "install", "--no-index",
         "--no-build-isolation", "."],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert installed.returncode == 0, installed.stderr
    return folder


@pytest.fixture
def shell(environment, tmp_path):
    """shell(words...) -> the finished command of the new environment, run in an empty folder of its own."""
    variables = {**os.environ, "KD_HOME": str(tmp_path / "home"), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}

    def command(*words):
        return subprocess.run(
            [environment / "bin/kd-lab", *words],
            capture_output=True, text=True, cwd=tmp_path, env=variables, timeout=120,
        )  # fmt: skip

    return command


KINDS = (".py", ".html", ".js", ".toml", ".jinja", ".json", ".typed")


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


EXTRAS = {
    "app": {"streamlit", "starlette", "itsdangerous", "plotly", "segno", "babel", "latex2mathml", "markdown-it-py"},
    "tensorboard": {"tensorboard"},
    "mlflow": {"mlflow-skinny"},
    "timm": {"timm"},
}


def test_the_wheel_names_its_command_and_its_extras(environment):
    [packages] = environment.glob("lib/python*/site-packages")
    [kd_lab] = importlib.metadata.distributions(name="kd-lab", path=[str(packages)])
    assert [(script.name, script.value) for script in kd_lab.entry_points] == [("kd-lab", "kd_core.__main__:main")]
    requirements = [Requirement(line) for line in kd_lab.requires if "extra ==" in line]
    for extra, names in EXTRAS.items():
        assert {line.name for line in requirements if line.marker.evaluate({"extra": extra})} == names


def test_pip_installs_it_in_a_new_environment_and_it_says_its_version(shell, environment):
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    shown = shell("--version")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"kd-lab {known} (Python ")
    where = subprocess.run(
        [environment / "bin/python", "-c", "import kd_core; print(kd_core.__file__)"],
        capture_output=True, text=True, cwd=environment,
    )  # fmt: skip
    assert where.stdout.startswith(str(environment))


def test_the_installed_command_trains_and_knows_what_ships(shell):
    result = shell("--help")
    assert result.returncode == 0, result.stderr
    assert "Usage: kd-lab " in result.stdout
    trained = shell("train", "--dataset", "digits", "--epochs", "1")
    assert trained.returncode == 0, trained.stderr
    assert "test errors of 445" in trained.stdout
    runs = [json.loads(line) for line in shell("runs", "--json").stdout.splitlines()]
    shipped = {path.parent.name for path in ROOT.glob("checkpoints/shipped/*/run.json")}
    assert len(runs) == 1 + len(shipped)
