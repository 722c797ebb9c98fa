"""The button that trains what an experiment lacks, with the time it takes."""

from collections.abc import Iterable, Mapping, Sequence

import streamlit as st

from kd_core.data.catalogue import info_of
from kd_core.data.paths import available
from kd_core.experiments.table import Redo, Redone
from kd_core.runs.run import ACTIVE
from kd_core.training.config import RunConfig
from pages.shared.access import rights
from pages.shared.live.live import live_view
from pages.shared.parts.button import filled, pressed
from pages.shared.session import services
from pages.shared.session.address import chosen
from pages.shared.words import duration, refusals, say_refusal


def span_in_words(span: tuple[float, float]) -> str:
    """In how long new runs are expected to be done, with what waits before them."""
    begins, ends = span
    waits = f", of which about {duration(begins)} until its turn" if begins >= 1 else ""
    return f"about **{duration(ends)}** on this machine{waits}"


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
        widget, "Data set", present, name="on", key=key, default=default, required=True, help=meaning,
        format_func=lambda name: info_of(name).label,
    )  # fmt: skip


def choose_seeds(options: Sequence[int], *, key: str, meaning: str, default: int | None = None) -> int:
    """With how many seeds: the address's, else the default, else the first of the options."""
    first, widget = options[0] if default is None else default, st.segmented_control
    return chosen(widget, "Seeds", sorted(options), name="seeds", key=key, default=first, required=True, help=meaning)


def launch(
    redo: Redone, title: str = "Run it", *, curves: bool = True, titles: Mapping[str, str] | None = None
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
            st.markdown(f"{len(redo.all_finished)} of {len(set(redo.plan.runs.values()))} trained.")
            if len(controlled) > 1:
                st.button("Stop all", icon=":material/stop:", key="redo_stop", on_click=_stop, args=(controlled,))
        live_view(going[:SHOWN_RUNS], key="redo_live", curves=curves, titles=titles)
        if len(going) > SHOWN_RUNS:
            st.caption(f"and {len(going) - SHOWN_RUNS} more that wait their turn")


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
    """The button that trains what is missing of a plan, or goes on with what rests, and how much that is."""
    missing, paused = len(plan.to_train), len(plan.to_resume)
    if missing or paused:
        parts = [f"{missing} to train"] * bool(missing) + [f"{paused} to go on with"] * bool(paused)
        time = expected_time(plan.to_train)
        beside = f"{' and '.join(parts)}{', ' * bool(time)}{time}."
        if start_row(title if missing else "Go on", beside, key=key):
            start(plan)


def start(plan: Redo) -> None:
    """Go on with what waits, queue what is to be trained, and draw the page anew; a sentence where it is refused."""
    with refusals():
        rights.resume(plan.to_resume)
        if plan.to_train:
            rights.submit(plan.to_train)
        rights.join(plan.at_work)
        st.rerun()
