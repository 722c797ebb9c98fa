"""What a model does and what it costs, each as value and as ratio to the first model."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from kd_core.evaluation import claims, statistics
from kd_core.experiments import story
from kd_core.runs.run import Run
from kd_core.training.mistakes import MISTAKES
from pages.shared.parts.headline import accuracy_of
from pages.shared.words import explained, literal


def cards(runs: Sequence[Run], speed: Mapping[str, Any] | None) -> None:
    """A card a model. speed: their measured speeds, or None while these are unknown."""
    names = story.names(runs)
    for start in range(0, len(runs), 3):
        row = runs[start : start + 3]
        for column, run in zip(st.columns(3), row, strict=False):
            with column, st.container(border=True):
                _card(run, names[run.id], runs, speed)
    if speed is not None:
        st.caption(claims.TIMES_SAID)


def _card(run: Run, name: str, runs: Sequence[Run], speed: Mapping[str, Any] | None) -> None:
    first, ids = runs[0], [one.id for one in runs]
    errors, examples = run.results["test_errors"], run.results["test_examples"]
    low, high = statistics.wilson_interval(examples - errors, examples)
    st.markdown(f"**{literal(name)}** · {run.config.network}")
    if run.config.mistake is not None:
        st.markdown(f":red[Made with a mistake: {MISTAKES[run.config.mistake].label}]")
    if run.stopped_said:
        st.markdown(f":orange[{run.stopped_said.capitalize()}]")
    st.metric("Test errors", f"{errors:,} of {examples:,}")
    st.markdown(f"accuracy **{accuracy_of(run):.2%}**, 95% interval {low:.2%} to {high:.2%}")
    costs = [
        ("parameters", _count(run.results["parameters"]), _ratio(run, first, "parameters")),
        ("size", f"{run.results['size_bytes'] / 1e6:.2f} MB", _ratio(run, first, "size_bytes")),
        ("multiply-adds", _count(run.results["multiply_adds"]), _ratio(run, first, "multiply_adds")),
    ]
    if speed is not None:
        batch = speed["models"][run.id]["batch_size"]
        mine, many = claims.times(speed, ids)[run.id], claims.times(speed, ids, batch=batch)[run.id]
        costs += [
            ("latency p50", f"{mine['latency_ms_p50']:.3f} ms", _faster(speed, run, first, 1)),
            ("latency p95", f"{mine['latency_ms_p95']:.3f} ms", ""),
            (
                f"images a second, {batch} at once",
                f"{many['images_per_second']:,.0f}",
                _faster(speed, run, first, batch),
            ),
        ]
    lines = [f"{name} **{value}**" + (f" · {beside}" if beside else "") for name, value, beside in costs]
    st.markdown("  \n".join(lines), help=explained(" ".join(lines)))


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _ratio(run: Run, first: Run, name: str) -> str:
    """Nothing where a black box is one of them, of which nobody knows it."""
    mine, theirs = run.results[name], first.results[name]
    return "" if run is first or mine is None or theirs is None else f"{claims.in_figures(mine / theirs)}×"


def _faster(speed: Mapping[str, Any], run: Run, first: Run, batch: int) -> str:
    claim = claims.speed_claim(speed, run.id, first.id, batch=batch)
    return claim.sentence.replace("**", "") if claim else ""
