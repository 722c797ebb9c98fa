"""Users' own data sets: a folder or zip of class folders (torchvision's ImageFolder layout), prepared once, read back.

    storage/datasets/<name>/train_images.npy  test_images.npy     uint8 (N, C, H, W)
                            train_labels.npy  test_labels.npy     int64 (N,)
                            train_groups.npy                      int64 (N,), where groups are kept together
                            card.json                             what it is and how it was made; written last

look() says what lies in a source, prepare() decodes, crops and scales every image once, read() opens what prepare left.
A source may come from anybody: nothing in it is unpacked to disk, no name in it becomes a path, and no format that
could run code is opened. torch is imported where images are decoded.
"""

import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd_core.base.files import AnyPath, is_file, remove_folder, replaced_whole, sha256, write_atomic
from kd_core.base.templates import kept as kept_text
from kd_core.base.templates import said, said_by
from kd_core.data.catalogue import own_name
from kd_core.data.download import DatasetError, Progress
from kd_core.data.own.copies import Copies, Flags, checksum, count, first_of_each, nearly_equal
from kd_core.data.own.layout import layout_of
from kd_core.data.own.library import GROUPS, PACKED, TEST_FILES, Preparation, slug_of
from kd_core.data.own.source import Source, opened_image
from kd_core.data.own.split import draw_test_set, groups_by_prefix, groups_of_csv
from kd_core.data.paths import OWN_CARD, own_folder
from kd_core.data.pictures.decode import is_flat
from kd_core.data.sets.definition import DatasetInfo

SPARE_BYTES = 500_000_000
"""That stay free on the disk."""
BATCH = 64


class _Image(NamedTuple):
    """An image as a data set has it. white: as decode.Shown has it. flat: whether it came out of almost one colour."""

    pixels: NDArray[np.uint8]
    white: int | None
    flat: bool


class _Prepared:
    """Images as a data set has them, by index: what the workers of a DataLoader make. None: unreadable."""

    def __init__(self, source: Source, names: Sequence[str], preparation: Preparation) -> None:
        from kd_core.base.torchvision import transforms

        v2 = transforms()
        steps = [v2.PILToTensor(), v2.Resize(preparation.side, antialias=True), v2.CenterCrop(preparation.side)]
        if preparation.channels == 1:
            steps.append(v2.Grayscale())
        self._transform = v2.Compose(steps)
        self._source, self._names, self._white = source, names, preparation.white

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> _Image | None:
        try:
            image, white, varied = opened_image(self._source, self._names[index], self._white)
        except OSError:
            return None
        pixels: NDArray[np.uint8] = self._transform(image).numpy()
        return _Image(pixels, white, varied and is_flat(pixels))


class _Decoded(NamedTuple):
    """All images of a source in order of its files.

    images: (N, C, S, S). ids: (N,), equal for equal images, below 0 for those that cannot be read. whites: the values
    that became white in files of more than eight bits. flat: files that came out of almost one colour.
    """

    images: NDArray[np.uint8]
    ids: NDArray[np.int64]
    whites: set[int]
    flat: list[str]


def prepare(
    path: Path, preparation: Preparation, storage: AnyPath, progress: Progress | None = None, groups: Path | None = None
) -> str:
    """Make a data set of a source, and return its name, the same for the same images and settings.

    progress hears how far it is, and may raise to cancel. groups: a CSV file of which image belongs to which group.
    Nothing is left behind where it fails.
    Raises DatasetError, in a sentence, where the source or an image in it cannot be used, or there is no room.
    """
    source = Source(path, preparation.code_page)
    layout = layout_of(source, preparation)
    class_names = tuple(layout.train)
    files, *columns = zip(*layout.images(), strict=True)
    labels, tested = np.array(columns[0], np.int64), np.array(columns[1], bool)
    grouped = _groups(files, preparation, groups)
    generator = np.random.default_rng(preparation.seed)
    with tempfile.TemporaryDirectory(prefix="kd-lab-data-") as scratch:
        folder = Path(scratch)
        try:
            decoded = _decode(folder, source, files, preparation, progress)
            if len(decoded.whites) > 1:  # one scale for all: a dark image is not to be as light as a bright one
                decoded = _decode(folder, source, files, preparation.replace(white=max(decoded.whites)), progress)
            kept, readable = np.ones(len(files), bool), decoded.ids >= 0
            if preparation.drop_copies:
                kept = first_of_each(decoded.ids, labels, tested)
            _check_kept(class_names, labels[kept & readable], "data")
            in_test = (
                tested if layout.test else draw_test_set(labels, kept, grouped, preparation.test_fraction, generator)
            )
            for part, side in (("train", ~in_test), ("test", in_test)):
                _check_kept(class_names, labels[side & kept & readable], part)
            copies = _write_parts(folder, decoded, labels, kept, in_test, grouped, generator, files)
            notices = _notices(decoded, len(files) - int(kept.sum()), grouped, in_test)
            facts = {
                "own_test_set": bool(layout.test),
                "copies": copies._asdict(),
                "notices": [*map(kept_text, notices)],
            }
            return _publish(folder, class_names, preparation, path.name, storage, facts)
        except OSError as error:
            why = error.strerror or said_by(error)
            raise DatasetError(said("The data set cannot be saved: {why}. Free some space.", why=why)) from error


def _groups(files: Sequence[str], preparation: Preparation, table: Path | None) -> NDArray[np.int64] | None:
    """The group of each file as a number, or None where no groups are kept together."""
    if table is None and not preparation.group_prefix:
        return None
    names = groups_of_csv(files, table) if table else groups_by_prefix(files, preparation.group_prefix)
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _check_kept(class_names: Sequence[str], labels: NDArray[np.int64], part: str) -> None:
    lost = sorted({*range(len(class_names))} - set(labels.tolist()))
    if lost:
        raise DatasetError(said(_LOST[part], name=class_names[lost[0]]))


_LOST = {
    "data": said("No image of class '{name}' in the data set can be read, or is left without its copies."),
    "train": said("No image of class '{name}' in the train set can be read, or is left without its copies."),
    "test": said("No image of class '{name}' in the test set can be read, or is left without its copies."),
}


def _decode(
    folder: Path, source: Source, files: Sequence[str], preparation: Preparation, progress: Progress | None
) -> _Decoded:
    """Decode all files, once, into a mapped file in folder."""
    from torch.utils.data import DataLoader

    shape = (preparation.channels, preparation.side, preparation.side)
    if shutil.disk_usage(folder).free < 2 * len(files) * math.prod(shape) + SPARE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # a mapped file that finds no room kills its process
    images = np.lib.format.open_memmap(folder / "all.npy", mode="w+", dtype=np.uint8, shape=(len(files), *shape))
    sums: list[bytes] = []
    whites, flat = set[int](), list[str]()
    loader: Iterable[list[_Image | None]] = DataLoader(
        _Prepared(source, files, preparation),  # type: ignore[arg-type]
        batch_size=BATCH,
        num_workers=min(8, os.cpu_count() or 1) if len(files) > 4 * BATCH else 0,
        collate_fn=list,
    )
    for batch in loader:
        for image in batch:
            name = files[len(sums)]
            if image is not None:
                images[len(sums)] = image.pixels
                whites |= {image.white} if image.white else set()
                flat += [name] if image.flat else []
            elif not preparation.skip_unreadable:
                raise DatasetError(
                    said(
                        "{name} cannot be read as an image: replace or remove it, or have unreadable files left out.",
                        name=name[:120],
                    )
                )
            sums.append(b"" if image is None else checksum(image.pixels))
        if progress:
            progress(said("Preparing images"), len(sums) / len(files))
    ids = np.unique(np.array(sums, object), return_inverse=True)[1].astype(np.int64)
    ids[[not checksum for checksum in sums]] = -1
    return _Decoded(images, ids, whites, flat)


def _write_parts(
    folder: Path,
    decoded: _Decoded,
    labels: NDArray[np.int64],
    kept: Flags,
    in_test: Flags,
    groups: NDArray[np.int64] | None,
    generator: np.random.Generator,
    files: Sequence[str],
) -> Copies:
    """Write images and labels of training and test set, and return what there is of copies among them.

    Both are mixed, so that the first thousand test images, which pages show and race over, are of all classes.
    """
    chosen = []
    for part, side in (("train", ~in_test), ("test", in_test)):
        members = np.flatnonzero(kept & side)
        members = members[generator.permutation(len(members))]
        members = members[decoded.ids[members] >= 0]
        shape = (len(members), *decoded.images.shape[1:])
        images = np.lib.format.open_memmap(folder / f"{part}_images.npy", mode="w+", dtype=np.uint8, shape=shape)
        for start in range(0, len(members), 1000):
            images[start : start + 1000] = decoded.images[members[start : start + 1000]]
        images.flush()
        np.save(folder / f"{part}_labels.npy", labels[members], allow_pickle=False)
        chosen.append(members)
    if groups is not None:
        np.save(folder / GROUPS, groups[chosen[0]], allow_pickle=False)
    (folder / TEST_FILES).write_text(json.dumps([files[int(member)] for member in chosen[1]]), encoding="utf-8")
    members = np.concatenate(chosen)
    ids, tested = decoded.ids[members], in_test[members]
    near, leaked = nearly_equal(decoded.images, members, ids, tested)
    return count(ids, labels[members], tested)._replace(near=near, near_leaked=leaked)


def _notices(decoded: _Decoded, dropped: int, groups: NDArray[np.int64] | None, in_test: Flags) -> list[str]:
    """Say what was done that its owner may not expect, a sentence each."""
    sentences: list[str] = []
    if dropped:
        sentences.append(said("{count:,} images were left out as copies.", count=dropped))
    if decoded.whites:
        white = max(decoded.whites)
        sentences.append(said("Some files have more than eight bits; {white:,} was taken for white.", white=white))
    if decoded.flat:
        sentences.append(
            said(
                "{count:,} images came out almost of one colour, such as {name}.",
                count=len(decoded.flat),
                name=decoded.flat[0][:120],
            )
        )
    if groups is not None:
        torn = len(np.intersect1d(groups[in_test], groups[~in_test]))
        count = int(groups.max()) + 1
        sentences.append(
            said(
                "The images are of {count:,} groups: {torn:,} of them lie on both sides of the source's own split.",
                count=count,
                torn=torn,
            )
            if torn
            else said("The images are of {count:,} groups: each lies on one side.", count=count)
        )
    return sentences


def _publish(
    folder: Path,
    class_names: tuple[str, ...],
    preparation: Preparation,
    source_name: str,
    storage: AnyPath,
    facts: Mapping[str, Any],
) -> str:
    """Give the packed files their name and place in storage, the card last."""
    packed = [file for file in (*PACKED, GROUPS) if (folder / file).is_file()]
    checksums = {file: sha256(folder / file) for file in packed}
    mean, std = _statistics(np.load(folder / PACKED[0], mmap_mode="r"))
    if std == 0:
        raise DatasetError(said("All images are of one and the same grey: there is nothing to learn from."))
    counts = {
        part: np.bincount(np.load(folder / f"{part}_labels.npy"), minlength=len(class_names)).tolist()
        for part in ("train", "test")
    }
    shape = (preparation.channels, preparation.side, preparation.side)
    info = DatasetInfo(preparation.label, len(class_names), shape, sum(counts["train"]), sum(counts["test"]))
    content = json.dumps([class_names, checksums], sort_keys=True).encode()
    name = own_name(slug_of(preparation.label), hashlib.sha256(content).hexdigest()[:12], info)
    target = own_folder(storage, name)
    if is_file(target / OWN_CARD):
        if not is_file(target / TEST_FILES):
            _copy(folder / TEST_FILES, target / TEST_FILES)
        return name
    card = {
        "class_names": class_names,
        "counts": counts,
        "mean": mean,
        "std": std,
        "preparation": preparation.model_dump(mode="json"),
        "source": source_name,
        "checksums": checksums,
        **facts,
    }
    try:
        for file in (*packed, TEST_FILES):
            _copy(folder / file, target / file)
        write_atomic(target / OWN_CARD, json.dumps(card, indent=2).encode())
    except BaseException:
        if not is_file(target / OWN_CARD):  # else another process was quicker, and it is whole
            remove_folder(target)
        raise
    return name


def _copy(source: Path, target: AnyPath) -> None:
    if isinstance(target, Path):
        target.parent.mkdir(parents=True, exist_ok=True)
        with replaced_whole(target) as partial:
            shutil.copyfile(source, partial)
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
