"""Names in a session's state. A session holds ids and form choices; everything else is in the store."""

import streamlit as st

BATCH = "batch"


def chosen_batch() -> str | None:
    """The batch this session looks at: the address's, else the session's own."""
    named = st.query_params.get(BATCH)
    if named is not None:
        st.session_state[BATCH] = named
    elif st.session_state.get(BATCH) is not None:
        st.query_params[BATCH] = st.session_state[BATCH]
    chosen: str | None = st.session_state.get(BATCH)
    return chosen


def choose_batch(batch: str) -> None:
    """Look at this batch from now on, on every page of this session."""
    st.session_state[BATCH] = batch
    st.query_params[BATCH] = batch
