"""Where things lie on this machine: the store's home and the data sets. No torch here."""

import os
from pathlib import Path

import platformdirs

from kd_core.config import ConfigError

MNIST_FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))


def home() -> Path:
    """The folder of the run store: KD_HOME where it is set, else checkpoints/ beside kd_core."""
    named = os.environ.get("KD_HOME")
    return _folder(named).resolve() if named else Path(__file__).resolve().parent.parent / "checkpoints"


def data_folders() -> list[Path]:
    """Where data sets are looked for, in order: KD_DATA_DIR where it is set, then the user's cache folder."""
    cache = Path(platformdirs.user_cache_dir("kd-lab")) / "data"
    named = os.environ.get("KD_DATA_DIR")
    return [_folder(named), cache] if named else [cache]


def _folder(named: str) -> Path:
    """A folder as a user names it. Raises ConfigError where its ~ is nobody's home."""
    try:
        return Path(named).expanduser()
    except RuntimeError:
        raise ConfigError(f"there is no folder {named}: nobody of that name has a home here") from None


def mnist_folder() -> Path | None:
    """The first folder that holds all of MNIST in torchvision's layout, or None."""
    for folder in data_folders():
        if all((folder / "MNIST" / "raw" / name).is_file() for name in MNIST_FILES):
            return folder
    return None


def available(dataset: str) -> bool:
    """Whether this data set can be loaded without a network."""
    return dataset == "digits" or (dataset == "mnist" and mnist_folder() is not None)
