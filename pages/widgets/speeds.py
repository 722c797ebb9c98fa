"""Speeds of several runs: asked for once, measured when nothing trains, then drawn."""

from collections.abc import Sequence

import streamlit as st

from kd_core import evaluation, figures
from kd_core.runs import Run
from pages.widgets import lab
from pages.widgets.chart import chart
from pages.widgets.results import accuracy_of


def measured_speeds(runs: Sequence[Run]) -> None:
    """Show the measurement kept for these runs, or have it made and show it when it is there."""
    ids = [run.id for run in runs]
    waiting = lab.store().finding("speed", ids) is None
    if waiting:
        lab.jobs().find_out("speed", ids, runs[0].config.dataset)
    st.fragment(_speeds, run_every=0.5 if waiting else None)(runs, waiting)


def _speeds(runs: Sequence[Run], was_waiting: bool) -> None:
    speed = lab.store().finding("speed", [run.id for run in runs])
    if speed is None:
        st.info("Measuring, as soon as nothing trains …", icon=":material/timer:")
        return
    if was_waiting:
        st.rerun(scope="app")
    if "problem" in speed:
        st.warning(speed["problem"], icon=":material/error:")
        return
    reference = speed["models"][runs[0].id]
    points = []
    columns = st.columns(len(runs))
    for run, column in zip(runs, columns, strict=True):
        measured = speed["models"][run.id]
        low, high = evaluation.wilson_interval(
            run.results["test_examples"] - run.results["test_errors"], run.results["test_examples"]
        )
        points.append(
            {
                "name": f"{run.config.role} {run.config.model.label}",
                "role": run.config.role,
                "accuracy": accuracy_of(run),
                "low": low,
                "high": high,
                "latency_ms": measured["latency_ms_p50"],
                "parameters": run.results["parameters"],
            }
        )
        faster = reference["latency_ms_p50"] / measured["latency_ms_p50"]
        column.metric(
            f"{run.config.role}: one image",
            f"{measured['latency_ms_p50']:.3f} ms",
            "what the others are held to"
            if run is runs[0]
            else f"{faster:.1f} times as fast as the {runs[0].config.role}",
            delta_color="off",
            delta_arrow="off",
        )
        column.markdown(
            f":small[95% within {measured['latency_ms_p95']:.3f} ms · {measured['images_per_second']:,.0f} images/s"
            f" in batches of {measured['batch_size']}]"
        )
    chart(
        figures.accuracy_against_latency(points),
        key="accuracy_against_latency",
        text="Test accuracy against latency of one image: "
        + ", ".join(f"{point['role']} {point['accuracy']:.2%} at {point['latency_ms']:.3f} ms" for point in points),
    )
    conditions = speed["conditions"]
    st.caption(
        f"Median of {reference['repeats']} turns on {conditions['processor']}, {conditions['threads']} threads,"
        f" torch {conditions['torch']}, {conditions['precision']}; the models take turns in one process."
        " Dot area shows parameters, whiskers the 95% interval of the accuracy."
    )
