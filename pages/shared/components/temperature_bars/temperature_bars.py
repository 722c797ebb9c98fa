"""Softened probabilities that follow the temperature slider at the display's rate: the maths runs in the browser."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from pages.shared.components.common.browser import component
from pages.shared.session.address import callbacks, temperature_of_address
from pages.shared.words import GLOSSARY

BARS_CSS = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")


class Bars(NamedTuple):
    """One model to show: its name, its colour and its K logits for the chosen image."""

    name: str
    colour: str
    logits: Sequence[float]


def temperature_bars(models: Sequence[Bars], class_names: Sequence[str], label: int | None, *, key: str) -> None:
    """Bars of softmax(z / T) for each model, under a slider for T, which the address keeps, as it does the axis.

    The teacher comes first: the others' KL is measured from it. Of many classes, those that it finds likeliest have
    bars, and the rest one together. label: the true class, or None where nobody knows.
    """
    component(__file__, "kd-bars")(
        key=key,
        data={
            "models": [
                {"name": bars.name, "colour": bars.colour, "logits": [float(z) for z in bars.logits]} for bars in models
            ],
            "classes": list(class_names),
            "label": label,
            "glossary": GLOSSARY,
            "temperature": temperature_of_address(),
            "log": st.query_params.get("axis") == "log",
        },
        **callbacks(key, "T", "axis"),
    )
