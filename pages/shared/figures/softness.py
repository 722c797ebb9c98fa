"""Soft targets: which classes are alike, and the gradient that T leaves."""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from pages.shared.figures.style import (
    GRADIENT_COLOURS,
    GREY,
    INK,
    MANY,
    RAISED,
    ROLE_COLOURS,
    SURFACE,
    class_axis,
    class_labels,
    line_at,
    room_for,
    with_style,
)


def dark_knowledge(
    mean_soft: Any, class_names: Sequence[str], shown: Sequence[int], *, diagonal: float, temperature: float
) -> go.Figure:
    """Mean soft target by true class (rows), (K, K). diagonal: how much of the right answers is shown, 0 to 1.

    shown: the classes to draw, in this order. A class without examples has an empty row.
    """
    shares = [[float(mean_soft[row][column]) for column in shown] for row in shown]
    percent = [[None if math.isnan(share) else 100 * share for share in row] for row in shares]
    drawn = [
        [value if value is None or row != column else value * diagonal for column, value in enumerate(values)]
        for row, values in enumerate(percent)
    ]
    labels = class_labels(class_names)
    places, axis = [str(k) for k in shown], class_axis({str(k): labels[k] for k in shown})
    article = "a " if all(len(name) == 1 for name in class_names) else ""
    gap = 0 if len(shown) > MANY else 1
    figure = go.Figure(
        go.Heatmap(
            z=drawn, x=places, y=places, customdata=percent, xgap=gap, ygap=gap,
            colorscale=[[0, SURFACE], [1, ROLE_COLOURS["teacher"]]], zmin=0,
            colorbar={"title": {"text": "%"}, "thickness": 12, "outlinewidth": 0},
            hovertemplate=article + "%{y} gets %{customdata:.3g}% for %{x}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_yaxes(
        title_text="true class", autorange="reversed", scaleanchor="x", constrain="domain", showgrid=False, **axis
    )
    title = f"mean soft target at T = {temperature:g}"
    figure.update_xaxes(title_text=title, constrain="domain", showgrid=False, **axis)
    return with_style(figure, height=840 if len(shown) > MANY else 440 + room_for(labels))


def similarity(leaves: Sequence[int], positions: Any, heights: Any, class_names: Sequence[str]) -> go.Figure:
    """A tree of three classes or more: the lower two are joined, the more the teacher confuses them.

    Of more than MANY classes it lies on its side, with a line of text for each.
    """
    figure, labels = go.Figure(), class_labels(class_names)
    lies = len(leaves) > MANY
    for along, up in zip(positions, heights, strict=True):
        x, y = (up, along) if lies else (along, up)
        figure.add_scatter(x=list(x), y=list(y), mode="lines", line={"color": ROLE_COLOURS["teacher"], "width": 2},
                           hoverinfo="skip", showlegend=False)  # fmt: skip
    names = [labels[leaf] for leaf in leaves]
    short = all(len(name) <= 2 for name in names)
    of_leaves = {
        "tickvals": [5 + 10 * place for place in range(len(leaves))],  # where scipy draws its leaves
        "ticktext": names,
        "showgrid": False,
        "tickangle": 0 if short or lies else -90,
        "tickfont": {"size": 16 if short else 10 if lies else 12},
    }
    lowest = min((height for join in heights for height in join if height > 0), default=0.0)
    highest = max(height for join in heights for height in join)
    of_heights = {"title_text": "unlikeness, −log of shared probability", "showticklabels": False,
                  "range": [0.85 * lowest, 1.03 * highest]}  # fmt: skip
    if lies:
        figure.update_yaxes(**of_leaves, range=[10 * len(leaves), 0])
        figure.update_xaxes(**of_heights)
        return with_style(figure, height=110 + 13 * len(leaves))
    figure.update_xaxes(**of_leaves)
    figure.update_yaxes(**of_heights)
    return with_style(figure, height=440 + room_for(labels))


FELT = 16
"""Classes of many whose gradients are shown one by one: the largest, and the label's with them."""


def gradients(soft: Sequence[float], hard: Sequence[float], class_names: Sequence[str]) -> go.Figure:
    """Gradient on every logit of the student: soft and hard loss stacked, their sum marked. Down raises the logit.

    Of more than MANY classes, the FELT with the largest parts, and the sum over all others.
    """
    shown, labels = list(range(len(class_names))), class_labels(class_names)
    if len(shown) > MANY:
        shown = sorted(shown, key=lambda k: -max(abs(soft[k]), abs(hard[k])))[:FELT]
    others = [k for k in range(len(class_names)) if k not in shown]
    places = [str(k) for k in shown] + ["others"] * bool(others)
    parts = {
        name: [values[k] for k in shown] + [sum(values[k] for k in others)] * bool(others)
        for name, values in (("soft", soft), ("hard", hard))
    }
    figure = go.Figure()
    for name, values in parts.items():
        figure.add_bar(x=places, y=values, name=f"{name} loss", marker_color=GRADIENT_COLOURS[name],
                       hovertemplate="%{x}: %{y:.4g}")  # fmt: skip
    total = [a + b for a, b in zip(parts["soft"], parts["hard"], strict=True)]
    figure.add_scatter(x=places, y=total, mode="markers", name="sum", hovertemplate="%{x}: %{y:.4g}",
                       marker={"symbol": "line-ew-open", "size": 22, "line": {"width": 3}, "color": INK})  # fmt: skip
    figure.update_layout(barmode="relative")
    axis = class_axis({**{str(k): labels[k] for k in shown}, "others": f"{len(others):,} others, summed"})
    figure.update_xaxes(title_text="class", **axis)
    figure.update_yaxes(title_text="gradient on the logit")
    return with_style(figure, height=360 + room_for(labels) // 2)


def gradient_sizes(
    temperatures: Sequence[float],
    bare: Sequence[float],
    repaired: Sequence[float],
    limit: Sequence[float],
    now: float,
    law_from: float | None,
) -> go.Figure:
    """Size of the soft gradient over T on log axes: bare, times T², and the high-temperature limit (section 2.1).

    law_from: the T from which on the bare one falls as 1/T²; that region is shaded.
    """
    figure = go.Figure()
    if law_from is not None:
        figure.add_shape(type="rect", x0=law_from, x1=max(temperatures), y0=0, y1=1, yref="paper", layer="below",
                         fillcolor=RAISED, line={"width": 0})  # fmt: skip
        figure.add_annotation(x=math.log10(max(temperatures)), y=0.02, yref="paper", text="here it falls as 1/T²",
                              showarrow=False, xanchor="right", yanchor="bottom")  # fmt: skip
    series = (
        ("without T²", bare, GRADIENT_COLOURS["hard"], "solid"),
        ("with T²", repaired, GRADIENT_COLOURS["soft"], "solid"),
        ("limit (z_s − z_t) / (K·T²)", limit, GREY, "dot"),
    )
    for name, values, colour, dash in series:
        line = {"color": colour, "dash": dash, "width": 2}
        figure.add_scatter(x=list(temperatures), y=list(values), mode="lines", name=name, line=line,
                           hovertemplate="T %{x:.3g}: %{y:.3g}")  # fmt: skip
    line_at(figure, now, dash="dash")
    figure.add_annotation(x=math.log10(now), y=1, yref="paper", text=f"T = {now:g}", showarrow=False, xanchor="left")
    figure.update_xaxes(title_text="temperature T", type="log", range=[-1, 2], tickvals=[0.1, 1, 2, 4, 8, 20, 100],
                        ticktext=["0.1", "1", "2", "4", "8", "20", "100"])  # fmt: skip
    figure.update_yaxes(title_text="norm of the soft loss's gradient", type="log", exponentformat="power")
    return with_style(figure, height=360)
