"""Plain records -> plotly figures. Knows plotly and plain data, nothing else of this project.

Roles keep their colours and dashes everywhere. Backgrounds are clear and text takes the page's colour, so that a
figure reads in light and dark; the three hues differ in lightness too, for the colour-blind.
"""

import html
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

ROLE_COLOURS = {"teacher": "#4a7fe0", "baseline": "#e08a00", "distilled": "#12a37a", "mistake": "#c9566b"}
"""mistake: of a run, whatever its role, that makes one on purpose."""
GREY = "#888888"
INK = "#101614"
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
"""Of several runs of one role, by their order."""
OPTIONS = {"responsive": True, "displayModeBar": False}
"""Of plotly.js, for every chart. Its buttons cover titles, and one of them uploads the chart; a double click zooms out.
"""


def plain(text: str) -> str:
    """What people called a run, for plotly, which takes text for HTML: it must draw no link."""
    return html.escape(text, quote=False)


def colours_of(kinds: Sequence[str]) -> list[str]:
    """A colour for each run by its kind, of ROLE_COLOURS; several of one kind have its shades, from dark to light."""
    counts, places = Counter(kinds), Counter[str]()
    colours = []
    for kind in kinds:
        colour, shade = ROLE_COLOURS[kind], 0.0
        if counts[kind] > 1:
            shade = 2 * places[kind] / (counts[kind] - 1) - 1
        places[kind] += 1
        parts = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
        mixed = (part * (1 + 0.4 * shade) if shade < 0 else part + 0.6 * shade * (255 - part) for part in parts)
        colours.append("#" + "".join(f"{round(part):02x}" for part in mixed))
    return colours


def dashes_of(roles: Sequence[str]) -> list[str]:
    """A dash for each run: solid for the first of its role, others for the next."""
    counts: dict[str, int] = {}
    dashes = []
    for role in roles:
        dashes.append(DASHES[counts.get(role, 0) % len(DASHES)])
        counts[role] = counts.get(role, 0) + 1
    return dashes


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


GRADIENT_COLOURS = {"soft": "#8a63d2", "hard": "#c9566b"}


def decade_ticks(values: Sequence[float]) -> list[float]:
    """1, 2 and 5 of each decade that the positive values reach into; of many decades, 1 alone."""
    decades = range(math.floor(math.log10(min(values))) - 1, math.ceil(math.log10(max(values))) + 1)
    digits = (1, 2, 5) if len(decades) <= 4 else (1,)
    return [digit * 10.0**decade for decade in decades for digit in digits]


_LAYOUT = {
    "margin": {"l": 60, "r": 16, "t": 36, "b": 48},
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    "hovermode": "closest",
    "uirevision": "keep",  # zoom and hidden curves survive an update
}
_AXIS = {"gridcolor": "rgba(128,128,128,0.2)", "zeroline": False, "automargin": True}


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
    axes = {name: {**_AXIS, **own.get(name, {})} for name in names}
    if title:
        own["title"] = {"font": {"size": 14}, **own.get("title", {}), "text": title}
    figure.layout = {**_LAYOUT, **own, **axes, "template": "none", "height": height}
    return figure
