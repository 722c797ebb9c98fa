"""From a data set's name to its images and labels."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kd_core.base import paths as base_paths
from kd_core.base.config import ConfigError
from kd_core.base.files import AnyPath
from kd_core.data import paths as data_paths
from kd_core.data.catalogue import info_of, is_own
from kd_core.data.dataset import Dataset
from kd_core.data.download import DatasetError, Progress, download
from kd_core.data.own import library
from kd_core.data.picture import as_mnist


def load(name: str, progress: Progress | None = None, storage: AnyPath | None = None) -> Dataset:
    """The data set called name, from memory where this process has read it before.

    progress hears about a download, should one be needed. storage: where users' own data sets lie, by default that of
    this machine (KD_STORAGE).
    Raises DatasetError where it is unknown, damaged, or neither on disk nor to be downloaded.
    """
    try:
        info_of(name)
    except ConfigError as error:
        raise DatasetError(str(error)) from None
    if name == "digits":
        return _digits()
    if is_own(name):
        return _own(name, storage if storage is not None else base_paths.storage())
    folder = data_paths.folder_of(name) or download(name, progress)
    return _cifar10(folder) if name == "cifar10" else _mnist(folder, name)


@lru_cache(maxsize=1)
def _digits() -> Dataset:
    """scikit-learn's copy of the UCI test set "Optical Recognition of Handwritten Digits": 1,797 images of 8x8.

    Each is enlarged, then scaled and centred as MNIST's images are (kd_core.data.picture.as_mnist), so that every model
    takes both, and a model trained on either knows what its user draws. A quarter of each class, chosen once and for
    all, is the test set.
    """
    from sklearn.datasets import load_digits

    source = load_digits()
    small = torch.from_numpy(source.images).to(torch.float32).unsqueeze(1) / 16
    large = F.interpolate(small, size=(48, 48), mode="bicubic", align_corners=False).clamp_(0, 1)
    ink = (large * 255).round().to(torch.uint8).squeeze(1).numpy()
    images = torch.from_numpy(np.stack([as_mnist(drawing) for drawing in ink])).unsqueeze(1)
    labels = torch.from_numpy(source.target).to(torch.int64)

    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1998))
    in_test = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(10):
        members = order[labels[order] == label]
        in_test[members[: len(members) // 4]] = True
    parts = images[~in_test], labels[~in_test], images[in_test], labels[in_test]
    return _with_statistics("digits", tuple("0123456789"), *parts)


MNIST_IMAGES = {"train": 60_000, "t10k": 10_000}
"""Of MNIST and of those that were made after its pattern."""
KMNIST_CLASSES = ("お o", "き ki", "す su", "つ tsu", "な na", "は ha", "ま ma", "や ya", "れ re", "を wo")


@lru_cache(maxsize=3)
def _mnist(folder: Path, name: str) -> Dataset:
    from kd_core.base.torchvision import torchvision

    source = getattr(torchvision().datasets, data_paths.TORCHVISION[name])
    parts = []
    for train in (True, False):
        try:
            part = source(root=str(folder), train=train, download=False)
            images, labels = part.data.unsqueeze(1), part.targets.to(torch.int64)
        except (OSError, ValueError, AssertionError, RuntimeError, TypeError, KeyError) as error:
            raise DatasetError(_damaged(folder, name)) from error
        expected = MNIST_IMAGES["train" if train else "t10k"]
        whole = images.shape == (expected, 1, 28, 28) and labels.shape == (expected,)
        if not whole or int(labels.min()) < 0 or int(labels.max()) > 9:
            raise DatasetError(_damaged(folder, name))
        parts += [images, labels]
    digits = tuple("0123456789")
    class_names = {"mnist": digits, "kmnist": KMNIST_CLASSES, "fashion_mnist": tuple(source.classes)}[name]
    return _with_statistics(name, class_names, *parts)


@lru_cache(maxsize=1)
def _cifar10(folder: Path) -> Dataset:
    """Torchvision compares each file's MD5 before it opens it: they are pickles."""
    from kd_core.base.torchvision import torchvision

    parts: list[Tensor] = []
    try:
        for train in (True, False):
            part = torchvision().datasets.CIFAR10(root=str(folder), train=train, download=False)
            images = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()
            parts += [images, torch.tensor(part.targets, dtype=torch.int64)]
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise DatasetError(_damaged(folder, "cifar10")) from error
    return _with_statistics("cifar10", tuple(part.classes), *parts)


def _damaged(folder: Path, name: str) -> str:
    files = (folder / data_paths.FILES[name][0]).parent
    label = info_of(name).label
    return (
        f"The {label} files in {files} are damaged or cut short: delete that folder, then start again to download them."
    )


def _with_statistics(
    name: str,
    class_names: tuple[str, ...],
    train_images: Tensor,
    train_labels: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
) -> Dataset:
    """A data set, with the mean and standard deviation of its training pixels, exact to float64."""
    counts = torch.zeros(256, dtype=torch.float64)
    for images in train_images.split(10_000):
        counts += torch.bincount(images.flatten(), minlength=256)
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = float((counts * values).sum() / counts.sum())
    std = float((counts * (values - mean) ** 2).sum() / counts.sum()) ** 0.5
    return Dataset(name, train_images, train_labels, test_images, test_labels, class_names, mean, std)


def _own(name: str, storage: AnyPath) -> Dataset:
    parts = library.read(storage, name)
    (train_images, test_images), (train_labels, test_labels) = (
        tuple(map(torch.from_numpy, arrays)) for arrays in (parts.images, parts.labels)
    )
    kinds = parts.class_names, parts.mean, parts.std, parts.streamed
    return Dataset(name, train_images, train_labels, test_images, test_labels, *kinds)
