"""The button that trains what an experiment lacks, with the time it takes."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import streamlit as st

from kd_core.base.config import LabError
from kd_core.experiments.table import Experiment, Redo
from kd_core.runs.run import ACTIVE, RESUMABLE, Run
from kd_core.training.config import RunConfig
from pages.shared.access import rights
from pages.shared.live.live import live_view
from pages.shared.parts.button import filled, pressed
from pages.shared.session import services
from pages.shared.words import duration, literal


def expected_time(configs: Mapping[str, RunConfig]) -> str:
    """In how long new runs are expected to be done, with what waits before them; empty where that is not known."""
    spans = services.forecast(configs) if configs else {}
    begins = min((spans[run_id].begins for run_id in configs), default=math.inf)
    ends = max((spans[run_id].ends for run_id in configs), default=math.inf)
    if not math.isfinite(ends):
        return ""
    waits = f", of which about {duration(begins)} until its turn" if begins >= 1 else ""
    return f"about **{duration(ends)}** on this machine{waits}"


SHOWN_RUNS = 12


class Redone(NamedTuple):
    """An experiment on a data set, its runs with the seeds that were chosen, and those of them that are here."""

    dataset: str
    experiment: Experiment
    seeds: int
    plan: Redo
    runs: dict[str, Run]


def launch(redo: Redone) -> None:
    """The button that trains what is missing, with the time that it takes; and how it goes."""
    teachers = [run for run in _teachers(redo) if run.status in (*ACTIVE, *RESUMABLE)]
    going = [run for run in (*teachers, *redo.runs.values()) if run.status in ACTIVE]
    start_button(redo.plan, "Run it", key="redo")
    if going:
        live_view(going[:SHOWN_RUNS], key="redo_live")
        if len(going) > SHOWN_RUNS:
            st.caption(f"and {len(going) - SHOWN_RUNS} more that wait their turn")


def start_button(plan: Redo, title: str, *, key: str) -> None:
    """The button that trains what is missing of a plan, or goes on with what rests, and how much that is."""
    missing, paused = len(plan.to_train), len(plan.to_resume)
    if missing or paused:
        parts = [f"{missing} to train"] * bool(missing) + [f"{paused} to go on with"] * bool(paused)
        with st.container(horizontal=True, vertical_alignment="center"):
            asked = pressed(title if missing else "Go on", type=filled(key), icon=":material/play_arrow:", key=key)
            time = expected_time(plan.to_train)
            st.markdown(f"{' and '.join(parts)}{', ' * bool(time)}{time}.")
        if asked:
            start(plan)


def _teachers(redo: Redone) -> Sequence[Run]:
    ids = {
        teacher
        for run in redo.runs.values()
        if run.config.distillation is not None
        for teacher in run.config.distillation.teachers
    }
    return [run for run in services.store().some([*ids]) if run.id not in redo.runs]


def start(plan: Redo) -> None:
    """Go on with what waits, queue what is to be trained, and draw the page anew; a sentence where it is refused."""
    try:
        rights.resume(plan.to_resume)
        if plan.to_train:
            rights.submit(plan.to_train)
        rights.join(plan.at_work)
    except LabError as error:
        st.error(literal(str(error)), icon=":material/error:")
    else:
        st.rerun()
