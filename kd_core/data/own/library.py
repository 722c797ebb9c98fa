"""The prepared data sets of a lab: their cards, names, files and removal."""

import contextlib
import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import platformdirs
from numpy.typing import NDArray
from pydantic import Field, field_validator

from kd_core.base.config import Config
from kd_core.base.files import AnyPath, paths_below, read_bytes, read_text, remove_folder, sha256, write_atomic
from kd_core.base.templates import read_back, said, said_by
from kd_core.data.catalogue import DATASETS, SIDES, info_of, is_own
from kd_core.data.download import DatasetError
from kd_core.data.own.copies import Copies, checksum, count
from kd_core.data.own.names import PAGES
from kd_core.data.paths import OWN, OWN_CARD, own_folder

MAX_CLASS_NAME, MAX_LABEL = 60, 40

STREAMED_BYTES = 1_500_000_000
"""Of images, above which a data set stays on disk and its images are read as they are asked for."""
PACKED = ("train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy")
GROUPS = "train_groups.npy"
"""Of data sets with groups, from December 2026 on: what the validation split keeps together."""
TEST_FILES = "test_files.json"
"""Which file of the source each test image came from, from December 2026 on; it has no part in the set's name."""


class Naming(Config):
    """How names in a source are read."""

    code_page: str = Field("", description="of names in a zip that do not say theirs; by default the likeliest")
    merge: bool = Field(False, description="make one class of those whose names differ by case alone")
    rename: dict[str, str] = Field(
        {}, description="class folder -> what its class is called; folders of one name are one class"
    )

    @field_validator("code_page")
    @classmethod
    def _known(cls, page: str) -> str:
        if page and page not in PAGES:
            raise ValueError(
                said("unknown code page '{page}': choose one of {known}", page=page[:80], known=", ".join(PAGES))
            )
        return page


class Preparation(Naming):
    """How the images of a source become a data set's."""

    label: str = Field(description="what people call it; its name is made of this")
    side: int = Field(32, ge=SIDES[0], le=SIDES[1], description="height and width in pixels, after a central crop")
    channels: Literal[1, 3] = Field(3, description="1 makes grey of all, 3 colour of all")
    test_fraction: float = Field(
        0.2, ge=0.02, le=0.5, description="share of each class kept as test set, where the source has none of its own"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of that split")
    skip_unreadable: bool = Field(False, description="leave out files that are no images, instead of refusing all")
    drop_copies: bool = Field(
        False, description="keep one of equal images, and none that lies under several classes; test images stay"
    )
    group_prefix: str = Field(
        "", max_length=20, description="keep images together whose file names are equal up to this, such as '_'"
    )
    white: int | None = Field(
        None, ge=1, lt=2**31, description="value that is white in files of over eight bits; by default guessed"
    )

    @field_validator("label")
    @classmethod
    def _sayable(cls, label: str) -> str:
        if not slug_of(label):
            raise ValueError(said("give the data set a name with at least one letter of a-z or digit"))
        return label


def slug_of(label: str) -> str:
    """A label as names carry it: words of a-z and 0-9 with '-' between, MAX_LABEL characters at most."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower())[:MAX_LABEL].strip("-")


class Parts(NamedTuple):
    """A data set's arrays, training part first: images (N, C, H, W) uint8 and labels (N,) int64.

    groups: (N,) int64, of the training images, None where there are none.
    """

    images: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    labels: tuple[NDArray[np.int64], NDArray[np.int64]]
    class_names: tuple[str, ...]
    mean: float
    std: float
    streamed: bool
    groups: NDArray[np.int64] | None = None


class Card(NamedTuple):
    """What is known of a user's data set without opening its images. counts: images of each class, by part.

    copies: None where they were not counted, as of a data set made before December 2026. notices: what its preparation
    had to say, a sentence each.
    """

    name: str
    class_names: tuple[str, ...]
    counts: dict[str, list[int]]
    preparation: Preparation
    source: str
    own_test_set: bool
    mean: float
    std: float
    checksums: dict[str, str]
    copies: Copies | None
    notices: tuple[str, ...]

    def sentences(self) -> list[str]:
        """Say what its owner may not expect of it, a sentence each."""
        return [*self.notices, *(self.copies.sentences(sum(self.counts["test"])) if self.copies else ())]


def names(storage: AnyPath) -> list[str]:
    """The data sets that users brought, in order of name. Raises OSError where the storage does not answer."""
    folders = {path.parent.name for path in paths_below(storage / OWN, f"*/{OWN_CARD}")}
    return sorted(name for name in folders if is_own(name) and _named(name))


def _named(name: str) -> bool:
    with contextlib.suppress(ValueError):
        info_of(name)
        return True
    return False


def card(storage: AnyPath, name: str) -> Card:
    """What is known of a user's data set. Raises DatasetError where it is not there, or damaged."""
    try:
        text = read_text(own_folder(storage, name) / OWN_CARD)
    except FileNotFoundError:
        raise DatasetError(
            said(
                "The data set '{label}' is not here: bring it in again on the Data page, from the same images with the"
                " same settings.",
                label=info_of(name).label,
            )
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(_damaged(name)) from error
    try:
        values: dict[str, Any] = json.loads(text)
        return Card(
            name,
            tuple(map(str, values["class_names"])),
            {part: [int(count) for count in values["counts"][part]] for part in ("train", "test")},
            Preparation(**values["preparation"]),
            str(values["source"]),
            bool(values["own_test_set"]),
            float(values["mean"]),
            float(values["std"]),
            {file: str(values["checksums"][file]) for file in (*PACKED, *({GROUPS} & {*values["checksums"]}))},
            Copies(**values["copies"]) if values.get("copies") else None,
            tuple(read_back(str(notice)) for notice in values.get("notices", ())),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(_damaged(name)) from error


def remove(storage: AnyPath, name: str) -> None:
    """Delete a user's data set. Runs that learned from it stay."""
    folder = own_folder(storage, name)
    with contextlib.suppress(OSError):  # first, so that what is half removed is not taken for whole
        (folder / OWN_CARD).unlink(missing_ok=True)
    remove_folder(folder)
    read.cache_clear()


@lru_cache(maxsize=4)
def read(storage: AnyPath, name: str) -> Parts:
    """The arrays of a user's data set; images above STREAMED_BYTES stay on disk, and are read as they are indexed.

    Raises DatasetError where it is not there, or damaged.
    """
    about, info = card(storage, name), info_of(name)
    folder = own_folder(storage, name)
    if not isinstance(folder, Path):
        folder = _fetched(folder, about)
    loaded = []
    try:
        for file in about.checksums:
            path = folder / file
            streamed = path.stat().st_size > STREAMED_BYTES
            if not streamed and sha256(path) != about.checksums[file]:
                raise DatasetError(_damaged(name))
            # "c" leaves the file alone and gives torch what it takes for writable
            loaded.append(np.load(path, mmap_mode="c" if streamed else None, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(_damaged(name)) from error
    train_images, train_labels, test_images, test_labels, *groups = loaded
    if any(of_each.shape != train_labels.shape or of_each.dtype != np.int64 for of_each in groups):
        raise DatasetError(_damaged(name))
    for images, labels, examples in (
        (train_images, train_labels, info.train_examples),
        (test_images, test_labels, info.test_examples),
    ):
        whole = images.shape == (examples, *info.image_shape) and images.dtype == np.uint8
        whole = whole and labels.shape == (examples,) and labels.dtype == np.int64
        if not whole or labels.min() < 0 or labels.max() >= info.classes:
            raise DatasetError(_damaged(name))
    if len(about.class_names) != info.classes:
        raise DatasetError(_damaged(name))
    streamed = any(isinstance(images, np.memmap) for images in (train_images, test_images))
    images, labels = (train_images, test_images), (train_labels, test_labels)
    return Parts(images, labels, about.class_names, about.mean, about.std, streamed, *groups)


def test_files(storage: AnyPath, dataset: str) -> list[str] | None:
    """Which file of its source each test image of a user's data set came from; None of others, and where it is lost."""
    if not is_own(dataset):
        return None
    try:
        files = json.loads(read_text(own_folder(storage, dataset) / TEST_FILES))
        named = [str(file).encode("utf-8", "replace").decode() for file in files]
    except (OSError, ValueError, TypeError):
        return None
    return named if len(named) == info_of(dataset).test_examples else None


def doubts(storage: AnyPath, dataset: str) -> list[str]:
    """Say which images of a user's data set are copies, as numbers on it are to be read.

    Nothing of other data sets, and of one that is not here.
    """
    if not is_own(dataset):
        return []
    with contextlib.suppress(DatasetError):
        about = card(storage, dataset)
        return (about.copies or _counted(storage, dataset)).sentences(sum(about.counts["test"]))
    return []


@lru_cache(maxsize=16)
def _counted(storage: AnyPath, name: str) -> Copies:
    """Count the equal images of a data set whose card does not."""
    parts = read(storage, name)
    sums = [checksum(image) for images in parts.images for image in images]
    ids = np.unique(np.array(sums, object), return_inverse=True)[1]
    return count(ids, np.concatenate(parts.labels), np.arange(len(sums)) >= len(parts.labels[0]))


def _fetched(folder: AnyPath, about: Card) -> Path:
    """A copy on this machine of what lies in storage elsewhere."""
    here = Path(platformdirs.user_cache_dir("kd-lab")) / OWN / about.name
    try:
        for file in about.checksums:
            if not (here / file).is_file() or sha256(here / file) != about.checksums[file]:
                write_atomic(here / file, read_bytes(folder / file))
    except OSError as error:
        why = {"label": info_of(about.name).label, "why": said_by(error)}
        raise DatasetError(said("The data set '{label}' cannot be fetched: {why}.", **why)) from error
    return here


def _damaged(name: str) -> str:
    return said(
        "The data set '{label}' is damaged: delete it on the Data page, and bring it in again.",
        label=info_of(name).label,
    )


def find(storage: AnyPath, text: str) -> str:
    """The full name of a data set: what text names exactly, or the only one whose label or name begins with it.

    Raises DatasetError where there is none, or more than one.
    """
    if text in DATASETS or is_own(text):
        return text
    own = {name: info_of(name).label for name in names(storage)}
    slug = slug_of(text)
    matches = [name for name, label in own.items() if slug and slug_of(label) == slug]
    matches = matches or [name for name in own if slug and name.removeprefix("own.").startswith(slug)]
    if len(matches) > 1:
        raise DatasetError(f"{len(matches)} data sets are called {text[:80]}: write one of {', '.join(matches)}")
    if not matches:
        known = ", ".join([*DATASETS, *own.values()])
        raise DatasetError(f"unknown data set '{text[:80]}': choose one of {known}")
    return matches[0]


def balance(counts: Sequence[int]) -> float:
    """The largest class over the smallest, 1 where all are alike."""
    return max(counts) / max(1, min(counts))
