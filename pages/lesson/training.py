"""Distill now: one button trains a teacher and both students on digits, and their curves move beside the text."""

import streamlit as st

from kd_core.data.catalogue import info_of
from kd_core.experiments import presets
from kd_core.experiments import story as experiments_story
from kd_core.experiments.lesson.catalogue import say
from kd_core.runs.run import ACTIVE, Run
from pages.lesson.models import DIGITS, Shown
from pages.shared.access import rights
from pages.shared.components.images.images import show
from pages.shared.language import _
from pages.shared.live.live import live_view
from pages.shared.parts.button import filled, pressed
from pages.shared.parts.start import expected_time
from pages.shared.session import pickers, services
from pages.shared.words import refusals

TRAINED = "lesson_trained"
"""Of the session and the address: the batch that this lesson trained."""
PANELS = ("loss", "validation_accuracy")


def distill(_shown: Shown, _revealed: bool) -> None:
    """The button, the curves, and what came of it."""
    runs = trained()
    seed = 1 + runs[-1].config.seed if runs else 0
    to_train = experiments_story.plan(presets.quick_demo(DIGITS, seed)).to_train
    label = _(say("views.distill_again" if runs else "views.distill"))
    with st.container(horizontal=True, vertical_alignment="center"):
        look = "secondary" if runs else filled("lesson_distill")
        if pressed(label, type=look, key="lesson_distill", icon=":material/play_arrow:"):
            with refusals():
                ids = rights.submit(to_train)
                st.session_state[TRAINED] = st.query_params[TRAINED] = services.store().get(ids[-1]).batch
                st.rerun()
        if not any(run.status in ACTIVE for run in runs):
            time = expected_time(to_train) or _(say("views.distill_time"))
            st.caption(_(say("views.distill_takes", data=info_of(DIGITS).label, time=time.replace("*", ""))))
    if not runs:
        _names, some = services.samples(DIGITS, 1)
        for column, (image, *_others) in zip(st.columns(len(some)), some, strict=True):
            with column:
                show(image, text=_(say("views.distill_images")))
        st.info(_(say("views.distill_waiting")), icon=":material/show_chart:")
        return
    live_view(runs, panels=PANELS, key="lesson")
    by_role = {run.config.role: run for run in runs if run.usable}
    if len(by_role) == len(runs):
        errors = {role: f"{run.results['test_errors']:,}" for role, run in by_role.items()}
        st.success(_(say("views.distilled_in", examples=f"{runs[-1].results['test_examples']:,}", **errors)))


def trained() -> list[Run]:
    """The story that this lesson trained last; empty before."""
    batch: str | None = st.query_params.get(TRAINED) or st.session_state.get(TRAINED)
    runs = services.store().runs(batch=batch)[::-1] if batch else []
    if batch is None or not runs or not pickers.is_story(runs):
        st.query_params.pop(TRAINED, None)
        return []
    st.session_state[TRAINED] = st.query_params[TRAINED] = batch
    return pickers.linked(runs)
