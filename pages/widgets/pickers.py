"""Choosing among what the store holds."""

import time

import streamlit as st

from kd_core import places
from kd_core.config import DATASETS, RunConfig
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


def linked(runs: list[Run]) -> list[Run]:
    """All runs of a batch's story: its own, its distilled students' teachers and, where it has none, the same baseline.

    The last two may have been trained before, in another batch.
    """
    found = {run.id: run for run in runs}
    for run in runs:
        if run.config.distillation is not None:
            found |= {teacher.id: teacher for teacher in lab.store().some(run.config.distillation.teachers)}
    distilled = [run for run in runs if run.config.role == "distilled"]
    if distilled and not any(run.config.role == "baseline" for run in runs):
        alike = _same_student(distilled[-1].config)
        found |= {run.id: run for run in trained(distilled[-1].config.dataset) if run.config == alike}
    order = {"teacher": 0, "baseline": 1, "distilled": 2}
    return sorted(found.values(), key=lambda run: order[run.config.role])


def _same_student(config: RunConfig) -> RunConfig:
    """The baseline beside a distilled student."""
    part = config.transfer_set.replace(labelled=True)
    return config.replace(role="baseline", distillation=None, transfer_set=part, continues=None)


def with_teacher(runs: list[Run]) -> list[Run]:
    """The runs of a batch's story that left weights, those on another data set than the first left out."""
    usable = [run for run in linked(runs) if run.usable]
    return [run for run in usable if run.config.dataset == usable[0].config.dataset]


def trained(dataset: str) -> list[Run]:
    """The finished runs on a data set, the oldest first."""
    return [run for run in lab.store().runs(statuses=["finished"])[::-1] if run.config.dataset == dataset]
