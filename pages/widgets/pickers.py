"""Choosing among what the store holds."""

import time

import streamlit as st

from kd_core import places
from kd_core.config import DATASETS
from kd_core.runs import Run
from pages.widgets import keys, lab


def batches() -> dict[str, list[Run]]:
    """All batches, the newest first: id -> its runs in running order."""
    found: dict[str, list[Run]] = {}
    for run in lab.store().runs():
        found.setdefault(run.batch, []).insert(0, run)
    return found


def batches_with_teacher() -> dict[str, list[Run]]:
    """The batches whose trained models include a teacher."""
    return {
        batch: runs
        for batch, runs in batches().items()
        if any(run.config.role == "teacher" for run in with_teacher(runs))
    }


def test_set_is_here(runs: list[Run]) -> bool:
    """Whether the test set of these runs can be looked at without a network."""
    return places.available(runs[0].config.dataset)


def batch_picker(found: dict[str, list[Run]]) -> str:
    """The batch to look at, the session's last choice preselected. found must not be empty."""
    ids = list(found)
    chosen = keys.chosen_batch()
    picked = st.selectbox(
        "Experiment",
        ids,
        index=ids.index(chosen) if chosen in ids else 0,
        format_func=lambda batch: describe(found[batch]),
        key=f"batch_picker_{chosen}",
    )
    if picked != chosen:
        keys.choose_batch(picked)
    return picked


def describe(runs: list[Run]) -> str:
    """One line for a batch: on what, which student and settings, when."""
    last = runs[-1].config
    settings = f", T {last.distillation.temperature:g}, alpha {last.distillation.alpha:g}" if last.distillation else ""
    when = time.strftime("%d %b %H:%M", time.localtime(runs[0].created_at))
    return f"{DATASETS[last.dataset].label}: {last.role} {last.model.label}{settings} · {when} · {runs[0].batch[:4]}"


def no_models_yet() -> None:
    """What a page says before anything was trained."""
    st.info("There is no trained model yet. The quick demo makes three in under a minute.", icon=":material/science:")
    st.page_link("pages/overview.py", label="To the quick demo", icon=":material/play_arrow:")


def with_teacher(runs: list[Run]) -> list[Run]:
    """The runs of a batch that left weights, the distilled students' teachers among them wherever they were trained."""
    usable = {run.id: run for run in runs if run.usable}
    for run in list(usable.values()):
        for teacher_id in run.config.distillation.teachers if run.config.distillation else ():
            if teacher_id not in usable:
                teacher = lab.store().get(teacher_id)
                if teacher.usable and teacher.config.dataset == run.config.dataset:
                    usable = {teacher_id: teacher, **usable}
    order = {"teacher": 0, "baseline": 1, "distilled": 2}
    return sorted(usable.values(), key=lambda run: order[run.config.role])
