"""A closer look at a comparison: each part is words, a table and figures, for the page and for the report."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from kd_core.evaluation import accuracy, claims, statistics
from kd_core.evaluation import calibration as evaluation_calibration
from kd_core.evaluation.accuracy import Labels, Logits
from kd_core.models.config import BLACK_BOX
from kd_core.runs.run import Run
from pages.compare import verdicts
from pages.compare.report import Section, report, written
from pages.shared.components.chart.chart import chart
from pages.shared.figures import classes as figures_classes
from pages.shared.figures import cost
from pages.shared.figures import inside as figures_inside
from pages.shared.parts.button import in_turn
from pages.shared.parts.headline import accuracy_of, headline
from pages.shared.parts.naming import shades, short_names
from pages.shared.session import services
from pages.shared.words import explained, literal

INSIDE = "Inside"
_BEING_MEASURED = "It is being measured; should anything be in its way, that stands above."
"""The whole text of a part that waits for its numbers: a file leaves such a part out."""


class Compared(NamedTuple):
    """Runs of one data set, their logits on its test set, and what is known of their speed and their inside."""

    runs: Sequence[Run]
    logits: Mapping[str, Logits]
    labels: Labels
    speed: Mapping[str, Any] | None
    inside: Mapping[str, Mapping[str, Any]]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the data set that all were tested on."""
        return services.class_names(self.runs[0].config.dataset)

    @property
    def names(self) -> dict[str, str]:
        """Run id -> what it is called beside the others."""
        return short_names(self.runs)

    @property
    def colours(self) -> dict[str, str]:
        """Run id -> its colour."""
        return shades(self.runs)


def costs(compared: Compared) -> Section:
    """Accuracy against what it costs, with the models that no other beats in both."""
    speed = compared.speed
    shown = claims.times(speed, [run.id for run in compared.runs]) if speed else {}
    points = [
        _point(compared, run) | {"latency_ms": shown.get(run.id, {}).get("latency_ms_p50")} for run in compared.runs
    ]
    axes = ["latency_ms", "size_bytes", "multiply_adds"]
    by_axis = {axis: [point for point in points if point[axis] is not None] for axis in axes}
    text = ["A model on the line is beaten by no other in both accuracy and cost. Whiskers: 95% interval (Wilson)."]
    if speed:
        text += [claims.null_said(speed), _conditions(speed)]
    return Section(
        "Accuracy against cost",
        text,
        _costs_table(compared),
        [cost.pareto(known, x=axis) for axis, known in by_axis.items() if known],
    )


def _point(compared: Compared, run: Run) -> dict[str, Any]:
    examples = run.results["test_examples"]
    low, high = statistics.wilson_interval(examples - run.results["test_errors"], examples)
    return {
        "name": f"{compared.names[run.id]} {run.config.network}",
        "colour": compared.colours[run.id],
        "accuracy": accuracy_of(run),
        "low": low,
        "high": high,
        "multiply_adds": run.results["multiply_adds"],
        "size_bytes": run.results["size_bytes"],
    }


def _costs_table(compared: Compared) -> pd.DataFrame:
    first = compared.runs[0]
    rows = []
    for run in compared.runs:
        row = {
            "model": compared.names[run.id],
            "network": run.config.network,
            "test errors": run.results["test_errors"],
            "agreement with the first, %": 100 * accuracy.agreement(compared.logits[run.id], compared.logits[first.id]),
            "parameters": run.results["parameters"],
            "multiply-adds": run.results["multiply_adds"],
        }
        if compared.speed:
            ids, batch = [one.id for one in compared.runs], compared.speed["models"][run.id]["batch_size"]
            mine, many = claims.times(compared.speed, ids), claims.times(compared.speed, ids, batch=batch)
            claim = claims.speed_claim(compared.speed, run.id, first.id)
            row |= {
                "latency p50, ms": mine[run.id]["latency_ms_p50"],
                "latency p95, ms": mine[run.id]["latency_ms_p95"],
                FASTER: claim.cell if claim else None,
                f"images a second, {batch} at once": round(many[run.id]["images_per_second"]),
            }
        rows.append(row)
    return pd.DataFrame(rows)


FASTER = "times as fast as the first (95% interval)"


def _conditions(speed: Mapping[str, Any]) -> str:
    conditions = speed["conditions"]
    return (
        f"Speed: {conditions['processor']}, {conditions['threads']} threads, Python {conditions['python']}, torch"
        f" {conditions['torch']}, ONNX Runtime {conditions['onnxruntime']}, {conditions['precision']}; from pixels to"
        f" logits, in a process of their own, the models taking {conditions['order']}."
    )


RUNTIMES = {"pytorch": "PyTorch", "onnx": "ONNX Runtime", "onnx_int8": "ONNX Runtime, int8"}


def speeds(compared: Compared) -> Section:
    """Latency and throughput by runtime and batch size, each with what its measurement is worth."""
    title = "Speed, by runtime and batch size"
    if compared.speed is None:
        return Section(title, [_BEING_MEASURED])
    rows, lines = [], []
    ids = [run.id for run in compared.runs]
    for run in compared.runs:
        for runtime, by_size in compared.speed["runtimes"][run.id].items():
            name = f"{compared.names[run.id]}, {RUNTIMES[runtime]}"
            shown = {int(n): claims.times(compared.speed, ids, runtime=runtime, batch=int(n))[run.id] for n in by_size}
            rates = [one["images_per_second"] for one in shown.values()]
            lines.append((name, compared.colours[run.id], runtime, [*shown], rates))
            for size, one in shown.items():
                claim = claims.speed_claim(compared.speed, run.id, ids[0], runtime=runtime, batch=size)
                rows.append(
                    {
                        "model": compared.names[run.id],
                        "runtime": RUNTIMES[runtime],
                        "batch": size,
                        "latency, ms": one["latency_ms_p50"],
                        "spread, ms": one["latency_ms_spread"],
                        "95% within, ms": one["latency_ms_p95"],
                        "images a second": round(one["images_per_second"]),
                        FASTER: claim.cell if claim else None,
                    }
                )
    text = [_conditions(compared.speed), claims.null_said(compared.speed)]
    return Section(title, text, pd.DataFrame(rows), [cost.throughput(lines)])


def real(compared: Compared) -> Section:
    """Whether the differences could be chance."""
    text = [
        "McNemar's exact test looks only at the images that just one of two models gets wrong: were the models equally"
        " good, each such image would fall to either with probability one half. p is the chance of a split at least"
        " this uneven, if both were equally good.",
    ]
    once = ["Each model was trained once. Train it with other seeds to see how much luck is in its errors."]
    text += verdicts.over_seeds_said(compared.runs) + verdicts.seeds_said(compared.runs) or once
    table = verdicts.differences_table(compared.runs, compared.logits, compared.labels)
    return Section("Is the difference real?", text, table if len(table) else None)


def calibration(compared: Compared) -> Section:
    """Whether the probabilities mean what they say, and what one temperature does about it."""
    rows, bins, without = [], {}, []
    for run in compared.runs:
        logits = compared.logits[run.id]
        plain = evaluation_calibration.calibration(logits, compared.labels)
        bins[compared.names[run.id]] = (compared.colours[run.id], plain.bins)
        rows.append({"model": compared.names[run.id], "T": 1.0, **_scores(plain)})
        kept = services.validation_logits(run.id)
        fitted = None if kept is None else evaluation_calibration.fitted_temperature(*kept)
        if fitted is not None:
            rows.append(
                {
                    "model": "",
                    "T": fitted,
                    **_scores(evaluation_calibration.calibration(logits, compared.labels, fitted)),
                }
            )
        elif kept is not None:
            wrong = accuracy.test_errors(*kept)
            why = f"{wrong:,} are wrong, and no T up to {accuracy.HIGHEST:g} is best"
            without.append(
                f"No temperature can be fitted to {compared.names[run.id]}: of its {len(kept[1]):,} validation images"
                f" {why if wrong else 'none is wrong, so every lower T looks better still'}."
            )
    return Section(
        "Can its confidence be trusted?",
        [
            "On the diagonal, a model that is 80% sure is right 80% of the time; below it, it is too sure.",
            "A model's second line is temperature scaling: the one T that fits its validation split best,"
            " measured on the test set (Guo et al. 2017). It never changes which class is first.",
            *without,
        ],
        pd.DataFrame(rows),
        [figures_classes.reliability(bins)],
    )


def _scores(found: evaluation_calibration.Calibration) -> dict[str, float]:
    return {
        "expected calibration error, %": 100 * found.expected_calibration_error,
        "negative log-likelihood, nats": found.negative_log_likelihood,
        "Brier score": found.brier_score,
    }


def classes(compared: Compared) -> Section:
    """Class by class, and which mistakes one model makes more often than the first."""
    first = compared.runs[0]
    accuracies = {
        compared.names[run.id]: (
            compared.colours[run.id],
            accuracy.per_class_accuracy(compared.logits[run.id], compared.labels),
        )
        for run in compared.runs
    }
    drawn = [figures_classes.per_class(accuracies, compared.class_names)]
    drawn += [
        figures_classes.confusion_difference(
            accuracy.confusion_difference(compared.logits[run.id], compared.logits[first.id], compared.labels),
            compared.class_names,
            f"{compared.names[run.id]} against {compared.names[first.id]}",
        )
        for run in compared.runs[1:]
    ]
    return Section(
        "Class by class",
        ["Off the diagonal, a positive number is a mistake that the named model makes more often than the first."],
        None,
        drawn,
    )


_NOTHING_INSIDE = "Black boxes give logits alone: there is nothing inside to look at."


def inside(compared: Compared) -> Section:
    """Where each model puts the images before it decides, and how the loss rises around its weights."""
    known = [run for run in compared.runs if run.id in compared.inside]
    losses = [loss for run in known for row in compared.inside[run.id]["losses"] for loss in row]
    least, most = max(min(losses, default=1), 1e-4), max(losses, default=1)
    drawn = [
        figures_inside.features(
            compared.inside[run.id]["features"],
            compared.inside[run.id]["labels"],
            compared.class_names,
            f"{compared.names[run.id]}: {compared.inside[run.id]['width']:,} features",
        )
        for run in known
    ] + [
        figures_inside.landscape(
            compared.inside[run.id]["steps"],
            compared.inside[run.id]["losses"],
            compared.colours[run.id],
            f"{compared.names[run.id]}: loss around its weights",
            least=least,
            most=most,
        )
        for run in known
    ]
    seen = max((len(compared.inside[run.id]["features"]) for run in known), default=0)
    images = min((compared.inside[run.id]["images"] for run in known), default=0)
    return Section(
        "What they see, and where they stand",
        [
            f"Above, what the last layer is given for each of the first {seen:,} test images, in the plane in which it"
            " varies most (principal components). Does the distilled student lay its classes out as its teacher does?"
            " The axes have no meaning of their own.",
            f"Below, the cross-entropy, in nats, of {images:,} training images around the weights, along two random"
            " directions of each filter's own length (Li et al. 2018): 1 moves every filter by as much as its norm. A"
            " wide valley forgives small changes. One scale for all; a slice, not the whole.",
        ]
        if known
        else [_NOTHING_INSIDE if all(run.config.model.name == BLACK_BOX for run in compared.runs) else _BEING_MEASURED],
        None,
        drawn,
    )


PARTS: dict[str, Callable[[Compared], Section]] = {
    "Cost": costs,
    "Speed": speeds,
    "Is it real?": real,
    "Calibration": calibration,
    "Classes": classes,
    INSIDE: inside,
}


def show(section: Section, key: str) -> None:
    """A part of the comparison on the page."""
    st.subheader(section.title)
    for text in section.text:
        st.markdown(literal(text), help=explained(text))
    if section.table is not None:
        st.dataframe(
            written(section.table),
            hide_index=True,
            placeholder="–",
            column_config={name: st.column_config.Column(help=explained(name)) for name in map(str, section.table)},
        )
    wide = next((count for count in (3, 2) if len(section.figures) % count == 0), min(3, len(section.figures)))
    columns = st.columns(wide) if len(section.figures) > 1 else [st.container()]
    for index, figure in enumerate(section.figures):
        with columns[index % len(columns)]:
            chart(figure, key=f"{key}_{index}", text=section.title)


def report_button(compared: Compared) -> None:
    """The whole comparison as one file."""
    st.download_button(
        "Report for a hand-out",
        in_turn(lambda: _report(compared)),
        file_name="kd-lab-comparison.html",
        icon=":material/description:",
        key="report",
        on_click="ignore",
        help="One HTML file with all tables and figures; it works offline.",
    )


def _report(compared: Compared) -> bytes:
    text = [headline(compared.runs, compared.speed, str).replace("**", "")]
    text += verdicts.over_seeds_said(compared.runs) + ([claims.TIMES_SAID] if compared.speed else [])
    parts = [part for make in PARTS.values() if (part := make(compared)).text != [_BEING_MEASURED]]
    return report("Teacher and students, compared", [Section("In short", text), *parts])
