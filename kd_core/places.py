"""Where things lie: the store's home and its storage, and the data sets. No torch here."""

import os
from pathlib import Path

import platformdirs

from kd_core.config import ConfigError
from kd_core.files import AnyPath, path_at

MNIST_FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))


def home() -> Path:
    """The folder of the run store: KD_HOME where it is set, else checkpoints/ beside kd_core."""
    named = os.environ.get("KD_HOME")
    return _folder("KD_HOME", named).resolve() if named else Path(__file__).resolve().parent.parent / "checkpoints"


def storage() -> AnyPath:
    """Where the files of runs lie: KD_STORAGE (a folder, or an address such as s3://bucket/lab), or else home.

    Raises ConfigError where it cannot be used.
    """
    named = os.environ.get("KD_STORAGE")
    if not named:
        return home()
    path = path_at(named)
    return path.resolve() if isinstance(path, Path) else path


def data_folders() -> list[Path]:
    """Where data sets are looked for, in order: KD_DATA_DIR where it is set, then the user's cache folder."""
    cache = Path(platformdirs.user_cache_dir("kd-lab")) / "data"
    named = os.environ.get("KD_DATA_DIR")
    return [_folder("KD_DATA_DIR", named), cache] if named else [cache]


def _folder(variable: str, named: str) -> Path:
    path = path_at(named)
    if not isinstance(path, Path):
        raise ConfigError(f"{variable} is {named}: name a folder of this machine; KD_STORAGE alone may lie elsewhere")
    return path


def mnist_folder() -> Path | None:
    """The first folder that holds all of MNIST in torchvision's layout, or None."""
    for folder in data_folders():
        if all((folder / "MNIST" / "raw" / name).is_file() for name in MNIST_FILES):
            return folder
    return None


def available(dataset: str) -> bool:
    """Whether this data set can be loaded without a network."""
    return dataset == "digits" or (dataset == "mnist" and mnist_folder() is not None)
