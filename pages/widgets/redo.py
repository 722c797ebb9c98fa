"""An experiment of the paper on the page: what it takes, how it goes, what came of it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from kd_core import figures
from kd_core.base.config import LabError
from kd_core.data import paths
from kd_core.data.catalogue import info_of
from kd_core.evaluation import accuracy, statistics
from kd_core.evaluation import bias as evaluation_bias
from kd_core.experiments import paper, table
from kd_core.experiments.table import Experiment, Redo
from kd_core.runs.run import ACTIVE, RESUMABLE, Run
from pages.widgets import lab, rights
from pages.widgets.address import chosen
from pages.widgets.chart import chart
from pages.widgets.findings import found
from pages.widgets.launch import expected_time
from pages.widgets.live import live_view
from pages.widgets.pressing import filled, pressed
from pages.widgets.sweeps import SPREAD_IN_WORDS
from pages.widgets.words import explained, literal

SEEDS = (1, 3, 5)
SHOWN_RUNS = 12
STRONGEST = 4.0


class Redone(NamedTuple):
    """An experiment on a data set, its runs with the seeds that were chosen, and those of them that are here."""

    dataset: str
    experiment: Experiment
    seeds: int
    plan: Redo
    runs: dict[str, Run]


def redone() -> Redone:
    """Which experiment to look at, on which data, with how many seeds."""
    choose, data, how_many = st.columns([4, 3, 2], vertical_alignment="bottom")
    with data:
        choices = [name for name in paper.PROTOCOLS if paths.available(name)]
        dataset = chosen(
            st.segmented_control,
            "Data set",
            choices,
            name="on",
            key="paper_dataset",
            default=choices[0],
            required=True,
            format_func=lambda name: info_of(name).label,
            help="The paper's is MNIST. On digits the same experiments take seconds, with smaller nets.",
        )
    made = paper.experiments(paper.PROTOCOLS[dataset])
    names = {name: experiment.title for name, experiment in made.items()}
    with choose:
        name = chosen(
            st.selectbox,
            "Experiment",
            list(names),
            name="experiment",
            key="paper_experiment",
            default=next(iter(names)),
            format_func=names.__getitem__,
        )
    with how_many:
        seeds = chosen(
            st.segmented_control,
            "Seeds",
            SEEDS,
            name="seeds",
            key="paper_seeds",
            default=SEEDS[0],
            required=True,
            help="Runs of each line: one is an anecdote.",
        )
    experiment = made[name]
    st.markdown(experiment.shows, help=explained(experiment.shows))
    if experiment.differs:
        st.caption(experiment.differs)
    plan = table.plan(experiment, range(seeds), lab.store().runs())
    here = {run.id: run for run in lab.store().some([*dict.fromkeys(plan.runs.values())])}
    return Redone(dataset, experiment, seeds, plan, here)


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
    return [run for run in lab.store().some([*ids]) if run.id not in redo.runs]


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


def result_table(redo: Redone) -> None:
    """Paper and ours side by side, and a verdict."""
    seconds = {run.id: sum(lab.store().epoch_seconds(run.id)) for run in redo.runs.values() if run.status == "finished"}
    found_rows = table.rows(redo.experiment, redo.plan, redo.runs, seconds)
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "run": row.label,
                    "paper": "–" if row.printed is None else f"{row.printed:,}",
                    "ours, median (range)": row.said() or "not yet",
                    "seeds": len(row.errors),
                    "time a run": row.time(),
                }
                for row in found_rows
            ]
        ),
        hide_index=True,
    )
    examples = info_of(redo.dataset).test_examples
    st.caption(f"Test errors, of {examples:,}. Weights of the last epoch; nothing was chosen on the test set.")
    for said in table.verdicts(redo.experiment, found_rows):
        show = {"wins": st.success, "loses": st.warning, "inconclusive": st.info}[said.word]
        show(f"**{said.word.capitalize()}.** {said.sentence}")
    curve = _over_temperature(redo)
    if len(curve) > 1:
        lines = {
            name: {temperature: statistics.spread(errors) for temperature, errors in by_temperature.items()}
            for name, by_temperature in curve.items()
        }
        chart(figures.errors_over_temperature(lines), key="over_temperature", text="Test errors over temperature")
        if redo.seeds > 1:
            st.caption(SPREAD_IN_WORDS)


def _over_temperature(redo: Redone) -> dict[str, dict[float, list[int]]]:
    """Errors by network and T, of an experiment that varies both."""
    curve: dict[str, dict[float, list[int]]] = {}
    for run in redo.runs.values():
        if run.status == "finished" and run.config.distillation is not None:
            by_temperature = curve.setdefault(run.config.model.label, {})
            by_temperature.setdefault(run.config.distillation.temperature, []).append(run.results["test_errors"])
    return curve


def bias_lesson(redo: Redone) -> None:
    """The slider that brings the missing classes back."""
    run = next((run for run in redo.runs.values() if run.status == "finished"), None)
    if run is None:
        return
    missing = run.config.transfer_set.missing(info_of(run.config.dataset).classes)
    few = len(missing) <= len(run.config.transfer_set.only_classes or ())
    name = _listed(missing) if few else f"all but {_listed(run.config.transfer_set.only_classes or ())}"
    st.subheader("Bring them back")
    st.markdown(
        f"The student never saw a **{_listed(missing)}**, so its bias for it is too low. Raise it and watch."
        if few
        else f"The student saw nothing else, so its biases for the others are too low. Raise them (or lower those of"
        f" {_listed(run.config.transfer_set.only_classes or ())}, which is the same) and watch."
    )
    st.caption(f"The paper: {redo.experiment.corrected}.")
    prior = found("bias", [run], "Finding the bias that gives the missing classes their prior")
    logits, labels = lab.test_logits(run.id), lab.test_set(run.config.dataset)[1]
    best = evaluation_bias.best_bias(logits, labels, missing)
    strongest = max(STRONGEST, 2.5 * best)
    raised = st.slider(
        f"Bias of {name} raised by", 0.0, float(np.ceil(strongest)), 0.0, 0.1, key=f"bias_{run.id}", bind="query-params"
    )
    for column, (title, bias) in zip(
        st.columns(3),
        {
            "as you set it": raised,
            "the paper's way: best on the test set": best,
            "from the training set's class prior": None if prior is None else prior["bias"],
        }.items(),
        strict=True,
    ):
        if bias is None:
            continue
        total, among = _errors(logits, labels, missing, bias)
        with column, st.container(border=True):
            st.metric(f"{title} (+{bias:.2f})", f"{total:,} test errors")
            st.caption(f"{among:,} of them on {int(np.isin(labels, missing).sum()):,} images of {name}")
    values = np.linspace(0, strongest, 61)
    counted = [_errors(logits, labels, missing, value) for value in values]
    marks = {"yours": raised, "best on the test set": best}
    if prior is not None:
        marks["class prior"] = prior["bias"]
    chart(
        figures.biases(values.round(3).tolist(), [one for one, _ in counted], [one for _, one in counted], name, marks),
        key="bias_curve",
        text="Test errors over the bias of the missing classes",
    )
    st.caption(
        "The paper chose its bias on the test set, so its number is a little optimistic. The class prior needs no test"
        " label: the bias is the one with which the student calls as many training images a missing class as there are."
    )


def _errors(logits: accuracy.Logits, labels: accuracy.Labels, classes: Sequence[int], by: float) -> tuple[int, int]:
    wrong = accuracy.predictions(evaluation_bias.with_bias(logits, classes, by)) != labels
    return int(wrong.sum()), int(wrong[np.isin(labels, classes)].sum())


def _listed(classes: Sequence[int]) -> str:
    return " and ".join(map(str, classes)) if len(classes) <= 2 else ", ".join(map(str, classes))
