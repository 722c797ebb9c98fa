"""The view of a page in its address. Whatever stands there and is no value of a control reads as its default."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kd_core.base.packed import pack, unpack
from kd_core.data import picture
from kd_core.data.pictures.digit import Grey
from pages.shared.server.streamlit_patches import undisturbed
from pages.shared.words import in_language

LOWEST, HIGHEST = 0.1, 100.0
_LOG = logging.getLogger(__name__)
T = TypeVar("T")


def chosen(
    widget: Callable[..., Any], label: str, options: Sequence[T], *, name: str, key: str, default: T, **look: Any
) -> T:
    """Draw a control that chooses one of options; its choice stands in the address under name.

    widget: st.selectbox or st.segmented_control; look: its other arguments. key must not depend on what is chosen. An
    address that somebody else wrote, as a link does, wins over what the session has.
    """
    named, key_of_written = st.query_params.get(name), f"{key}_written"
    stands = st.session_state.get(key)
    if named != st.session_state.get(key_of_written, named) or stands not in options:
        stands = {str(option): option for option in options}.get(named or "", default)
    if key not in st.session_state or st.session_state[key] != stands:
        st.session_state[key] = stands
    choice: T = widget(label, options, key=key, **look)
    with undisturbed():
        if named != str(choice):
            st.query_params[name] = str(choice)
        st.session_state[key_of_written] = str(choice)
    return choice


def selected(label: str, labels: Mapping[T, str], *, name: str, key: str, default: T | None = None) -> T:
    """Draw such a selectbox over labels, value -> what it is called; without a default it opens on the first."""
    options, first = [*labels], next(iter(labels)) if default is None else default
    return chosen(
        st.selectbox, label, options, name=name, key=key, default=first, format_func=lambda of: in_language(labels[of])
    )


def callbacks(key: str, *names: str) -> dict[str, Any]:
    """Arguments for a component, so that the address has its states of these names before the page is drawn."""
    return {f"on_{name}_change": partial(_write, key, name) for name in names}


def _write(key: str, name: str) -> None:
    value = event_of(st.session_state[key], name, lambda value: value if isinstance(value, str) else f"{value:g}")
    if value:
        st.query_params[name] = value
    elif value is not None:
        st.query_params.pop(name, None)


def event_of(state: Any, name: str, read: Callable[[Any], T]) -> T | None:
    """Read what a component sent under a name; None where it sent nothing, or what only a hand-made message holds."""
    try:
        value = state.get(name)
        return None if value is None else read(value)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
        _LOG.warning("A component's %s was ignored, because no component of ours sends that: %.200s", name, error)
        return None


def number(name: str, default: float, low: float, high: float) -> float:
    """A number of the address, brought within low and high."""
    try:
        named = float(st.query_params.get(name, default))
    except ValueError:
        return default
    return min(high, max(low, named)) if math.isfinite(named) else default


def temperature_of_address(default: float = 4.0) -> float:
    """T of the address, within the slider's range."""
    return number("T", default, LOWEST, HIGHEST)


IMAGE = "image"
TEST, DRAWN = "test-", "drawn-"


def index_of_address(named: str, size: int) -> int | None:
    """The test image that an address names, where there are size of them."""
    digits = named.removeprefix(TEST)
    if named.startswith(TEST) and digits.isascii() and digits.isdigit() and len(digits) < 9 and int(digits) < size:
        return int(digits)
    return None


LOGITS = "logits"
LOGIT_STEP, HIGHEST_LOGIT = 0.01, 300.0
MOST_LOGITS = 10_000


def drawing_of_address() -> Grey | None:
    """The drawing of the address, (28, 28) uint8; None where there is none that can be read, which the log says."""

    def read(named: str) -> Grey | None:
        return picture.from_address(named.removeprefix(DRAWN)) if named.startswith(DRAWN) else None

    return _read(IMAGE, read)


def logits_to_address(logits: NDArray[np.floating[Any]]) -> str:
    """What the address has of logits moved by hand under LOGITS: (models, classes), in steps of LOGIT_STEP."""
    bounded = np.clip(np.nan_to_num(logits), -HIGHEST_LOGIT, HIGHEST_LOGIT)
    return pack(np.round(bounded / LOGIT_STEP).astype("<i2").tobytes())


def logits_of_address(models: int, classes: int) -> NDArray[np.float64] | None:
    """The logits of the address, (models, classes); None where there are none of this shape, which the log says."""

    def read(text: str) -> NDArray[np.float64]:
        steps = np.frombuffer(unpack(text, MOST_LOGITS, 2 * models * classes), "<i2")
        return np.clip(steps.reshape(models, classes) * LOGIT_STEP, -HIGHEST_LOGIT, HIGHEST_LOGIT)

    return _read(LOGITS, read)


def _read(name: str, read: Callable[[str], T | None]) -> T | None:
    named = st.query_params.get(name)
    if not named:
        return None
    try:
        return read(named)
    except (ValueError, picture.PictureError) as error:
        _LOG.warning("%s= of an address was ignored: %s", name, error)
        return None
