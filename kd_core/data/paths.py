"""Where things lie: the store's home and its storage, and the data sets. No torch here."""

import os
from pathlib import Path

import platformdirs

from kd_core.base.files import AnyPath, is_file
from kd_core.base.paths import folder_named, storage
from kd_core.data.catalogue import is_own

MNIST_FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
TORCHVISION = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST", "cifar10": "CIFAR10"}
"""Data set -> the class of torchvision.datasets that reads it."""
CIFAR10_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
FILES = {
    **{name: tuple(f"{TORCHVISION[name]}/raw/{file}" for file in MNIST_FILES) for name in TORCHVISION},
    "cifar10": tuple(f"cifar-10-batches-py/{file}" for file in CIFAR10_FILES),
}
"""Data set -> its files in a data folder, in torchvision's layout."""
OWN, OWN_CARD = "datasets", "card.json"
"""Folder of the data sets that users brought, in storage, and the file of each that is written last."""


def data_folders() -> list[Path]:
    """Where data sets are looked for, in order: KD_DATA_DIR where it is set, then the user's cache folder."""
    cache = Path(platformdirs.user_cache_dir("kd-lab")) / "data"
    named = os.environ.get("KD_DATA_DIR")
    return [folder_named("KD_DATA_DIR", named), cache] if named else [cache]


def folder_of(dataset: str) -> Path | None:
    """The first data folder that holds all of a data set that torchvision knows, or None."""
    for folder in data_folders():
        if all((folder / name).is_file() for name in FILES[dataset]):
            return folder
    return None


def own_folder(storage: AnyPath, dataset: str) -> AnyPath:
    """Where a data set lies that a user brought."""
    return storage / OWN / dataset


def available(dataset: str) -> bool:
    """Whether this data set can be loaded without a network. Raises OSError where the storage does not answer."""
    if is_own(dataset):
        return is_file(own_folder(storage(), dataset) / OWN_CARD)
    return dataset == "digits" or (dataset in FILES and folder_of(dataset) is not None)
