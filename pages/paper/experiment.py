"""An experiment of the paper on the page: what it takes, how it goes, what came of it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from kd_core.data import paths
from kd_core.data.catalogue import info_of
from kd_core.evaluation import accuracy, statistics
from kd_core.evaluation import bias as evaluation_bias
from kd_core.experiments import paper, table
from pages.shared.components.chart.chart import chart
from pages.shared.figures import curves, experiments
from pages.shared.parts.findings import found
from pages.shared.parts.start import Redone
from pages.shared.session import services
from pages.shared.session.address import chosen
from pages.shared.words import SPREAD_IN_WORDS, explained

SEEDS = (1, 3, 5)
STRONGEST = 4.0


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
    plan = table.plan(experiment, range(seeds), services.store().runs())
    here = {run.id: run for run in services.store().some([*dict.fromkeys(plan.runs.values())])}
    return Redone(dataset, experiment, seeds, plan, here)


def result_table(redo: Redone) -> None:
    """Paper and ours side by side, and a verdict."""
    seconds = {
        run.id: sum(services.store().epoch_seconds(run.id)) for run in redo.runs.values() if run.status == "finished"
    }
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
        chart(curves.errors_over_temperature(lines), key="over_temperature", text="Test errors over temperature")
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
    logits, labels = services.test_logits(run.id), services.test_set(run.config.dataset)[1]
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
        experiments.biases(
            values.round(3).tolist(), [one for one, _ in counted], [one for _, one in counted], name, marks
        ),
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
