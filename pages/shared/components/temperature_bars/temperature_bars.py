"""The slider of T, and softened probabilities that follow it at the display's rate: the maths runs in the browser."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kd_core.exchange.javascript.scripts import functions
from kd_core.experiments import story
from kd_core.runs.run import Run
from pages.shared.components.common.browser import Component
from pages.shared.language import _
from pages.shared.parts.naming import shades
from pages.shared.session.address import LOGITS, callbacks, logits_of_address, temperature_of_address
from pages.shared.words import glossary

_HERE = Path(__file__)
_SLIDER = _HERE.with_name("temperature_slider.py")
"""Beside which its script and style would lie."""
SLIDER_CSS, BARS_CSS = (file.with_suffix(".css").read_text(encoding="utf-8") for file in (_SLIDER, _HERE))
SLIDER_JS, BARS_JS = (functions(file) for file in (_SLIDER, _HERE))
SLIDER = Component(str(_SLIDER), "kd-temperature")
BARS = Component(__file__, "kd-bars", css=SLIDER_CSS)


def temperature_slider(*, key: str, isolated: bool = True) -> None:
    """A slider for T, which the address keeps, as it does the axis of the bars. All of the page follows it."""
    replace(SLIDER, isolated=isolated)(
        key=key,
        data={"temperature": temperature_of_address(), "log": st.query_params.get("axis") == "log"},
        **callbacks(key, "T", "axis"),
    )


def temperature_bars(
    models: Sequence[Run],
    logits: Mapping[str, NDArray[np.floating[Any]]],
    class_names: Sequence[str],
    label: int | None,
    *,
    key: str,
) -> None:
    """Bars of softmax(z / T) for each model, under the page's temperature_slider; each bar can be dragged.

    The address keeps logits that were dragged.
    The teacher comes first: the others' KL is measured from it. Of many classes, those that it finds likeliest have
    bars, and the rest one together. logits: run id -> (K,) of one image. label: the true class, or None where nobody
    knows.
    """
    names, colours = story.names(models), shades(models)
    moved = logits_of_address(len(models), len(class_names))
    shown = [
        {"id": run.id, "name": _(names[run.id]), "colour": colours[run.id], "logits": logits[run.id].tolist()}
        for run in models
    ]
    BARS(
        key=key,
        data={
            "models": shown,
            "subject": str(hash(str([model["logits"] for model in shown]))),
            "classes": list(class_names),
            "label": label,
            "glossary": glossary(),
            "moved": None if moved is None else moved.tolist(),
        },
        **callbacks(key, LOGITS),
    )
