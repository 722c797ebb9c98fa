"""The gradient that a loss leaves on each logit."""

from collections.abc import Sequence

import plotly.graph_objects as go

from pages.shared.figures.style import GRADIENT_COLOURS, INK, MANY, class_axis, class_labels, room_for, with_style
from pages.shared.language import _

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
        called = _("soft loss") if name == "soft" else _("hard loss")
        figure.add_bar(x=places, y=values, name=called, marker_color=GRADIENT_COLOURS[name],
                       hovertemplate="%{x}: %{y:.4g}")  # fmt: skip
    total = [a + b for a, b in zip(parts["soft"], parts["hard"], strict=True)]
    figure.add_scatter(x=places, y=total, mode="markers", name=_("sum"), hovertemplate="%{x}: %{y:.4g}",
                       marker={"symbol": "line-ew-open", "size": 22, "line": {"width": 3}, "color": INK})  # fmt: skip
    figure.update_layout(barmode="relative")
    axis = class_axis(
        {**{str(k): labels[k] for k in shown}, "others": _("{count:,} others, summed", count=len(others))}
    )
    figure.update_xaxes(title_text=_("class"), **axis)
    figure.update_yaxes(title_text=_("gradient on the logit"))
    return with_style(figure, height=360 + room_for(labels) // 2)
