"""Before the button is pressed: what the forecast of a story says, and the button that trains what is missing."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from kd_core.experiments.advice.before import Expected, Forecast, Formula, Known, forecast
from kd_core.experiments.story import StoryConfig
from pages.shared.access import rights
from pages.shared.parts.button import filled, pressed
from pages.shared.parts.start import span_in_words
from pages.shared.session import keys, services
from pages.shared.words import duration, explained, literal, refusals

REUSE = "form_reuse"


def launch_panel(story: StoryConfig) -> None:
    """Show the forecast of a story, and the one button that trains what is missing."""
    expected = forecast(story, _known(story.dataset, reuse=st.session_state.get(REUSE, True)))
    _formula(expected.formula)
    st.toggle(
        "Use what is trained already",
        value=True,
        key=REUSE,
        help="On such a machine the same settings and seed give the same weights: a finished run serves as a new one.",
    )
    with st.container(key="expected_runs"):
        _runs(expected.rows)
    if expected.span is not None:
        st.markdown(f"Done in {span_in_words(expected.span)}.")
    for sentence in expected.warnings:
        st.warning(literal(sentence), icon=":material/lightbulb:")
    if not expected.to_train:
        st.info("All of this is trained already.", icon=":material/check_circle:")
    if pressed(
        "Train" if expected.to_train else "Show it",
        type=filled("train"),
        key="train",
        icon=":material/play_arrow:",
        width="stretch",
    ):
        _launch(expected)


def _known(dataset: str, *, reuse: bool) -> Known:
    """Collect what a forecast needs from this server. reuse: whether finished runs may serve."""
    store = services.store()
    return Known(
        trained=store.listing() if reuse else (),
        runs=store.some,
        costs=services.costs,
        seconds=services.expected_seconds(),
        span=services.forecast,
        class_names=services.class_names(dataset),
    )


def _launch(expected: Forecast) -> None:
    with refusals():
        ids = rights.submit(expected.to_train) if expected.to_train else expected.reused[-1:]
        student = services.store().get(ids[-1])  # its batch: the teacher may be another's, who asked before
        keys.watch(student.batch)


def _formula(formula: Formula) -> None:
    st.markdown("**What the student minimises**")
    st.latex(formula.latex)
    caption = [formula.meaning, literal(formula.source), formula.unit]
    st.caption(" ".join(filter(None, caption)), help=explained(formula.unit))
    if formula.changes:
        st.caption(formula.changes)


def _runs(rows: Sequence[Expected]) -> None:
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "role": row.role,
                    "network": row.network,
                    "parameters": row.parameters,
                    "multiply-adds": row.multiply_adds,
                    "time": _time(row),
                }
                for row in rows
            ]
        ),
        hide_index=True,
        placeholder="–",
        column_config={
            "parameters": st.column_config.NumberColumn(format="localized"),
            "multiply-adds": st.column_config.NumberColumn(format="localized", help=explained("multiply-adds")),
        },
    )


def _time(row: Expected) -> str:
    if row.trained is not None:
        return f"trained already ({row.trained[:4]})"
    return "not measured here yet" if row.seconds is None else f"about {duration(row.seconds)}"
