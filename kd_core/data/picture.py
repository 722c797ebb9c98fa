"""Any picture -> an image as a data set has them, so that a model meets what it was trained on.

Of a digit it is 28x28 as MNIST's are made (digit.py), of anything else its middle in the data set's size and colours.
"""

import base64
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kd_core.base.config import LabError
from kd_core.base.packed import pack, unpack
from kd_core.base.templates import said
from kd_core.data.pictures import digit
from kd_core.data.pictures import middle as pictures_middle
from kd_core.data.pictures.decode import shown
from kd_core.data.pictures.digit import SIDE, Grey

MAX_SIDE = 4096
"""Pixels of a picture's longer side that are unpacked; a JPEG is shrunk by eight at most before it is."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""Pillow knows others, for some of which it starts programs: Ghostscript, for a PostScript file of whatever name."""
LONGEST = 10
"""Times as long as wide that a picture may be, of which the middle is looked at."""
LONGEST_ADDRESS = 2000
"""Characters: noise, which cannot be packed, has 1,060."""
Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_READING = threading.Lock()
"""One picture after another: the largest takes some 200 MB for as long as it is unpacked."""

_OF_DIGITS = (
    said("This picture is of one shade: upload one in which a digit stands out from its background."),
    said("There is nothing on it yet: draw a digit."),
)
"""What digit.py says, which programs carry alone."""

Pixels = NDArray[np.uint8]


class PictureError(LabError):
    """A picture that cannot be looked at; its text says why."""


def as_mnist(ink: Grey) -> Grey:
    """digit.as_mnist, for pages: raises PictureError where nothing is drawn."""
    with _said():
        return digit.as_mnist(ink)


def read_picture(content: bytes, box: Box = WHOLE) -> Grey:
    """The digit in a part of an uploaded picture (one of FORMATS), as digit.digit_in has it: (28, 28) uint8.

    Raises PictureError where it is no picture, too large, or of one shade.
    """
    with _said():
        return digit.digit_in(read_rgb(content, box))


@contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise PictureError(str(error)) from None


def read_for(content: bytes, image_shape: tuple[int, int, int], box: Box = WHOLE) -> Pixels:
    """The middle of a part of an uploaded picture as an image of this shape, (C, H, W) uint8, grey where C is 1.

    Raises PictureError where it is no picture or too large.
    """
    picture = read_rgb(content, box)
    if max(picture.size) > LONGEST * min(picture.size):
        raise PictureError(said("This picture is much longer than wide: cut out the part that matters."))
    return pictures_middle.middle(picture, image_shape)


def read_rgb(content: bytes, box: Box = WHOLE) -> Image.Image:
    """A part of an uploaded picture (one of FORMATS), as it is meant to be seen, in RGB, middle.ENOUGH a side at most.

    box: left, top, right and bottom as shares of width and height; one that holds no pixel is the whole.

    Raises PictureError where it is none, or too large.
    """
    try:
        with _READING, Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            size = picture.size
            if max(pictures_middle.drafted(picture).size) > MAX_SIDE:
                raise PictureError(
                    said(
                        "This picture is {width:,} by {height:,} pixels; {most:,} a side is the most: make it smaller"
                        " or cut out a part.",
                        width=size[0],
                        height=size[1],
                        most=MAX_SIDE,
                    )
                )
            whole = shown(picture).image
        left, top, right, bottom = (round(edge * side) for edge, side in zip(box, 2 * whole.size, strict=True))
        if 0 <= left < right <= whole.width and 0 <= top < bottom <= whole.height:
            whole = whole.crop((left, top, right, bottom))
        return pictures_middle.reduced(whole)
    except PictureError:
        raise
    except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
        raise PictureError(
            said("This file is no picture that can be read: upload a PNG, JPEG or WebP file.")
        ) from error


def as_png(image: Pixels) -> bytes:
    """An image (C, H, W) as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))).save(buffer, "PNG")
    return buffer.getvalue()


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
        raise PictureError(said("The drawing did not arrive whole: draw it again.")) from error
    return as_mnist(ink)


def to_address(image: Grey) -> str:
    """A 28x28 image as text for an address, some hundred characters. (28, 28) uint8 -> letters, digits, - and _."""
    return pack(image.tobytes())


def from_address(text: str) -> Grey:
    """What to_address wrote. Raises PictureError on anything else, however large it would unpack."""
    try:
        content = unpack(text, LONGEST_ADDRESS, SIDE * SIDE)
        return np.frombuffer(content, np.uint8).reshape(SIDE, SIDE)
    except ValueError as error:
        raise PictureError(said("The drawing in this address is damaged: draw it again.")) from error
