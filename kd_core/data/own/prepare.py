"""Users' own data sets: a folder or zip of class folders (torchvision's ImageFolder layout), prepared once, read back.

    storage/datasets/<name>/train_images.npy  test_images.npy     uint8 (N, C, H, W)
                            train_labels.npy  test_labels.npy     int64 (N,)
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
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd_core.base.files import AnyPath, is_file, remove_folder, replaced_whole, sha256, write_atomic
from kd_core.data.catalogue import own_name
from kd_core.data.download import DatasetError, Progress
from kd_core.data.own.library import PACKED, Preparation, slug_of
from kd_core.data.own.source import Content, Source, content_of, opened_image
from kd_core.data.paths import OWN_CARD, own_folder
from kd_core.data.sets.definition import DatasetInfo

SPARE_BYTES = 500_000_000
"""That stay free on the disk."""
BATCH = 64


# ---------------------------------------------------------------------------------------------------- the source


# --------------------------------------------------------------------------------------------------- preparation


class _Prepared:
    """Images as a data set has them, by index: what the workers of a DataLoader make. None: unreadable."""

    def __init__(self, source: Source, names: Sequence[str], preparation: Preparation) -> None:
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
            image = opened_image(self._source, self._names[index])
        except OSError:
            return None
        pixels: NDArray[np.uint8] = self._transform(image).numpy()
        return pixels


def prepare(path: Path, preparation: Preparation, storage: AnyPath, progress: Progress | None = None) -> str:
    """Make a data set of a source, and return its name, the same for the same images and settings.

    progress hears how far it is, and may raise to cancel. Nothing is left behind where it fails.
    Raises DatasetError, in a sentence, where the source or an image in it cannot be used, or there is no room.
    """
    source = Source(path)
    content = content_of(source)
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


def _parts(content: Content, preparation: Preparation) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
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
    source: Source,
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
    train_examples, test_examples = (count.total() for count in counts)
    info = DatasetInfo(preparation.label, len(class_names), shape, train_examples, test_examples)
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


# --------------------------------------------------------------------------------------------------- reading back
