"""The uploaded picture with a box on it, of what is in the box the models see."""

import base64
import io
from pathlib import Path
from typing import Any

import streamlit as st
from PIL import Image

from kd_core.data.picture import WHOLE, Box
from pages.shared.session.address import event_of

_HERE = Path(__file__)
SHOWN = 640
"""Pixels of the longer side that travel to the browser."""


def crop(picture: Image.Image, *, key: str) -> Box:
    """Show a picture, and return the box that its user drew: left, top, right and bottom as shares of it."""
    component = st.components.v2.component(
        "kd_lab_crop",
        html='<div class="kd-crop"></div>',
        css=_HERE.with_suffix(".css").read_text(encoding="utf-8"),
        js=_HERE.with_suffix(".js").read_text(encoding="utf-8"),
    )
    small, buffer = picture.copy(), io.BytesIO()
    small.thumbnail((SHOWN, SHOWN))
    small.save(buffer, "JPEG", quality=85)
    url = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    return event_of(component(key=key, data={"picture": url}, on_box_change=lambda: None), "box", _box) or WHOLE


def _box(sides: Any) -> Box:
    left, top, right, bottom = (min(1.0, max(0.0, float(side))) for side in sides)
    return left, top, right, bottom
