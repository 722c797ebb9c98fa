"""Figures of a comparison: cost against errors, speed by batch size, and what a network sees inside."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from kd_core.base.templates import said
from pages.shared.figures.style import (
    GREY,
    INK,
    MANY,
    SURFACE,
    class_labels,
    decade_ticks,
    interval,
    plain,
    short,
    with_style,
)
from pages.shared.language import _

COSTS = {
    "latency_ms": said("latency of one image, ms"),
    "size_bytes": said("size, bytes"),
    "multiply_adds": said("multiply-adds of one image"),
}


def pareto(points: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Test accuracy in percent, with its 95% interval, against each of COSTS; a line joins what nothing beats in both.

    points: name, label, colour, accuracy, low, high (shares), and the costs, None where not known. A panel a cost that
    any point has; in a narrow window they stand one over the other (labels.js).
    """
    known = [x for x in COSTS if any(point[x] is not None for point in points)]
    figure = make_subplots(cols=len(known), shared_yaxes=True, horizontal_spacing=0.04)
    for place, x in enumerate(known):
        _costs([point for point in points if point[x] is not None], x, figure, column=place + 1)
    figure.update_layout(meta={"stacks": True})
    figure.update_yaxes(title_text=_("test accuracy, %"), col=1)
    return with_style(figure, height=380)


def _costs(points: Sequence[Mapping[str, Any]], x: str, figure: go.Figure, *, column: int) -> None:
    cell, front = {"row": 1, "col": column}, list[Mapping[str, Any]]()
    for point in sorted(points, key=lambda point: (point[x], -point["accuracy"])):
        if not front or point["accuracy"] > front[-1]["accuracy"]:
            front.append(point)
    figure.add_scatter(
        x=[point[x] for point in front], y=[100 * point["accuracy"] for point in front], mode="lines",
        line={"shape": "hv", "color": GREY, "width": 1, "dash": "dot"}, hoverinfo="skip", showlegend=False, **cell,
    )  # fmt: skip
    for point in points:
        accuracy, colour = 100 * point["accuracy"], point["colour"]
        figure.add_scatter(
            x=[point[x]], y=[accuracy], mode="markers", name=plain(point["name"]), meta={"label": point["label"]},
            marker={"color": colour, "size": 14}, legendgroup=point["name"],
            showlegend=x == next(cost for cost in COSTS if point[cost] is not None),
            error_y=interval([accuracy], [100 * point["low"]], [100 * point["high"]], color=colour),
            hovertemplate="%{x:.4~s}, %{y:.2f}%", **cell,
        )  # fmt: skip
    ticks = decade_ticks([point[x] for point in points])
    figure.update_xaxes(
        title_text=_(COSTS[x]), type="log", tickvals=ticks, ticktext=[short(tick) for tick in ticks], **cell
    )


RUNTIME_DASHES = {"pytorch": "solid", "onnx": "dash", "onnx_int8": "dot"}


def throughput(lines: Sequence[tuple[str, str, str, Sequence[int], Sequence[float]]]) -> go.Figure:
    """Images a second over batch size, on log axes. lines: name, colour, runtime, batch sizes, images a second."""
    figure = go.Figure()
    for name, colour, runtime, sizes, rates in lines:
        figure.add_scatter(x=list(sizes), y=list(rates), mode="lines+markers", name=plain(name),
                           meta={"label": name}, line={"color": colour, "dash": RUNTIME_DASHES[runtime]},
                           hovertemplate=_("batch %{x}: %{y:,.0f} a second"))  # fmt: skip
    sizes = sorted({size for line in lines for size in line[3]})
    ticks = decade_ticks([rate for line in lines for rate in line[4]])
    figure.update_xaxes(
        title_text=_("images in a batch"), type="log", tickvals=sizes, ticktext=[str(tick) for tick in sizes]
    )
    figure.update_yaxes(
        title_text=_("images a second"), type="log", tickvals=ticks, ticktext=[short(tick) for tick in ticks]
    )
    return with_style(figure, height=460)


CLASS_COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951",
                 "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0")  # fmt: skip
"""Observable's ten; classes beyond them begin anew, with another symbol."""
CLASS_SYMBOLS = ("circle", "diamond-open")


def features(points: Sequence[Sequence[float]], labels: Sequence[int], names: Sequence[str], title: str) -> go.Figure:
    """Examples in the plane of their features' first two principal components, coloured by class; (N, 2) and (N,).

    Of more than MANY classes, ten with most examples have colours, and the others are grey.
    """
    figure = go.Figure()
    shown = list(range(len(names)))
    if len(names) > MANY:
        counts = Counter(labels)
        fewest = sorted((counts[label] for label in shown), reverse=True)[len(CLASS_COLOURS) - 1]
        most = [
            label for label in shown if counts[label] >= fewest
        ]  # often all, of which some are taken here and there
        shown = [most[place * len(most) // len(CLASS_COLOURS)] for place in range(len(CLASS_COLOURS))]
        others = [(point, label) for point, label in zip(points, labels, strict=True) if label not in shown]
        figure.add_scatter(
            x=[point[0] for point, label in others], y=[point[1] for point, label in others], mode="markers",
            hoverinfo="text", name=_("{count:,} others", count=len(names) - len(shown)),
            text=[plain(names[label]) for point, label in others],
            marker={"size": 4, "color": GREY, "opacity": 0.35},
        )  # fmt: skip
    for place, label in enumerate(shown):
        mine = [point for point, other in zip(points, labels, strict=True) if other == label]
        figure.add_scatter(
            x=[point[0] for point in mine], y=[point[1] for point in mine], mode="markers",
            name=class_labels(names)[label], hoverinfo="text", hovertext=plain(names[label]),
            marker={"size": 5, "color": CLASS_COLOURS[place % len(CLASS_COLOURS)], "opacity": 0.75,
                    "symbol": CLASS_SYMBOLS[place // len(CLASS_COLOURS)]},
        )  # fmt: skip
    figure.update_xaxes(showticklabels=False, title_text=_("first principal component"))
    figure.update_yaxes(showticklabels=False, title_text=_("second"))
    styled = with_style(figure, height=420, title=plain(title))
    return styled.update_layout(legend={"itemsizing": "constant", "y": -0.2, "yanchor": "top"})


def landscape(
    steps: Sequence[float], losses: Sequence[Sequence[float]], colour: str, title: str, *, least: float, most: float
) -> go.Figure:
    """Loss over a plane through a model's weights, on a log scale from least to most, so that models compare."""
    logs = [[math.log10(max(loss, least)) for loss in row] for row in losses]
    low, high = math.log10(least), math.log10(most)
    ticks = [tick for tick in decade_ticks([least, most]) if least <= tick <= most]
    figure = go.Figure(
        go.Contour(
            z=logs, x=list(steps), y=list(steps), zmin=low, zmax=high, customdata=losses,
            contours={"start": low, "end": high, "size": (high - low) / 12},
            colorscale=[[0, colour], [1, SURFACE]], line={"width": 0.5},
            colorbar={"title": {"text": _("nats")}, "thickness": 10, "outlinewidth": 0,
                      "tickvals": [math.log10(tick) for tick in ticks], "ticktext": [short(tick) for tick in ticks]},
            hovertemplate=_("%{customdata:.3g} nats<extra></extra>"),
        )
    )  # fmt: skip
    figure.add_scatter(x=[0], y=[0], mode="markers", marker={"symbol": "x", "size": 9, "color": INK},
                       hoverinfo="skip", showlegend=False)  # fmt: skip
    figure.update_xaxes(title_text=_("first direction"), constrain="domain")
    figure.update_yaxes(title_text=_("second"), scaleanchor="x", constrain="domain")
    return with_style(figure, height=420, title=plain(title))
