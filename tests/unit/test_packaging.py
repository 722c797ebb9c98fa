"""pyproject.toml alone says what KD Lab needs, and requirements.txt pins what it is tested with."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def needed():
    """Name -> range, of the engine and the app."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["app"]]
    requirements = [Requirement(line) for line in lines]
    names = [canonicalize_name(requirement.name) for requirement in requirements]
    assert len(set(names)) == len(names)
    return dict(zip(names, (requirement.specifier for requirement in requirements), strict=True))


def pinned():
    """Name -> version, of requirements.txt."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    pins = {}
    for requirement in requirements:
        [pin] = requirement.specifier
        assert pin.operator == "=="
        pins[canonicalize_name(requirement.name)] = pin.version
    return pins


def test_requirements_pin_each_dependency_and_no_other():
    assert needed().keys() == pinned().keys()


def test_pins_lie_in_the_ranges():
    ranges = needed()
    assert [name for name, version in pinned().items() if version not in ranges[name]] == []
