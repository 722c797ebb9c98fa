"""A sheet to draw a digit on."""

from pathlib import Path

import streamlit as st

_HERE = Path(__file__)


def canvas(*, key: str) -> str | None:
    """Return the drawing so far as a PNG data URL, white on black, for kd_core.data.picture.read_canvas.

    None before anything was drawn, "" after it was cleared.
    """
    component = st.components.v2.component(
        "kd_lab_canvas",
        html='<div class="kd-canvas"></div>',
        css=_HERE.with_suffix(".css").read_text(encoding="utf-8"),
        js=_HERE.with_suffix(".js").read_text(encoding="utf-8"),
    )
    drawing = component(key=key, on_drawing_change=lambda: None).drawing
    return None if drawing is None else str(drawing)
