"""A sheet to draw a digit on."""

from pathlib import Path

import streamlit as st

_HERE = Path(__file__)


def canvas(*, key: str) -> str:
    """The drawing so far as a PNG data URL, white on black, for kd_core.drawing.read_canvas; "" while it is empty."""
    component = st.components.v2.component(
        "kd_lab_canvas",
        html='<div class="kd-canvas"></div>',
        css=_HERE.with_suffix(".css").read_text(encoding="utf-8"),
        js=_HERE.with_suffix(".js").read_text(encoding="utf-8"),
    )
    result = component(key=key, default={"drawing": ""}, on_drawing_change=lambda: None)
    return str(result.drawing or "")
