"""The uploaded picture with a box on it, of what is in the box the models see."""

import base64
import io
from pathlib import Path

import streamlit as st
from PIL import Image

from kd_core.data.picture import WHOLE, Box

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
    box = component(key=key, data={"picture": url}, on_box_change=lambda: None).box
    try:
        left, top, right, bottom = map(float, box or WHOLE)
    except (TypeError, ValueError):  # which the component never sends
        return WHOLE
    return left, top, right, bottom
