"""Learning curves, and errors over temperature."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from kd_core.base.templates import said
from pages.shared.figures.style import (
    DASHES,
    ROLE_COLOURS,
    colours_of,
    dashes_of,
    interval,
    labels_of,
    plain,
    with_style,
)
from pages.shared.language import _

PANELS = {
    "loss": said("Total loss, training set"),
    "validation_accuracy": said("Accuracy, validation split"),
    "soft_loss": said("Soft loss, training set"),
    "hard_loss": said("Hard loss, training set"),
}


class Curve(NamedTuple):
    """One run to draw: its id, name and role, or what else of ROLE_COLOURS it is."""

    id: str
    name: str
    role: str


def learning_curves(
    curves: Sequence[Curve],
    panels: Sequence[str] = tuple(PANELS),
    *,
    epochs: int,
    columns: int = 2,
    nats: bool = True,
) -> go.Figure:
    """The axes and lines of the live view, without data: losses in nats per example, accuracy in percent, over epochs.

    nats=False: what a student minimises is measured in something else, and so are its soft and total loss.

    A panel for each of these of PANELS, in two columns or one. The data arrives in the browser: each line's meta says
    whose it is (run), which panel, and whether it is the faint one that shows unsmoothed values under the smooth (raw).
    epochs: where the axis ends.
    """
    rows = len(panels) // columns
    figure = make_subplots(
        rows=rows, cols=columns, shared_xaxes="all", horizontal_spacing=0.1,
        vertical_spacing=0.12 if columns == 2 else 0.06, subplot_titles=[_(PANELS[panel]) for panel in panels],
    )  # fmt: skip
    kinds = [curve.role for curve in curves]
    # Beside a mistake runs are many, and it is the kinds that differ: those of one kind share a label.
    labels = [_(kind) for kind in kinds] if "mistake" in kinds else labels_of(kinds, [curve.name for curve in curves])
    styles = list(zip(curves, colours_of(kinds), dashes_of(kinds), labels, strict=True))
    for place, panel in enumerate(panels):
        cell = {"row": place // columns + 1, "col": place % columns + 1}
        accuracy = panel == "validation_accuracy"
        unit = "%" if accuracy else _("nats") if nats or panel == "hard_loss" else ""
        for curve, colour, dash, label in styles:
            for raw in (False,) if accuracy else (True, False):
                line = {"color": colour, "dash": "solid" if raw else dash, "width": 1 if raw else 2}
                figure.add_scatter(
                    x=[], y=[], name=plain(curve.name), showlegend=False,
                    mode="lines+markers" if accuracy else "lines", line=line,
                    opacity=0.3 if raw else 1, marker={"size": 4}, hoverinfo="skip" if raw else None,
                    hovertemplate=None if raw else _("epoch %{{x:.2f}}: %{{y:.4g}} {unit}", unit=unit),
                    meta={"run": curve.id, "panel": panel, "raw": raw, "label": None if raw else label}, **cell,
                )  # fmt: skip
        of_losses = _("nats per example") if unit else _("per example")
        figure.update_yaxes(title_text=unit if accuracy else of_losses, **cell)
    figure.for_each_annotation(
        lambda title: title.update(x=0.55 if title.x > 0.5 else 0, xanchor="left", font={"size": 14})
    )
    figure.update_xaxes(range=[0, epochs])
    figure.update_xaxes(title_text=_("epochs"), showticklabels=True, row=rows)
    return with_style(figure, height=280 * rows if columns == 2 else 245 * rows)


def errors_over_temperature(lines: Mapping[str, Mapping[float, tuple[float, float, float]]]) -> go.Figure:
    """Test errors over T on a log axis; lines: name -> T -> (mean, low, high) of the seeds."""
    figure = go.Figure()
    for (name, by_temperature), dash in zip(lines.items(), cycle(DASHES), strict=False):
        temperatures = sorted(by_temperature)
        means, lows, highs = ([by_temperature[T][part] for T in temperatures] for part in range(3))
        figure.add_scatter(
            x=temperatures, y=means, mode="lines+markers", name=name, meta={"label": name},
            line={"color": ROLE_COLOURS["distilled"], "dash": dash},
            error_y=interval(means, lows, highs, thickness=1),
            hovertemplate="T = %{x}: %{y:.4~g}",
        )  # fmt: skip
    ticks = sorted({T for by_temperature in lines.values() for T in by_temperature})
    figure.update_xaxes(title_text=_("temperature T"), type="log", tickvals=ticks, ticktext=[f"{T:g}" for T in ticks])
    figure.update_yaxes(title_text=_("test errors"))
    return with_style(figure, height=380)
