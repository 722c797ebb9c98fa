"""How a component is made of the JavaScript and CSS that lie beside its module."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from kd_core.exchange.javascript.scripts import scripts
from pages.shared.language import ENGLISH, current, words_of

COMMON_JS = scripts("maths") + Path(__file__).with_name("common.js").read_text(encoding="utf-8")
PEN_JS = scripts("sheet") + Path(__file__).with_name("pen.js").read_text(encoding="utf-8")
"""A sheet to draw on, and models that answer while somebody draws."""


@dataclass(frozen=True)
class Component:
    """The script and style beside a module, its __file__, that fill an element of a class.

    css and js come before its own. isolated: whether its styles are, and those around it keep out.
    """

    module: str
    element: str
    css: str = ""
    js: str = COMMON_JS
    isolated: bool = True

    @property
    def name(self) -> str:
        """The module's."""
        return Path(self.module).stem

    @property
    def style(self) -> str:
        """All of its CSS."""
        return self.css + Path(self.module).with_suffix(".css").read_text(encoding="utf-8")

    def script(self, language: str) -> str:
        """All of its JavaScript, which speaks a language. Its default export mounts it, as Streamlit's v2 asks."""
        return with_words(self.js + Path(self.module).with_suffix(".js").read_text(encoding="utf-8"), language)

    def __call__(self, **data_and_callbacks: Any) -> Any:
        """Draw it on a page of Streamlit's, in the language that is read; returns its state."""
        language = current()
        mount = st.components.v2.component(
            f"kd_lab_{self.name}" + ("" if language == ENGLISH else f"_{language}"),
            html=f'<div class="{self.element}"></div>',
            css=self.style,
            js=self.script(language),
            isolate_styles=self.isolated,
        )
        return mount(**data_and_callbacks)


def with_words(script: str, language: str) -> str:
    """A script with what it says in a language before it; common.js has the `_` and the `plural` that look there."""
    words = words_of(script, language)
    return f"const WORDS = {json.dumps(words, ensure_ascii=False)};\n{script}" if words else script
