"""Showing the tiny images of a data set, and choosing among them."""

import base64
import html
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from pages.shared.components.common.browser import Component
from pages.shared.language import _
from pages.shared.session.address import event_of
from pages.shared.words import with_article

SHOWN = 196
"""Pixels of the longer side of an image under study."""
THUMBNAIL = 64
"""Pixels of the longer side of an image in a grid: it is drawn no larger, and many of them travel to the browser."""
SMALL = 40
"""Pixels of the longer side up to which an image's pixels are seen as squares."""
_GRID = Path(__file__).with_name("image_grid.js")
GRID_CSS = _GRID.with_suffix(".css").read_text(encoding="utf-8")


def picture(image: NDArray[np.uint8], longer_side: int = SHOWN) -> NDArray[np.uint8]:
    """(C, H, W) uint8 -> (sH, sW) or (sH, sW, C) for st.image, of about so many pixels: each pixel a crisp square."""
    scale = max(1, longer_side // max(image.shape[1:]))
    large = image.repeat(scale, axis=1).repeat(scale, axis=2)
    return _for_pillow(large)


def show(image: NDArray[np.uint8], *, text: str, width: int | None = None, caption: str = "") -> None:
    """Show an image (C, H, W) and its caption. text: what it shows, which st.image has no place for.

    width: in pixels; without one it takes the room there is. Each pixel of a small image is a crisp square.
    """
    crisp = "image-rendering: pixelated;" if min(image.shape[1:]) <= SMALL else ""
    below = f'<figcaption style="color: var(--kd-muted); font-size: 0.875rem">{html.escape(caption)}</figcaption>'
    st.html(
        f'<figure style="margin: 0; max-width: {f"{width}px" if width else "100%"}">'
        f'<img src="{_data_url(image)}" alt="{html.escape(text)}" style="display: block; width: 100%; {crisp}'
        f' border-radius: var(--st-base-radius)">{below if caption else ""}</figure>',
        width="stretch" if width is None else "content",
    )


def width_of(image: NDArray[np.uint8], longer_side: int = SHOWN) -> int:
    """How wide to show an image (C, H, W) whose longer side takes so many pixels."""
    height, width = image.shape[1:]
    return round(longer_side * int(width) / int(max(height, width)))


def thumbnails(images: NDArray[np.uint8], side: int = THUMBNAIL) -> NDArray[np.uint8]:
    """Images (N, C, H, W) as squares (N, C, S, S) of at most so many pixels a side, black beside what is not square."""
    height, width = images.shape[2:]
    if max(height, width) > side:
        size = max(1, round(width * side / max(height, width))), max(1, round(height * side / max(height, width)))
        small = [np.asarray(Image.fromarray(_for_pillow(image)).resize(size, Image.Resampling.BOX)) for image in images]
        images = np.stack(small).reshape(len(small), size[1], size[0], -1).transpose(0, 3, 1, 2)
        height, width = images.shape[2:]
    spare = abs(height - width)
    margins = (spare // 2, spare - spare // 2)
    return np.pad(
        images, ((0, 0), (0, 0), margins if height < width else (0, 0), margins if width < height else (0, 0))
    )


def smooth(images: NDArray[np.uint8]) -> bool:
    """Whether a tile of one of these, (N, C, H, W), has fewer pixels than the image: it looks better smoothed then."""
    return bool(max(images.shape[2:]) > SMALL)


def strip(images: NDArray[np.uint8]) -> str:
    """Images (N, C, H, W) side by side in one picture, as a data URL: a component cuts its tiles from it."""
    return _data_url(np.concatenate(list(thumbnails(images)), axis=2))


def sprite(images: NDArray[np.uint8]) -> tuple[str, int]:
    """Many images (N, C, H, W) in rows in one picture, as a data URL, and how many stand in a row."""
    columns = max(1, math.isqrt(len(images)))
    empty = np.zeros((-len(images) % columns, *images.shape[1:]), np.uint8)
    tiles = list(np.concatenate([images, empty]))
    rows = [np.concatenate(tiles[start : start + columns], axis=2) for start in range(0, len(tiles), columns)]
    return _data_url(np.concatenate(rows, axis=1)), columns


def _data_url(picture: NDArray[np.uint8]) -> str:
    """(C, H, W) as a PNG in a data URL."""
    buffer = io.BytesIO()
    Image.fromarray(_for_pillow(picture)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _for_pillow(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(C, H, W) -> (H, W) of grey, (H, W, C) of colour."""
    return image[0] if image.shape[0] == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))


def caption_of(index: int, class_name: str) -> str:
    """What stands under a test image."""
    return _("test image {index}, {shows}", index=index, shows=with_article(class_name))


def test_image_grid(
    test_set: tuple[NDArray[np.uint8], NDArray[np.int64]],
    class_names: Sequence[str],
    shown: NDArray[np.int64],
    *,
    selected: int,
    key: str,
) -> int | None:
    """A grid of these images of a test set, by their index; returns that of the one just clicked, or None."""
    images, labels = test_set
    captions = [caption_of(index, class_names[labels[index]]) for index in shown]
    return image_grid(images[shown], [int(index) for index in shown], captions, selected=selected, key=key)


def image_grid(
    images: NDArray[np.uint8], ids: Sequence[int], captions: Sequence[str], *, selected: int | None, key: str
) -> int | None:
    """A grid of small images, (N, C, H, W), to choose from; returns the id of the one just clicked, or None."""
    data = {
        "strip": strip(images),
        "smooth": smooth(images),
        "tiles": [{"id": int(number), "caption": caption} for number, caption in zip(ids, captions, strict=True)],
        "selected": selected,
    }
    picked = event_of(
        Component(str(_GRID), "kd-grid")(key=key, data=data, on_picked_change=lambda: None), "picked", int
    )
    return picked if picked in ids else None
