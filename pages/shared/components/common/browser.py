"""How a component is made of the JavaScript and CSS that lie beside its module."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from kd_core.exchange.javascript.scripts import scripts

COMMON_JS = scripts("maths") + Path(__file__).with_name("common.js").read_text(encoding="utf-8")


def component(
    module: str, element: str, *, css: str = "", js: str = COMMON_JS, isolated: bool = True
) -> Callable[..., Any]:
    """Make the component of a module, its __file__, in an element of this class; css and js come before its own."""
    source = Path(module)
    return st.components.v2.component(
        f"kd_lab_{source.stem}",
        html=f'<div class="{element}"></div>',
        css=css + source.with_suffix(".css").read_text(encoding="utf-8"),
        js=js + source.with_suffix(".js").read_text(encoding="utf-8"),
        isolate_styles=isolated,
    )
