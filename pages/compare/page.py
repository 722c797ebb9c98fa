"""Compare honestly: any models of one data set on the same work, each against the first."""

from typing import TYPE_CHECKING, cast

import streamlit as st

from kd_core.base.templates import said
from kd_core.experiments.comparison import Comparison, Sources, compare
from pages.compare import sections
from pages.compare.cards import cards
from pages.compare.disagreements import disagreements, mistakes
from pages.compare.further import offer_runtimes, other_seeds
from pages.compare.race import race, stream_length
from pages.compare.sections import Compared
from pages.shared.language import _
from pages.shared.parts.advice import advice_on
from pages.shared.parts.findings import finding
from pages.shared.parts.missing import say_missing
from pages.shared.session import pickers, services
from pages.shared.session.address import chosen
from pages.shared.words import in_language, literal

if TYPE_CHECKING:
    from kd_core.jobs.findings import Inside

MISTAKES, DISAGREE, RACE = said("Mistakes"), said("Disagreements"), said("The race")


def sources(dataset: str) -> Sources:
    """Return where a comparison on a data set reads logits, labels and other seeds."""
    return Sources(
        services.test_logits,
        lambda: services.test_set(dataset)[1],
        services.validation_logits,
        services.store().listing(),
    )


def look_closer(comparison: Comparison, refused: set[str]) -> None:
    """Show the chosen part of what needs the test set, and the button for the whole report.

    refused: as finding has it.
    """
    runs = comparison.runs
    with st.container(horizontal=True, vertical_alignment="bottom"):
        part = chosen(
            st.segmented_control,
            _("Look closer"),
            [*sections.PARTS, MISTAKES, DISAGREE, RACE],
            name="closer",
            key="closer",
            default="Cost",
            required=True,
            format_func=_,
        )
        report = st.container()

    if part == sections.INSIDE:
        for run in [run for run in runs if not run.config.model.opaque]:
            finding("inside", [run], said("Looking inside {name}", name=run.label), refused)
    inside = {run.id: services.store().finding("inside", [run.id]) or {} for run in runs}
    looked_at = {run_id: cast("Inside", finding) for run_id, finding in inside.items() if "features" in finding}
    compared = Compared(comparison, looked_at)
    with report:
        sections.report_button(compared)

    if part == "Speed":
        offer_runtimes(runs)
    if part in sections.PARTS:
        sections.show(sections.PARTS[part](compared), key=part)
    elif part == MISTAKES:
        mistakes(runs, comparison.logits)
    elif part == DISAGREE:
        disagreements(runs, comparison.logits)
    else:
        st.header(_("The race"), anchor=False)
        length = stream_length(services.test_set(runs[0].config.dataset)[0])
        st.markdown(
            _(
                "Every model classifies the same {images:,} test images, one at a time, at the speed measured on this"
                " machine. What it says of each image is what it said when it was tested.",
                images=length,
            )
        )
        race(compared)


st.title(_("Compare honestly"), anchor=False)

compared_runs = pickers.comparison()
is_here = pickers.test_set_is_here(compared_runs)
refused: set[str] = set()
results = st.container()
with st.container():  # what is awaited stands below what is known, which it does not move when it comes
    speed = finding("speed", compared_runs, said("Measuring the speed side by side"), refused) if is_here else None
comparison = compare(compared_runs, speed=speed, sources=sources(compared_runs[0].config.dataset))

with results:
    mistaken = "; ".join(in_language(run.label) for run in compared_runs if run.config.mistake)
    if mistaken:
        st.warning(literal(_("Made for the lesson 'Break it', no results: {runs}.", runs=mistaken)))
    st.markdown(_(comparison.headline(lambda name: literal(in_language(name)))))
    for sentence in services.doubts(compared_runs[0].config.dataset):
        st.warning(literal(sentence), icon=":material/content_copy:")
    other_seeds(comparison)
    cards(comparison, awaited=is_here)
if is_here:
    look_closer(comparison, refused)
else:
    dataset = compared_runs[0].config.dataset
    say_missing(dataset, said("Its test images are needed to measure speed and to look closer."))

advice_on(compared_runs)
