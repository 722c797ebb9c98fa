"""Choosing among what the store holds."""

import time
from collections import Counter
from collections.abc import Callable, Iterable

import streamlit as st

from kd_core import places, recipes, shipped
from kd_core.config import info_of
from kd_core.runs import ACTIVE, Run, serving
from pages.widgets import address, keys, lab
from pages.widgets.words import literal

COMPARED = "compared"
PICKED = "batch_picker"
MAX_COMPARED = 6


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


def batch_picker(
    found: dict[str, list[Run]], title: str = "Story", said: Callable[[list[Run]], str] | None = None
) -> str:
    """The batch to look at: that of the address or the session, else the first. found must not be empty.

    said: what a batch is called, describe by default. The address alone says what is chosen, and the control follows
    it: a choice is written there before anything else is run, so that none is lost.
    """
    chosen = keys.chosen_batch()
    if chosen not in found:
        chosen = next(iter(found))
        keys.choose_batch(chosen)
    ids, stands = list(found), st.session_state.get(PICKED)
    moved = stands not in (None, chosen)  # by a link, or on another page, whose control was another one
    if moved:
        st.session_state[PICKED] = chosen
    st.selectbox(
        title,
        ids,
        index=0 if moved else ids.index(chosen),
        format_func=lambda batch: (said or describe)(found[batch]),
        key=PICKED,
        on_change=_choose,
    )
    return chosen


def _choose() -> None:
    keys.choose_batch(st.session_state[PICKED])
    st.query_params.pop(COMPARED, None)  # models of the experiment before


def describe(runs: list[Run]) -> str:
    """One line for a batch: on what, which student and settings, when."""
    last = runs[-1].config
    settings = f", {last.distillation.label}" if last.distillation else ""
    when = time.strftime("%d %b %H:%M", time.localtime(runs[0].created_at))
    came = "comes with KD Lab" if shipped.TAG in runs[0].tags else f"{when} · {runs[0].batch[:4]}"
    mistake = next((run.config.mistake_said for run in runs if run.config.mistake), "")
    return f"{info_of(last.dataset).label}: {last.role} {last.model.label}{settings}{mistake} · {came}"


def told_apart(runs: Iterable[Run]) -> dict[str, str]:
    """Labels of runs by id, each another: who gives a run another's name must not be chosen in its place."""
    listed = list(runs)
    count = Counter(run.label for run in listed)
    return {run.id: run.label if count[run.label] == 1 else f"{run.label} · {run.id}" for run in listed}


def no_models_yet() -> None:
    """What a page says before anything was trained."""
    st.info("There is no trained model yet. The quick demo makes three in under a minute.", icon=":material/science:")
    st.page_link("pages/overview.py", label="To the quick demo", icon=":material/play_arrow:")


def linked(runs: list[Run]) -> list[Run]:
    """All runs of a batch's story: its own, its distilled students' teachers and, where it has none, the same baseline.

    The last two may have been trained before, in another batch.
    """
    found = {run.id: run for run in runs}
    asked = list(runs)
    while asked:  # an assistant's teachers too
        told = asked.pop().config.distillation
        new = [run for run in lab.store().some(told.teachers if told else ()) if run.id not in found]
        found |= {run.id: run for run in new}
        asked += new
    distilled = [run for run in runs if run.config.role == "distilled"]
    if distilled and not any(run.config.role == "baseline" for run in runs):
        alike = recipes.baseline_beside(distilled[-1].settled)
        beside = serving(lab.store().runs()).get(alike)
        found |= {} if beside is None else {beside.id: beside}
    order, between = {"teacher": 0, "baseline": 1, "distilled": 2}, _assistants(found.values())
    return sorted(found.values(), key=lambda run: (order[run.config.role], run.id not in between))


def _assistants(runs: Iterable[Run]) -> set[str]:
    return recipes.assistants({run.id: run.config for run in runs})


def role_of(run: Run, runs: Iterable[Run]) -> str:
    """What a run is to others: its role, or an assistant where it learned from a teacher and taught one of these."""
    return "assistant" if run.id in _assistants(runs) else run.config.role


def with_teacher(runs: list[Run]) -> list[Run]:
    """The runs of a batch's story that left weights, those on another data set than the first left out."""
    usable = [run for run in linked(runs) if run.usable]
    return [run for run in usable if run.config.dataset == usable[0].config.dataset]


def trained(dataset: str) -> list[Run]:
    """The finished runs on a data set, the oldest first."""
    return [run for run in lab.store().runs(statuses=["finished"])[::-1] if run.config.dataset == dataset]


def comparison() -> list[Run]:
    """The runs to compare: those of an experiment, changed as one likes. The first is what others are held to.

    Says what cannot be compared, and why; stops the page where nothing is left.
    """
    found = {batch: runs for batch, runs in batches().items() if any(run.usable for run in runs)}
    if not found:
        no_models_yet()
        st.stop()
    batch = batch_picker(found)
    usable = {run.id: run for run in lab.store().runs() if run.usable}
    labels = told_apart(usable.values())
    default = [run.id for run in with_teacher(found[batch])][:MAX_COMPARED]
    key = f"compare_{batch}"
    if key not in st.session_state:
        st.session_state[key] = _of_address(usable) or default
    st.session_state[key] = [run_id for run_id in st.session_state[key] if run_id in usable]
    picked = st.multiselect(
        "Models",
        list(usable),
        key=key,
        format_func=labels.__getitem__,
        max_selections=MAX_COMPARED,
        help="The first teacher, or else the first of all, is what the others are held to.",
    )
    if picked == default:
        st.query_params.pop(COMPARED, None)
    elif st.query_params.get(COMPARED) != ",".join(picked):
        st.query_params[COMPARED] = ",".join(picked)
    runs = sorted((usable[run_id] for run_id in picked), key=lambda run: run.config.role != "teacher")
    if not runs:
        st.info("Choose the models to compare.", icon=":material/balance:")
        st.stop()
    strangers = [run for run in runs if run.config.dataset != runs[0].config.dataset]
    if strangers:
        st.error(
            literal(
                f"{runs[0].label} was tested on {info_of(runs[0].config.dataset).label}, but"
                f" {', '.join(run.label for run in strangers)} was not: compare models of one data set. Take one side"
                " out."
            ),
            icon=":material/error:",
        )
        st.stop()
    return runs


def _of_address(usable: dict[str, Run]) -> list[str]:
    """The runs that the address names; a sentence on each that cannot be compared."""
    named = [run_id for run_id in st.query_params.get(COMPARED, "").split(",") if run_id][:MAX_COMPARED]
    known = {run.id: run for run in lab.store().some(named)}
    for run_id in named:
        if run_id not in known:
            st.warning(literal(f"There is no run {run_id[:12]} here: it is left out."), icon=":material/error:")
        elif run_id not in usable:
            run = known[run_id]
            reason = "wait until it has ended" if run.status in ACTIVE else "it left no weights"
            st.warning(literal(f"{run.label} is {run.status}: {reason}. It is left out."), icon=":material/error:")
    return [run_id for run_id in named if run_id in usable]


def usable_run(title: str) -> Run:
    """One trained run to choose, that of the address or the session's experiment first; stops the page without any."""
    usable = {run.id: run for run in lab.store().runs() if run.usable}
    if not usable:
        no_models_yet()
        st.stop()
    batch = keys.chosen_batch()
    of_batch = [run.id for run in usable.values() if run.batch == batch]
    labels = told_apart(usable.values())
    ids = sorted(usable, key=lambda run_id: (run_id not in of_batch, -usable[run_id].created_at))
    picked = address.chosen(
        st.selectbox, title, ids, name="run", key="usable_run", default=ids[0], format_func=labels.__getitem__
    )
    return usable[picked]
