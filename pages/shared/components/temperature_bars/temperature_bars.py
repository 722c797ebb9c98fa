"""Softened probabilities that follow the temperature slider at the display's rate: the maths runs in the browser."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kd_core.experiments import story
from kd_core.runs.run import Run
from pages.shared.components.common.browser import component
from pages.shared.parts.naming import shades
from pages.shared.session.address import callbacks, temperature_of_address
from pages.shared.words import GLOSSARY

BARS_CSS = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")


def temperature_bars(
    models: Sequence[Run],
    logits: Mapping[str, NDArray[np.floating[Any]]],
    class_names: Sequence[str],
    label: int | None,
    *,
    key: str,
) -> None:
    """Bars of softmax(z / T) for each model, under a slider for T, which the address keeps, as it does the axis.

    The teacher comes first: the others' KL is measured from it. Of many classes, those that it finds likeliest have
    bars, and the rest one together. logits: run id -> (K,) of one image. label: the true class, or None where nobody
    knows.
    """
    names, colours = story.names(models), shades(models)
    component(__file__, "kd-bars")(
        key=key,
        data={
            "models": [
                {"name": names[run.id], "colour": colours[run.id], "logits": logits[run.id].tolist()} for run in models
            ],
            "classes": list(class_names),
            "label": label,
            "glossary": GLOSSARY,
            "temperature": temperature_of_address(),
            "log": st.query_params.get("axis") == "log",
        },
        **callbacks(key, "T", "axis"),
    )
