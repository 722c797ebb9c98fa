"""Plain records -> plotly figures. Knows plotly, plain data, the design tokens and the language that is read.

Roles keep their colours and dashes everywhere. A colour is the name of a token, which plotly.js's companion resolves in
the browser: a figure made once reads in light and in dark.
"""

import html
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from kd_core.base.templates import said
from pages.shared.language import _
from pages.shared.tokens import colour, mixed

ROLES = (said("teacher"), said("baseline"), said("distilled"), said("mistake"))
ROLE_COLOURS = {kind: colour(kind) for kind in map(str, ROLES)}
"""mistake: of a run, whatever its role, that makes one on purpose."""
GREY, INK, SURFACE, RAISED = map(colour, ("muted", "ink", "surface", "raised"))
SCALE, FEWER, MORE = map(colour, ("scale", "fewer", "more"))
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
"""Of several runs of one role, by their order."""
OPTIONS = {"responsive": True, "displayModeBar": False}
"""Of plotly.js, for every chart. Its buttons cover titles, and one of them uploads the chart; a double click zooms out.
"""


def plain(text: str) -> str:
    """What people called a run, for plotly, which takes text for HTML: it must draw no link."""
    return html.escape(text, quote=False)


def colours_of(kinds: Sequence[str]) -> list[str]:
    """A colour for each run by its kind, of ROLE_COLOURS; several of one kind come closer and closer to the ink."""
    counts, places = Counter(kinds), Counter[str]()
    colours = []
    for kind in kinds:
        share = MOST_INK * places[kind] / max(1, counts[kind] - 1)
        colours.append(mixed(kind, "ink", share) if share else ROLE_COLOURS[kind])
        places[kind] += 1
    return colours


MOST_INK = 0.6
"""Of the last run's colour, where several have one role."""


def dashes_of(kinds: Sequence[str]) -> list[str]:
    """A dash for each run: solid for the first of its kind, others for the next.

    Beside a mistake a dash means the mistake: all of its runs have it, and no other.
    """
    if "mistake" in kinds:
        return ["dash" if kind == "mistake" else "solid" for kind in kinds]
    places = Counter[str]()
    dashes = []
    for kind in kinds:
        dashes.append(DASHES[places[kind] % len(DASHES)])
        places[kind] += 1
    return dashes


def labels_of(kinds: Sequence[str], names: Sequence[str]) -> list[str]:
    """What stands at each run's line: its kind where that tells all apart, else its name."""
    return [_(kind) for kind in kinds] if len({*kinds}) == len(kinds) else [*names]


def short(number: float) -> str:
    """0.05, 2, 500k, 2M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:g}{unit}"
    return f"{number:g}"


LONGEST_LABEL = 16
"""Characters of a class's name on an axis or in a legend."""


def class_labels(class_names: Sequence[str]) -> list[str]:
    """Class names as plotly shows them: no HTML, and the long ones cut."""
    return [
        plain(name if len(name) <= LONGEST_LABEL else name[: LONGEST_LABEL - 1].rstrip() + "…") for name in class_names
    ]


def room_for(labels: Sequence[str]) -> int:
    """Pixels that labels take where they stand upright."""
    longest = max(map(len, labels))
    return 7 * longest if longest > 3 else 0


def class_axis(labels: Mapping[str, str]) -> dict[str, Any]:
    """An axis whose categories are indices of classes, each shown by its label; so no two classes fall together.

    Where there is no room for all labels, plotly leaves some out, and shows them once the user zooms in.
    """
    return {"type": "category", "labelalias": dict(labels), "tickfont": {"size": 10 if len(labels) > MANY else 13}}


MANY = 20
"""Classes above which a figure takes more room, or shows the most telling ones alone."""


GRADIENT_COLOURS = {"soft": colour("soft"), "hard": colour("hard")}


def decade_ticks(values: Sequence[float]) -> list[float]:
    """1, 2 and 5 of each decade that the positive values reach into; of many decades, 1 alone, of a part, more."""
    low, high = min(values), max(values)
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    digits: Sequence[float] = (1, 2, 5) if len(decades) <= 4 else (1,)
    if low < high < PART_OF_A_DECADE * low:
        digits = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    return [digit * 10.0**decade for decade in decades for digit in digits]


PART_OF_A_DECADE = 4
"""From the least of values to the most: of 1, 2 and 5 fewer than two might lie between them."""

_LAYOUT = {
    "margin": {"l": 60, "r": 16, "t": 36, "b": 48},
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    "hovermode": "closest",
    "uirevision": "keep",  # zoom and hidden curves survive an update
}
_X_AXIS = {
    "gridcolor": colour("line"),
    "showgrid": False,
    "zeroline": False,
    "automargin": True,
    "showline": True,
    "linecolor": colour("line"),
}
_Y_AXIS = {"gridcolor": colour("line"), "zeroline": False, "automargin": True}


def interval(means: Sequence[float], lows: Sequence[float], highs: Sequence[float], **look: Any) -> dict[str, Any]:
    """Error bars from low to high of each mean. look: what else plotly takes of them."""
    above = [high - mean for mean, high in zip(means, highs, strict=True)]
    below = [mean - low for mean, low in zip(means, lows, strict=True)]
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, **look}


def line_at(figure: go.Figure, x: float, *, colour: str = GREY, width: int = 1, dash: str = "dot") -> None:
    """Draw an upright line over the whole figure."""
    line = {"color": colour, "width": width, "dash": dash}
    figure.add_shape(type="line", x0=x, x1=x, y0=0, y1=1, yref="paper", line=line)


def with_style(figure: go.Figure, height: int, title: str = "") -> go.Figure:
    """The look that all figures share, under what a figure has set itself; a title may have HTML.

    Set as one value: plotly's update_layout and update_xaxes took 5 ms for it, most of what a figure costs.
    """
    own = figure.layout.to_plotly_json()
    names = {"xaxis", "yaxis"} | {name for name in own if name.startswith(("xaxis", "yaxis"))}
    axes = {name: {**(_X_AXIS if name[0] == "x" else _Y_AXIS), **own.get(name, {})} for name in names}
    if title:
        own["title"] = {"font": {"size": 14}, "x": 0, "xref": "paper", **own.get("title", {}), "text": title}
    figure.layout = {**_LAYOUT, **own, **axes, "template": "none", "height": height}
    return figure
