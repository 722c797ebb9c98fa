"""What a model costs against its errors, and its speed by batch size."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from pages.shared.figures.style import GREY, decade_ticks, interval, plain, short, with_style

COSTS = {
    "latency_ms": "latency of one image, ms",
    "size_bytes": "size, bytes",
    "multiply_adds": "multiply-adds of one image",
}


def pareto(points: Sequence[Mapping[str, Any]], *, x: str) -> go.Figure:
    """Test accuracy in percent, with its 95% interval, against a cost; a line joins what nothing beats in both.

    points: name, colour, accuracy, low, high (shares), and the cost. x: one of COSTS.
    """
    figure = go.Figure()
    front: list[Mapping[str, Any]] = []
    for point in sorted(points, key=lambda point: (point[x], -point["accuracy"])):
        if not front or point["accuracy"] > front[-1]["accuracy"]:
            front.append(point)
    figure.add_scatter(
        x=[point[x] for point in front], y=[100 * point["accuracy"] for point in front], mode="lines",
        line={"shape": "hv", "color": GREY, "width": 1, "dash": "dot"}, hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    for point in points:
        accuracy, colour = 100 * point["accuracy"], point["colour"]
        figure.add_scatter(
            x=[point[x]], y=[accuracy], mode="markers", name=plain(point["name"]),
            marker={"color": colour, "size": 14},
            error_y=interval([accuracy], [100 * point["low"]], [100 * point["high"]], color=colour),
            hovertemplate="%{x:.4~s}, %{y:.2f}%",
        )  # fmt: skip
    ticks = decade_ticks([point[x] for point in points])
    figure.update_xaxes(title_text=COSTS[x], type="log", tickvals=ticks, ticktext=[short(tick) for tick in ticks])
    figure.update_yaxes(title_text="test accuracy, %")
    return with_style(figure, height=380)


RUNTIME_DASHES = {"pytorch": "solid", "onnx": "dash", "onnx_int8": "dot"}


def throughput(lines: Sequence[tuple[str, str, str, Sequence[int], Sequence[float]]]) -> go.Figure:
    """Images a second over batch size, on log axes. lines: name, colour, runtime, batch sizes, images a second."""
    figure = go.Figure()
    for name, colour, runtime, sizes, rates in lines:
        figure.add_scatter(x=list(sizes), y=list(rates), mode="lines+markers", name=plain(name),
                           line={"color": colour, "dash": RUNTIME_DASHES[runtime]},
                           hovertemplate="batch %{x}: %{y:,.0f} a second")  # fmt: skip
    sizes = sorted({size for line in lines for size in line[3]})
    ticks = decade_ticks([rate for line in lines for rate in line[4]])
    figure.update_xaxes(
        title_text="images in a batch", type="log", tickvals=sizes, ticktext=[str(tick) for tick in sizes]
    )
    figure.update_yaxes(
        title_text="images a second", type="log", tickvals=ticks, ticktext=[short(tick) for tick in ticks]
    )
    return with_style(figure, height=460)
