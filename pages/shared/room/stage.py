"""Which part of a page stands on the stage: kept in the address (`stage=`), and over a change of page."""

from typing import Any

import streamlit as st

from pages.shared.session.address import event_of

STAGE = "stage"
MOST_PARTS = 99
_PAGE, _WRITTEN = "stage_page", "stage_written"


def part_on_stage(page: str) -> int:
    """The part of this page that stands on the stage, counted from 1; 0 while there is no stage.

    A page that is opened on the stage opens with its first part.
    """
    named = st.query_params.get(STAGE)
    if named not in (None, st.session_state.get(_WRITTEN)):
        st.session_state[STAGE] = _whole(named or "")
    elif named is None and st.session_state.get(_PAGE) != page:
        st.session_state[STAGE] = min(1, st.session_state.get(STAGE, 0))
    st.session_state[_PAGE] = page
    return _keep(st.session_state.get(STAGE, 0))


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 3 else 0


def _keep(part: int) -> int:
    st.session_state[STAGE] = part
    if part and st.query_params.get(STAGE) != str(part):
        st.query_params[STAGE] = str(part)
    elif not part:
        st.query_params.pop(STAGE, None)
    st.session_state[_WRITTEN] = str(part)
    return part


def heard(state: Any) -> None:
    """Keep what the browser's script shows: a part, or 0 where its visitor has left the stage."""
    part = event_of(state, STAGE, int)
    if part is not None and 0 <= part <= MOST_PARTS:
        _keep(part)
