"""What a data set says of itself. kd_core.data.catalogue.DATASETS lists those that everybody knows by name."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kd_core.data.dataset import Dataset


class Parcel(NamedTuple):
    """A file as mirrors offer it. place: of what it holds once unpacked, a file or a folder, in a data folder."""

    file_name: str
    md5: str
    place: str


class Offer(NamedTuple):
    """What has to be fetched for a data set, and from where."""

    parcels: tuple[Parcel, ...]
    mirrors: tuple[str, ...]


class DatasetInfo(NamedTuple):
    """What can be said of a data set without loading it.

    handwritten: single handwritten digits, so that what somebody draws can be made an image like its own.
    read: data folder -> the data set, from memory where it was read before; an error means damaged files. None for
    users' own, which kd_core.data.own.library reads. files: those that a data folder must hold; none for a data set
    that needs no download. offer: what to download for them.
    """

    label: str
    classes: int
    image_shape: tuple[int, int, int]
    train_examples: int
    test_examples: int
    handwritten: bool = False
    read: Callable[[Path], "Dataset"] | None = None
    files: tuple[str, ...] = ()
    offer: Callable[[], Offer] | None = None
