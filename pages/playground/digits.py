"""Distill digits in the browser: Python sends the page's scripts, and keeps how many images the students see."""

import json
from pathlib import Path

import streamlit as st

from kd_core.exchange.javascript.scripts import scripts
from pages.playground.playground import COMMON_PARTS, STYLE
from pages.shared.components.common.browser import COMMON_JS, Component
from pages.shared.components.temperature_bars.temperature_bars import BARS_CSS, BARS_JS, SLIDER_CSS
from pages.shared.session.address import callbacks

KEY = "digits"
_TRAINER = scripts("maths", "as_mnist", "interpreter", "perceptron")
_TRAINER += Path(__file__).with_name("digits_trainer.js").read_text("utf-8")
DIGITS = Component(
    __file__,
    "kd-digits",
    css=SLIDER_CSS + BARS_CSS + STYLE,
    js=f"{COMMON_JS}{scripts('sheet', 'points')}{BARS_JS}{COMMON_PARTS}const TRAINER = {json.dumps(_TRAINER)};\n",
)


def digits() -> None:
    """Show the button; the digits and their teacher are fetched once it is pressed (`/assets/lesson/digits`)."""
    DIGITS(key=KEY, data={"images": st.query_params.get(KEY, "fifth")}, **callbacks(KEY, KEY))
