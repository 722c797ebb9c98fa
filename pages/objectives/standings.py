"""All objectives at equal budget on the page: on which data, with how many seeds, and how they stand."""

import pandas as pd
import streamlit as st

from kd_core.data import paths
from kd_core.data.catalogue import info_of
from kd_core.experiments import defaults, equal_budget, table
from kd_core.experiments.story import StoryConfig
from kd_core.experiments.table import Redone
from kd_core.losses.catalogue import OBJECTIVES
from pages.shared.components.chart.chart import chart
from pages.shared.figures import experiments
from pages.shared.language import _
from pages.shared.parts.start import choose_seeds
from pages.shared.parts.tables import numbers
from pages.shared.server.streamlit_patches import undisturbed
from pages.shared.session import services
from pages.shared.session.address import selected
from pages.shared.session.pair import choose_pair
from pages.shared.words import explained, literal


def contest() -> Redone:
    """Ask for data set and seeds; return the comparison with its runs."""
    data, how_many = st.columns([3, 2], vertical_alignment="bottom")
    here = {name: label for name, label in services.data_sets().items() if paths.available(name)}
    with data:
        opens = defaults.default_dataset()
        dataset = selected(_("Data set"), here, name="on", key="contest_dataset", default=opens)
    with how_many:
        seeds = choose_seeds(
            (3, 5, 10), default=equal_budget.SEEDS, key="contest_seeds", meaning=_("Students of each objective.")
        )
    given = choose_pair(equal_budget.budget(dataset))
    experiment = equal_budget.experiment(given, _only(given))
    st.markdown(literal(_(experiment.shows)))
    if experiment.differs:
        st.caption(literal(_(experiment.differs)))
    if info_of(dataset).classes == 2:
        lost = [
            f"- **{_(info.label)}**: {_(info.of_two_classes)}" for info in OBJECTIVES.values() if info.of_two_classes
        ]
        st.warning("\n".join([_("This data set has two classes."), "", *lost]), icon=":material/looks_two:")
    return table.redone(experiment, seeds, services.store().listing())


def _only(given: StoryConfig) -> list[str]:
    """Ask which objectives are compared; the address keeps them. None stands for all that fit the pair."""
    fitting = [name for name in OBJECTIVES if equal_budget.fits(name, given)]
    named = [name for name in st.query_params.get("only", "").split(",") if name in fitting]
    only = st.multiselect(
        _("Only these objectives"),
        fitting,
        default=named,
        key="contest_only",
        format_func=lambda name: _(OBJECTIVES[name].label),
        placeholder=_("All that fit this pair"),
    )
    with undisturbed():
        if only:
            st.query_params["only"] = ",".join(only)
        elif "only" in st.query_params:
            del st.query_params["only"]
    return only


def result(redo: Redone) -> None:
    """Show a figure and a table of what has finished, and the verdicts."""
    standings = equal_budget.standings(table.results(redo, services.store()))
    if not standings:
        st.info(_("Nothing of it has been trained yet."), icon=":material/leaderboard:")
        return
    for sentence in equal_budget.verdict(standings):
        st.info(literal(_(sentence)), icon=":material/balance:")
    roles = dict.fromkeys((equal_budget.BASELINE, equal_budget.SMOOTHED), "baseline")
    points = [
        (_(equal_budget.label(standing.name)), roles.get(standing.name, "distilled"), *standing.to_baseline[:3])
        for standing in standings
        if standing.to_baseline is not None
    ]
    if points:
        chart(experiments.objective_differences(points), key="contest", text=_("Test errors more than the baseline's"))
    head = [*map(_, equal_budget.HEAD)]
    rows = [dict(zip(head, map(_, equal_budget.cells(standing)), strict=True)) for standing in standings]
    by_seed = [" ".join(str(standing.errors[seed]) for seed in sorted(standing.errors)) for standing in standings]
    with st.expander(_("Every number, and each seed's")):
        numbers(pd.DataFrame(rows).assign(**{_("by seed"): by_seed}))
    st.caption(
        _(
            "Test errors, of {examples:,}. {how_to_read}",
            examples=info_of(redo.dataset).test_examples,
            how_to_read=equal_budget.HOW_TO_READ,
        ),
        help=explained(_(equal_budget.HOW_TO_READ)),
    )
