"""CIFAR-10, as torchvision reads and offers it."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from kd_core.data.sets.definition import DatasetInfo, Offer, Parcel

if TYPE_CHECKING:
    from torch import Tensor

    from kd_core.data.dataset import Dataset

FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")


@lru_cache(maxsize=1)
def read(folder: Path) -> "Dataset":
    """The data set in a data folder. Torchvision compares each file's MD5 before it opens it: they are pickles."""
    import torch

    from kd_core.base.torchvision import torchvision
    from kd_core.data.dataset import Dataset

    parts: list[Tensor] = []
    for train in (True, False):
        part = torchvision().datasets.CIFAR10(root=str(folder), train=train, download=False)
        images = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()
        parts += [images, torch.tensor(part.targets, dtype=torch.int64)]
    return Dataset.measured("cifar10", tuple(part.classes), *parts)


def _offer() -> Offer:
    from kd_core.base.torchvision import torchvision

    source = torchvision().datasets.CIFAR10
    parcel = Parcel(source.filename, source.tgz_md5, source.base_folder)
    return Offer((parcel,), (source.url.rsplit("/", 1)[0],))


CIFAR10 = DatasetInfo(
    "CIFAR-10",
    10,
    (3, 32, 32),
    50_000,
    10_000,
    read=read,
    files=tuple(f"cifar-10-batches-py/{file}" for file in FILES),
    offer=_offer,
)
