"""The files of a model that other programs run, offered where its speed is measured."""

from collections.abc import Sequence

import streamlit as st

from kd_core.runs.run import Run
from pages.shared.access import rights
from pages.shared.session import services
from pages.shared.words import refusals, say_refusal


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
            "Measure ONNX Runtime too",
            icon=":material/speed:",
            key="offer_runtimes",
            on_click=_measure_runtimes,
            args=([run.id for run in runs], without),
            help="Exports the models first, in float32 and int8, and measures all of them again side by side.",
        )


def _measure_runtimes(run_ids: list[str], without: list[str]) -> None:
    with refusals(later=True):
        for run_id in without:
            rights.find_out("export", [run_id])
        rights.find_out("speed", run_ids)
        for run_id in without:
            services.store().forget_finding("export", [run_id])
        services.store().forget_finding("speed", run_ids)
