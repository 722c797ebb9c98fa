"""Any picture -> an image as a data set has them, so that a model meets what it was trained on.

Of a digit it is 28x28 as MNIST's are made, of anything else its middle in the data set's size and colours.
LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition" (1998), section III.A: the
digits were "size normalized to fit in a 20x20 pixel box while preserving their aspect ratio", with grey levels from
anti-aliasing, and "centered in a 28x28 image by computing the center of mass of the pixels".
"""

import base64
import binascii
import io
import threading
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kd_core.base.config import LabError
from kd_core.data.decode import shown

SIDE, BOX = 28, 20
MAX_SIDE = 4096
"""Pixels of a picture's longer side that are still read."""
ENOUGH = 1024
"""Pixels of the longer side that are looked at: more would cost memory and show nothing."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""Pillow knows others, for some of which it starts programs: Ghostscript, for a PostScript file of whatever name."""
LONGEST = 10
"""Times as long as wide that a picture may be, of which the middle is looked at."""
LONGEST_ADDRESS = 2000
"""Characters: noise, which cannot be packed, has 1,060."""
FAINTEST = 24
"""Grey levels, of 255, that ink must stand out from the paper by."""
_READING = threading.Lock()
"""One picture after another: the largest takes some 200 MB for as long as it is unpacked."""

Grey = NDArray[np.uint8]
Pixels = NDArray[np.uint8]


class PictureError(LabError):
    """A picture that cannot be looked at; its text says why."""


def as_mnist(ink: Grey) -> Grey:
    """Scale and centre a drawing. ink: (H, W) uint8, 0 is paper, 255 full ink. Returns (28, 28) uint8.

    Raises PictureError where nothing is drawn.
    """
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if len(rows) == 0:
        raise PictureError("There is nothing on it yet: draw a digit.")
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(digit.shape)
    height, width = (max(1, round(side * scale)) for side in digit.shape)
    if (height, width) != digit.shape:
        smooth = Image.Resampling.BOX if scale < 0.5 else Image.Resampling.BICUBIC
        digit = np.asarray(Image.fromarray(digit).resize((width, height), smooth))
    mass = digit.astype(np.float64)
    total = max(mass.sum(), 1e-9)
    # The centre of mass of MNIST's own images lies in the middle of pixel 14, 14 (measured over the test set).
    middle_row = ((np.arange(height) + 0.5) * mass.sum(axis=1)).sum() / total
    middle_column = ((np.arange(width) + 0.5) * mass.sum(axis=0)).sum() / total
    top = min(max(round(SIDE / 2 + 0.5 - middle_row), 0), SIDE - height)
    left = min(max(round(SIDE / 2 + 0.5 - middle_column), 0), SIDE - width)
    image = np.zeros((SIDE, SIDE), np.uint8)
    image[top : top + height, left : left + width] = digit
    return image


def read_picture(content: bytes) -> Grey:
    """The digit in an uploaded picture (one of FORMATS, dark on light or light on dark) as (28, 28) uint8.

    Raises PictureError where it is no picture, too large, or of one shade.
    """
    grey = np.asarray(read_rgb(content).convert("L"), dtype=np.int16)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    contrast = np.abs(grey - np.median(border))
    strongest = float(contrast.max())
    if strongest < FAINTEST:
        raise PictureError("This picture is of one shade: upload one in which a digit stands out from its background.")
    ink = np.clip((contrast / strongest - 0.25) / 0.5, 0, 1)  # shadows of the paper go, strokes become full ink
    return as_mnist((255 * ink).round().astype(np.uint8))


def read_for(content: bytes, image_shape: tuple[int, int, int]) -> Pixels:
    """The middle of an uploaded picture as an image of this shape, (C, H, W) uint8, grey where C is 1.

    It is scaled until the shape is just filled, then cropped, as own.prepare prepares users' images. Raises
    PictureError where it is no picture or too large.
    """
    channels, height, width = image_shape
    picture = read_rgb(content)
    if max(picture.size) > LONGEST * min(picture.size):
        raise PictureError("This picture is much longer than wide: cut out the part that matters.")
    if width * picture.height >= height * picture.width:
        size = width, width * picture.height // picture.width
    else:
        size = height * picture.width // picture.height, height
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    middle = picture.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + width, top + height))
    pixels = np.asarray(middle.convert("L") if channels == 1 else middle)
    return pixels.reshape(height, width, channels).transpose(2, 0, 1)


def read_rgb(content: bytes) -> Image.Image:
    """An uploaded picture (one of FORMATS), the right way up, at most ENOUGH a side, on white where it is transparent.

    Raises PictureError where it is none, or too large.
    """
    try:
        with _READING, Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            if max(picture.size) > MAX_SIDE:
                raise PictureError(
                    f"This picture is {picture.width:,} by {picture.height:,} pixels; {MAX_SIDE:,} a side is the most:"
                    " make it smaller or cut out a part."
                )
            picture.draft(picture.mode, (ENOUGH, ENOUGH))  # a JPEG is not even unpacked larger than it is looked at
            whole = shown(picture).image
        return whole.reduce(-(-max(whole.size) // ENOUGH))
    except PictureError:
        raise
    except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
        raise PictureError("This file is no picture that can be read: upload a PNG, JPEG or WebP file.") from error


def read_canvas(data_url: str) -> Grey:
    """The drawing of the page's canvas, white strokes on black as a PNG data URL, as (28, 28) uint8.

    Raises PictureError where nothing is drawn or the text is no such URL.
    """
    kind, _, encoded = data_url.partition(",")
    try:
        if kind != "data:image/png;base64":
            raise ValueError(kind)
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)), formats=("PNG",)) as picture:
            if max(picture.size) > MAX_SIDE:
                raise ValueError(picture.size)
            ink = np.asarray(picture.convert("L"))
    except Exception as error:  # as above
        raise PictureError("The drawing did not arrive whole: draw it again.") from error
    return as_mnist(ink)


def to_address(image: Grey) -> str:
    """A 28x28 image as text for an address, some hundred characters. (28, 28) uint8 -> letters, digits, - and _."""
    return base64.urlsafe_b64encode(zlib.compress(image.tobytes(), 9)).decode().rstrip("=")


def from_address(text: str) -> Grey:
    """What to_address wrote. Raises PictureError on anything else, however large it would unpack."""
    try:
        if len(text) > LONGEST_ADDRESS:
            raise ValueError(f"{len(text)} characters")
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        content = zlib.decompressobj().decompress(packed, SIDE * SIDE + 1)
        return np.frombuffer(content, np.uint8).reshape(SIDE, SIDE)
    except (ValueError, binascii.Error, zlib.error) as error:
        raise PictureError("The drawing in this address is damaged: draw it again.") from error
