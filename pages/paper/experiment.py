"""An experiment of the paper on the page: what it takes, how it goes, what came of it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from kd_core.base.templates import said
from kd_core.data.catalogue import info_of
from kd_core.evaluation import bias as evaluation_bias
from kd_core.experiments import paper, table
from kd_core.experiments.table import Redone
from pages.shared.components.chart.chart import chart
from pages.shared.figures import curves, experiments
from pages.shared.language import _
from pages.shared.parts.findings import finding
from pages.shared.parts.start import choose_data_set, choose_seeds
from pages.shared.parts.tables import numbers
from pages.shared.session import services
from pages.shared.session.address import selected
from pages.shared.words import SPREAD_IN_WORDS, explained

VERDICTS = {
    "wins": (st.success, said("**Wins.** {sentence}")),
    "loses": (st.warning, said("**Loses.** {sentence}")),
    "inconclusive": (st.info, said("**Inconclusive.** {sentence}")),
}


def redone() -> Redone:
    """Ask which experiment to look at, on which data, with how many seeds."""
    choose, data, how_many = st.columns([4, 3, 2], vertical_alignment="bottom")
    with data:
        dataset = choose_data_set(
            paper.PROTOCOLS,
            key="paper_dataset",
            meaning=_("The paper's is MNIST. On digits the same experiments take seconds, with smaller nets."),
        )
    made = paper.experiments(paper.PROTOCOLS[dataset])
    names = {name: _(experiment.title) for name, experiment in made.items()}
    with choose:
        name = selected(_("Experiment"), names, name="experiment", key="paper_experiment")
    with how_many:
        seeds = choose_seeds((1, 3, 5), key="paper_seeds", meaning=_("Runs of each line: one is an anecdote."))
    experiment = made[name]
    shows = _(experiment.shows)
    st.markdown(shows, help=explained(shows))
    if experiment.differs:
        st.caption(_(experiment.differs))
    return table.redone(experiment, seeds, services.store().listing())


def result_table(redo: Redone) -> None:
    """Show the paper's numbers beside ours, and a verdict."""
    rows = table.results(redo, services.store())
    head = [*map(_, table.HEAD)]
    shown = pd.DataFrame([[*map(_, row.cells)] for row in rows], columns=head)
    numbers(shown.replace({head[2]: {"": _("not yet")}}))
    st.caption(
        _(
            "Test errors, of {examples:,}. Weights of the last epoch; nothing was chosen on the test set.",
            examples=info_of(redo.dataset).test_examples,
        )
    )
    for verdict in table.verdicts(redo.experiment, rows):
        show, text = VERDICTS[verdict.word]
        show(_(text, sentence=verdict.sentence))
    lines = table.over_temperature(redo.all_finished, lambda run: _(run.config.model.label))
    if len(lines) > 1:
        chart(curves.errors_over_temperature(lines), key="over_temperature", text=_("Test errors over temperature"))
        if redo.seeds > 1:
            st.caption(_(SPREAD_IN_WORDS))


def bias_lesson(redo: Redone) -> None:
    """Let the user raise the bias of the missing classes, and show the test errors."""
    run = next(iter(redo.all_finished), None)
    if run is None:
        return
    missing = run.config.transfer_set.missing(info_of(run.config.dataset).classes)
    few = len(missing) <= len(run.config.transfer_set.only_classes or ())
    seen = _listed(run.config.transfer_set.only_classes or ())
    name = _listed(missing) if few else _("all but {classes}", classes=seen)
    st.header(_("Bring them back"), anchor=False)
    st.markdown(
        _("The student never saw a **{classes}**, so its bias for it is too low. Raise it and watch.", classes=name)
        if few
        else _(
            "The student saw nothing else, so its biases for the others are too low. Raise them (or lower those of"
            " {classes}, which is the same) and watch.",
            classes=seen,
        )
    )
    st.caption(_("The paper: {corrected}.", corrected=redo.experiment.corrected))
    prior = finding("bias", [run], _("Finding the bias that gives the missing classes their prior"))
    labels = services.test_set(run.config.dataset)[1]
    correction = evaluation_bias.correction(services.test_logits(run.id), labels, missing)
    strongest = float(np.ceil(correction.biases[-1]))
    label = _("Bias of {classes} raised by", classes=name)
    raised = st.slider(label, 0.0, strongest, 0.0, 0.1, key=f"bias_{run.id}", bind="query-params")
    biases = {_("as you set it"): raised, _("the paper's way: best on the test set"): correction.best}
    marks = {_("yours"): raised, _("best on the test set"): correction.best}
    if prior is not None:
        biases[_("from the training set's class prior")] = marks[_("class prior")] = prior["bias"]
    for column, (title, bias) in zip(st.columns(3), biases.items(), strict=False):
        total, among = correction.errors(bias)
        with column, st.container(border=True):
            st.metric(f"{title} (+{bias:.2f})", _("{count:,} test errors", count=total))
            st.caption(
                _(
                    "{among:,} of them on {examples:,} images of {classes}",
                    among=among,
                    examples=correction.examples,
                    classes=name,
                )
            )
    counts = [correction.errors(bias) for bias in correction.biases]
    chart(
        experiments.biases(
            correction.biases.round(3).tolist(), [total for total, among in counts], [among for total, among in counts],
            name, marks,
        ),
        key="bias_curve",
        text=_("Test errors over the bias of the missing classes"),
    )  # fmt: skip
    st.caption(
        _(
            "The paper chose its bias on the test set, so its number is a little optimistic. The class prior needs no"
            " test label: the bias is the one with which the student calls as many training images a missing class as"
            " there are."
        )
    )


def _listed(classes: Sequence[int]) -> str:
    if len(classes) == 2:
        return _("{first} and {second}", first=classes[0], second=classes[1])
    return ", ".join(map(str, classes))
