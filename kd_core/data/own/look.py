"""What lies in a source, said before anything is prepared."""

import contextlib
import hashlib
import unicodedata
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from kd_core.base.config import in_words
from kd_core.base.templates import said
from kd_core.data.catalogue import SIDES
from kd_core.data.download import DatasetError
from kd_core.data.own import names
from kd_core.data.own.copies import Copies, count
from kd_core.data.own.layout import Layout, layout_of
from kd_core.data.own.library import Naming
from kd_core.data.own.source import Source, opened_image

SAMPLED = 60
"""Images that look() opens, spread over all."""


class Look(NamedTuple):
    """What lies in a source, before anything is prepared.

    train, test: images of each class, by name; test is empty where the source keeps no test set of its own. smallest,
    largest: (width, height) among those that were opened. side: a size that suits them. colour: whether any has some.
    ignored: files that are no images by their names. left_out: ending -> files of it that are left out, with those in
    hidden folders and in LEFT_BY_PROGRAMS. folders: class folder -> its class, and its images. alike: classes whose
    names differ by case alone. code_page: of the names, empty where they are Unicode; code_pages: each that decodes
    them -> the names of the first folders in it. white: the value taken for white in files of more than eight bits,
    None where none of those that were opened is one. copies: the fields of Copies, of files equal to the last byte.
    """

    train: dict[str, int]
    test: dict[str, int]
    smallest: tuple[int, int]
    largest: tuple[int, int]
    side: int
    colour: bool
    ignored: int
    left_out: dict[str, int]
    folders: dict[str, tuple[str, int]]
    alike: list[list[str]]
    code_page: str
    code_pages: dict[str, list[str]]
    white: int | None
    copies: dict[str, int]

    def preset(self, path: Path) -> dict[str, Any]:
        """What a Preparation of the source at path starts from, where its owner chooses nothing."""
        return {"label": path.stem, "side": self.side, "channels": 3 if self.colour else 1}

    def notices(self) -> list[str]:
        """Say what became of names and files that their owner may not expect, a sentence each."""
        sentences: list[str] = []
        if any(self.code_pages.values()):
            sentences.append(
                said(
                    "Names are read in code page {page} ({called}): choose another where they look wrong.",
                    page=self.code_page,
                    called=names.PAGES[self.code_page],
                )
            )
        classes: dict[str, list[str]] = {}
        for folder, (name, _) in self.folders.items():
            classes.setdefault(name, []).append(folder)
        for name, folders in classes.items():
            if len(folders) > 1:
                made_of = {"name": name, "count": len(folders), "folders": _quoted(folders)}
                sentences.append(said("Class '{name}' is made of {count} folders: {folders}.", **made_of))
        sentences += [
            said("These classes differ by case alone, and can be merged: {names}.", names=_quoted(group))
            for group in self.alike
        ]
        if self.white:
            sentences.append(
                said(
                    "Some files have more than eight bits; of their values {white:,} is taken for white.",
                    white=self.white,
                )
            )
        if self.left_out:
            endings = [
                f"{count:,} {ending}" if ending else said("{count:,} without ending", count=count)
                for ending, count in self.left_out.items()
            ]
            sentences.append(said("Left out: {endings}.", endings=in_words(endings)))
        return sentences

    def doubts(self) -> list[str]:
        """Say which files are copies, a sentence each."""
        return Copies(**self.copies).sentences(sum(self.test.values()))


def _equal_files(source: Source, layout: Layout) -> Copies:
    """Count files of equal content; only files of equal size are read, so that it is quick."""
    files = list(layout.images())
    sizes = Counter(source.size(file) for file, *_ in files)
    ids: dict[bytes, int] = {}
    rows = []
    for number, (file, label, tested) in enumerate(files):
        key = f"{number}".encode()
        if sizes[source.size(file)] > 1:
            with contextlib.suppress(OSError):
                key = hashlib.blake2b(source.read(file), digest_size=16).digest()
        rows.append((ids.setdefault(key, number), label, tested))
    columns = np.array(rows)
    return count(columns[:, 0], columns[:, 1], columns[:, 2].astype(bool))


def _quoted(folders: list[str]) -> str:
    """Names in quotes; of those that look alike in print, which one is decomposed."""
    return in_words(
        [
            f"'{name}'" if unicodedata.is_normalized("NFC", name) else said("'{name}' (decomposed)", name=name)
            for name in folders
        ]
    )


def look(path: Path, naming: Naming | None = None) -> Look:
    """What lies in a folder or zip file of class folders. Raises DatasetError where it cannot be used."""
    naming = naming or Naming()
    source = Source(path, naming.code_page)
    layout = layout_of(source, naming)
    files = [name for members in layout.train.values() for name in members]
    sizes: list[tuple[int, int]] = []
    colour, unreadable, whites = False, "", set[int]()
    for name in files[:: max(1, len(files) // SAMPLED)][:SAMPLED]:
        try:
            image, white, _ = opened_image(source, name)
        except OSError:
            unreadable = unreadable or name
            continue
        sizes.append(image.size)
        whites |= {white} if white else set()
        colour = colour or _has_colour(image)
    if not sizes:
        raise DatasetError(
            said("{name} and all others that were tried cannot be read as images.", name=unreadable[:80])
        )
    least = median(min(size) for size in sizes)
    side = max((usual for usual in (28, 32, 64) if usual <= least), default=SIDES[0])
    return Look(
        {name: len(members) for name, members in layout.train.items()},
        {name: len(members) for name, members in layout.test.items()},
        (min(width for width, _ in sizes), min(height for _, height in sizes)),
        (max(width for width, _ in sizes), max(height for _, height in sizes)),
        side,
        colour,
        layout.ignored,
        layout.left_out,
        layout.folders,
        names.alike(layout.train),
        source.code_page,
        source.code_pages(),
        max(whites, default=None),
        _equal_files(source, layout)._asdict(),
    )


def _has_colour(image: Image.Image) -> bool:
    pixels = np.asarray(image.resize((32, 32)), dtype=np.int16)
    return bool((pixels.max(axis=2) - pixels.min(axis=2)).max() > 8)
