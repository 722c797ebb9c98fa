"""Buttons that act on what stands in the fields at the moment of the press, however fast it came.

Who types a number and presses a button at once sends both before the page has been drawn again. The arguments of a
callback are those of the last drawing, so that it would act on the number before; and what a button returns is lost
where another rerun interrupts the script on its way there.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import streamlit as st

from pages.shared.server.streamlit_patches import undisturbed

DOUBLE_CLICK_SECONDS = 1.0
_PRESSED, _TAKEN, _PRESSED_AT, _FILLED = "pressed", "pressed_taken", "pressed_at", "filled"


def pressed(label: str, *, key: str, **options: Any) -> bool:
    """Whether this button was pressed: said once, to the script run that has read every field above it.

    Act on it within acting. Where another click ends the run before that, the press is said once more.

    options: as st.button takes them.
    """
    st.button(label, key=key, on_click=_remember, args=(key,), **options)
    waiting: set[str] = st.session_state.get(_PRESSED, set())
    if key not in waiting:
        return False
    st.session_state[_TAKEN] = {key}
    waiting.discard(key)
    return True


@contextmanager
def acting() -> Iterator[None]:
    """Within, do what a button asks for, and remember it: no other click comes between."""
    with undisturbed():
        st.session_state.pop(_TAKEN, None)
        yield


def filled(key: str) -> Literal["primary", "secondary"]:
    """The type of the button with this key: filled if it is the first of its page that asks, so that only one is."""
    first = st.session_state.setdefault(_FILLED, key)
    return "primary" if first == key else "secondary"


def empty() -> None:
    """At the start of a page: no button is filled yet, and a press that was taken and not acted on waits again."""
    st.session_state.pop(_FILLED, None)
    st.session_state.setdefault(_PRESSED, set()).update(st.session_state.pop(_TAKEN, ()))


def forget() -> None:
    """At the end of a page: a press of what was not drawn this time, because a field is refused, is over."""
    st.session_state.pop(_PRESSED, None)
    st.session_state.pop(_TAKEN, None)


def _remember(key: str) -> None:
    """Unless it is the second click of a double click, which would start everything twice."""
    pressed_at: dict[str, float] = st.session_state.setdefault(_PRESSED_AT, {})
    now = time.monotonic()
    if now - pressed_at.get(key, -DOUBLE_CLICK_SECONDS) >= DOUBLE_CLICK_SECONDS:
        pressed_at[key] = now
        st.session_state.setdefault(_PRESSED, set()).add(key)


_MAKING = threading.Lock()


def in_turn(make: Callable[[], bytes]) -> Callable[[], bytes]:
    """What makes a file, one after another for all who press a button: each takes a core and much memory meanwhile."""

    def made() -> bytes:
        with _MAKING:
            return make()

    return made
