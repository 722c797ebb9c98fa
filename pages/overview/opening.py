"""The first screen: what the models that ship say of a doubtful digit, and of what is drawn on it. No torch here."""

import base64
from dataclasses import asdict
from typing import Any

import numpy as np
import streamlit as st

from kd_core.data import picture
from kd_core.data.paths import available
from kd_core.data.pictures.digit import Grey
from kd_core.exchange import opening, shipped
from kd_core.training.config import ROLES
from pages.shared import tour
from pages.shared.components.common.browser import COMMON_JS, PEN_JS, Component
from pages.shared.components.images.images import GRID_CSS, strip
from pages.shared.components.temperature_bars.temperature_bars import BARS_CSS, BARS_JS, SLIDER_CSS, SLIDER_JS
from pages.shared.figures import style
from pages.shared.language import _
from pages.shared.session import keys, services
from pages.shared.session.address import (
    DRAWN,
    IMAGE,
    LOGITS,
    TEST,
    callbacks,
    drawing_of_address,
    logits_of_address,
    temperature_of_address,
)

KEY = "opening"
OPENING = Component(
    __file__, "kd-opening", css=GRID_CSS + SLIDER_CSS + BARS_CSS, js=COMMON_JS + PEN_JS + SLIDER_JS + BARS_JS
)


@st.fragment
def first_screen() -> None:
    """Show it, and the four doors, which lead to the image and the T that are shown."""
    shown, drawn = opening.opening(), drawing_of_address()
    if shown is not None:
        _live(shown, drawn)
    _doors(shown, drawn)


def _live(shown: opening.Opening, drawn: Grey | None) -> None:
    moved = logits_of_address(len(opening.ROLES), 10)
    OPENING(
        key=KEY,
        data={
            **in_words(shown),
            "image": st.query_params.get(IMAGE, ""),
            "drawn": None if drawn is None else base64.b64encode(drawn.tobytes()).decode(),
            "temperature": temperature_of_address(1.0),
            "log": st.query_params.get("axis") == "log",
            "moved": None if moved is None else moved.tolist(),
        },
        **callbacks(KEY, "T", "axis", IMAGE, LOGITS),
    )


def in_words(shown: opening.Opening) -> dict[str, Any]:
    """What the component shows whatever the address says: images, and who answers."""
    pixels = np.stack([np.frombuffer(base64.b64decode(example.pixels), np.uint8) for example in shown.examples])
    return {
        "dataset": shown.dataset,
        "classes": [str(k) for k in range(10)],
        "roles": [{"role": role, "name": _(name), "colour": style.ROLE_COLOURS[role]} for role, name in ROLES.items()],
        "examples": [asdict(example) for example in shown.examples],
        "strip": strip(pixels.reshape(-1, 1, 28, 28)),
        "smooth": False,
    }


def _doors(shown: opening.Opening | None, drawn: Grey | None) -> None:
    """Four ways on."""
    view = {}
    if shown is not None and services.store().runs(batch=f"{shipped.TAG}{shown.dataset}"):
        named = st.query_params.get(IMAGE)
        example = next((each for each in shown.examples if f"{TEST}{each.index}" == named), shown.examples[0])
        if drawn is None and not available(shown.dataset):
            drawn = np.frombuffer(base64.b64decode(example.pixels), np.uint8).reshape(28, 28)
        image = f"{TEST}{example.index}" if drawn is None else DRAWN + picture.to_address(drawn)
        view = {keys.BATCH: f"{shipped.TAG}{shown.dataset}", IMAGE: image, "T": f"{temperature_of_address(1.0):g}"}
    with st.container(horizontal=True, vertical_alignment="center", key="doors"):
        for page, title, icon, query in (
            ("temperature", _("Feel temperature"), ":material/thermostat:", view),
            ("playground", _("Playground"), ":material/scatter_plot:", {}),
            ("train", _("Train"), ":material/model_training:", {}),
            ("compare", _("Compare"), ":material/balance:", {}),
        ):
            st.page_link(f"pages/{page}/page.py", label=f"**{title}**", icon=icon, query_params=query)
        tour.start()
