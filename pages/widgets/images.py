"""Showing the tiny images of a data set, and choosing among them."""

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

SCALE = 7
_GRID = Path(__file__).with_name("image_grid.js")
GRID_CSS = _GRID.with_suffix(".css").read_text(encoding="utf-8")


def picture(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(C, H, W) uint8 -> (7H, 7W) or (7H, 7W, C) for st.image: each pixel a crisp square, not a blur."""
    large = image.repeat(SCALE, axis=1).repeat(SCALE, axis=2)
    return large[0] if image.shape[0] == 1 else large.transpose(1, 2, 0)


def strip(images: NDArray[np.uint8]) -> str:
    """Images (N, C, H, W) side by side in one picture, as a data URL: a component cuts its tiles from it."""
    return _data_url(np.concatenate(list(images), axis=2))


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
    Image.fromarray(picture[0] if picture.shape[0] == 1 else picture.transpose(1, 2, 0)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def image_grid(
    images: NDArray[np.uint8], ids: Sequence[int], captions: Sequence[str], *, selected: int | None, key: str
) -> int | None:
    """A grid of small images, (N, C, H, W), to choose from; returns the id of the one just clicked, or None."""
    component = st.components.v2.component(
        "kd_lab_image_grid",
        html='<div class="kd-grid" role="group" aria-label="Images to choose from"></div>',
        css=GRID_CSS,
        js=_GRID.read_text(encoding="utf-8"),
    )
    data = {
        "strip": strip(images),
        "tiles": [{"id": int(one), "caption": caption} for one, caption in zip(ids, captions, strict=True)],
        "selected": selected,
    }
    picked = component(key=key, data=data, on_picked_change=lambda: None).picked
    return None if picked is None else int(picked)
