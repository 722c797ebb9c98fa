"""The data sets by name, what is known of each without loading it, and which part of one is a transfer set."""

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, field_validator

from kd_core.base.config import Config, ConfigError, in_words
from kd_core.base.templates import said
from kd_core.data.sets.cifar10 import CIFAR10
from kd_core.data.sets.definition import DatasetInfo
from kd_core.data.sets.digits import DIGITS
from kd_core.data.sets.like_mnist import FASHION_MNIST, KMNIST, MNIST

DATASETS: dict[str, DatasetInfo] = {
    "digits": DIGITS,
    "mnist": MNIST,
    "fashion_mnist": FASHION_MNIST,
    "kmnist": KMNIST,
    "cifar10": CIFAR10,
}
"""Those that everybody knows by name; users' own are named by own_name."""
MAX_CLASSES = 1000
SIDES = (8, 224)
"""Least and greatest height and width of an image, in pixels."""
_OWN = re.compile(
    r"own\.([a-z0-9]+(?:-[a-z0-9]+)*)\.([0-9a-f]{12})"
    r"\.([1-9][0-9]{0,3})\.([13])x([1-9][0-9]{0,2})x([1-9][0-9]{0,2})\.([1-9][0-9]{0,8})\.([1-9][0-9]{0,8})"
)

HANDWRITTEN = frozenset(name for name, info in DATASETS.items() if info.handwritten)
"""Data sets of single handwritten digits: what somebody draws can be made an image like theirs."""
MOST_PROBED, PROBED_LOGITS = 20, 4000
"""Of how many classes two test images are watched at most, and how many logits of one of the two, after each epoch."""


def own_name(slug: str, digest: str, info: DatasetInfo) -> str:
    """The name of a user's data set. slug: words of a-z and 0-9 with '-' between. digest: 12 hexadecimal digits.

    It says what a config has to know, so that a run can be listed and checked where the data set itself is not; and
    other content has another digest, so that nothing learned of the one is ever taken for the other.
    """
    shape = "x".join(map(str, info.image_shape))
    return f"own.{slug}.{digest}.{info.classes}.{shape}.{info.train_examples}.{info.test_examples}"


def is_own(dataset: str) -> bool:
    """Whether a data set is a user's own."""
    return dataset.startswith("own.")


def called(dataset: str) -> str:
    """The name for tables and labels: of a user's own its label alone."""
    return info_of(dataset).label if is_own(dataset) else dataset


def info_of(dataset: str) -> DatasetInfo:
    """Look up a data set by name: one of DATASETS, or a user's own. Raises ConfigError for any other name."""
    if dataset in DATASETS:
        return DATASETS[dataset]
    own = _OWN.fullmatch(dataset)
    if own:
        slug, _, *numbers = own.groups()
        classes, channels, height, width, train_examples, test_examples = map(int, numbers)
        if 2 <= classes <= MAX_CLASSES and all(SIDES[0] <= side <= SIDES[1] for side in (height, width)):
            return DatasetInfo(
                slug.replace("-", " "), classes, (channels, height, width), train_examples, test_examples
            )
    raise ConfigError(
        said("unknown data set '{name}': choose one of {known}", name=dataset[:80], known=", ".join(DATASETS))
    )


class TransferSetConfig(Config):
    """The part of the training set that a student sees, and whether with its labels (Hinton et al., section 3).

    The baseline beside a distilled student sees the same images, so that the teacher alone is the difference.
    """

    fraction: float = Field(1.0, gt=0, le=1, description="share of each class's training images that is used")
    only_classes: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None, min_length=1, description="indices of the classes whose images are used; by default all"
    )
    labelled: bool = Field(True, description="off: no label is read, not even to choose the best epoch")

    @field_validator("only_classes")
    @classmethod
    def _in_order(cls, classes: tuple[int, ...] | None) -> tuple[int, ...] | None:
        return None if classes is None else tuple(sorted(set(classes)))

    def missing(self, classes: int) -> tuple[int, ...]:
        """Of so many classes, those without an image in it."""
        return () if self.only_classes is None else tuple(sorted({*range(classes)} - {*self.only_classes}))

    def share_in_words(self, validation_fraction: float) -> str:
        """How much of the training set it takes: such as '20% of the training images: 10% to train, ...'."""
        taken = said("{percent:.3g}% of the training images", percent=100 * self.fraction)
        chosen_by = 100 * self.fraction * validation_fraction
        if not chosen_by:
            return taken
        return said(
            "{taken}: {train:.3g}% to train, {choose:.3g}% to choose the epoch",
            taken=taken,
            train=100 * self.fraction - chosen_by,
            choose=chosen_by,
        )

    def classes_in_words(self, class_names: Sequence[str]) -> str:
        """Which classes it holds: 'all classes', 'classes 7 and 8', 'all classes but 3'."""
        missing = [class_names[label] for label in self.missing(len(class_names))]
        kept = [class_names[label] for label in self.only_classes or ()]
        if not missing:
            return said("all classes")
        if len(missing) < len(kept):
            return said("all classes but {names}", names=in_words(missing))
        return said("classes {names}", names=in_words(kept))

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self == TransferSetConfig()


def probed_classes(classes: int) -> tuple[int, ...]:
    """Classes whose test images are watched during training: all, or of many some evenly spread.

    Of 1,000 classes two images each would be two million logits to keep after each epoch.
    """
    count = max(1, min(classes, MOST_PROBED, PROBED_LOGITS // classes))
    return tuple(place * classes // count for place in range(count))
