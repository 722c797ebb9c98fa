"""Prepared views: an address takes controls of its page away (`hide=`) or fixes them where they stand (`lock=`).

It names controls as addresses do: `hide=alpha` takes away what `alpha=` sets, whose value holds on. What is hidden or
locked is so in the browser: it guides a class, and keeps nothing from whoever edits the address.
"""

import logging
import re
from collections.abc import Iterable
from typing import NamedTuple

import streamlit as st

from kd_core.base.templates import said

HIDE, LOCK = "hide", "lock"
MOST_NAMES = 60
PAGES = '[data-testid="stTopNav"], [data-testid="stSidebar"], [data-testid="stExpandSidebarButton"]'
FORM = "form_"
"""What the keys of Train's fields begin with."""
KEYS = {
    "T": ("form_temperature",),
    "advice": ("advice_on",),
    "batch": ("batch_picker",),
    "compared": ("compared_models",),
    "data": ("data_set",),
    "experiment": (
        "limits_experiment",
        "paper_experiment",
    ),
    "mistake": ("break_mistake",),
    "of": ("mistakes_of",),
    "on": ("limits_dataset", "demo_dataset", "paper_dataset", "contest_dataset", "break_dataset"),
    "order": ("runs_order",),
    "other": ("differs_from",),
    "run": ("usable_run",),
    "seeds": ("limits_seeds", "paper_seeds", "contest_seeds", "break_seeds"),
    "source": ("image_source",),
    "student": ("felt_student",),
}
"""By its name in the address: the key of a control that is drawn under another one."""
IN_COMPONENTS = {
    "T": said("Temperature"),
    "alpha": said("Alpha"),
    "axis": said("Log axis"),
    "class": said("Class"),
    "diagonal": said("The map's diagonal"),
    "again": said("Start again"),
    "digits": said("Images of digits for the students"),
    "distill": said("Distill digits here"),
    "drawing": said("The sheet to draw on"),
    "examples": said("Students' points"),
    "field": said("The fields"),
    "image": said("The image"),
    "language": said("Language"),
    "logits": said("Logits by hand"),
    "noise": said("Wrong labels"),
    "overlap": said("Overlap"),
    "own": said("Class to draw"),
    "pairs": said("Twenty seeds"),
    "play": said("Play and pause"),
    "points": said("Steps or epochs"),
    "pages": said("Navigation"),
    "rate": said("Learning rate"),
    "seed": said("Seed"),
    "shape": said("Data of the plane"),
    "situation": said("Prepared situations"),
    "speed": said("Steps a frame"),
    "share": said("Share"),
    "stage": said("Stage view"),
    "step": said("One step"),
    "swapped": said("Teacher confuses A and B"),
    "t2": said("Soft loss times T²"),
    "unseen": said("They never see"),
}
"""Controls that carry their name in the document (`data-control`), and what the editor calls them."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")
_LOGGED = "prepared_logged"
_LOG = logging.getLogger(__name__)


class Prepared(NamedTuple):
    """The names that an address hides, and those that it locks."""

    hidden: tuple[str, ...]
    locked: tuple[str, ...]


def of_address() -> Prepared:
    """Read what the address prepares; what is no name is left out."""
    return Prepared(_names(HIDE), _names(LOCK))


def _names(parameter: str) -> tuple[str, ...]:
    named = (name for text in st.query_params.get_all(parameter) for name in text.split(",", MOST_NAMES)[:MOST_NAMES])
    return tuple(dict.fromkeys(name for name in named if _NAME.fullmatch(name)))[:MOST_NAMES]


def selector(names: Iterable[str]) -> str:
    """Select the controls of these names, in CSS; empty without names."""
    parts = [f".st-key-{key}" for name in names for key in _keys(name)]
    parts += [f'[data-control~="{name}"]' for name in names]
    return ", ".join([*parts, *([PAGES] if "pages" in names else [])])


def _keys(name: str) -> tuple[str, ...]:
    return (name, FORM + name, *KEYS.get(name, ()))


def apply(prepared: Prepared) -> None:
    """Take away what is hidden before the page draws it; the browser's script does the rest (prepare.js)."""
    if prepared.hidden:
        st.html(f"<style>{selector(prepared.hidden)} {{ display: none !important; }}</style>")


def log_unknown(prepared: Prepared) -> None:
    """Say in the log, once for each address of a session, what of it names no control of the page just drawn."""
    named = {parameter: st.query_params.get_all(parameter) for parameter in (HIDE, LOCK)}
    if st.session_state.get(_LOGGED, {HIDE: [], LOCK: []}) == named:
        return
    st.session_state[_LOGGED] = named
    for parameter, texts in named.items():
        read = prepared.hidden if parameter == HIDE else prepared.locked
        drawn = [name for name in read if name in IN_COMPONENTS or any(key in st.session_state for key in _keys(name))]
        left = [name for text in texts for name in text.split(",", MOST_NAMES) if name and name not in drawn]
        if left:
            some = ", ".join(f"{name:.40}" for name in left[:5])
            _LOG.warning("%s= of an address was ignored for what names no control of its page: %r", parameter, some)
