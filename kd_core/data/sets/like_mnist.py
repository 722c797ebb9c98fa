"""MNIST, and the data sets that were made after its pattern, as torchvision reads and offers them."""

from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from kd_core.data.sets.definition import DatasetInfo, Offer, Parcel

if TYPE_CHECKING:
    from kd_core.data.dataset import Dataset

FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
IMAGES = {"train": 60_000, "t10k": 10_000}
DIGITS = tuple("0123456789")
KMNIST_CLASSES = ("お o", "き ki", "す su", "つ tsu", "な na", "は ha", "ま ma", "や ya", "れ re", "を wo")


@lru_cache(maxsize=3)
def read(folder: Path, name: str, source_name: str, class_names: tuple[str, ...] = ()) -> "Dataset":
    """The data set in a data folder. source_name: its class in torchvision.datasets, which names classes by default."""
    import torch

    from kd_core.base.torchvision import torchvision
    from kd_core.data.dataset import Dataset

    source = getattr(torchvision().datasets, source_name)
    parts = []
    for train in (True, False):
        part = source(root=str(folder), train=train, download=False)
        images, labels = part.data.unsqueeze(1), part.targets.to(torch.int64)
        expected = IMAGES["train" if train else "t10k"]
        whole = images.shape == (expected, 1, 28, 28) and labels.shape == (expected,)
        if not whole or int(labels.min()) < 0 or int(labels.max()) > 9:
            raise ValueError(f"{len(images)} images and {len(labels)} labels")
        parts += [images, labels]
    return Dataset.measured(name, class_names or tuple(source.classes), *parts)


def _offer(source_name: str) -> Offer:
    from kd_core.base.torchvision import torchvision

    source = getattr(torchvision().datasets, source_name)
    parcels = (
        Parcel(packed, md5, f"{source_name}/raw/{packed.removesuffix('.gz')}") for packed, md5 in source.resources
    )
    return Offer(tuple(parcels), tuple(source.mirrors))


def _like_mnist(
    label: str, name: str, source_name: str, class_names: tuple[str, ...] = (), *, handwritten: bool = False
) -> DatasetInfo:
    return DatasetInfo(
        label,
        10,
        (1, 28, 28),
        60_000,
        10_000,
        handwritten,
        read=partial(read, name=name, source_name=source_name, class_names=class_names),
        files=tuple(f"{source_name}/raw/{file}" for file in FILES),
        offer=partial(_offer, source_name),
    )


MNIST = _like_mnist("MNIST", "mnist", "MNIST", DIGITS, handwritten=True)
FASHION_MNIST = _like_mnist("Fashion-MNIST", "fashion_mnist", "FashionMNIST")
KMNIST = _like_mnist("KMNIST", "kmnist", "KMNIST", KMNIST_CLASSES)
