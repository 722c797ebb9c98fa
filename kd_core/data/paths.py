"""Where things lie: the store's home and its storage, and the data sets. No torch here."""

import os
from pathlib import Path

import platformdirs

from kd_core.base.files import AnyPath, is_file
from kd_core.base.paths import folder_named, storage
from kd_core.data.catalogue import DATASETS, is_own

OWN, OWN_CARD = "datasets", "card.json"
"""Folder of users' own data sets, in storage, and the file of each that is written last."""


def data_folders() -> list[Path]:
    """Where data sets are looked for, in order: KD_DATA_DIR where it is set, then the user's cache folder."""
    cache = Path(platformdirs.user_cache_dir("kd-lab")) / "data"
    named = os.environ.get("KD_DATA_DIR")
    return [folder_named("KD_DATA_DIR", named), cache] if named else [cache]


def folder_of(dataset: str) -> Path | None:
    """The first data folder that holds all files of one of DATASETS, or None."""
    for folder in data_folders():
        if all((folder / name).is_file() for name in DATASETS[dataset].files):
            return folder
    return None


def own_folder(storage: AnyPath, dataset: str) -> AnyPath:
    """Where a user's own data set lies."""
    return storage / OWN / dataset


def available(dataset: str) -> bool:
    """Whether this data set can be loaded without a network. Raises OSError where the storage does not answer."""
    if is_own(dataset):
        return is_file(own_folder(storage(), dataset) / OWN_CARD)
    return dataset in DATASETS and folder_of(dataset) is not None
