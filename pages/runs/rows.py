"""Runs as rows of two lines, which a telephone shows in the place of the table."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from pages.shared.components.common.browser import Component
from pages.shared.language import _
from pages.shared.session.address import event_of

KEY, RUNS = "runs_rows", "runs"
"""frame.css shows the component of this key in narrow windows alone. RUNS: what is selected, in the address."""
TURN = "runs_rows_turn"
"""How often they were selected from here: the table beside starts anew on what the address then says."""
ROW_REM = 3.68
"""Height of a row, as rows.css makes it."""


def rows(shown: Sequence[dict[str, Any]], selected: Sequence[str]) -> None:
    """Show runs, each a row of the table; what is selected stands in the address before the page is drawn."""
    st.html(
        f"<style>.st-key-{KEY} {{ min-height: {ROW_REM * len(shown):.2f}rem; }}</style>"
    )  # room until they are drawn
    data = {"rows": [_row(row) for row in shown], "selected": ",".join(selected)}
    Component(__file__, "kd-rows-of-runs")(key=KEY, data=data, on_picked_change=_take)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    errors, temperature = row["test errors"], row["T"]
    about = [_(row["role"]), None if errors is None else _("{errors:,} test errors", errors=errors)]
    about += [None if temperature is None else f"T {temperature:.3g}"]
    status = _(row["status"]) + (f", {row['progress']:.0%}" if row["status"] in ("running", "paused") else "")
    return {"id": row["id"], "name": row["run"], "status": status, "about": " · ".join(filter(None, about))}


def _take() -> None:
    picked = event_of(st.session_state[KEY], "picked", str)
    if picked:
        st.query_params[RUNS] = picked
    elif picked is not None:
        st.query_params.pop(RUNS, None)
    st.session_state[TURN] = st.session_state.get(TURN, 0) + 1
