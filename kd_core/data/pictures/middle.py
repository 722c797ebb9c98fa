"""Any picture as the images of a data set are: its middle, in their size and colours.

Programs that KD Lab writes carry this file and decode.py: they need numpy and Pillow alone.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ENOUGH = 1024
"""Pixels of the longer side that are looked at: more would cost memory and show nothing."""


def drafted(picture: Image.Image) -> Image.Image:
    """Have an opened JPEG unpacked no larger than it is looked at. Returns the picture itself."""
    picture.draft(picture.mode, (ENOUGH, ENOUGH))
    return picture


def reduced(picture: Image.Image) -> Image.Image:
    """Shrink a picture by the whole number that leaves ENOUGH pixels a side at most."""
    return picture.reduce(-(-max(picture.size) // ENOUGH))


def middle(picture: Image.Image, image_shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return the middle of an RGB picture as an image of this shape, (C, H, W) uint8, grey where C is 1.

    It is scaled until the shape is just filled, then cropped, as users' own data sets are prepared.
    """
    channels, height, width = image_shape
    if width * picture.height >= height * picture.width:
        size = width, width * picture.height // picture.width
    else:
        size = height * picture.width // picture.height, height
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    cut = picture.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + width, top + height))
    pixels = np.asarray(cut.convert("L") if channels == 1 else cut)
    return pixels.reshape(height, width, channels).transpose(2, 0, 1)
