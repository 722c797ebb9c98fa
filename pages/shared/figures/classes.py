"""Classes: calibration, errors, confusion, balance."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from pages.shared.figures.style import (
    FEWER,
    GREY,
    INK,
    MANY,
    MORE,
    SCALE,
    SURFACE,
    class_axis,
    class_labels,
    plain,
    room_for,
    with_style,
)
from pages.shared.language import _


def reliability(models: Mapping[str, tuple[str, Sequence[Any]]]) -> go.Figure:
    """Share that is right against confidence, in percent, for each model: name -> (colour, bins of evaluation)."""
    figure = go.Figure()
    figure.add_scatter(x=[0, 100], y=[0, 100], mode="lines", line={"color": GREY, "width": 1, "dash": "dot"},
                       hoverinfo="skip", showlegend=False)  # fmt: skip
    for name, (colour, bins) in models.items():
        figure.add_scatter(
            x=[100 * part.confidence for part in bins], y=[100 * part.accuracy for part in bins], name=plain(name),
            mode="lines+markers", meta={"label": name}, line={"color": colour},
            marker={"size": [6 + 3 * math.log10(part.examples) for part in bins]},
            customdata=[part.examples for part in bins],
            hovertemplate=_("%{x:.1f}% sure, %{y:.1f}% right, %{customdata:,} images"),
        )  # fmt: skip
    figure.update_xaxes(title_text=_("confidence, %"), range=[0, 101])
    figure.update_yaxes(title_text=_("right, %"), range=[0, 101])
    return with_style(figure, height=420)


def per_class(models: Mapping[str, tuple[str, Any]], class_names: Sequence[str]) -> go.Figure:
    """Errors of each class in percent of its images, for each model: name -> (colour, accuracies by class).

    A class without images has no bar. Of more than MANY classes, the MANY with most errors of any model are shown.
    """
    figure, labels = go.Figure(), class_labels(class_names)
    errors = {
        name: [None if math.isnan(share) else 100 * (1 - share) for share in accuracies]
        for name, (colour, accuracies) in models.items()
    }
    shown, title = list(range(len(labels))), ""
    if len(labels) > MANY:
        worst = [max(row[label] or 0 for row in errors.values()) for label in shown]
        shown = sorted(shown, key=lambda label: -worst[label])[:MANY]
        title = _("The {shown} of {count:,} classes with most errors", shown=MANY, count=len(labels))
        figure.update_layout(title_y=0.99)
    for name, (colour, _accuracies) in models.items():
        figure.add_bar(x=[str(label) for label in shown], y=[errors[name][label] for label in shown], name=plain(name),
                       marker_color=colour, hovertemplate=_("%{x}: %{y:.2f}% wrong"))  # fmt: skip
    axis = class_axis({str(label): labels[label] for label in shown})
    figure.update_xaxes(title_text=_("true class"), **axis)
    figure.update_yaxes(title_text=_("errors, % of the class"))
    return with_style(figure, height=380 + room_for(labels) // 2, title=title)


def confusion_difference(difference: Any, class_names: Sequence[str], title: str) -> go.Figure:
    """How many more images one model puts into each cell than another, (K, K), true class in rows.

    Of more than MANY classes, the MANY are shown in whose mistakes the two differ most.
    """
    shown, about = list(range(len(class_names))), ""
    if len(shown) > MANY:
        sizes = [[abs(int(value)) for value in row] for row in difference]
        moved = [sum(sizes[k]) + sum(row[k] for row in sizes) - 2 * sizes[k][k] for k in shown]
        shown = sorted(sorted(shown, key=lambda k: -moved[k])[:MANY])
        among = _("in the {shown} of {count:,} classes where they differ most", shown=MANY, count=len(class_names))
        about = f"<br>{among}"
    rows = [[int(difference[i][j]) for j in shown] for i in shown]
    labels = class_labels(class_names)
    places, axis = [str(k) for k in shown], class_axis({str(k): labels[k] for k in shown})
    mistakes = [[None if i == j else value for j, value in enumerate(row)] for i, row in enumerate(rows)]
    largest = max(1, *(abs(value) for row in mistakes for value in row if value is not None))
    written = [[f"{value:+d}".replace("-", "−") if value else "" for value in row] for row in mistakes]
    figure = go.Figure(
        go.Heatmap(
            z=mistakes, x=places, y=places, xgap=1, ygap=1, showscale=False, zmid=0,
            zmin=-largest, zmax=largest, text=written, texttemplate="%{text}",
            colorscale=[[0, FEWER], [0.5, SURFACE], [1, MORE]], textfont={"color": INK},
            hovertemplate=_("%{z:+d} images of %{y} taken for %{x}<extra></extra>"),
        )
    )  # fmt: skip
    figure.update_yaxes(
        title_text=_("true class"), autorange="reversed", scaleanchor="x", constrain="domain", showgrid=False, **axis
    )
    figure.update_xaxes(title_text=_("top class"), constrain="domain", showgrid=False, **axis)
    return with_style(figure, height=420 + room_for(labels), title=plain(title) + about)


def class_balance(class_names: Sequence[str], train: Sequence[int], test: Sequence[int]) -> go.Figure:
    """How many images each class has, training and test set on top of each other; many classes lie closer."""
    figure = go.Figure()
    labels = class_labels(class_names)
    places = [str(label) for label in range(len(labels))]
    for part, counts, opacity in ((_("training"), train, 1.0), (_("test"), test, 0.45)):
        figure.add_bar(
            y=places, x=list(counts), name=part, orientation="h", marker_color=SCALE, opacity=opacity,
            hovertemplate="%{y}: %{x:,} " + part + "<extra></extra>",
        )  # fmt: skip
    ratio = max(train) / max(1, min(train))
    title = (
        _("All classes have as many images")
        if ratio < 1.05
        else _("The largest class has {ratio:.3g} times the smallest", ratio=ratio)
    )
    figure.update_layout(
        barmode="stack", bargap=0.25 if len(labels) <= 40 else 0, margin={"l": 60, "r": 16, "t": 64, "b": 48},
        title={"y": 0.99, "yanchor": "top"},
    )  # fmt: skip
    figure.update_xaxes(title_text=_("images"), showgrid=True)
    figure.update_yaxes(autorange="reversed", showgrid=False, **class_axis(dict(zip(places, labels, strict=True))))
    return with_style(figure, height=max(260, min(900, 90 + 22 * len(labels))), title=title)
