"""A plotly figure that lives on: updates keep zoom, hidden curves and the page's scroll, and nothing flickers.

st.plotly_chart mounts anew whenever its figure changes. This component calls Plotly.react on the figure it has.
"""

import json
from pathlib import Path

import plotly.graph_objects as go
import streamlit as st

from pages.shared.figures import style
from pages.shared.language import _
from pages.shared.session.address import event_of

_HERE = Path(__file__)
_COMMON = _HERE.parent.parent / "common"
THEMED_JS = (_COMMON / "plotly.js").read_text(encoding="utf-8")
"""The function themed, which resolves a figure's colours, and what else plotly needs in a page."""
LABELS_JS = (_COMMON / "labels.js").read_text(encoding="utf-8")
"""The function drawn, which draws a themed figure with names at its lines."""
PLOTLY_JS = f"const PLOTLY_OPTIONS = {json.dumps(style.OPTIONS)};\n{THEMED_JS}"
"""What every component that draws with plotly begins with."""
_SCRIPT = PLOTLY_JS + LABELS_JS + _HERE.with_suffix(".js").read_text(encoding="utf-8")


def chart(figure: go.Figure, *, key: str, text: str, clickable: bool = False) -> tuple[str, str] | None:
    """Draw figure, or change the one drawn under this key into it. text says what it shows, for a screen reader.

    Returns the x and y of a point that was just clicked, where clickable, else None.
    """
    component = st.components.v2.component(
        "kd_lab_chart", html='<div class="kd-chart"></div>', js=_SCRIPT, isolate_styles=False
    )
    broken = _("This chart cannot be drawn: {problem}. Reload the page.")
    about = {"height": figure.layout.height or 0, "text": text, "clickable": clickable, "broken": broken}
    state = component(key=key, data={"figure": as_json(figure), **about}, on_clicked_change=lambda: None)
    return event_of(state, "clicked", lambda place: (str(place["x"]), str(place["y"])))


def as_json(figure: go.Figure) -> str:
    """A figure as plotly.js reads it."""
    return json.dumps(figure.to_plotly_json(), default=_plain)


def _plain(value: object) -> object:
    """Numpy arrays and plotly objects as JSON."""
    for convert in ("tolist", "to_plotly_json"):
        if hasattr(value, convert):
            return getattr(value, convert)()
    raise TypeError(f"{type(value).__name__} cannot be drawn")
