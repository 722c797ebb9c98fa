"""The uploaded picture with a box on it, of what is in the box the models see."""

import base64
import io
from typing import Any

from PIL import Image

from kd_core.data.picture import WHOLE, Box
from pages.shared.components.common.browser import Component
from pages.shared.session.address import event_of

SHOWN = 640
"""Pixels of the longer side that travel to the browser."""


def crop(picture: Image.Image, *, key: str) -> Box:
    """Show a picture, and return the box that its user drew: left, top, right and bottom as shares of it."""
    small, buffer = picture.copy(), io.BytesIO()
    small.thumbnail((SHOWN, SHOWN))
    small.save(buffer, "JPEG", quality=85)
    url = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    state = Component(__file__, "kd-crop")(key=key, data={"picture": url}, on_box_change=lambda: None)
    return event_of(state, "box", _box) or WHOLE


def _box(sides: Any) -> Box:
    left, top, right, bottom = (min(1.0, max(0.0, float(side))) for side in sides)
    return left, top, right, bottom
