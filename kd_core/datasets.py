"""Name -> images and labels in memory, with class names and normalisation.

Images are uint8 tensors (N, C, H, W), labels int64 (N,); Dataset.normalise turns a batch into what a model reads.
MNIST comes from KD_DATA_DIR where it lies there, else from a cache folder, else over the network into that folder.
"""

import contextlib
import gzip
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kd_core.config import DATASETS, ConfigError, LabError, RunConfig, TransferSetConfig, probed_classes
from kd_core.drawing import as_mnist
from kd_core.places import data_folders, mnist_folder

Progress = Callable[[str, float], None]
"""Called while a download runs, with a sentence and the share done, 0 to 1. It may raise to cancel."""


class DatasetError(LabError):
    """A data set that cannot be had; its text says why and what to do."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A whole data set in memory.

    train_images, test_images: (N, C, H, W) uint8. train_labels, test_labels: (N,) int64.
    mean, std: of the training pixels scaled to 0..1, over all channels.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    mean: float
    std: float

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (N, C, H, W) -> float32 of mean 0 and standard deviation 1 over the training set."""
        return images.to(torch.float32).sub_(255 * self.mean).div_(255 * self.std)

    def split(self, validation_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
        """Indices into the training set, (training, validation), disjoint and together all of it.

        The validation part is drawn by seed, in proportion over the classes (to one example a class).
        """
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.train_labels), generator=generator)
        validation = []
        for label in range(len(self.class_names)):
            members = order[self.train_labels[order] == label]
            validation.append(members[: round(len(members) * validation_fraction)])
        chosen = torch.cat(validation)
        kept = torch.ones(len(order), dtype=torch.bool)
        kept[chosen] = False
        return kept.nonzero().squeeze(1), chosen.sort().values

    def transfer_set(self, indices: Tensor, part: TransferSetConfig, seed: int) -> Tensor:
        """The training images among indices that belong to a transfer set, in the order of indices.

        A fraction is drawn by seed from each class, at least one image of it. Raises ConfigError where none is left.
        """
        labels = self.train_labels[indices]
        wanted = range(len(self.class_names)) if part.only_classes is None else sorted(set(part.only_classes))
        order = torch.randperm(len(indices), generator=torch.Generator().manual_seed(seed))
        kept = torch.zeros(len(indices), dtype=torch.bool)
        for label in wanted:
            members = order[labels[order] == label]
            kept[members[: max(1, round(len(members) * part.fraction))]] = True
        if len(indices) and not kept.any():
            raise ConfigError("this transfer set holds no image: choose more classes")
        return indices[kept]

    def split_of(self, config: RunConfig) -> tuple[Tensor, Tensor]:
        """Indices into the training set of what a run learns from, and of what its best weights are chosen by.

        Raises ConfigError where its transfer set holds no image of either.
        """
        parts = self.split(config.training.validation_fraction, config.seed)
        if config.transfer_set.whole:
            return parts
        learned, chosen_by = (self.transfer_set(part, config.transfer_set, config.seed) for part in parts)
        return learned, chosen_by

    @cached_property
    def probes(self) -> Tensor:
        """Indices of two test images a class, to watch while a student learns, in order of class: (2K,), or of many
        classes those that config.probed_classes names.

        The first image of the class, and the one nearest the border to another: where the distances to its own and to
        the next class's mean image differ least; of a class with one test image, it twice. No trained model has a say,
        so all runs show the same images.
        """
        classes = range(len(self.class_names))
        train, test = self.train_images.flatten(1), self.test_images.flatten(1)
        means = torch.stack([train[self.train_labels == label].mean(dim=0, dtype=torch.float32) for label in classes])
        distances = torch.cdist(test.to(torch.float32), means)
        own = distances.gather(1, self.test_labels[:, None]).squeeze(1)
        others = distances.scatter(1, self.test_labels[:, None], torch.inf).min(dim=1).values
        margins = (others - own).abs()
        chosen = []
        for label in probed_classes(len(classes)):
            members = (self.test_labels == label).nonzero().squeeze(1)
            others_of_it = members[1:] if len(members) > 1 else members
            border = others_of_it[margins[others_of_it].argmin()]
            chosen += [int(members[0]), int(border)]
        return torch.tensor(chosen)


def load(name: str, progress: Progress | None = None) -> Dataset:
    """The data set called name, from memory where this process has read it before.

    progress hears about a download, should one be needed.
    Raises DatasetError where it is unknown, damaged, or neither on disk nor to be downloaded.
    """
    if name not in DATASETS:
        raise DatasetError(f"unknown data set '{name}': choose one of {', '.join(DATASETS)}")
    if name == "digits":
        return _digits()
    return _mnist(mnist_folder() or download_mnist(progress))


# ------------------------------------------------------------------------------------------------------ digits


@lru_cache(maxsize=1)
def _digits() -> Dataset:
    """scikit-learn's copy of the UCI test set "Optical Recognition of Handwritten Digits": 1,797 images of 8x8.

    Each is enlarged, then scaled and centred as MNIST's images are (kd_core.drawing.as_mnist), so that every model
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
    return _with_statistics("digits", images[~in_test], labels[~in_test], images[in_test], labels[in_test])


# ------------------------------------------------------------------------------------------------------- MNIST

MNIST_IMAGES = {"train": 60_000, "t10k": 10_000}


@lru_cache(maxsize=1)
def _mnist(folder: Path) -> Dataset:
    from kd_core.vision import torchvision

    parts = []
    for train in (True, False):
        try:
            part = torchvision().datasets.MNIST(root=str(folder), train=train, download=False)
            images, labels = part.data.unsqueeze(1), part.targets.to(torch.int64)
        except (OSError, ValueError, AssertionError, RuntimeError, TypeError, KeyError) as error:
            raise DatasetError(_damaged(folder)) from error
        expected = MNIST_IMAGES["train" if train else "t10k"]
        whole = images.shape == (expected, 1, 28, 28) and labels.shape == (expected,)
        if not whole or int(labels.min()) < 0 or int(labels.max()) > 9:
            raise DatasetError(_damaged(folder))
        parts += [images, labels]
    return _with_statistics("mnist", *parts)


def _damaged(folder: Path) -> str:
    raw = folder / "MNIST" / "raw"
    return f"The MNIST files in {raw} are damaged or cut short: delete that folder, then start again to download them."


def _with_statistics(
    name: str, train_images: Tensor, train_labels: Tensor, test_images: Tensor, test_labels: Tensor
) -> Dataset:
    counts = torch.bincount(train_images.flatten(), minlength=256).to(torch.float64)
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = float((counts * values).sum() / counts.sum())
    std = float((counts * (values - mean) ** 2).sum() / counts.sum()) ** 0.5
    class_names = tuple(str(digit) for digit in range(10))
    return Dataset(name, train_images, train_labels, test_images, test_labels, class_names, mean, std)


# ---------------------------------------------------------------------------------------------------- download


def download_mnist(progress: Progress | None = None, mirrors: list[str] | None = None) -> Path:
    """Download MNIST into the cache folder and return that folder. Mirrors, file names and checksums are torchvision's.

    Each file is tried on every mirror, twice, and its MD5 compared before it takes its place: what lies in the folder
    under its final name is whole, and a second call goes on with what is missing.
    Raises DatasetError where no mirror gives a file.
    """
    import pooch
    import requests

    from kd_core.vision import torchvision

    source = torchvision().datasets.MNIST
    folder = data_folders()[-1]
    raw = folder / "MNIST" / "raw"
    _clear_away(raw)
    failures: list[str] = []
    offline = True
    for index, (file_name, md5) in enumerate(source.resources):
        final = raw / file_name.removesuffix(".gz")
        if final.is_file():
            continue
        packed = None
        for mirror in 2 * list(mirrors or source.mirrors):
            report = _ProgressBar(progress, f"Downloading MNIST, file {index + 1} of {len(source.resources)}")
            try:
                packed = pooch.retrieve(
                    mirror.rstrip("/") + "/" + file_name,
                    known_hash=f"md5:{md5}",
                    fname=file_name,
                    path=raw,
                    downloader=pooch.HTTPDownloader(progressbar=report, timeout=20),
                )
                break
            except ValueError:  # pooch: the hash differs
                failures.append(f"{mirror} sent a damaged {file_name}")
                offline = False
            except requests.HTTPError as error:
                failures.append(f"{mirror} refused {file_name} (status {error.response.status_code})")
                offline = False
            except requests.RequestException:
                begun = report.total > 0
                failures.append(f"{mirror} broke off in {file_name}" if begun else f"{mirror} does not answer")
                offline = offline and not begun
            except OSError as error:
                if final.is_file():  # another process has downloaded and unpacked it meanwhile
                    break
                raise DatasetError(f"MNIST cannot be saved in {raw}: {error.strerror or error}.") from error
        if final.is_file():
            (raw / file_name).unlink(missing_ok=True)
            continue
        if packed is None:
            raise DatasetError(_no_mirror(folder, failures, offline))
        _unpack(Path(packed), final)
    return folder


def _no_mirror(folder: Path, failures: list[str], offline: bool) -> str:
    if offline:
        return (
            "MNIST is not on this machine and no mirror answers: connect to the internet and try again, set KD_DATA_DIR"
            f" to a folder that holds MNIST/raw, or choose digits, which needs no network. Looked in {folder}."
        )
    reasons = "; ".join(dict.fromkeys(failures))
    return f"MNIST could not be downloaded: {reasons}. Try again; files that arrived whole are kept."


def _unpack(packed: Path, final: Path) -> None:
    """Unpack a .gz beside its final name, then move it there, so that the final name is always whole.

    Several processes may do so at once: each has a name of its own until then.
    """
    partial = final.with_name(f"{final.name}.{secrets.token_hex(6)}.partial")
    try:
        with gzip.open(packed, "rb") as source, partial.open("wb") as target:
            shutil.copyfileobj(source, target)
        partial.replace(final)
        packed.unlink(missing_ok=True)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if not final.is_file():  # no other process was quicker
            raise DatasetError(f"MNIST cannot be saved in {final.parent}: {error.strerror or error}.") from error


def _clear_away(raw: Path) -> None:
    """Remove what downloads left that were killed more than a day ago."""
    for left in (*raw.glob("tmp*"), *raw.glob("*.partial")):
        with contextlib.suppress(OSError):
            if left.stat().st_mtime < time.time() - 86_400:
                left.unlink()


class _ProgressBar:
    """What pooch calls a progress bar, passing the share done on to a Progress."""

    def __init__(self, progress: Progress | None, text: str) -> None:
        self.total = 0
        self._progress, self._text, self._done = progress, text, 0

    def update(self, count: int) -> None:
        self._done += count
        if self._progress and self.total:
            self._progress(self._text, min(1.0, self._done / self.total))

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        """Nothing to release."""
