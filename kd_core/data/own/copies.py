"""Images of a data set that are copies of others: counted, said, and left out where that is asked.

Equal images are known by a checksum. A copy in the test set makes errors look fewer than they are, one under two labels
cannot be right, and one beside its original teaches nothing new. Nearly equal ones are known by a difference hash
(neighbouring cells of an 8 x 9 thumbnail: which is lighter) and by how far their thumbnails differ.
"""

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd_core.base.templates import said

ROWS, COLUMNS = 8, 9
MOST_BITS, MOST_LEVELS = 4, 2.0
"""Of 64 bits of the hash, and of 255 grey levels on average, in which near copies differ at most."""
NEIGHBOURS, TURNS = 3, (0, 16, 32, 48)
"""Each hash is held against the next few in order of value, with its bits turned so far before they are ordered."""
_CHUNK = 4096

Flags = NDArray[np.bool_]
Ids = NDArray[np.int64]


class Copies(NamedTuple):
    """Images of a data set that are copies.

    within: of another image of the same class and part, beyond the first. across: images that lie under several
    classes. leaked: test images that are also training images. near: images nearly like another; near_leaked: test
    images nearly like a training image.
    """

    within: int = 0
    across: int = 0
    leaked: int = 0
    near: int = 0
    near_leaked: int = 0

    def sentences(self, test_examples: int) -> list[str]:
        """Say what there is of copies, a sentence each. test_examples: 0 before a test set is drawn."""
        sentences: list[str] = []
        if self.leaked:
            sentences.append(
                said(
                    "{count:,} of {test:,} test images are also training images: on them a model can have learned the"
                    " answer by heart.",
                    count=self.leaked,
                    test=test_examples,
                )
            )
        if self.across:
            text = said(
                "{count:,} images lie under several classes: no answer to them can be right.", count=self.across
            )
            sentences.append(text)
        if self.within:
            sentences.append(said("{count:,} images are copies of another of their class.", count=self.within))
        if self.near and self.near_leaked:
            sentences.append(
                said(
                    "{count:,} images are nearly like another, {leaked:,} of them test images like a training image:"
                    " look whether they show the same.",
                    count=self.near,
                    leaked=self.near_leaked,
                )
            )
        elif self.near:
            text = said("{count:,} images are nearly like another: look whether they show the same.", count=self.near)
            sentences.append(text)
        return sentences


def checksum(image: NDArray[np.uint8]) -> bytes:
    """Return 16 bytes that only equal images share."""
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def count(ids: Ids, labels: Ids, in_test: Flags) -> Copies:
    """Count equal images. ids: (N,), equal where images are. labels, in_test: (N,)."""
    of_part = np.stack([ids, labels, in_test])
    within = len(ids) - np.unique(of_part, axis=1).shape[1]
    return Copies(within, int(_ambiguous(ids, labels).sum()), int(np.isin(ids[in_test], ids[~in_test]).sum()))


def first_of_each(ids: Ids, labels: Ids, in_test: Flags) -> Flags:
    """Which images to keep, (N,): one of equal ones, rather of the test set; none of those under several classes."""
    order = np.argsort(~in_test, kind="stable")
    kept = np.zeros(len(ids), bool)
    kept[order[np.unique(ids[order], return_index=True)[1]]] = True
    return kept & ~_ambiguous(ids, labels)


def _ambiguous(ids: Ids, labels: Ids) -> Flags:
    """Which images lie under several classes."""
    pairs = np.unique(np.stack([ids, labels]), axis=1)[0]
    several, counts = np.unique(pairs, return_counts=True)
    return np.isin(ids, several[counts > 1])


def nearly_equal(images: NDArray[np.uint8], members: Ids, ids: Ids, in_test: Flags) -> tuple[int, int]:
    """Count the members that are nearly like another, and the test images nearly like a training image.

    images: all, (N, C, H, W), H and W at least 8. members: (M,), which of them. ids, in_test: (M,), of the members.
    Some pairs are missed: each image is held against few others.
    """
    thumbnails = np.empty((len(members), ROWS, COLUMNS), np.uint8)
    hashes = np.empty(len(members), np.uint64)
    for at in range(0, len(members), _CHUNK):
        cells = _thumbnails(images[members[at : at + _CHUNK]])
        lighter = (cells[:, :, 1:] > cells[:, :, :-1]).reshape(len(cells), -1)
        hashes[at : at + _CHUNK] = np.packbits(lighter, axis=1).view(np.uint64)[:, 0]
        thumbnails[at : at + _CHUNK] = cells.round()
    alike, leaked = np.zeros(len(members), bool), np.zeros(len(members), bool)
    for turn in TURNS:
        order = np.argsort(hashes << np.uint64(turn) | hashes >> np.uint64((64 - turn) % 64), kind="stable")
        for step in range(1, 1 + NEIGHBOURS):
            first, second = order[:-step], order[step:]
            close = (np.bitwise_count(hashes[first] ^ hashes[second]) <= MOST_BITS) & (ids[first] != ids[second])
            first, second = first[close], second[close]
            close = np.abs(thumbnails[first].astype(np.int16) - thumbnails[second]).mean(axis=(1, 2)) <= MOST_LEVELS
            first, second = first[close], second[close]
            alike[first] = alike[second] = True
            apart = in_test[first] != in_test[second]
            leaked[first[apart]] = leaked[second[apart]] = True
    return int(alike.sum()), int((leaked & in_test).sum())


def _thumbnails(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means of the grey of 8 x 9 cells: (N, C, H, W) -> (N, 8, 9) float32."""
    grey: NDArray[np.float32] = images.mean(axis=1, dtype=np.float32)
    for axis, cells in ((1, ROWS), (2, COLUMNS)):
        side = grey.shape[axis]
        starts = np.arange(cells) * side // cells
        sizes = np.maximum(np.diff(starts, append=side), 1).astype(np.float32)
        grey = np.add.reduceat(grey, starts, axis=axis) / sizes.reshape((-1, 1) if axis == 1 else (1, -1))
    return grey
