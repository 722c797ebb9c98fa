"""Where the store and the runs' files lie."""

import os
from pathlib import Path

import platformdirs

from kd_core.base.config import ConfigError
from kd_core.base.files import AnyPath, path_at
from kd_core.base.templates import said

ROOT = Path(__file__).resolve().parents[2]
"""The folder of app.py, or of installed packages where the engine is one of them."""
INSTALLED = not (ROOT / "app.py").is_file()
"""Whether the engine runs without its repository around it."""


def home() -> Path:
    """The folder of the run store: KD_HOME where it is set, else checkpoints/ beside kd_core.

    An installed engine has no such place of its own, and keeps to the user's data folder.
    """
    if named := os.environ.get("KD_HOME"):
        return folder_named("KD_HOME", named).resolve()
    return platformdirs.user_data_path("kd-lab") if INSTALLED else ROOT / "checkpoints"


def storage() -> AnyPath:
    """Return where the files of runs lie: KD_STORAGE (a folder, or an address such as s3://bucket/lab), else home.

    Raises ConfigError where it cannot be used.
    """
    named = os.environ.get("KD_STORAGE")
    if not named:
        return home()
    path = path_at(named)
    return path.resolve() if isinstance(path, Path) else path


def folder_named(variable: str, named: str) -> Path:
    """Return the folder that an environment variable names. Raises LabError where it is none."""
    path = path_at(named)
    if not isinstance(path, Path):
        raise ConfigError(
            said(
                "{variable} is {named}: name a folder of this machine; KD_STORAGE alone may lie elsewhere",
                variable=variable,
                named=named,
            )
        )
    return path
