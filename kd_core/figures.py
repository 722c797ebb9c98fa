"""Plain records -> plotly figures. Knows plotly and plain data, nothing else of this project.

Roles keep their colours and dashes everywhere. Backgrounds are clear and text takes the page's colour, so that a
figure reads in light and dark; the three hues differ in lightness too, for the colour-blind.
"""

import html
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

ROLE_COLOURS = {"teacher": "#4a7fe0", "baseline": "#e08a00", "distilled": "#12a37a", "mistake": "#c9566b"}
"""mistake: of a run, whatever its role, that makes one on purpose."""
GREY = "#888888"
INK = "#101614"
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
"""Of several runs of one role, by their order."""
OPTIONS = {"responsive": True, "displayModeBar": False}
"""Of plotly.js, for every chart. Its buttons cover titles, and one of them uploads the chart; a double click zooms out.
"""

PANELS = {
    "loss": "Total loss, training set",
    "validation_accuracy": "Accuracy, validation split",
    "soft_loss": "Soft loss, training set",
    "hard_loss": "Hard loss, training set",
}


class Curve(NamedTuple):
    """One run to draw: its id, name and role, or what else of ROLE_COLOURS it is."""

    id: str
    name: str
    role: str


def learning_curves(curves: Sequence[Curve], *, epochs: int, columns: int = 2, nats: bool = True) -> go.Figure:
    """The axes and lines of the live view, without data: losses in nats per example, accuracy in percent, over epochs.

    nats=False: what a student minimises is measured in something else, and so are its soft and total loss.

    One panel for each of PANELS, in two columns or one. The data arrives in the browser: each line's meta says whose
    it is (run), which panel, and whether it is the faint one that shows unsmoothed values under the smooth (raw).
    epochs: where the axis ends.
    """
    rows = len(PANELS) // columns
    figure = make_subplots(
        rows=rows, cols=columns, shared_xaxes="all", horizontal_spacing=0.1,
        vertical_spacing=0.12 if columns == 2 else 0.06, subplot_titles=list(PANELS.values()),
    )  # fmt: skip
    kinds = [curve.role for curve in curves]
    styles = list(zip(curves, colours_of(kinds), dashes_of(kinds), strict=True))
    for place, panel in enumerate(PANELS):
        cell = {"row": place // columns + 1, "col": place % columns + 1}
        accuracy = panel == "validation_accuracy"
        unit = "%" if accuracy else "nats" if nats or panel == "hard_loss" else ""
        for curve, colour, dash in styles:
            for raw in (False,) if accuracy else (True, False):
                line = {"color": colour, "dash": "solid" if raw else dash, "width": 1 if raw else 2}
                figure.add_scatter(
                    x=[], y=[], name=_plain(curve.name), showlegend=False,
                    mode="lines+markers" if accuracy else "lines", line=line,
                    opacity=0.3 if raw else 1, marker={"size": 4}, hoverinfo="skip" if raw else None,
                    hovertemplate=None if raw else f"epoch %{{x:.2f}}: %{{y:.4g}} {unit}",
                    meta={"run": curve.id, "panel": panel, "raw": raw}, **cell,
                )  # fmt: skip
        figure.update_yaxes(title_text=unit if accuracy else f"{unit} per example".lstrip(), **cell)
    figure.update_xaxes(range=[0, epochs])
    figure.update_xaxes(title_text="epochs", showticklabels=True, row=rows)
    return _styled(figure, height=560 if columns == 2 else 980)


def _plain(text: str) -> str:
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
    for point in sorted(points, key=lambda one: (one[x], -one["accuracy"])):
        if not front or point["accuracy"] > front[-1]["accuracy"]:
            front.append(point)
    figure.add_scatter(
        x=[point[x] for point in front], y=[100 * point["accuracy"] for point in front], mode="lines",
        line={"shape": "hv", "color": GREY, "width": 1, "dash": "dot"}, hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    for point in points:
        accuracy, colour = 100 * point["accuracy"], point["colour"]
        figure.add_scatter(
            x=[point[x]], y=[accuracy], mode="markers", name=_plain(point["name"]),
            marker={"color": colour, "size": 14},
            error_y={"type": "data", "symmetric": False, "array": [100 * point["high"] - accuracy],
                     "arrayminus": [accuracy - 100 * point["low"]], "color": colour},
            hovertemplate="%{x:.4~s}, %{y:.2f}%",
        )  # fmt: skip
    ticks = _decade_ticks([point[x] for point in points])
    figure.update_xaxes(title_text=COSTS[x], type="log", tickvals=ticks, ticktext=[_short(tick) for tick in ticks])
    figure.update_yaxes(title_text="test accuracy, %")
    return _styled(figure, height=380)


def _short(number: float) -> str:
    """0.05, 2, 500k, 2M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:g}{unit}"
    return f"{number:g}"


def harm(by_seed: Mapping[int, float], mean: float, interval: tuple[float, float] | None, axis: str) -> go.Figure:
    """How many errors a mistake costs with each seed, and their mean with its 95% interval, where there is one."""
    figure = go.Figure()
    colour = ROLE_COLOURS["mistake"]
    figure.add_scatter(
        x=list(by_seed.values()), y=["seeds"] * len(by_seed), mode="markers", marker={"size": 10, "color": colour,
        "opacity": 0.5}, customdata=list(by_seed), hovertemplate="seed %{customdata}: %{x:+.3g}<extra></extra>",
        showlegend=False,
    )  # fmt: skip
    spread = None
    if interval is not None:
        spread = {"type": "data", "symmetric": False, "array": [interval[1] - mean], "arrayminus": [mean - interval[0]],
                  "color": colour, "thickness": 2}  # fmt: skip
    figure.add_scatter(
        x=[mean], y=["mean"], mode="markers", error_x=spread, marker={"size": 14, "color": colour, "symbol": "diamond"},
        hovertemplate="mean %{x:+.3g}<extra></extra>", showlegend=False,
    )  # fmt: skip
    figure.add_vline(x=0, line={"color": GREY, "width": 1, "dash": "dot"})
    figure.update_xaxes(title_text=axis, rangemode="tozero")
    figure.update_yaxes(type="category", range=[-0.7, 1.7])
    return _styled(figure, height=240)


RUNTIME_DASHES = {"pytorch": "solid", "onnx": "dash", "onnx_int8": "dot"}


def throughput(lines: Sequence[tuple[str, str, str, Sequence[int], Sequence[float]]]) -> go.Figure:
    """Images a second over batch size, on log axes. lines: name, colour, runtime, batch sizes, images a second."""
    figure = go.Figure()
    for name, colour, runtime, sizes, rates in lines:
        figure.add_scatter(x=list(sizes), y=list(rates), mode="lines+markers", name=_plain(name),
                           line={"color": colour, "dash": RUNTIME_DASHES[runtime]},
                           hovertemplate="batch %{x}: %{y:,.0f} a second")  # fmt: skip
    sizes = sorted({size for line in lines for size in line[3]})
    ticks = _decade_ticks([rate for line in lines for rate in line[4]])
    figure.update_xaxes(
        title_text="images in a batch", type="log", tickvals=sizes, ticktext=[str(one) for one in sizes]
    )
    figure.update_yaxes(
        title_text="images a second", type="log", tickvals=ticks, ticktext=[_short(one) for one in ticks]
    )
    return _styled(figure, height=460)


def biases(
    values: Sequence[float], errors: Sequence[int], missing: Sequence[int], name: str, marks: Mapping[str, float]
) -> go.Figure:
    """Test errors, all and those on the missing classes (name), over the bias given to these; marks: text -> bias."""
    figure = go.Figure()
    figure.add_scatter(x=list(values), y=list(errors), mode="lines", name="all test errors",
                       line={"color": ROLE_COLOURS["distilled"], "width": 3})  # fmt: skip
    figure.add_scatter(x=list(values), y=list(missing), mode="lines", name=f"those on {name}",
                       line={"color": GRADIENT_COLOURS["hard"], "dash": "dash"})  # fmt: skip
    for index, (text, value) in enumerate(marks.items()):
        figure.add_shape(type="line", x0=value, x1=value, y0=0, y1=1, yref="paper",
                         line={"color": GREY, "width": 1, "dash": "dot"})  # fmt: skip
        figure.add_annotation(x=value, y=1 - 0.09 * index, yref="paper", text=text, showarrow=False, xanchor="left")
    figure.update_xaxes(title_text=f"bias of {name} raised by")
    figure.update_yaxes(title_text="test errors", rangemode="tozero")
    return _styled(figure, height=380)


def sweep_map(
    temperatures: Sequence[float],
    alphas: Sequence[float],
    errors: Sequence[Sequence[float | None]],
    title: str,
    counted: str = "test errors",
) -> go.Figure:
    """Errors by alpha (rows) and T (columns), None where nothing has been trained yet; fewer is darker.

    counted: what the errors are of.
    """
    written = [["" if value is None else f"{value:.4g}" for value in row] for row in errors]
    figure = go.Figure(
        go.Heatmap(
            z=[list(row) for row in errors], x=[f"{one:g}" for one in temperatures], y=[f"{one:g}" for one in alphas],
            xgap=2, ygap=2, text=written, texttemplate="%{text}", showscale=False,
            textfont={"color": INK},  # 4.5 to 1 on the darkest cell, and more on all others
            colorscale=[[0, ROLE_COLOURS["distilled"]], [1, "#d3dcd9"]],
            hovertemplate="T = %{x}, alpha = %{y}: %{text} " + counted + "<extra></extra>",
        )
    )  # fmt: skip
    styled = _styled(figure, height=140 + 52 * max(2, len(alphas)))
    styled.update_xaxes(title_text="temperature T", type="category", showgrid=False)
    styled.update_yaxes(title_text="alpha", type="category", showgrid=False)
    return styled.update_layout(title={"text": title, "font": {"size": 14}})


def errors_over_temperature(lines: Mapping[str, Mapping[float, tuple[float, float, float]]]) -> go.Figure:
    """Test errors over T on a log axis; lines: name -> T -> (mean, low, high) of the seeds."""
    figure = go.Figure()
    for (name, by_temperature), dash in zip(lines.items(), cycle(DASHES), strict=False):
        temperatures = sorted(by_temperature)
        points = [by_temperature[one] for one in temperatures]
        figure.add_scatter(
            x=temperatures, y=[mean for mean, _, _ in points], mode="lines+markers", name=name,
            line={"color": ROLE_COLOURS["distilled"], "dash": dash},
            error_y={"type": "data", "symmetric": False, "thickness": 1,
                     "array": [high - mean for mean, _, high in points],
                     "arrayminus": [mean - low for mean, low, _ in points]},
            hovertemplate="T = %{x}: %{y:.4~g}",
        )  # fmt: skip
    ticks = sorted({one for by_temperature in lines.values() for one in by_temperature})
    figure.update_xaxes(title_text="temperature T", type="log", tickvals=ticks, ticktext=[f"{one:g}" for one in ticks])
    figure.update_yaxes(title_text="test errors")
    return _styled(figure, height=380)


def objective_differences(points: Sequence[tuple[str, str, float, float, float]]) -> go.Figure:
    """Test errors more than the baseline's, each with its interval, from top to bottom; the baseline is the line at 0.

    points: name, role, mean, low, high. An interval that reaches over the line is a difference that may be none.
    """
    figure = go.Figure()
    for name, role, mean, low, high in points:
        figure.add_scatter(
            x=[mean], y=[_plain(name)], mode="markers", showlegend=False, name=_plain(name),
            marker={"color": ROLE_COLOURS[role], "size": 11},
            error_x={"type": "data", "symmetric": False, "array": [high - mean], "arrayminus": [mean - low],
                     "color": ROLE_COLOURS[role], "thickness": 2},
            hovertemplate=f"%{{x:.1f}} ({low:.1f} to {high:.1f})",
        )  # fmt: skip
    figure.add_shape(type="line", x0=0, x1=0, y0=0, y1=1, yref="paper",
                     line={"color": ROLE_COLOURS["baseline"], "width": 2, "dash": "dash"})  # fmt: skip
    figure.update_xaxes(title_text="test errors, the baseline at 0", zeroline=False)
    figure.update_yaxes(autorange="reversed", automargin=True, showgrid=False)
    return _styled(figure, height=110 + 34 * max(2, len(points)))


LONGEST_LABEL = 16
"""Characters of a class's name on an axis or in a legend."""


def _class_labels(class_names: Sequence[str]) -> list[str]:
    """Class names as plotly shows them: no HTML, and the long ones cut."""
    return [
        _plain(name if len(name) <= LONGEST_LABEL else name[: LONGEST_LABEL - 1].rstrip() + "…") for name in class_names
    ]


def _room(labels: Sequence[str]) -> int:
    """Pixels that labels take where they stand upright."""
    longest = max(map(len, labels))
    return 7 * longest if longest > 3 else 0


def _class_axis(labels: Mapping[str, str]) -> dict[str, Any]:
    """An axis whose categories are indices of classes, each shown by its label; so no two classes fall together.

    Where there is no room for all labels, plotly leaves some out, and shows them once the user zooms in.
    """
    return {"type": "category", "labelalias": dict(labels), "tickfont": {"size": 10 if len(labels) > MANY else 13}}


MANY = 20
"""Classes above which a figure takes more room, or shows the most telling ones alone."""

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
            x=[x for (x, _), _ in others], y=[y for (_, y), _ in others], mode="markers", hoverinfo="text",
            name=f"{len(names) - len(shown):,} others", text=[_plain(names[label]) for _, label in others],
            marker={"size": 4, "color": GREY, "opacity": 0.35},
        )  # fmt: skip
    for place, label in enumerate(shown):
        mine = [point for point, one in zip(points, labels, strict=True) if one == label]
        figure.add_scatter(
            x=[x for x, _ in mine], y=[y for _, y in mine], mode="markers", name=_class_labels(names)[label],
            hoverinfo="text", hovertext=_plain(names[label]),
            marker={"size": 5, "color": CLASS_COLOURS[place % len(CLASS_COLOURS)], "opacity": 0.75,
                    "symbol": CLASS_SYMBOLS[place // len(CLASS_COLOURS)]},
        )  # fmt: skip
    figure.update_xaxes(showticklabels=False, title_text="first principal component")
    figure.update_yaxes(showticklabels=False, title_text="second")
    styled = _styled(figure, height=420)
    return styled.update_layout(
        title={"text": _plain(title), "font": {"size": 14}},
        legend={"itemsizing": "constant", "y": -0.2, "yanchor": "top"},
    )


def landscape(
    steps: Sequence[float], losses: Sequence[Sequence[float]], colour: str, title: str, *, least: float, most: float
) -> go.Figure:
    """Loss over a plane through a model's weights, on a log scale from least to most, so that models compare."""
    logs = [[math.log10(max(loss, least)) for loss in row] for row in losses]
    low, high = math.log10(least), math.log10(most)
    ticks = [tick for tick in _decade_ticks([least, most]) if least <= tick <= most]
    figure = go.Figure(
        go.Contour(
            z=logs, x=list(steps), y=list(steps), zmin=low, zmax=high, customdata=losses,
            contours={"start": low, "end": high, "size": (high - low) / 12},
            colorscale=[[0, colour], [1, "rgba(128,128,128,0.10)"]], line={"width": 0.5},
            colorbar={"title": {"text": "nats"}, "thickness": 10, "outlinewidth": 0,
                      "tickvals": [math.log10(tick) for tick in ticks], "ticktext": [_short(tick) for tick in ticks]},
            hovertemplate="%{customdata:.3g} nats<extra></extra>",
        )
    )  # fmt: skip
    figure.add_scatter(x=[0], y=[0], mode="markers", marker={"symbol": "x", "size": 9, "color": "white"},
                       hoverinfo="skip", showlegend=False)  # fmt: skip
    figure.update_xaxes(title_text="first direction", constrain="domain")
    figure.update_yaxes(title_text="second", scaleanchor="x")
    return _styled(figure, height=420).update_layout(title={"text": _plain(title), "font": {"size": 14}})


def reliability(models: Mapping[str, tuple[str, Sequence[Any]]]) -> go.Figure:
    """Share that is right against confidence, in percent, for each model: name -> (colour, bins of evaluation)."""
    figure = go.Figure()
    figure.add_scatter(x=[0, 100], y=[0, 100], mode="lines", line={"color": GREY, "width": 1, "dash": "dot"},
                       hoverinfo="skip", showlegend=False)  # fmt: skip
    for name, (colour, bins) in models.items():
        figure.add_scatter(
            x=[100 * one.confidence for one in bins], y=[100 * one.accuracy for one in bins], name=_plain(name),
            mode="lines+markers", line={"color": colour},
            marker={"size": [6 + 3 * math.log10(one.examples) for one in bins]},
            customdata=[one.examples for one in bins],
            hovertemplate="%{x:.1f}% sure, %{y:.1f}% right, %{customdata:,} images",
        )  # fmt: skip
    figure.update_xaxes(title_text="confidence, %", range=[0, 101])
    figure.update_yaxes(title_text="right, %", range=[0, 101])
    return _styled(figure, height=420)


def per_class(models: Mapping[str, tuple[str, Any]], class_names: Sequence[str]) -> go.Figure:
    """Errors of each class in percent of its images, for each model: name -> (colour, accuracies by class).

    A class without images has no bar. Of more than MANY classes, the MANY with most errors of any model are shown.
    """
    figure, labels = go.Figure(), _class_labels(class_names)
    errors = {
        name: [None if math.isnan(one) else 100 * (1 - one) for one in accuracies]
        for name, (_, accuracies) in models.items()
    }
    shown = list(range(len(labels)))
    if len(labels) > MANY:
        worst = [max(row[label] or 0 for row in errors.values()) for label in shown]
        shown = sorted(shown, key=lambda label: -worst[label])[:MANY]
        figure.update_layout(title={"text": f"The {MANY} of {len(labels):,} classes with most errors",
                                    "font": {"size": 14}, "y": 0.99})  # fmt: skip
    for name, (colour, _) in models.items():
        figure.add_bar(x=[str(label) for label in shown], y=[errors[name][label] for label in shown], name=_plain(name),
                       marker_color=colour, hovertemplate="%{x}: %{y:.2f}% wrong")  # fmt: skip
    axis = _class_axis({str(label): labels[label] for label in shown})
    figure.update_xaxes(title_text="true class", **axis)
    figure.update_yaxes(title_text="errors, % of the class")
    return _styled(figure, height=380 + _room(labels) // 2)


def confusion_difference(difference: Any, class_names: Sequence[str], title: str) -> go.Figure:
    """How many more images one model puts into each cell than another, (K, K), true class in rows.

    Of more than MANY classes, the MANY are shown in whose mistakes the two differ most.
    """
    shown, about = list(range(len(class_names))), ""
    if len(shown) > MANY:
        sizes = [[abs(int(value)) for value in row] for row in difference]
        moved = [sum(sizes[one]) + sum(row[one] for row in sizes) - 2 * sizes[one][one] for one in shown]
        shown = sorted(sorted(shown, key=lambda one: -moved[one])[:MANY])
        about = f"<br>in the {MANY} of {len(class_names):,} classes where they differ most"
    rows = [[int(difference[i][j]) for j in shown] for i in shown]
    labels = _class_labels(class_names)
    places, axis = [str(one) for one in shown], _class_axis({str(one): labels[one] for one in shown})
    mistakes = [[None if i == j else value for j, value in enumerate(row)] for i, row in enumerate(rows)]
    largest = max(1, *(abs(value) for row in mistakes for value in row if value is not None))
    written = [[f"{value:+d}" if value else "" for value in row] for row in mistakes]
    figure = go.Figure(
        go.Heatmap(
            z=mistakes, x=places, y=places, xgap=1, ygap=1, showscale=False, zmid=0,
            zmin=-largest, zmax=largest, text=written, texttemplate="%{text}",
            colorscale=[[0, ROLE_COLOURS["distilled"]], [0.5, "rgba(128,128,128,0.08)"], [1, GRADIENT_COLOURS["hard"]]],
            hovertemplate="%{z:+d} images of %{y} taken for %{x}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_yaxes(title_text="true class", autorange="reversed", scaleanchor="x", showgrid=False, **axis)
    figure.update_xaxes(title_text="top class", constrain="domain", showgrid=False, **axis)
    styled = _styled(figure, height=420 + _room(labels))
    return styled.update_layout(title={"text": _plain(title) + about, "font": {"size": 14}})


def dark_knowledge(
    mean_soft: Any, class_names: Sequence[str], shown: Sequence[int], *, diagonal: float, temperature: float
) -> go.Figure:
    """Mean soft target by true class (rows), (K, K). diagonal: how much of the right answers is shown, 0 to 1.

    shown: the classes to draw, in this order. A class without examples has an empty row.
    """
    percent = [[_percent(mean_soft[row][column]) for column in shown] for row in shown]
    drawn = [
        [value if value is None or row != column else value * diagonal for column, value in enumerate(values)]
        for row, values in enumerate(percent)
    ]
    labels = _class_labels(class_names)
    places, axis = [str(one) for one in shown], _class_axis({str(one): labels[one] for one in shown})
    article = "a " if all(len(name) == 1 for name in class_names) else ""
    gap = 0 if len(shown) > MANY else 1
    figure = go.Figure(
        go.Heatmap(
            z=drawn, x=places, y=places, customdata=percent, xgap=gap, ygap=gap,
            colorscale=[[0, "rgba(128,128,128,0.10)"], [1, ROLE_COLOURS["teacher"]]], zmin=0,
            colorbar={"title": {"text": "%"}, "thickness": 12, "outlinewidth": 0},
            hovertemplate=article + "%{y} gets %{customdata:.3g}% for %{x}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_yaxes(title_text="true class", autorange="reversed", scaleanchor="x", showgrid=False, **axis)
    title = f"mean soft target at T = {temperature:g}"
    figure.update_xaxes(title_text=title, constrain="domain", showgrid=False, **axis)
    return _styled(figure, height=840 if len(shown) > MANY else 440 + _room(labels))


def _percent(share: float) -> float | None:
    return None if math.isnan(share) else 100 * float(share)


def similarity(leaves: Sequence[int], positions: Any, heights: Any, class_names: Sequence[str]) -> go.Figure:
    """A tree of three classes or more: the lower two are joined, the more the teacher confuses them.

    Of more than MANY classes it lies on its side, with a line of text for each.
    """
    figure, labels = go.Figure(), _class_labels(class_names)
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
        return _styled(figure, height=110 + 13 * len(leaves))
    figure.update_xaxes(**of_leaves)
    figure.update_yaxes(**of_heights)
    return _styled(figure, height=440 + _room(labels))


GRADIENT_COLOURS = {"soft": "#8a63d2", "hard": "#c9566b"}
FELT = 16
"""Classes of many whose gradients are shown one by one: the largest, and the label's with them."""


def class_balance(class_names: Sequence[str], train: Sequence[int], test: Sequence[int]) -> go.Figure:
    """How many images each class has, training and test set on top of each other; many classes lie closer."""
    figure = go.Figure()
    labels = _class_labels(class_names)
    places = [str(label) for label in range(len(labels))]
    for part, counts, opacity in (("training", train, 1.0), ("test", test, 0.45)):
        figure.add_bar(
            y=places, x=list(counts), name=part, orientation="h", marker_color="#4a7fe0", opacity=opacity,
            hovertemplate="%{y}: %{x:,} " + part + "<extra></extra>",
        )  # fmt: skip
    ratio = max(train) / max(1, min(train))
    title = (
        "All classes have as many images" if ratio < 1.05 else f"The largest class has {ratio:.3g} times the smallest"
    )
    figure.update_layout(
        barmode="stack", bargap=0.25 if len(labels) <= 40 else 0, margin={"l": 60, "r": 16, "t": 64, "b": 48},
        title={"text": title, "font": {"size": 14}, "y": 0.99, "yanchor": "top"},
    )  # fmt: skip
    figure.update_xaxes(title_text="images")
    figure.update_yaxes(autorange="reversed", **_class_axis(dict(zip(places, labels, strict=True))))
    return _styled(figure, height=max(260, min(900, 90 + 22 * len(labels))))


def gradients(soft: Sequence[float], hard: Sequence[float], class_names: Sequence[str]) -> go.Figure:
    """Gradient on every logit of the student: soft and hard loss stacked, their sum marked. Down raises the logit.

    Of more than MANY classes, the FELT with the largest parts, and the sum over all others.
    """
    shown, labels = list(range(len(class_names))), _class_labels(class_names)
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
                       marker={"symbol": "line-ew-open", "size": 22, "line": {"width": 3}, "color": GREY})  # fmt: skip
    figure.update_layout(barmode="relative")
    axis = _class_axis({**{str(k): labels[k] for k in shown}, "others": f"{len(others):,} others, summed"})
    figure.update_xaxes(title_text="class", **axis)
    figure.update_yaxes(title_text="gradient on the logit")
    return _styled(figure, height=360 + _room(labels) // 2)


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
                         fillcolor="rgba(128,128,128,0.14)", line={"width": 0})  # fmt: skip
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
    figure.add_shape(type="line", x0=now, x1=now, y0=0, y1=1, yref="paper",
                     line={"color": GREY, "width": 1, "dash": "dash"})  # fmt: skip
    figure.add_annotation(x=math.log10(now), y=1, yref="paper", text=f"T = {now:g}", showarrow=False, xanchor="left")
    figure.update_xaxes(title_text="temperature T", type="log", range=[-1, 2], tickvals=[0.1, 1, 2, 4, 8, 20, 100],
                        ticktext=["0.1", "1", "2", "4", "8", "20", "100"])  # fmt: skip
    figure.update_yaxes(title_text="norm of the soft loss's gradient", type="log", exponentformat="power")
    return _styled(figure, height=360)


def _decade_ticks(values: Sequence[float]) -> list[float]:
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


def _styled(figure: go.Figure, height: int) -> go.Figure:
    """The look that all figures share, under what a figure has set itself.

    Set as one value: plotly's update_layout and update_xaxes took 5 ms for it, most of what a figure costs.
    """
    own = figure.layout.to_plotly_json()
    names = {"xaxis", "yaxis"} | {name for name in own if name.startswith(("xaxis", "yaxis"))}
    axes = {name: {**_AXIS, **own.get(name, {})} for name in names}
    figure.layout = {**_LAYOUT, **own, **axes, "template": "none", "height": height}
    return figure
