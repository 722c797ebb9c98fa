"""Experiments: the harm of mistakes, biases, sweeps, objectives."""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import plotly.graph_objects as go

from kd_core.base.templates import said
from pages.shared.figures.style import (
    GRADIENT_COLOURS,
    INK,
    ROLE_COLOURS,
    SCALE,
    SURFACE,
    interval,
    line_at,
    plain,
    with_style,
)
from pages.shared.language import _


def harm(by_seed: Mapping[int, float], mean: float, low_high: tuple[float, float] | None, axis: str) -> go.Figure:
    """How many errors a mistake costs with each seed, and their mean with its 95% interval, where there is one."""
    figure, colour, places = go.Figure(), ROLE_COLOURS["mistake"], Counter[float]()
    heights = []  # equal values stand one over the other
    for value in by_seed.values():
        heights.append(0.15 * places[value])
        places[value] += 1
    figure.add_scatter(
        x=list(by_seed.values()), y=heights, mode="markers", marker={"size": 10, "color": colour,
        "opacity": 0.5}, customdata=list(by_seed),
        hovertemplate=_("seed %{customdata}: %{x:+.3g}<extra></extra>"), showlegend=False,
    )  # fmt: skip
    spread = None
    if low_high is not None:
        spread = interval([mean], [low_high[0]], [low_high[1]], color=colour, thickness=2)
    figure.add_scatter(
        x=[mean], y=[-1], mode="markers", error_x=spread, marker={"size": 14, "color": colour, "symbol": "diamond"},
        hovertemplate=_("mean %{x:+.3g}<extra></extra>"), showlegend=False,
    )  # fmt: skip
    line_at(figure, 0)
    figure.update_xaxes(title_text=axis, rangemode="tozero")
    names = [_("seeds"), _("mean")]
    figure.update_yaxes(tickvals=[0, -1], ticktext=names, range=[-1.7, 0.5 + max(heights)], showgrid=False)
    return with_style(figure, height=240)


def biases(
    values: Sequence[float], errors: Sequence[int], missing: Sequence[int], name: str, marks: Mapping[str, float]
) -> go.Figure:
    """Test errors, all and those on the missing classes (name), over the bias given to these; marks: text -> bias."""
    figure = go.Figure()
    everything, those = _("all test errors"), _("those on {name}", name=name)
    figure.add_scatter(x=list(values), y=list(errors), mode="lines", name=everything, meta={"label": everything},
                       line={"color": ROLE_COLOURS["distilled"], "width": 3})  # fmt: skip
    figure.add_scatter(x=list(values), y=list(missing), mode="lines", name=those, meta={"label": those},
                       line={"color": GRADIENT_COLOURS["hard"], "dash": "dash"})  # fmt: skip
    for index, (text, value) in enumerate(marks.items()):
        line_at(figure, value)
        figure.add_annotation(x=value, y=1 - 0.09 * index, yref="paper", text=text, showarrow=False, xanchor="left")
    figure.update_xaxes(title_text=_("bias of {name} raised by", name=name))
    figure.update_yaxes(title_text=_("test errors"), rangemode="tozero")
    return with_style(figure, height=380)


def sweep_map(
    temperatures: Sequence[float],
    alphas: Sequence[float],
    errors: Sequence[Sequence[float | None]],
    title: str,
    counted: str = said("test errors"),
) -> go.Figure:
    """Errors by alpha (rows) and T (columns), None where nothing has been trained yet; fewer is stronger.

    counted: what the errors are of.
    """
    written = [["" if value is None else f"{value:.4g}" for value in row] for row in errors]
    figure = go.Figure(
        go.Heatmap(
            z=[list(row) for row in errors], x=[f"{T:g}" for T in temperatures], y=[f"{alpha:g}" for alpha in alphas],
            xgap=2, ygap=2, text=written, texttemplate="%{text}", showscale=False,
            textfont={"color": INK}, colorscale=[[0, SCALE], [1, SURFACE]],
            hovertemplate=_("T = %{{x}}, alpha = %{{y}}: %{{text}} {counted}<extra></extra>", counted=_(counted)),
        )
    )  # fmt: skip
    known = [value for row in errors for value in row if value is not None]
    for row, values in enumerate(errors):
        for column, value in enumerate(values):
            if value is not None and value == min(known):
                figure.add_shape(type="rect", x0=column - 0.48, x1=column + 0.48, y0=row - 0.48, y1=row + 0.48,
                                 line={"color": INK, "width": 2})  # fmt: skip
    figure.update_xaxes(title_text=_("temperature T"), type="category", showgrid=False)
    figure.update_yaxes(title_text="alpha", type="category", showgrid=False)
    return with_style(figure, height=140 + 52 * max(2, len(alphas)), title=title)


def objective_differences(
    points: Sequence[tuple[str, str, float, float, float]],
    *,
    axis: str = said("test errors, the baseline at 0"),
    role: str = "baseline",
    seeds: Mapping[str, Mapping[int, float]] = MappingProxyType({}),
) -> go.Figure:
    """Test errors more than a reference's, each with its interval, from top to bottom; the reference is the line at 0.

    points: name, role, mean, low, high. An interval that reaches over the line is a difference that may be none.
    role: of the reference. seeds: name -> seed -> its own difference, drawn beside the mean. Names may break by <br>.
    """
    figure = go.Figure()
    for name, kind, mean, low, high in points:
        label = plain(name).replace(plain("<br>"), "<br>")
        if by_seed := seeds.get(name):
            figure.add_scatter(
                x=list(by_seed.values()), y=[label] * len(by_seed), mode="markers", showlegend=False,
                marker={"color": ROLE_COLOURS[kind], "size": 7, "opacity": 0.5}, customdata=list(by_seed),
                hovertemplate=_("seed %{customdata}: %{x:+.3g}<extra></extra>"),
            )  # fmt: skip
        figure.add_scatter(
            x=[mean], y=[label], mode="markers", showlegend=False, name=label,
            marker={"color": ROLE_COLOURS[kind], "size": 11},
            error_x=interval([mean], [low], [high], color=ROLE_COLOURS[kind], thickness=2),
            hovertemplate=_("%{{x:.1f}} ({low:.1f} to {high:.1f})", low=low, high=high),
        )  # fmt: skip
    line_at(figure, 0, colour=ROLE_COLOURS[role], width=2, dash="dash")
    figure.update_xaxes(title_text=_(axis), zeroline=False)
    figure.update_yaxes(autorange="reversed", automargin=True, showgrid=False)
    return with_style(figure, height=110 + (54 if seeds else 34) * max(2, len(points)))
