"""Figures of the lesson: errors of several seeds, the soft gradient over T, what a raised bias brings back."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from kd_core.evaluation.statistics import spread
from pages.shared.figures.style import GRADIENT_COLOURS, GREY, INK, ROLE_COLOURS, interval, line_at, plain, with_style


def by_seed(lines: Mapping[str, tuple[str, Sequence[float]]], *, title: str, axis: str, height: int = 380) -> go.Figure:
    """A dot for each seed of each line, and the mean with its 95% interval. lines: name -> its kind and the values.

    kind: of ROLE_COLOURS. A line without values keeps its place.
    """
    figure = go.Figure()
    for name, (kind, values) in lines.items():
        colour = ROLE_COLOURS[kind]
        figure.add_scatter(
            x=[plain(name)] * len(values), y=[*values], mode="markers", showlegend=False,
            marker={"color": colour, "size": 9, "opacity": 0.45}, hovertemplate="%{y}<extra></extra>",
        )  # fmt: skip
        if len(values) > 1:
            mean, low, high = spread(values)
            figure.add_scatter(
                x=[plain(name)], y=[mean], mode="markers", showlegend=False,
                marker={"color": colour, "size": 22, "symbol": "line-ew-open", "line": {"width": 3}},
                error_y=interval([mean], [low], [high], color=colour, thickness=2, width=8),
                hovertemplate="%{y:.1f}<extra></extra>",
            )  # fmt: skip
    figure.update_xaxes(
        categoryorder="array", categoryarray=[plain(name) for name in lines], range=[-0.5, len(lines) - 0.5]
    )
    figure.update_yaxes(title_text=axis, rangemode="tozero")
    return with_style(figure, height=height, title=title)


def gradient_over_temperature(
    temperatures: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    *,
    axis: str,
    marked: Sequence[float],
    height: int,
) -> go.Figure:
    """The size of the soft gradient over T, on log axes; marked: the temperatures that a question is about."""
    figure = go.Figure()
    for (name, values), (colour, dash) in zip(
        lines.items(), ((GRADIENT_COLOURS["soft"], "solid"), (GREY, "dash")), strict=False
    ):
        figure.add_scatter(
            x=[*temperatures], y=[*values], mode="lines", name=name, line={"color": colour, "width": 3, "dash": dash},
            hovertemplate="T = %{x:.3g}: %{y:.3g}",
        )  # fmt: skip
    for temperature in marked:
        line_at(figure, temperature, colour=INK)
    ticks = [1, 2, 4, 8, 20, 100]
    figure.update_xaxes(title_text="T", type="log", tickvals=ticks, ticktext=[str(tick) for tick in ticks])
    figure.update_yaxes(title_text=axis, type="log", dtick=1)
    return with_style(figure, height=height)


def costs(names: Sequence[str], multiply_adds: Sequence[float], kinds: Sequence[str], *, axis: str) -> go.Figure:
    """Bars of what one image takes, the largest above."""
    figure = go.Figure()
    figure.add_bar(
        y=[plain(name) for name in names], x=[*multiply_adds], orientation="h",
        marker_color=[ROLE_COLOURS[kind] for kind in kinds], text=[f"{count:,.0f}" for count in multiply_adds],
        textposition="auto", hoverinfo="skip",
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title_text=axis)
    return with_style(figure, height=60 + 46 * len(names))
