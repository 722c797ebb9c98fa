"""A sheet to draw a digit on."""

from kd_core.exchange.javascript.scripts import scripts
from pages.shared.components.common.browser import COMMON_JS, Component


def canvas(*, key: str) -> str | None:
    """Return the drawing so far as a PNG data URL, white on black, for kd_core.data.picture.read_canvas.

    None before anything was drawn, "" after it was cleared.
    """
    drawing = Component(__file__, "kd-canvas", js=COMMON_JS + scripts("sheet"))(
        key=key, on_drawing_change=lambda: None
    ).drawing
    return None if drawing is None else str(drawing)
