"""Users' own data sets: a folder or zip of class folders (torchvision's ImageFolder layout), prepared once, read back.

    storage/datasets/<name>/train_images.npy  test_images.npy     uint8 (N, C, H, W)
                            train_labels.npy  test_labels.npy     int64 (N,)
                            card.json                             what it is and how it was made; written last

look() says what lies in a source, prepare() decodes, crops and scales every image once, read() opens what prepare left.
A source may come from anybody: nothing in it is unpacked to disk, no name in it becomes a path, and no format that
could run code is opened. torch is imported where images are decoded.
"""

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import re
import secrets
import shutil
import stat as modes
import tempfile
import warnings
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from statistics import median
from typing import Any, Literal, NamedTuple

import numpy as np
import platformdirs
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydantic import Field, field_validator

from kd_core.base.config import Config
from kd_core.base.files import AnyPath, is_file, listed, read_bytes, read_text, remove_folder, sha256, write_atomic
from kd_core.config import DATASETS, MAX_CLASSES, SIDES, DatasetInfo, info_of, is_own, own_name
from kd_core.downloads import DatasetError, Progress
from kd_core.places import OWN, OWN_CARD, own_folder

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
TRAIN, TEST, VALIDATION = ("train", "training"), ("test", "testing"), ("val", "valid", "validation")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""That Pillow decodes by itself; an EPS, whatever its name, would start Ghostscript."""
MAX_IMAGES = 2_000_000
SPARE_BYTES = 500_000_000
"""That stay free on the disk."""
MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS = 50_000_000, 50_000_000
MAX_CLASS_NAME, MAX_LABEL = 60, 40
SAMPLED = 60
"""Images that look() opens, spread over all."""
FEWEST_OF_A_CLASS = 4
"""Images, so that there are some to learn from and one to test on."""
STREAMED_BYTES = 1_500_000_000
"""Of images, above which a data set stays on disk and its images are read as they are asked for."""
PACKED = ("train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy")
BATCH = 64


class Preparation(Config):
    """How the images of a source become a data set's."""

    label: str = Field(description="what people call it; its name is made of this")
    side: int = Field(32, ge=SIDES[0], le=SIDES[1], description="height and width in pixels, after a central crop")
    channels: Literal[1, 3] = Field(3, description="1 makes grey of all, 3 colour of all")
    test_fraction: float = Field(
        0.2, ge=0.02, le=0.5, description="share of each class kept as test set, where the source has none of its own"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of that split")
    skip_unreadable: bool = Field(False, description="leave out files that are no images, instead of refusing all")

    @field_validator("label")
    @classmethod
    def _sayable(cls, label: str) -> str:
        if not slug_of(label):
            raise ValueError("give the data set a name with at least one letter of a-z or digit")
        return label


def slug_of(label: str) -> str:
    """A label as names carry it: words of a-z and 0-9 with '-' between, MAX_LABEL characters at most."""
    return re.sub(r"[^a-z0-9]+", "-", label.lower())[:MAX_LABEL].strip("-")


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


# ---------------------------------------------------------------------------------------------------- the source


class _Source:
    """A folder or a zip file: its files by name, and their bytes. Names have '/' between their parts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self._opened_in = -1  # a worker of a DataLoader is another process, and needs a file position of its own

    def __getstate__(self) -> Path:
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.__init__(path)  # type: ignore[misc]

    def archive(self) -> zipfile.ZipFile:
        if self._zip is None or self._opened_in != os.getpid():
            try:
                self._zip = zipfile.ZipFile(self.path)
            except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
                raise DatasetError(
                    f"{self.path.name} is no zip file, or it is cut short: pack the class folders again."
                ) from error
            self._opened_in = os.getpid()
        return self._zip

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
        for member in self.archive().infolist():
            parts = PurePosixPath(member.filename).parts
            climbs = member.filename.startswith("/") or ".." in parts or "\\" in member.filename
            if climbs or "\0" in member.filename or re.match(r"[A-Za-z]:", member.filename):
                raise DatasetError(
                    f"{self.path.name} holds '{member.filename[:80]}', a path that leads out of it: pack the class"
                    " folders themselves."
                )
            if modes.S_ISLNK(member.external_attr >> 16):
                raise DatasetError(
                    f"{self.path.name} holds a link, '{member.filename[:80]}': pack the images themselves."
                )
            if member.flag_bits & 1:
                raise DatasetError(f"{self.path.name} is locked with a password: pack it without one.")
            (folders if member.is_dir() else files).append(member.filename.rstrip("/"))
        return sorted(set(files)), sorted(folders)

    def read(self, name: str) -> bytes:
        """At most MAX_IMAGE_BYTES + 1 of a file. Raises OSError where it cannot be read."""
        try:
            with (self.path / name).open("rb") if self.path.is_dir() else self.archive().open(name) as file:
                return file.read(MAX_IMAGE_BYTES + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, KeyError) as error:
            raise OSError(str(error)) from error


class _Content(NamedTuple):
    """Files of each class: class name -> their names, in order."""

    train: dict[str, list[str]]
    test: dict[str, list[str]]
    ignored: int


def _content(source: _Source) -> _Content:
    """What lies where. Raises DatasetError, in a sentence, for what is no data set of class folders."""
    said = source.path.name
    files, folders = source.names()
    files, folders = ([name for name in names if not _hidden(name)] for names in (files, folders))
    images = [tuple(name.split("/")) for name in files if name.lower().endswith(ENDINGS)]
    ignored = len(files) - len(images)
    if not images:
        raise DatasetError(
            f"{said} holds no image: it needs one folder a class with images in it ({', '.join(ENDINGS[:4])}, …)."
        )
    if len(images) > MAX_IMAGES:
        raise DatasetError(f"{said} holds more than {MAX_IMAGES:,} images: take a part of them.")
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
        _check_classes(said, train, _empty(folders, wrapped, train))
        return _Content(train, {}, ignored)
    shallow = next((parts for parts in images if len(parts) < start + 3), None)
    if shallow is not None:
        raise DatasetError(_loose(shallow))
    has_test = any(low in TEST for low in named.values())
    in_test = TEST if has_test else VALIDATION
    train = _by_class([parts for parts in images if named[parts[start]] not in in_test], start + 1)
    test = _by_class([parts for parts in images if named[parts[start]] in in_test], start + 1)
    empty = [name for top in tops for name in _empty(folders, (*wrapped, top), {**train, **test})]
    _check_classes(said, train, empty)
    differing = sorted(set(train) ^ set(test))
    if differing:
        raise DatasetError(
            f"{said} has other classes to train on than to test on ('{differing[0][:60]}' is in one of them only): give"
            " both the same class folders."
        )
    return _Content(train, test, ignored)


def _loose(parts: tuple[str, ...]) -> str:
    return f"{'/'.join(parts)[:80]} lies in no class folder: put each image in the folder of its class."


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _by_class(images: Sequence[tuple[str, ...]], at: int) -> dict[str, list[str]]:
    """Files by the folder that stands at this place of their paths, as torchvision's ImageFolder sorts them."""
    found: dict[str, list[str]] = defaultdict(list)
    for parts in images:
        found[parts[at]].append("/".join(parts))
    return {name: found[name] for name in sorted(found)}


def _empty(folders: Sequence[str], wrapped: tuple[str, ...], classes: Mapping[str, list[str]]) -> list[str]:
    """Class folders without an image."""
    depth = len(wrapped)
    found = {tuple(name.split("/")) for name in folders}
    return sorted(
        parts[depth]
        for parts in found
        if len(parts) == depth + 1 and parts[:depth] == wrapped and parts[depth] not in classes
    )


def _check_classes(said: str, classes: Mapping[str, list[str]], empty: Sequence[str]) -> None:
    if len(classes) + len(empty) > MAX_CLASSES:
        raise DatasetError(
            f"{said} has {len(classes) + len(empty):,} class folders, and {MAX_CLASSES:,} is the most: is there one"
            " folder a class, or one an image?"
        )
    if empty:
        raise DatasetError(f"Class '{empty[0][:60]}' holds no image: fill its folder, or leave it out.")
    if len(classes) < 2:
        raise DatasetError(
            f"{said} has one class only, '{next(iter(classes))[:60]}': to tell apart there have to be two at least."
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
    source = _Source(path)
    content = _content(source)
    names = [name for members in content.train.values() for name in members]
    sizes: list[tuple[int, int]] = []
    colour, unreadable = False, ""
    for name in names[:: max(1, len(names) // SAMPLED)][:SAMPLED]:
        try:
            image = _opened(source, name)
        except OSError:
            unreadable = unreadable or name
            continue
        sizes.append(image.size)
        colour = colour or _has_colour(image)
    if not sizes:
        raise DatasetError(f"{unreadable[:80]} and all others that were tried cannot be read as images.")
    least = median(min(size) for size in sizes)
    side = max((one for one in (28, 32, 64) if one <= least), default=SIDES[0])
    return Look(
        {name: len(members) for name, members in content.train.items()},
        {name: len(members) for name, members in content.test.items()},
        (min(width for width, _ in sizes), min(height for _, height in sizes)),
        (max(width for width, _ in sizes), max(height for _, height in sizes)),
        side,
        colour,
        content.ignored,
    )


def _opened(source: _Source, name: str) -> Image.Image:
    """An image as it is meant to be seen, in RGB, on white where it is transparent. Raises OSError where it is none."""
    content = source.read(name)
    if len(content) > MAX_IMAGE_BYTES:
        raise OSError("it is too large")
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


# --------------------------------------------------------------------------------------------------- preparation


class _Prepared:
    """Images as a data set has them, by index: what the workers of a DataLoader make. None: unreadable."""

    def __init__(self, source: _Source, names: Sequence[str], preparation: Preparation) -> None:
        from kd_core.base.torchvision import transforms

        v2 = transforms()
        steps = [v2.PILToTensor(), v2.Resize(preparation.side, antialias=True), v2.CenterCrop(preparation.side)]
        if preparation.channels == 1:
            steps.append(v2.Grayscale())
        self._transform = v2.Compose(steps)
        self._source, self._names = source, names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> NDArray[np.uint8] | None:
        try:
            image = _opened(self._source, self._names[index])
        except OSError:
            return None
        pixels: NDArray[np.uint8] = self._transform(image).numpy()
        return pixels


def prepare(path: Path, preparation: Preparation, storage: AnyPath, progress: Progress | None = None) -> str:
    """Make a data set of a source, and return its name, the same for the same images and settings.

    progress hears how far it is, and may raise to cancel. Nothing is left behind where it fails.
    Raises DatasetError, in a sentence, where the source or an image in it cannot be used, or there is no room.
    """
    source = _Source(path)
    content = _content(source)
    class_names = tuple(content.train)
    train, test = _parts(content, preparation)
    with tempfile.TemporaryDirectory(prefix="kd-lab-data-") as scratch:
        folder = Path(scratch)
        try:
            kept = [
                _pack(folder, part, source, members, preparation, progress)
                for part, members in (("train", train), ("test", test))
            ]
            for part, counts in zip(("train", "test"), kept, strict=True):
                lost = [class_names[label] for label in range(len(class_names)) if not counts[label]]
                if lost:
                    raise DatasetError(f"No image of class '{lost[0]}' in the {part} set can be read.")
            return _publish(folder, class_names, preparation, kept, path.name, storage, own_test_set=bool(content.test))
        except OSError as error:
            raise DatasetError(f"The data set cannot be saved: {error.strerror or error}. Free some space.") from error


def _parts(content: _Content, preparation: Preparation) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """(file, label) of training and test set: the source's own, or drawn by seed in proportion over the classes.

    Both are mixed by seed, so that the first thousand test images, which pages show and race over, are of all classes.
    """
    train: list[tuple[str, int]] = []
    test: list[tuple[str, int]] = []
    generator = np.random.default_rng(preparation.seed)
    for label, (name, members) in enumerate(content.train.items()):
        if content.test:
            train += [(file, label) for file in members]
            test += [(file, label) for file in content.test[name]]
            continue
        chosen = generator.permutation(len(members))[: max(1, round(len(members) * preparation.test_fraction))]
        in_test = set(chosen.tolist())
        for index, file in enumerate(members):
            (test if index in in_test else train).append((file, label))
    mixed_train, mixed_test = ([part[index] for index in generator.permutation(len(part))] for part in (train, test))
    return mixed_train, mixed_test


def _pack(
    folder: Path,
    part: str,
    source: _Source,
    members: Sequence[tuple[str, int]],
    preparation: Preparation,
    progress: Progress | None,
) -> Counter[int]:
    """Write the images and labels of a part, and return how many there are of each label."""
    from torch.utils.data import DataLoader

    shape = (preparation.channels, preparation.side, preparation.side)
    if shutil.disk_usage(folder).free < len(members) * math.prod(shape) + SPARE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # a mapped file that finds no room kills its process
    images = np.lib.format.open_memmap(
        folder / f"{part}_images.npy", mode="w+", dtype=np.uint8, shape=(len(members), *shape)
    )
    labels: list[int] = []
    workers = min(8, os.cpu_count() or 1) if len(members) > 4 * BATCH else 0
    loader: Iterable[list[NDArray[np.uint8] | None]] = DataLoader(
        _Prepared(source, [name for name, _ in members], preparation),  # type: ignore[arg-type]
        batch_size=BATCH,
        num_workers=workers,
        collate_fn=list,
    )
    done = 0
    for batch in loader:
        for pixels in batch:
            name, label = members[done]
            done += 1
            if pixels is not None:
                images[len(labels)] = pixels
                labels.append(label)
            elif not preparation.skip_unreadable:
                raise DatasetError(
                    f"{name[:120]} cannot be read as an image: replace or remove it, or have unreadable files left out."
                )
        if progress:
            progress(f"Preparing {part} images", done / len(members))
    images.flush()
    if len(labels) < len(members):
        np.save(folder / "shorter.npy", images[: len(labels)], allow_pickle=False)
        del images
        (folder / "shorter.npy").replace(folder / f"{part}_images.npy")
    np.save(folder / f"{part}_labels.npy", np.array(labels, np.int64), allow_pickle=False)
    return Counter(labels)


def _publish(
    folder: Path,
    class_names: tuple[str, ...],
    preparation: Preparation,
    counts: Sequence[Counter[int]],
    source_name: str,
    storage: AnyPath,
    *,
    own_test_set: bool,
) -> str:
    """Give the packed files their name and place in storage, the card last."""
    checksums = {name: sha256(folder / name) for name in PACKED}
    mean, std = _statistics(np.load(folder / PACKED[0], mmap_mode="r"))
    if std == 0:
        raise DatasetError("All images are of one and the same grey: there is nothing to learn from.")
    shape = (preparation.channels, preparation.side, preparation.side)
    info = DatasetInfo(preparation.label, len(class_names), shape, *(count.total() for count in counts))
    content = json.dumps([class_names, checksums], sort_keys=True).encode()
    name = own_name(slug_of(preparation.label), hashlib.sha256(content).hexdigest()[:12], info)
    target = own_folder(storage, name)
    if is_file(target / OWN_CARD):
        return name
    card = {
        "class_names": class_names,
        "counts": {
            part: [count[label] for label in range(len(class_names))]
            for part, count in zip(("train", "test"), counts, strict=True)
        },
        "mean": mean,
        "std": std,
        "preparation": preparation.model_dump(mode="json"),
        "source": source_name,
        "own_test_set": own_test_set,
        "checksums": checksums,
    }
    try:
        for packed in PACKED:
            _copy(folder / packed, target / packed)
        write_atomic(target / OWN_CARD, json.dumps(card, indent=2).encode())
    except BaseException:
        if not is_file(target / OWN_CARD):  # else another process was quicker, and it is whole
            remove_folder(target)
        raise
    return name


def _copy(source: Path, target: AnyPath) -> None:
    if isinstance(target, Path):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{secrets.token_hex(6)}.partial")
        try:
            shutil.copyfile(source, partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    else:
        target.fs.put_file(str(source), target.path)


def _statistics(images: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean and standard deviation of all pixels scaled to 0..1, exact to float64."""
    counts = np.zeros(256)
    for start in range(0, len(images), 1000):
        counts += np.bincount(images[start : start + 1000].ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = float(counts @ values / counts.sum())
    return mean, float(np.sqrt(counts @ (values - mean) ** 2 / counts.sum()))


# --------------------------------------------------------------------------------------------------- reading back


class Parts(NamedTuple):
    """A data set's arrays, training part first: images (N, C, H, W) uint8 and labels (N,) int64."""

    images: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    labels: tuple[NDArray[np.int64], NDArray[np.int64]]
    class_names: tuple[str, ...]
    mean: float
    std: float
    streamed: bool


class Card(NamedTuple):
    """What is known of a user's data set without opening its images. counts: images of each class, by part."""

    name: str
    class_names: tuple[str, ...]
    counts: dict[str, list[int]]
    preparation: Preparation
    source: str
    own_test_set: bool
    mean: float
    std: float
    checksums: dict[str, str]


def names(storage: AnyPath) -> list[str]:
    """The data sets that users brought, in order of name. Raises OSError where the storage does not answer."""
    found = {path.parent.name for path in listed(storage / OWN, f"*/{OWN_CARD}")}
    return sorted(name for name in found if is_own(name) and _named(name))


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
            f"The data set '{info_of(name).label}' is not here: bring it in again on the Data page, from the same"
            " images with the same settings."
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
            {file: str(values["checksums"][file]) for file in PACKED},
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
        for file in PACKED:
            path = folder / file
            streamed = path.stat().st_size > STREAMED_BYTES
            if not streamed and sha256(path) != about.checksums[file]:
                raise DatasetError(_damaged(name))
            # "c" leaves the file alone and gives torch what it takes for writable
            loaded.append(np.load(path, mmap_mode="c" if streamed else None, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(_damaged(name)) from error
    train_images, train_labels, test_images, test_labels = loaded
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
    return Parts(images, labels, about.class_names, about.mean, about.std, streamed)


def _fetched(folder: AnyPath, about: Card) -> Path:
    """A copy on this machine of what lies in storage elsewhere."""
    here = Path(platformdirs.user_cache_dir("kd-lab")) / OWN / about.name
    try:
        for file in PACKED:
            if not (here / file).is_file() or sha256(here / file) != about.checksums[file]:
                write_atomic(here / file, read_bytes(folder / file))
    except OSError as error:
        raise DatasetError(f"The data set '{info_of(about.name).label}' cannot be fetched: {error}.") from error
    return here


def _damaged(name: str) -> str:
    return f"The data set '{info_of(name).label}' is damaged: delete it on the Data page, and bring it in again."


def find(storage: AnyPath, text: str) -> str:
    """The full name of a data set: what text names exactly, or the only one whose label or name begins with it.

    Raises DatasetError where there is none, or more than one.
    """
    if text in DATASETS or is_own(text):
        return text
    own = {name: info_of(name).label for name in names(storage)}
    slug = slug_of(text)
    found = [name for name, label in own.items() if slug and slug_of(label) == slug]
    found = found or [name for name in own if slug and name.removeprefix("own.").startswith(slug)]
    if len(found) > 1:
        raise DatasetError(f"{len(found)} data sets are called {text[:80]}: write one of {', '.join(found)}")
    if not found:
        known = ", ".join([*DATASETS, *own.values()])
        raise DatasetError(f"unknown data set '{text[:80]}': choose one of {known}")
    return found[0]


def balance(counts: Sequence[int]) -> float:
    """The largest class over the smallest, 1 where all are alike."""
    return max(counts) / max(1, min(counts))
