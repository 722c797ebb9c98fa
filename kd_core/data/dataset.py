"""Name -> images and labels, with class names and normalisation.

Images are uint8 tensors (N, C, H, W), labels int64 (N,); Dataset.normalise turns a batch into what a model reads.
Those known by name come from KD_DATA_DIR where they lie there, else from a cache folder, else over the network into
that folder (kd_core.data.download). Users' own lie in storage (kd_core.data.own.prepare).
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from kd_core.base.config import ConfigError
from kd_core.base.templates import said
from kd_core.data.catalogue import TransferSetConfig, probed_classes
from kd_core.data.own.split import draw_validation

PROBED_BYTES = 250_000_000
"""Of training images, and of test images, that are looked at to choose the probes."""


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A whole data set, in memory; one too large for that has images that are read from its file as they are indexed.

    train_images, test_images: (N, C, H, W) uint8. train_labels, test_labels: (N,) int64.
    mean, std: of the training pixels scaled to 0..1, over all channels. streamed: whether images stay on disk.
    train_groups: (N,) int64, such as who is on a training image: a split keeps a group together. None: no groups.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    mean: float
    std: float
    streamed: bool = False
    train_groups: Tensor | None = None

    def __repr__(self) -> str:
        train, shape = len(self.train_labels), tuple(self.train_images.shape[1:])
        counts = f"{train:,} training and {len(self.test_labels):,} test examples of {len(self.class_names)} classes"
        return f"<{self.name}: {counts}, each {shape}>"

    @classmethod
    def measured(
        cls,
        name: str,
        class_names: tuple[str, ...],
        train_images: Tensor,
        train_labels: Tensor,
        test_images: Tensor,
        test_labels: Tensor,
    ) -> Self:
        """The data set with the mean and standard deviation of its training pixels, exact to float64."""
        counts = torch.zeros(256, dtype=torch.float64)
        for images in train_images.split(10_000):
            counts += torch.bincount(images.flatten(), minlength=256)
        values = torch.arange(256, dtype=torch.float64) / 255
        mean = float((counts * values).sum() / counts.sum())
        std = float((counts * (values - mean) ** 2).sum() / counts.sum()) ** 0.5
        return cls(name, train_images, train_labels, test_images, test_labels, class_names, mean, std)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    @property
    def evaluated_at_once(self) -> int:
        """Images of a batch on which nothing is trained."""
        return 1000

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (N, C, H, W) -> float32 of mean 0 and standard deviation 1 over the training set."""
        return images.to(torch.float32).sub_(255 * self.mean).div_(255 * self.std)

    def split(self, validation_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
        """Indices into the training set, (training, validation), disjoint and together all of it.

        The validation part is drawn by seed, in proportion over the classes (to one example a class; of whole groups,
        where there are any, as near as they come).
        """
        if self.train_groups is not None:
            known = self.train_labels.numpy(), self.train_groups.numpy()
            drawn = torch.from_numpy(draw_validation(*known, validation_fraction, np.random.default_rng(seed)))
            return (~drawn).nonzero().squeeze(1), drawn.nonzero().squeeze(1)
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
            raise ConfigError(said("this transfer set holds no image: choose more classes"))
        return indices[kept]

    def taken(self, indices: Tensor, device: torch.device) -> "Tensor | Streamed":
        """Select training images on a device, indexed by their place among indices."""
        return Streamed(self.train_images, indices, device) if self.streamed else self.train_images[indices].to(device)

    @cached_property
    def probes(self) -> Tensor:
        """Indices of two test images of each of probed_classes, to watch while a student learns, in their order.

        The first image of the class, and the one nearest the border to another: where the distances to its own and to
        the next class's mean image differ least; of a class with one test image, it twice. Of a set that is larger than
        PROBED_BYTES, so much is looked at. No trained model has a say, so all runs show the same images.
        """
        classes = range(len(self.class_names))
        spread = slice(None, None, -(-self.train_images.nbytes // PROBED_BYTES))
        train, train_labels = self.train_images[spread].flatten(1), self.train_labels[spread]
        means = torch.stack([train[train_labels == label].mean(dim=0, dtype=torch.float32) for label in classes])
        spread = slice(None, None, -(-self.test_images.nbytes // PROBED_BYTES))
        test, test_labels = self.test_images[spread].flatten(1), self.test_labels[spread][:, None]
        distances = torch.cat([torch.cdist(part.to(torch.float32), means) for part in test.split(1000)])
        own = distances.gather(1, test_labels).squeeze(1)
        others = distances.scatter(1, test_labels, torch.inf).nan_to_num(torch.inf).min(dim=1).values
        margins = torch.full(self.test_labels.shape, torch.inf)
        margins[spread] = (others - own).abs().nan_to_num(torch.inf)  # of a class that was not looked at
        chosen = []
        for label in probed_classes(len(classes)):
            members = (self.test_labels == label).nonzero().squeeze(1)
            others_of_it = members[1:] if len(members) > 1 else members
            border = others_of_it[margins[others_of_it].argmin()]
            chosen += [int(members[0]), int(border)]
        return torch.tensor(chosen)


class Streamed:
    """Images that stay on disk, indexed like a tensor; a batch is read while the one before it is at work.

    images: (N, C, H, W) uint8, mapped from a file. rows: the M of them that this stands for, as if they were all.
    """

    def __init__(self, images: Tensor, rows: Tensor, device: torch.device) -> None:
        self._images, self._rows, self._device = images, rows, device
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="images")
        self._coming: Iterator[Tensor] = iter(())
        self._ahead: tuple[Tensor, Future[Tensor]] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, wanted: Tensor | slice) -> Tensor:
        """(B,) int64, or a slice -> (B, C, H, W) on the device."""
        ahead, self._ahead = self._ahead, None
        if ahead is None or not isinstance(wanted, Tensor) or not torch.equal(ahead[0], wanted):
            return self._read(wanted).to(self._device)
        images = ahead[1].result()
        self._read_ahead()
        return images.to(self._device)

    def expect(self, batches: Iterable[Tensor]) -> None:
        """Announce the next batches in order, (B,) int64 each, so that they are read ahead."""
        self._coming = iter(batches)
        self._read_ahead()

    def _read_ahead(self) -> None:
        coming = next(self._coming, None)
        self._ahead = None if coming is None else (coming, self._reader.submit(self._read, coming))

    def _read(self, wanted: Tensor | slice) -> Tensor:
        rows = self._rows[wanted.cpu() if isinstance(wanted, Tensor) else wanted]
        ordered, back = rows.sort()  # a disk reads fastest from front to back
        images = torch.empty((len(rows), *self._images.shape[1:]), dtype=torch.uint8)
        images[back] = self._images[ordered]
        return images
