"""Which files of a source are images of which class, checked before anything is made of them."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from kd_core.base.templates import said
from kd_core.data.catalogue import MAX_CLASSES
from kd_core.data.download import DatasetError
from kd_core.data.own import names
from kd_core.data.own.library import MAX_CLASS_NAME, Naming
from kd_core.data.own.source import MAX_IMAGES, Source

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
TRAIN, TEST, VALIDATION = ("train", "training"), ("test", "testing"), ("val", "valid", "validation")
LEFT_BY_PROGRAMS = (
    "__macosx", "@eadir", "#recycle", "#snapshot", "@recycle", "$recycle.bin", "lost+found",
    "system volume information",
)  # fmt: skip
"""Folders that a Mac, a NAS or Windows lays beside images: thumbnails, and what was deleted."""
FEWEST_OF_A_CLASS = 4
"""Images, so that there are some to learn from and one to test on."""

Paths = Sequence[tuple[str, ...]]
"""Names of files, as their parts."""


class Layout(NamedTuple):
    """The images of each class: class name -> files, in order; test is empty where the source keeps none of its own.

    folders: class folder -> its class, and how many images it holds. ignored: visible files that are no images by their
    names. left_out: ending -> files of it that are left out, hidden or not.
    """

    train: dict[str, list[str]]
    test: dict[str, list[str]]
    folders: dict[str, tuple[str, int]]
    ignored: int
    left_out: dict[str, int]

    def images(self) -> Iterator[tuple[str, int, bool]]:
        """Yield each file with its class's number, and whether it is of the source's own test set; class by class."""
        for label, name in enumerate(self.train):
            yield from ((file, label, False) for file in self.train[name])
            yield from ((file, label, True) for file in self.test.get(name, ()))


def layout_of(source: Source, naming: Naming) -> Layout:
    """Find the classes of a source. Raises DatasetError, in a sentence, for what is no data set of class folders."""
    title = source.path.name
    visible = [name for name in source.files if not _hidden(name)]
    images = [tuple(name.split("/")) for name in visible if name.lower().endswith(ENDINGS)]
    if not images:
        raise DatasetError(
            said(
                "{file} holds no image: it needs one folder a class with images in it ({endings}, …).",
                file=title,
                endings=", ".join(ENDINGS[:4]),
            )
        )
    if len(images) > MAX_IMAGES:
        raise DatasetError(
            said("{file} holds more than {count:,} images: take a part of them.", file=title, count=MAX_IMAGES)
        )
    start = 0
    while all(len(parts) > start + 2 and parts[start] == images[0][start] for parts in images):
        start += 1  # folders that only wrap the rest
    tested = _test_folders({parts[start] for parts in images if len(parts) > start + 1})
    at = start + 1 if tested else start
    loose = next((parts for parts in images if len(parts) < at + 2), None)
    if loose is not None:
        raise DatasetError(
            said(
                "{file} lies in no class folder: put each image in the folder of its class.",
                file="/".join(loose)[:80],
            )
        )
    counts = Counter(parts[at] for parts in images)
    called = names.class_names(counts, naming.rename, merge=naming.merge)
    train, test = _by_class(images, at, called, tested)
    if tested and set(train) != set(test):  # the same classes in another case are meant to be the same
        called = names.class_names(counts, naming.rename, merge=True)
        train, test = _by_class(images, at, called, tested)
    _check_classes(title, train, _empty(source.folders, images, at, counts))
    differing = sorted(set(train) ^ set(test)) if tested else []
    if differing:
        raise DatasetError(
            said(
                "{file} has other classes to train on than to test on ('{name}' is in one of them only): give both the"
                " same class folders.",
                file=title,
                name=differing[0][:60],
            )
        )
    folders = {folder: (called[folder], counts[folder]) for folder in sorted(counts)}
    taken = {"/".join(parts) for parts in images}
    left_out = Counter(PurePosixPath(name).suffix.lower() for name in source.files if name not in taken)
    return Layout(train, test, folders, len(visible) - len(images), dict(left_out.most_common()))


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part.lower() in LEFT_BY_PROGRAMS for part in name.split("/"))


def _test_folders(tops: Collection[str]) -> set[str]:
    """Which of the uppermost folders hold a test set; none where they are classes."""
    lower = {top: top.lower() for top in tops}
    in_test = TEST if any(low in TEST for low in lower.values()) else VALIDATION
    tested = {top for top, low in lower.items() if low in in_test}
    apart = any(low in TRAIN for low in lower.values())
    return tested if apart and all(low in TRAIN + TEST + VALIDATION for low in lower.values()) else set()


def _by_class(
    images: Paths, at: int, called: Mapping[str, str], tested: Collection[str]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Files of training and test set by class, in order. at: which part of their names is the class folder."""
    train: dict[str, list[str]] = defaultdict(list)
    test: dict[str, list[str]] = defaultdict(list)
    for parts in images:
        part = test if tested and parts[at - 1] in tested else train
        part[called[parts[at]]].append("/".join(parts))
    return {name: train[name] for name in sorted(train)}, {name: test[name] for name in sorted(test)}


def _empty(folders: Sequence[str], images: Paths, at: int, classes: Collection[str]) -> list[str]:
    """Class folders without an image."""
    above = {parts[:at] for parts in images}
    paths = (tuple(name.split("/")) for name in folders if not _hidden(name))
    return sorted(
        parts[at] for parts in paths if len(parts) == at + 1 and parts[:at] in above and parts[at] not in classes
    )


def _check_classes(title: str, classes: Mapping[str, list[str]], empty: Sequence[str]) -> None:
    if len(classes) + len(empty) > MAX_CLASSES:
        raise DatasetError(
            said(
                "{file} has {count:,} class folders, and {most:,} is the most: is there one folder a class, or one an"
                " image?",
                file=title,
                count=len(classes) + len(empty),
                most=MAX_CLASSES,
            )
        )
    if empty:
        raise DatasetError(said("Class '{name}' holds no image: fill its folder, or leave it out.", name=empty[0][:60]))
    if len(classes) < 2:
        raise DatasetError(
            said(
                "{file} has one class only, '{name}': to tell apart there have to be two at least.",
                file=title,
                name=next(iter(classes))[:60],
            )
        )
    for name, members in classes.items():
        if len(name) > MAX_CLASS_NAME or names.clean(name) is None:
            raise DatasetError(
                said(
                    "Class '{name}' cannot be called so: give its folder a name of at most {most} printable"
                    " characters.",
                    name=name[:60],
                    most=MAX_CLASS_NAME,
                )
            )
        if len(members) < FEWEST_OF_A_CLASS:
            raise DatasetError(
                said(
                    "Class '{name}' has {count} of the {fewest} images that it needs at least: some to learn from and"
                    " some to test on.",
                    name=name,
                    count=len(members),
                    fewest=FEWEST_OF_A_CLASS,
                )
            )
