"""scikit-learn's copy of the UCI test set "Optical Recognition of Handwritten Digits": 1,797 images of 8x8.

It lies in the wheel and needs no network.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from kd_core.base.templates import said
from kd_core.data.sets.definition import DatasetInfo

if TYPE_CHECKING:
    from kd_core.data.dataset import Dataset


@lru_cache(maxsize=1)
def load() -> "Dataset":
    """Each image enlarged, then scaled and centred as MNIST's are (kd_core.data.picture.as_mnist).

    So every model takes both, and a model trained on either knows what its user draws. A quarter of each class, chosen
    once and for all, is the test set.
    """
    import numpy as np
    import torch
    from sklearn.datasets import load_digits
    from torch.nn import functional as F

    from kd_core.data.dataset import Dataset
    from kd_core.data.picture import as_mnist

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
    return Dataset.measured("digits", tuple("0123456789"), *parts)


def _read(_: Path) -> "Dataset":
    return load()


DIGITS = DatasetInfo(said("Digits (scikit-learn)"), 10, (1, 28, 28), 1352, 445, handwritten=True, read=_read)
