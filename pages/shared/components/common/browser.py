"""How a component is made of the JavaScript and CSS that lie beside its module."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from kd_core.exchange.javascript.scripts import scripts
from pages.shared.language import ENGLISH, current, words_of

COMMON_JS = scripts("maths") + Path(__file__).with_name("common.js").read_text(encoding="utf-8")


def component(
    module: str, element: str, *, css: str = "", js: str = COMMON_JS, isolated: bool = True
) -> Callable[..., Any]:
    """Make the component of a module, its __file__, in an element of this class; css and js come before its own."""
    source, language = Path(module), current()
    script = js + source.with_suffix(".js").read_text(encoding="utf-8")
    return st.components.v2.component(
        f"kd_lab_{source.stem}" + ("" if language == ENGLISH else f"_{language}"),
        html=f'<div class="{element}"></div>',
        css=css + source.with_suffix(".css").read_text(encoding="utf-8"),
        js=with_words(script, language),
        isolate_styles=isolated,
    )


def with_words(script: str, language: str) -> str:
    """A script with what it says in a language before it; maths.js has the `_` and the `plural` that look there."""
    words = words_of(script, language)
    return f"const WORDS = {json.dumps(words, ensure_ascii=False)};\n{script}" if words else script
