"""The digit in a picture, as MNIST's are made.

LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition" (1998), section III.A: the
digits were "size normalized to fit in a 20x20 pixel box while preserving their aspect ratio", with grey levels from
anti-aliasing, and "centered in a 28x28 image by computing the center of mass of the pixels".

Programs that KD Lab writes carry this file: it needs numpy, Pillow and scipy alone.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE, BOX = 28, 20
LOOKED_AT, PAPER_SIDE = 480, 48
"""Pixels of the longer side at which ink and paper of a photograph are told apart."""
FAINTEST, DARKEST = 24, 16
"""Grey levels, of 255, that ink must stand out from the paper by; and that light scatters into the deepest shadow."""
FAINT, FULL = 0.3, 0.8
"""Of the pen's contrast: below the first nothing is ink, from the second on all is."""
APART, LEAST_INK = 0.25, 0.05
"""Parts of one digit lie no further apart, of its height, and hold no less ink, of its largest part's."""
ONE_SHADE = "This picture is of one shade: upload one in which a digit stands out from its background."

Grey = NDArray[np.uint8]
Contrast = NDArray[np.float32]


def digit_in(picture: Image.Image) -> Grey:
    """Find the digit in an RGB picture, dark on light or light on dark: (28, 28) uint8, light on black.

    Raises ValueError where the picture is of one shade.
    """
    from scipy import ndimage

    contrast = contrast_to_paper(picture)
    labels, _, inks = areas(contrast > np.quantile(contrast, 0.9995) / 2, contrast)
    if len(inks) == 0:
        raise ValueError(ONE_SHADE)
    pen = np.quantile(contrast[labels == 1 + np.argmax(inks)], 0.95)
    ink = ((contrast / pen - FAINT) / (FULL - FAINT)).clip(0, 1)  # ruled lines are fainter than the pen, and go
    labels, boxes, inks = areas(ink > 0.3, ink)
    digit = boxes[np.argmax(inks)]
    reach = APART * max(part.stop - part.start for part in digit)
    kept = [
        number
        for number, (box, held) in enumerate(zip(boxes, inks, strict=True), 1)
        if held >= LEAST_INK * inks.max()
        and all(a.start - b.stop < reach and b.start - a.stop < reach for a, b in zip(box, digit, strict=True))
    ]
    ink *= ndimage.binary_dilation(np.isin(labels, kept), iterations=2)  # with the soft edges of its strokes
    return as_mnist((255 * ink).round().astype(np.uint8))


def as_mnist(ink: Grey) -> Grey:
    """Scale and centre a drawing. ink: (H, W) uint8, 0 is paper, 255 full ink. Returns (28, 28) uint8.

    Raises ValueError where nothing is drawn.
    """
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if len(rows) == 0:
        raise ValueError("There is nothing on it yet: draw a digit.")
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


def contrast_to_paper(picture: Image.Image) -> Contrast:
    """How much stands out from the paper around it, (H, W), as a share of its light, so that a shadow has none.

    The paper is a median of each neighbourhood, in each colour: local as Sauvola's threshold is, and of whatever width
    the strokes are. Raises ValueError where nothing stands out.
    """
    from scipy import ndimage

    picture = picture.reduce(max(1, -(-max(picture.size) // LOOKED_AT)))
    small = picture.copy()
    small.thumbnail((PAPER_SIDE, PAPER_SIDE), Image.Resampling.BOX)
    pixels, window = np.asarray(small), max(3, min(small.size) // 2) | 1
    medians = [ndimage.median_filter(pixels[:, :, band], window, mode="nearest") for band in range(3)]
    paper = np.asarray(Image.fromarray(np.dstack(medians)).resize(picture.size, Image.Resampling.BILINEAR), np.float32)
    levels = np.asarray(picture, np.float32)
    if np.abs(paper - levels).max() < FAINTEST:
        raise ValueError(ONE_SHADE)
    if max(picture.size) > PAPER_SIDE:  # else a stroke is a pixel or two wide
        levels = ndimage.uniform_filter(levels, (3, 3, 1))
    times = np.log((paper + DARKEST) / (levels + DARKEST))  # as a ratio dark and light are alike
    strokes = max(1, times[:, :, 0].size // 300)  # that few pixels at least are ink, be it dark or light
    dark, light = (np.sort(either, axis=None)[-strokes:].mean() for either in (times.max(axis=2), -times.min(axis=2)))
    share = (paper - levels) / (paper + DARKEST) if dark >= light else (levels - paper) / (255 + DARKEST - paper)
    most: Contrast = share.max(axis=2)
    return most.clip(0)


def areas(
    mask: NDArray[np.bool_], ink: Contrast
) -> tuple[NDArray[np.signedinteger], list[tuple[slice, ...]], NDArray[np.float64]]:
    """Connected areas of a mask: labels (H, W), 0 outside; of each its rows and columns, and how much ink it holds."""
    from scipy import ndimage

    labels, count = ndimage.label(mask, np.ones((3, 3)))
    return labels, ndimage.find_objects(labels), np.asarray(ndimage.sum_labels(ink, labels, np.arange(1, count + 1)))
