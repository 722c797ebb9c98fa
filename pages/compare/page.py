"""Compare honestly: any models of one data set on the same work, each against the first."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from kd_core.models.config import BLACK_BOX
from kd_core.runs.run import Run
from pages.compare import sections
from pages.compare.cards import cards
from pages.compare.disagreements import disagreements
from pages.compare.race import race_of, stream_length
from pages.compare.sections import Compared
from pages.compare.seeds import other_seeds
from pages.shared.parts.advice import advice_on
from pages.shared.parts.findings import found
from pages.shared.parts.headline import headline, say_mistakes
from pages.shared.parts.missing import say_missing
from pages.shared.parts.runtimes import offer_runtimes
from pages.shared.session import pickers, services

DISAGREE, RACE = "Disagreements", "The race"


def look_closer(runs: Sequence[Run], speed: Mapping[str, Any] | None) -> None:
    """What takes the images of the test set, part by part, and all of it as a report."""
    images, labels = services.test_set(runs[0].config.dataset)
    with st.container(horizontal=True, vertical_alignment="center"):
        part = st.segmented_control(
            "Look closer",
            [*sections.PARTS, DISAGREE, RACE],
            default="Cost",
            required=True,
            key="closer",
            bind="query-params",
        )
        report = st.container()

    if part == sections.INSIDE:
        for run in [run for run in runs if run.config.model.name != BLACK_BOX]:
            found("inside", [run], f"Looking inside {run.label}")
    inside = {run.id: services.store().finding("inside", [run.id]) or {} for run in runs}
    logits = {run.id: services.test_logits(run.id) for run in runs}
    compared = Compared(runs, logits, labels, speed, {key: one for key, one in inside.items() if "features" in one})
    with report:
        sections.report_button(compared)

    if part == "Speed":
        offer_runtimes(runs)
    if part in sections.PARTS:
        sections.show(sections.PARTS[part](compared), key=part)
    elif part == DISAGREE:
        disagreements(runs, logits)
    else:
        st.subheader("The race")
        st.markdown(
            f"Every model classifies the same {stream_length(images):,} test images, one at a time, at the speed"
            " measured on this machine. What it says of each image is what it said when it was tested."
        )
        race_of(compared)


st.title("Compare honestly")

compared_runs = pickers.comparison()
here = pickers.test_set_is_here(compared_runs)
speed = found("speed", compared_runs, "Measuring the speed side by side") if here else None

say_mistakes(compared_runs)
st.markdown(headline(compared_runs, speed))
other_seeds(compared_runs)
cards(compared_runs, speed)
if here:
    look_closer(compared_runs, speed)
else:
    why = "Its test images are needed to measure speed and to look closer."
    say_missing(compared_runs[0].config.dataset, why)

advice_on(compared_runs)
