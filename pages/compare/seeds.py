"""The other seeds of a student and its baseline: offered at once, watched, and what all of them say together."""

from collections.abc import Sequence

import streamlit as st

from kd_core.evaluation.claims import over_seeds
from kd_core.experiments import paper, table
from kd_core.experiments.comparison import Comparison
from kd_core.runs.run import ACTIVE
from pages.shared.parts.start import start_button
from pages.shared.session import services

OTHER_SEEDS = 8
REFRESH_SECONDS = 1.0


def other_seeds(comparison: Comparison) -> None:
    """Say whether the student's gain is more than luck over the trained seeds, and offer to train others."""
    saved, distilled = comparison.saved, comparison.distilled
    if saved is None or distilled is None or distilled.run.config.continues is not None:
        return
    student = distilled.run
    st.markdown(over_seeds(saved))
    seeds = [seed for seed in range(OTHER_SEEDS + 1) if seed != student.config.seed][:OTHER_SEEDS]
    plan = table.plan(paper.again(student.settled), seeds, services.store().runs())
    going = [run.id for run in services.store().some([*plan.runs.values()]) if run.status in ACTIVE]
    if going:
        st.fragment(_watch, run_every=REFRESH_SECONDS)(going)
    else:
        start_button(plan, f"Train {OTHER_SEEDS} other seeds", key="other_seeds")


def _watch(ids: Sequence[str]) -> None:
    runs = services.store().some(ids)
    done = sum(run.status not in ACTIVE for run in runs)
    if done == len(runs):
        st.rerun(scope="app")
    share = sum(run.progress for run in runs) / len(runs)
    st.progress(min(1.0, share), text=f"Other seeds, all together: {done} of {len(runs)} students trained")
