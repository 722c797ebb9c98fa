"""A folder or zip of class folders, looked at and checked before anything is made of it."""

import io
import os
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from kd_core.base.archive import Archive, DamagedError, FlawError, oddities
from kd_core.data.catalogue import MAX_CLASSES, SIDES
from kd_core.data.download import DatasetError
from kd_core.data.own.library import MAX_CLASS_NAME

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
TRAIN, TEST, VALIDATION = ("train", "training"), ("test", "testing"), ("val", "valid", "validation")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""That Pillow decodes by itself; an EPS, whatever its name, would start Ghostscript."""
MAX_IMAGES = 2_000_000

MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS = 50_000_000, 50_000_000

SAMPLED = 60
"""Images that look() opens, spread over all."""
FEWEST_OF_A_CLASS = 4
"""Images, so that there are some to learn from and one to test on."""


_REFUSED = {
    "path": "holds '{name}', a path that leads out of it: pack the class folders themselves.",
    "link": "holds a link, '{name}': pack the images themselves.",
    "password": "is locked with a password: pack it without one.",
}
"""Why a zip file is not taken, by the oddity of a member. How it is packed does not matter here."""


class Look(NamedTuple):
    """What lies in a source, before anything is prepared.

    train, test: images of each class, by name; test is empty where the source keeps no test set of its own. smallest,
    largest: (width, height) among those that were opened. side: a size that suits them. colour: whether any has some.
    ignored: files that are no images by their names.
    """

    train: dict[str, int]
    test: dict[str, int]
    smallest: tuple[int, int]
    largest: tuple[int, int]
    side: int
    colour: bool
    ignored: int


class Source:
    """A folder or a zip file: its files by name, and their bytes. Names have '/' between their parts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._archive: Archive | None = None
        self._opened_in = -1  # a worker of a DataLoader is another process, and needs a file position of its own

    def __getstate__(self) -> Path:
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.__init__(path)  # type: ignore[misc]

    def _opened(self) -> Archive:
        if self._archive is None or self._opened_in != os.getpid():
            try:
                self._archive = Archive(self.path)
            except DamagedError as error:
                raise DatasetError(
                    f"{self.path.name} is no zip file, or it is cut short: pack the class folders again."
                ) from error
            self._opened_in = os.getpid()
        return self._archive

    def names(self) -> tuple[list[str], list[str]]:
        """All files, and all folders, in order of name. Raises DatasetError where one leads out of the source."""
        if self.path.is_dir():
            files, folders = [], []
            for folder, below, inside in os.walk(self.path):
                here = Path(folder).relative_to(self.path)
                folders += [(here / name).as_posix() for name in below]
                files += [(here / name).as_posix() for name in inside]
                if len(files) > 2 * MAX_IMAGES:
                    break
            return sorted(files), sorted(folders)
        files, folders = [], []
        for entry in self._opened().entries:
            refused = next((_REFUSED[oddity] for oddity in oddities(entry) if oddity in _REFUSED), None)
            if refused is not None:
                raise DatasetError(f"{self.path.name} {refused.format(name=entry.orig_filename[:80])}")
            (folders if entry.is_dir() else files).append(entry.filename.rstrip("/"))
        return sorted(set(files)), sorted(folders)

    def read(self, name: str) -> bytes:
        """The content of a file. Raises OSError where it cannot be read, or is larger than MAX_IMAGE_BYTES."""
        if self.path.is_dir():
            with (self.path / name).open("rb") as file:
                content = file.read(MAX_IMAGE_BYTES + 1)
            if len(content) > MAX_IMAGE_BYTES:
                raise OSError("it is too large")
            return content
        try:
            return self._opened().read(name, MAX_IMAGE_BYTES)
        except FlawError as flaw:
            raise OSError(str(flaw)) from flaw


class Content(NamedTuple):
    """Files of each class: class name -> their names, in order."""

    train: dict[str, list[str]]
    test: dict[str, list[str]]
    ignored: int


def content_of(source: Source) -> Content:
    """What lies where. Raises DatasetError, in a sentence, for what is no data set of class folders."""
    title = source.path.name
    files, folders = source.names()
    files, folders = ([name for name in names if not _hidden(name)] for names in (files, folders))
    images = [tuple(name.split("/")) for name in files if name.lower().endswith(ENDINGS)]
    ignored = len(files) - len(images)
    if not images:
        raise DatasetError(
            f"{title} holds no image: it needs one folder a class with images in it ({', '.join(ENDINGS[:4])}, …)."
        )
    if len(images) > MAX_IMAGES:
        raise DatasetError(f"{title} holds more than {MAX_IMAGES:,} images: take a part of them.")
    start = 0
    while all(len(parts) > start + 2 and parts[start] == images[0][start] for parts in images):
        start += 1  # folders that only wrap the rest
    loose = next((parts for parts in images if len(parts) < start + 2), None)
    if loose is not None:
        raise DatasetError(_loose(loose))
    wrapped = images[0][:start]
    tops = {parts[start] for parts in images}
    named = {top: top.lower() for top in tops}
    split = (
        any(low in TRAIN for low in named.values())
        and any(low in TEST + VALIDATION for low in named.values())
        and all(low in TRAIN + TEST + VALIDATION for low in named.values())
    )
    if not split:
        train = _by_class(images, start)
        _check_classes(title, train, _empty(folders, wrapped, train))
        return Content(train, {}, ignored)
    shallow = next((parts for parts in images if len(parts) < start + 3), None)
    if shallow is not None:
        raise DatasetError(_loose(shallow))
    has_test = any(low in TEST for low in named.values())
    in_test = TEST if has_test else VALIDATION
    train = _by_class([parts for parts in images if named[parts[start]] not in in_test], start + 1)
    test = _by_class([parts for parts in images if named[parts[start]] in in_test], start + 1)
    empty = [name for top in tops for name in _empty(folders, (*wrapped, top), {**train, **test})]
    _check_classes(title, train, empty)
    differing = sorted(set(train) ^ set(test))
    if differing:
        raise DatasetError(
            f"{title} has other classes to train on than to test on ('{differing[0][:60]}' is in one of them only):"
            " give both the same class folders."
        )
    return Content(train, test, ignored)


def _loose(parts: tuple[str, ...]) -> str:
    return f"{'/'.join(parts)[:80]} lies in no class folder: put each image in the folder of its class."


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _by_class(images: Sequence[tuple[str, ...]], at: int) -> dict[str, list[str]]:
    """Files by the folder that stands at this place of their paths, as torchvision's ImageFolder sorts them."""
    members: dict[str, list[str]] = defaultdict(list)
    for parts in images:
        members[parts[at]].append("/".join(parts))
    return {name: members[name] for name in sorted(members)}


def _empty(folders: Sequence[str], wrapped: tuple[str, ...], classes: Mapping[str, list[str]]) -> list[str]:
    """Class folders without an image."""
    depth = len(wrapped)
    paths = {tuple(name.split("/")) for name in folders}
    return sorted(
        parts[depth]
        for parts in paths
        if len(parts) == depth + 1 and parts[:depth] == wrapped and parts[depth] not in classes
    )


def _check_classes(title: str, classes: Mapping[str, list[str]], empty: Sequence[str]) -> None:
    if len(classes) + len(empty) > MAX_CLASSES:
        raise DatasetError(
            f"{title} has {len(classes) + len(empty):,} class folders, and {MAX_CLASSES:,} is the most: is there one"
            " folder a class, or one an image?"
        )
    if empty:
        raise DatasetError(f"Class '{empty[0][:60]}' holds no image: fill its folder, or leave it out.")
    if len(classes) < 2:
        raise DatasetError(
            f"{title} has one class only, '{next(iter(classes))[:60]}': to tell apart there have to be two at least."
        )
    for name, members in classes.items():
        if len(name) > MAX_CLASS_NAME or not name.isprintable():
            raise DatasetError(
                f"Class '{name[:60]}' cannot be called so: give its folder a name of at most {MAX_CLASS_NAME} printable"
                " characters."
            )
        if len(members) < FEWEST_OF_A_CLASS:
            raise DatasetError(
                f"Class '{name}' has {len(members)} of the {FEWEST_OF_A_CLASS} images that it needs at least: some to"
                " learn from and some to test on."
            )


def look(path: Path) -> Look:
    """What lies in a folder or zip file of class folders. Raises DatasetError where it cannot be used."""
    source = Source(path)
    content = content_of(source)
    names = [name for members in content.train.values() for name in members]
    sizes: list[tuple[int, int]] = []
    colour, unreadable = False, ""
    for name in names[:: max(1, len(names) // SAMPLED)][:SAMPLED]:
        try:
            image = opened_image(source, name)
        except OSError:
            unreadable = unreadable or name
            continue
        sizes.append(image.size)
        colour = colour or _has_colour(image)
    if not sizes:
        raise DatasetError(f"{unreadable[:80]} and all others that were tried cannot be read as images.")
    least = median(min(size) for size in sizes)
    side = max((usual for usual in (28, 32, 64) if usual <= least), default=SIDES[0])
    return Look(
        {name: len(members) for name, members in content.train.items()},
        {name: len(members) for name, members in content.test.items()},
        (min(width for width, _ in sizes), min(height for _, height in sizes)),
        (max(width for width, _ in sizes), max(height for _, height in sizes)),
        side,
        colour,
        content.ignored,
    )


def opened_image(source: Source, name: str) -> Image.Image:
    """An image as it is meant to be seen, in RGB, on white where it is transparent. Raises OSError where it is none."""
    content = source.read(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
            if image.width * image.height > MAX_IMAGE_PIXELS:
                raise OSError("it has too many pixels")
            image = ImageOps.exif_transpose(image)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return _of_eight_bits(image).convert("RGB")
    except OSError:
        raise
    except Exception as error:  # a hostile file finds every way in which a decoder can fail
        raise OSError(str(error)) from error


def _of_eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits has to be scaled: Pillow would cut it off at 255."""
    if image.mode == "F":
        raise OSError("its numbers have no known range")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image, dtype=np.float64)
    return Image.fromarray((values / 257).clip(0, 255).round().astype(np.uint8))


def _has_colour(image: Image.Image) -> bool:
    pixels = np.asarray(image.resize((32, 32)), dtype=np.int16)
    return bool((pixels.max(axis=2) - pixels.min(axis=2)).max() > 8)
