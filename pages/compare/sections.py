"""A closer look at a comparison: each part is words, a table and figures, for the page and for the report."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import streamlit as st

from kd_core.base.templates import prose, said
from kd_core.evaluation import accuracy, claims
from kd_core.evaluation.calibration import Calibration
from kd_core.exchange.export import checks
from kd_core.experiments.comparison import Comparison, Model, Pair, images_at_once
from pages.compare import figures
from pages.compare.report import Section, report, written
from pages.shared.components.chart.chart import chart
from pages.shared.figures import classes as figures_classes
from pages.shared.figures.style import labels_of
from pages.shared.language import _, current, spoken
from pages.shared.parts.button import in_turn
from pages.shared.parts.naming import shades, short_names
from pages.shared.session import services
from pages.shared.words import explained, hardware, in_language, literal

if TYPE_CHECKING:
    from kd_core.evaluation.speed import Speeds
    from kd_core.jobs.findings import Inside

INSIDE = said("Inside")
TEXTS = prose(__file__)
FASTER = said("times as fast as the first (95% interval)")
_NOT_MEASURED = said("It is not measured yet; should anything be in its way, that stands above.")
"""The whole text of a part that waits for its numbers: a file leaves such a part out."""


class Compared(NamedTuple):
    """A comparison, and what is known of the inside of its models: run id -> the finding."""

    comparison: Comparison
    inside: "Mapping[str, Inside]"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes of the data set that all were tested on."""
        return services.class_names(self.comparison.runs[0].config.dataset)

    @property
    def names(self) -> dict[str, str]:
        """Run id -> name that tells it from the others."""
        return short_names(self.comparison.runs)

    @property
    def labels(self) -> dict[str, str]:
        """Run id -> what stands at its line."""
        kinds, names = [run.config.kind for run in self.comparison.runs], self.names
        return dict(zip(names, labels_of(kinds, [*names.values()]), strict=True))

    @property
    def colours(self) -> dict[str, str]:
        """Run id -> its colour."""
        return shades(self.comparison.runs)


def costs(compared: Compared) -> Section:
    """Plot accuracy against cost, with the models that no other beats in both."""
    comparison, names = compared.comparison, compared.names
    points = [_point(compared, model) for model in comparison.models]
    text = [_(TEXTS["costs"])]
    if comparison.speed:
        text += [_(claims.null_said(comparison.speed)), _conditions(comparison.speed)]
    return Section(
        _("Accuracy against cost"),
        text,
        pd.DataFrame([_cost_row(comparison, model, names[model.run.id]) for model in comparison.models]),
        [figures.pareto(points)] if any(point[x] is not None for point in points for x in figures.COSTS) else [],
    )


def _conditions(speed: "Speeds") -> str:
    """Say what a speed was measured on and with."""
    conditions = speed["conditions"]
    shown = {"order": _(conditions["order"]), "processor": hardware(conditions["processor"])}
    return _(TEXTS["conditions"], **{**conditions, **shown})


def _point(compared: Compared, model: Model) -> dict[str, Any]:
    run_id = model.run.id
    return {
        "name": f"{compared.names[run_id]} {in_language(model.run.config.network)}",
        "label": compared.labels[run_id],
        "colour": compared.colours[run_id],
        "accuracy": model.accuracy,
        "low": model.interval[0],
        "high": model.interval[1],
        "latency_ms": model.single.latency_ms_p50 if model.single else None,
        **model.costs,
    }


def _cost_row(comparison: Comparison, model: Model, name: str) -> dict[str, object]:
    row: dict[str, object] = {
        said("model"): name,
        said("network"): in_language(model.run.config.network),
        said("test errors"): model.errors,
        said("agreement with the first, %"): 100 * comparison.agreements[model.run.id],
        said("parameters"): model.costs["parameters"],
        said("multiply-adds"): model.costs["multiply_adds"],
    }
    if model.single is not None and model.batched is not None:
        row |= {
            said("latency p50, ms"): model.single.latency_ms_p50,
            said("latency p95, ms"): model.single.latency_ms_p95,
            FASTER: _(model.single.faster.cell) if model.single.faster else None,
            _(images_at_once(model.batched)): round(model.batched.images_per_second),
        }
    return row


def speeds(compared: Compared) -> Section:
    """List latency and throughput by runtime and batch size, each with its uncertainty."""
    title, comparison = _("Speed, by runtime and batch size"), compared.comparison
    if comparison.speed is None:
        return Section(title, [_(_NOT_MEASURED)])
    names, labels, colours = compared.names, compared.labels, compared.colours
    rows, lines = [], []
    for model in comparison.models:
        for runtime, paces in model.paces.items():
            name, label = names[model.run.id], claims.RUNTIMES[runtime]
            sizes, rates = [pace.batch for pace in paces], [pace.images_per_second for pace in paces]
            lines.append((f"{labels[model.run.id]}, {label}", colours[model.run.id], runtime, sizes, rates))
            rows += [
                {
                    said("model"): name,
                    said("runtime"): label,
                    said("batch"): pace.batch,
                    said("latency, ms"): pace.latency_ms_p50,
                    said("spread, ms"): pace.latency_ms_spread,
                    said("95% within, ms"): pace.latency_ms_p95,
                    said("images a second"): round(pace.images_per_second),
                    FASTER: _(pace.faster.cell) if pace.faster else None,
                }
                for pace in paces
            ]
    text = [_conditions(comparison.speed), _(claims.null_said(comparison.speed)), *_int8_files(compared)]
    return Section(title, text, pd.DataFrame(rows), [figures.throughput(lines)])


def _int8_files(compared: Compared) -> list[str]:
    """Say what the int8 file of each model that has been exported did on the test set."""
    exported = {run_id: checks.read_checks(services.store().folder(run_id)) for run_id in compared.names}
    return [
        _("{name} in int8: {verdict}", name=compared.names[run_id], verdict=_(whole.file(checks.ONNX_INT8).in_words))
        for run_id, whole in exported.items()
        if whole is not None
    ]


def real(compared: Compared) -> Section:
    """Say which differences could be chance."""
    text = [_(TEXTS["mcnemar"]), *map(_, compared.comparison.seeds_in_words() or [TEXTS["once"]])]
    rows = [_pair_row(pair, compared.names) for pair in compared.comparison.pairs]
    return Section(_("Is the difference real?"), text, pd.DataFrame(rows) if rows else None)


def _pair_row(pair: Pair, names: Mapping[str, str]) -> dict[str, object]:
    verdict = _("could be chance")
    if pair.better:
        verdict = _("{name} is better on this seed", name=names[pair.better.run.id])
    return {
        said("first"): names[pair.first.run.id],
        said("second"): names[pair.second.run.id],
        said("only the first is wrong"): pair.test.only_first_wrong,
        said("only the second is wrong"): pair.test.only_second_wrong,
        "p": pair.test.p_value,
        said("verdict"): verdict,
    }


def calibration(compared: Compared) -> Section:
    """Show calibration, as trained and after temperature scaling."""
    rows, bins, unfitted, names = [], {}, [], compared.names
    for scores in compared.comparison.scores:
        run_id = scores.model.run.id
        bins[compared.labels[run_id]] = (compared.colours[run_id], scores.plain.bins)
        rows.append({"model": names[run_id], "T": 1.0, **_scores(scores.plain)})
        if scores.scaled is not None:
            rows.append({"model": "", "T": scores.temperature, **_scores(scores.scaled)})
        unfitted += [_(scores.unfitted)] if scores.unfitted else []
    return Section(
        _("Can its confidence be trusted?"),
        [_(TEXTS["calibration"]), _(TEXTS["temperature_scaling"]), *unfitted],
        pd.DataFrame(rows),
        [figures_classes.reliability(bins)],
    )


def _scores(calibrated: Calibration) -> dict[str, float]:
    return {
        said("expected calibration error, %"): 100 * calibrated.expected_calibration_error,
        said("negative log-likelihood, nats"): calibrated.negative_log_likelihood,
        said("Brier score"): calibrated.brier_score,
    }


def classes(compared: Compared) -> Section:
    """Compare accuracy class by class, and which mistakes each model makes more often than the first."""
    comparison, names, colours = compared.comparison, compared.names, compared.colours
    first, *others = comparison.runs
    logits, labels = comparison.logits, comparison.labels
    accuracies = {
        names[run.id]: (colours[run.id], accuracy.per_class_accuracy(logits[run.id], labels)) for run in comparison.runs
    }
    drawn = [figures_classes.per_class(accuracies, compared.class_names)]
    drawn += [
        figures_classes.confusion_difference(
            accuracy.confusion_difference(logits[run.id], logits[first.id], labels),
            compared.class_names,
            _("{name} against {other}", name=names[run.id], other=names[first.id]),
        )
        for run in others
    ]
    return Section(_("Class by class"), [_(TEXTS["classes"])], None, drawn)


def inside(compared: Compared) -> Section:
    """Show each model's last features in a plane, and the loss around its weights."""
    runs = compared.comparison.runs
    known = {run.id: compared.inside[run.id] for run in runs if run.id in compared.inside}
    losses = [loss for seen in known.values() for row in seen["losses"] for loss in row]
    scale = {"least": max(min(losses, default=1), 1e-4), "most": max(losses, default=1)}
    drawn = []
    for run_id, seen in known.items():
        title = _("{name}: {width:,} features", name=compared.names[run_id], width=seen["width"])
        drawn.append(figures.features(seen["features"], seen["labels"], compared.class_names, title))
    for run_id, seen in known.items():
        title = _("{name}: loss around its weights", name=compared.names[run_id])
        drawn.append(figures.landscape(seen["steps"], seen["losses"], compared.colours[run_id], title, **scale))
    shown = max((len(seen["features"]) for seen in known.values()), default=0)
    images = min((seen["images"] for seen in known.values()), default=0)
    text = [_(TEXTS["features"], seen=shown), _(TEXTS["landscape"], images=images)]
    if not known:
        text = [_(TEXTS["nothing_inside"] if all(run.config.model.opaque for run in runs) else _NOT_MEASURED)]
    return Section(_("What they see, and where they stand"), text, None, drawn)


PARTS: dict[str, Callable[[Compared], Section]] = {
    said("Cost"): costs,
    said("Speed"): speeds,
    said("Is it real?"): real,
    said("Calibration"): calibration,
    said("Classes"): classes,
    INSIDE: inside,
}


def show(section: Section, key: str) -> None:
    """Draw a section on the page."""
    st.header(section.title, anchor=False)
    for text in section.text:
        st.markdown(literal(text), help=explained(text))
    if section.table is not None:
        st.dataframe(
            written(section.table),
            hide_index=True,
            placeholder="–",
            column_config={
                name: st.column_config.Column(_(name), help=explained(_(name))) for name in map(str, section.table)
            },
        )
    wide = next((count for count in (3, 2) if len(section.figures) % count == 0), min(3, len(section.figures)))
    columns = st.columns(wide) if len(section.figures) > 1 else [st.container()]
    for index, figure in enumerate(section.figures):
        with columns[index % len(columns)]:
            chart(figure, key=f"{key}_{index}", text=section.title)


def report_button(compared: Compared) -> None:
    """Offer the whole comparison as one file, in the language that is read."""
    language = current()

    def made() -> bytes:  # when its button is pressed, which is while no page is drawn
        with spoken(language):
            return _report(compared)

    st.download_button(
        _("Report for a hand-out"),
        in_turn(made),
        file_name="kd-lab-comparison.html",
        icon=":material/description:",
        key="report",
        on_click="ignore",
        help=_("One HTML file with all tables and figures; it works offline."),
    )


def _report(compared: Compared) -> bytes:
    comparison = compared.comparison
    text = [_(comparison.headline(in_language)).replace("**", "")]
    text += [] if comparison.saved is None else [_(claims.over_seeds(comparison.saved))]
    text += [_(claims.TIMES_SAID)] if comparison.speed else []
    text += services.doubts(comparison.runs[0].config.dataset)
    parts = [part for make in PARTS.values() if (part := make(compared)).text != [_(_NOT_MEASURED)]]
    return report(_("Teacher and students, compared"), [Section(_("In short"), text), *parts])
