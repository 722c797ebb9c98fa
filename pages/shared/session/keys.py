"""Names in a session's state. A session holds ids and form choices; everything else is in the store."""

import streamlit as st

from kd_core.base.templates import said
from pages.shared.language import _

BATCH, SWEEP = "batch", "sweep_batch"
BROWSER_COOKIE = "kd_browser"
VIEW = "view"
SET_UP, WATCH = said("Set up"), said("Watch")
_NEXT_VIEW, _OPENED = "next_view", "opened_batch"


def chosen_batch(memory: str = BATCH) -> str | None:
    """The batch this session looks at: the address's, else the session's own.

    memory: SWEEP on the page that shows nothing else, so that it does not change what the others look at. What a page
    opened on by itself is nobody's choice: the address keeps it, and the session does not.
    """
    named = st.query_params.get(BATCH)
    if named is not None and named == st.session_state.get(_OPENED):
        return named
    if named is not None:
        st.session_state[memory] = named
    elif st.session_state.get(memory) is not None:
        st.query_params[BATCH] = st.session_state[memory]
    chosen: str | None = st.session_state.get(memory)
    return chosen


def open_on(batch: str) -> None:
    """Show this batch for as long as the address names it."""
    st.session_state[_OPENED] = st.query_params[BATCH] = batch


def choose_batch(batch: str, memory: str = BATCH) -> None:
    """Look at this batch from now on, on every page of this session that shares the memory."""
    st.session_state.pop(_OPENED, None)
    st.session_state[memory] = batch
    st.query_params[BATCH] = batch


def watch(batch: str) -> None:
    """Draw the train page anew, with a batch to watch. What is drawn after the control that chooses may call it."""
    st.session_state[_NEXT_VIEW] = WATCH  # before the address: a click that comes now breaks this run off there
    choose_batch(batch)
    st.rerun()


def train_view(*, busy: bool) -> str:
    """Which half of the train page this session looks at, SET_UP or WATCH, with the control that chooses it.

    It opens on WATCH where the address says so or names a batch, or where this browser is busy training a story.
    """
    if _NEXT_VIEW in st.session_state:
        st.session_state[VIEW] = st.session_state.pop(_NEXT_VIEW)
    if VIEW not in st.session_state:
        named = st.query_params.get(VIEW)
        watches = busy or BATCH in st.query_params
        st.session_state[VIEW] = named if named in (SET_UP, WATCH) else WATCH if watches else SET_UP
    st.segmented_control(
        _("Set up or watch"), [SET_UP, WATCH], key=VIEW, required=True, label_visibility="collapsed", format_func=_
    )
    view: str = st.session_state[VIEW]
    if st.query_params.get(VIEW) != view:
        st.query_params[VIEW] = view
    return view
