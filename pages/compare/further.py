"""What a comparison can still learn: of other seeds of its student and baseline, and of ONNX Runtime's speed."""

from collections.abc import Sequence

import streamlit as st

from kd_core.base.templates import said
from kd_core.evaluation.claims import over_seeds
from kd_core.experiments import paper, table
from kd_core.experiments.comparison import Comparison
from kd_core.runs.run import ACTIVE, Run
from pages.shared.access import rights
from pages.shared.language import _
from pages.shared.parts.start import start_button
from pages.shared.session import services
from pages.shared.words import refusals, say_refusal

OTHER_SEEDS = 8
REFRESH_SECONDS = 1.0


def other_seeds(comparison: Comparison) -> None:
    """Say whether the student's gain is more than luck over the trained seeds, and offer to train others."""
    saved, distilled = comparison.saved, comparison.distilled
    if saved is None or distilled is None or distilled.run.config.continues is not None:
        return
    student = distilled.run
    st.markdown(_(over_seeds(saved)))
    seeds = [seed for seed in range(OTHER_SEEDS + 1) if seed != student.config.seed][:OTHER_SEEDS]
    plan = table.plan(paper.again(student.settled), seeds, services.store().listing())
    going = [run.id for run in services.store().some([*plan.runs.values()]) if run.status in ACTIVE]
    if going:
        st.fragment(_watch, run_every=REFRESH_SECONDS)(going)
    else:
        start_button(plan, said("Train {seeds} other seeds", seeds=OTHER_SEEDS), key="other_seeds")


def _watch(ids: Sequence[str]) -> None:
    runs = services.store().some(ids)
    done = sum(run.status not in ACTIVE for run in runs)
    if done == len(runs):
        st.rerun(scope="app")
    share = sum(run.progress for run in runs) / len(runs)
    text = _("Other seeds, all together: {done} of {students} students trained", done=done, students=len(runs))
    st.progress(min(1.0, share), text=text)


def offer_runtimes(runs: Sequence[Run]) -> None:
    """Offer to export what is not exported yet and to measure all again, with ONNX Runtime."""
    speed = services.store().finding("speed", [run.id for run in runs])
    if speed is None or "problem" in speed:
        return
    say_refusal()
    ours = [run.id for run in runs if not run.config.model.opaque]
    without = [run_id for run_id in ours if len(speed["runtimes"][run_id]) < 2]
    if without:
        st.button(
            _("Measure ONNX Runtime too"),
            icon=":material/speed:",
            key="offer_runtimes",
            on_click=_measure_runtimes,
            args=([run.id for run in runs], without),
            help=_("Exports the models first, in float32 and int8, and measures all of them again side by side."),
        )


def _measure_runtimes(run_ids: list[str], without: list[str]) -> None:
    with refusals(later=True):
        for run_id in without:
            rights.find_out("export", [run_id])
        rights.find_out("speed", run_ids)
        for run_id in without:
            services.store().forget_finding("export", [run_id])
        services.store().forget_finding("speed", run_ids)
