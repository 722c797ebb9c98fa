"""The button that trains what an experiment lacks, with the time it takes."""

from collections.abc import Iterable, Mapping, Sequence

import streamlit as st

from kd_core.base.config import LabError
from kd_core.base.templates import said
from kd_core.data.catalogue import info_of
from kd_core.data.paths import available
from kd_core.experiments.table import Redo, Redone
from kd_core.runs.reading import check_code
from kd_core.runs.run import ACTIVE
from kd_core.training.config import RunConfig
from pages.shared.access import rights
from pages.shared.language import _, of_error
from pages.shared.live.live import live_view
from pages.shared.parts.button import filled, pressed
from pages.shared.session import services
from pages.shared.session.address import chosen
from pages.shared.words import duration, in_language, literal, refusals, say_refusal


def span_in_words(span: tuple[float, float]) -> str:
    """In how long new runs are expected to be done, with what waits before them."""
    begins, ends = span
    if begins < 1:
        return _("about **{time}** on this machine", time=duration(ends))
    return _(
        "about **{time}** on this machine, of which about {wait} until its turn",
        time=duration(ends),
        wait=duration(begins),
    )


def expected_time(configs: Mapping[str, RunConfig]) -> str:
    """The same of new runs, as the queue stands; empty where it is not known."""
    span = services.forecast(configs)
    return span_in_words(span) if span else ""


SHOWN_RUNS = 12


def choose_data_set(names: Iterable[str], *, key: str, last: bool = False, meaning: str | None = None) -> str:
    """Which of these data sets that are here: the address's, else the first, or the last."""
    present, widget = [name for name in names if available(name)], st.segmented_control
    default = present[-1 if last else 0]
    return chosen(
        widget, _("Data set"), present, name="on", key=key, default=default, required=True, help=meaning,
        format_func=lambda name: in_language(info_of(name).label),
    )  # fmt: skip


def choose_seeds(options: Sequence[int], *, key: str, meaning: str, default: int | None = None) -> int:
    """With how many seeds: the address's, else the default, else the first of the options."""
    first, widget = options[0] if default is None else default, st.segmented_control
    return chosen(
        widget, _("Seeds"), sorted(options), name="seeds", key=key, default=first, required=True, help=meaning
    )


def launch(
    redo: Redone, title: str = said("Run it"), *, curves: bool = True, titles: Mapping[str, str] | None = None
) -> None:
    """The button that trains what is missing, with the time that it takes; and how it goes, with a button to stop.

    titles: run id -> what it is called here, where its role does not say enough.
    """
    say_refusal()
    going = [run for run in (*redo.teachers, *redo.runs.values()) if run.status in ACTIVE]
    start_button(redo.plan, title, key="redo")
    if going:
        controlled = [run.id for run in going if rights.may_control(run)]
        with st.container(horizontal=True, vertical_alignment="center"):
            finished, wanted = len(redo.all_finished), len(set(redo.plan.runs.values()))
            st.markdown(_("{finished} of {count} trained.", finished=finished, count=wanted))
            if len(controlled) > 1:
                st.button(_("Stop all"), icon=":material/stop:", key="redo_stop", on_click=_stop, args=(controlled,))
        live_view(going[:SHOWN_RUNS], key="redo_live", curves=curves, titles=titles)
        if len(going) > SHOWN_RUNS:
            st.caption(_("and {count} more that wait their turn", count=len(going) - SHOWN_RUNS))


def _stop(run_ids: Sequence[str]) -> None:
    """Let runs rest where they are: the button of what is missing goes on with them."""
    with refusals(later=True):
        rights.ask(run_ids, "pause")


def start_row(label: str, beside: str, *, key: str, icon: str = ":material/play_arrow:") -> bool:
    """A button that starts work, with words beside it; whether it was pressed."""
    with st.container(horizontal=True, vertical_alignment="center"):
        was_pressed = pressed(label, type=filled(key), key=key, icon=icon)
        st.markdown(beside)
    return was_pressed


def start_button(plan: Redo, title: str, *, key: str) -> None:
    """The button that trains what is missing of a plan, or goes on with what rests, and how much that is.

    Where a network's own code stands in the way, the sentence why.
    """
    try:
        check_code(services.store(), plan.to_train)
    except LabError as error:
        st.info(literal(of_error(error)), icon=":material/code:")
        return
    if plan.to_train or plan.to_resume:
        label = _(title) if plan.to_train else _("Go on")
        if start_row(label, _how_much(plan), key=key):
            start(plan)


def _how_much(plan: Redo) -> str:
    missing, paused, time = len(plan.to_train), len(plan.to_resume), expected_time(plan.to_train)
    if not missing:
        return _("{paused} to go on with.", paused=paused)
    if not paused and not time:
        return _("{missing} to train.", missing=missing)
    if not paused:
        return _("{missing} to train, {time}.", missing=missing, time=time)
    if not time:
        return _("{missing} to train and {paused} to go on with.", missing=missing, paused=paused)
    return _("{missing} to train and {paused} to go on with, {time}.", missing=missing, paused=paused, time=time)


def start(plan: Redo) -> None:
    """Go on with what waits, queue what is to be trained, and draw the page anew; a sentence where it is refused."""
    with refusals():
        rights.resume(plan.to_resume)
        if plan.to_train:
            rights.submit(plan.to_train)
        rights.join(plan.at_work)
        st.rerun()
