"""Before the button is pressed: what the forecast of a story says, and the button that trains what is missing."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from kd_core.base.config import LabError
from kd_core.experiments.advice.before import Expected, Forecast, Formula, Known, forecast
from kd_core.experiments.story import StoryConfig
from pages.shared.access import rights
from pages.shared.language import _, of_error
from pages.shared.parts.button import filled, pressed
from pages.shared.parts.start import span_in_words
from pages.shared.session import keys, services
from pages.shared.words import duration, explained, literal, refusals

REUSE = "form_reuse"


def launch_panel(story: StoryConfig) -> None:
    """Show the forecast of a story, and the one button that trains what is missing."""
    try:
        expected = forecast(story, _known(story.dataset, reuse=st.session_state.get(REUSE, True)))
    except LabError as error:  # such as a network that does not take these images
        st.error(literal(of_error(error)), icon=":material/error:")
        return
    _formula(expected.formula)
    st.toggle(
        _("Use what is trained already"),
        value=True,
        key=REUSE,
        help=_(
            "On such a machine the same settings and seed give the same weights: a finished run serves as a new one."
        ),
    )
    with st.container(key="expected_runs"):
        _runs(expected.rows)
    if expected.span is not None:
        st.markdown(_("Done in {span}.", span=span_in_words(expected.span)))
    for sentence in expected.warnings:
        st.warning(literal(_(sentence)), icon=":material/lightbulb:")
    if not expected.to_train:
        st.info(_("All of this is trained already."), icon=":material/check_circle:")
    if pressed(
        _("Train") if expected.to_train else _("Show it"),
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
    st.markdown(_("**What the student minimises**"))
    st.latex(formula.latex)
    caption = [_(formula.meaning), literal(_(formula.source)), _(formula.unit)]
    st.caption(" ".join(filter(None, caption)), help=explained(formula.unit))
    if formula.changes:
        st.caption(_(formula.changes))


def _runs(rows: Sequence[Expected]) -> None:
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "role": _(row.role),
                    "network": _(row.network),
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
            "role": st.column_config.Column(_("role"), width="small"),
            "network": st.column_config.Column(_("network"), width=215),  # the name of one of a library's is long
            "parameters": st.column_config.NumberColumn(_("parameters"), width=95, format="localized"),
            "multiply-adds": st.column_config.NumberColumn(
                _("multiply-adds"), format="localized", help=explained(_("multiply-adds"))
            ),
            "time": st.column_config.Column(_("time")),
        },
    )


def _time(row: Expected) -> str:
    if row.trained is not None:
        return _("trained already ({id})", id=row.trained[:4])
    if row.seconds is None:
        return _("not measured here yet")
    return _("about {duration}", duration=duration(row.seconds))
