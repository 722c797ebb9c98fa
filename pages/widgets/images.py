"""Showing the tiny images of a data set."""

import numpy as np
from numpy.typing import NDArray

SCALE = 7


def picture(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(C, H, W) uint8 -> (7H, 7W) or (7H, 7W, C) for st.image: each pixel a crisp square, not a blur."""
    large = image.repeat(SCALE, axis=1).repeat(SCALE, axis=2)
    return large[0] if image.shape[0] == 1 else large.transpose(1, 2, 0)
