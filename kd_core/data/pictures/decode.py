"""A picture file's values as people see them: eight bits of red, green and blue, found in one order.

Turned as its EXIF says, then transparency by the values that the file holds, then their depth, then white behind what
is transparent, then colour. Any other order reads a value by a scale that is not its own.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

WHITES = (255, 1023, 4095, 65535)
"""Full white at 8, 10, 12 and 16 bits: files of 16 or 32 bits do not say how many of them are used."""
FLAT = 8
"""Levels, of 256, within which a picture is of almost one colour."""


class Shown(NamedTuple):
    """A picture in RGB, and what is known of its file.

    white: the value that became 255, None of eight bits. varied: whether the file's numbers are not (almost) one.
    """

    image: Image.Image
    white: int | None
    varied: bool


def shown(image: Image.Image, white: int | None = None) -> Shown:
    """Return an opened picture as it is meant to be seen, on white where it is transparent.

    white: the value that counts as white in files of more than eight bits; by default the least of WHITES that holds
    all. Raises OSError for numbers without a known range, and whatever Pillow raises on a damaged file.
    """
    image = ImageOps.exif_transpose(image)
    alpha = _alpha(image)
    varied = _levels(image) >= FLAT
    image, white = _of_eight_bits(image, white)
    if image.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
    image.info.pop("transparency", None)
    image = image.convert("RGB")
    if alpha is not None:
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=alpha)
        image = paper
    return Shown(image, white, varied)


def is_flat(pixels: NDArray[np.uint8]) -> bool:
    """Whether an image, of any shape, is of almost one colour."""
    return bool(np.ptp(pixels) < FLAT)


def _alpha(image: Image.Image) -> Image.Image | None:
    """How opaque each pixel is, mode L, by the values that the file holds; None where all are."""
    clear = image.info.get("transparency")
    if clear is not None and _deep(image):
        return Image.fromarray(np.where(np.asarray(image) == clear, 0, 255).astype(np.uint8))
    if clear is not None or image.mode in ("LA", "PA", "RGBA"):
        return image.convert("RGBA").getchannel("A")
    return None


def _levels(image: Image.Image) -> float:
    """How far apart the least and the greatest value of a band lie, in the file's own numbers."""
    if _deep(image):  # of whose modes Pillow knows the extremes of some only
        values = np.asarray(image)
        levels = float(values.max()) - float(values.min())
        return 255 * levels if image.mode == "F" and levels <= 1 else levels
    if image.mode in ("P", "PA"):  # whose numbers are places in a palette
        image = image.convert("RGBA")
    extremes = image.getextrema()
    bands = extremes if isinstance(extremes[0], tuple) else (extremes,)
    return max(high - low for low, high in bands)


def _deep(image: Image.Image) -> bool:
    return image.mode == "F" or image.mode.startswith("I")


def _of_eight_bits(image: Image.Image, white: int | None) -> tuple[Image.Image, int | None]:
    """Scale grey of more than eight bits, which Pillow would cut off at 255; and the value that became white."""
    if not _deep(image):
        return image, None
    values = np.asarray(image, dtype=np.float64)
    greatest = values.max()
    if image.mode == "F":
        if not np.isfinite(values).all() or values.min() < 0 or greatest > WHITES[-1]:
            raise OSError("its numbers have no known range")
        white = 1 if greatest <= 1 else None
    white = white or next((white for white in WHITES if greatest <= white), int(greatest))
    return Image.fromarray((values * 255 / white).clip(0, 255).round().astype(np.uint8)), white
