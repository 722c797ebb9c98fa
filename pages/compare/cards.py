"""What a model does and what it costs, each as value and as ratio to the first model."""

import streamlit as st

from kd_core.evaluation import claims
from kd_core.experiments.comparison import Comparison, Model, Pace, images_at_once
from kd_core.training.mistakes import MISTAKES
from pages.shared.language import _
from pages.shared.words import explained, in_language, literal


def cards(comparison: Comparison, *, awaited: bool) -> None:
    """Draw a card for each model, with room for its speed where that is awaited."""
    for start in range(0, len(comparison.models), 3):
        for column, model in zip(st.columns(3), comparison.models[start : start + 3], strict=False):
            of_role = f"role_{model.run.config.kind}_{model.run.id}"  # frame.css gives it its role's colour
            with column, st.container(border=True, height="stretch", key=of_role):
                _card(model, first=model is comparison.models[0], awaited=awaited)
    if comparison.speed is not None:
        st.caption(_(claims.TIMES_SAID))


def _card(model: Model, *, first: bool, awaited: bool) -> None:
    config, (low, high) = model.run.config, model.interval
    st.markdown(f"**{literal(in_language(model.name))}** · {in_language(config.network)}")
    if config.mistake is not None:
        st.markdown(_(":red[Made with a mistake: {mistake}]", mistake=_(MISTAKES[config.mistake].label)))
    if model.run.stopped_said:
        stopped = _(model.run.stopped_said)
        st.markdown(f":orange[{stopped.capitalize()}]")
    st.metric(_("Test errors"), _("{errors:,} of {examples:,}", errors=model.errors, examples=model.examples))
    interval = {"accuracy": model.accuracy, "low": low, "high": high}
    st.markdown(_("accuracy **{accuracy:.2%}**, 95% interval {low:.2%} to {high:.2%}", **interval))
    costs = [
        (_("parameters"), _count(model.costs["parameters"]), _ratio(model, "parameters", first)),
        (_("size"), size(model.costs["size_bytes"]), _ratio(model, "size_bytes", first)),
        (_("multiply-adds"), _count(model.costs["multiply_adds"]), _ratio(model, "multiply_adds", first)),
    ]
    if model.single is not None and model.batched is not None:
        costs += [
            (_("latency p50"), f"{model.single.latency_ms_p50:.3f} ms", _faster(model.single)),
            (_("latency p95"), f"{model.single.latency_ms_p95:.3f} ms", ""),
            (_(images_at_once(model.batched)), f"{model.batched.images_per_second:,.0f}", _faster(model.batched)),
        ]
    elif awaited:
        costs += [(name, "…", "") for name in (_("latency p50"), _("latency p95"), _("images a second"))]
    lines = [f"{name} **{value}**" + (f" · {beside}" if beside else "") for name, value, beside in costs]
    st.markdown("  \n".join(lines), help=explained(" ".join(lines)))


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def size(size_bytes: int | None) -> str:
    """Return a size as people write it; a dash where a black box hides it."""
    if size_bytes is None:
        return "–"
    return f"{size_bytes / 1e6:.2f} MB" if size_bytes >= 100_000 else f"{size_bytes / 1e3:.1f} kB"


def _ratio(model: Model, cost: str, first: bool) -> str:
    """Return the ratio as text; empty for the first model and where a black box hides a cost."""
    return "" if first or cost not in model.ratios else f"{claims.in_figures(model.ratios[cost])}×"


def _faster(pace: Pace) -> str:
    return _(pace.faster.sentence).replace("**", "") if pace.faster else ""
