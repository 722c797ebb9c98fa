"""A teacher and two students that train in the browser; Python keeps their settings in the address, and no more."""

import json
from pathlib import Path
from typing import Any

import streamlit as st

from kd_core.base.templates import prose
from kd_core.exchange.javascript.scripts import scripts
from pages.shared.components.common.browser import COMMON_JS, Component
from pages.shared.components.temperature_bars.temperature_bars import SLIDER_CSS, SLIDER_JS
from pages.shared.language import _
from pages.shared.session.address import callbacks, event_of, temperature_of_address

KEY = "playground"
SETTINGS = (
    "shape", "overlap", "seed", "noise", "teacher", "swapped", "examples", "unseen", "student", "alpha", "t2", "rate",
    "speed", "own", "situation",
)  # fmt: skip
"""By their names in the address; playground.js knows what each may be."""
MOST_CHARACTERS = 700
"""Of one setting: 150 points that somebody drew have 600."""
_HERE = Path(__file__)
COMMON_PARTS = "".join(_HERE.with_name(part).read_text("utf-8") for part in ("fields.js", "charts.js"))
STYLE = _HERE.with_suffix(".css").read_text("utf-8")
_TRAINER = scripts("maths", "perceptron", "points", "pair") + _HERE.with_name("trainer.js").read_text("utf-8")
PLAYGROUND = Component(
    __file__,
    "kd-playground",
    css=SLIDER_CSS,
    js=f"{COMMON_JS}{scripts('points', 'pair')}{SLIDER_JS}{COMMON_PARTS}const TRAINER = {json.dumps(_TRAINER)};\n",
)


def playground() -> None:
    """Show it. What is no setting in an address reads as where it starts."""
    PLAYGROUND(
        key=KEY,
        data={
            "view": json.dumps({name: st.query_params[name] for name in SETTINGS if name in st.query_params}),
            "temperature": temperature_of_address(),
            "log": False,
            "situations": situations(),
        },
        on_view_change=_write,
        **callbacks(KEY, "T", "axis"),
    )


def situations() -> list[dict[str, Any]]:
    """The prepared situations, in the language that is read."""
    return [
        each | {text: _(each[text]) for text in ("title", "question", "why")} for each in prose(__file__)["situations"]
    ]


def _write() -> None:
    """Bring the address to what was set in the browser; what is as it starts does not stand there."""
    named = event_of(st.session_state[KEY], "view", _settings)
    if named is None:
        return
    for name in SETTINGS:
        if name in named:
            st.query_params[name] = named[name]
        else:
            st.query_params.pop(name, None)


def _settings(text: Any) -> dict[str, str]:
    named = {str(name): str(value) for name, value in json.loads(text).items()}
    if any(len(value) > MOST_CHARACTERS for value in named.values()):
        raise ValueError("a setting is too long")
    return named
