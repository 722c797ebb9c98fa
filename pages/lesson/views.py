"""What the lesson shows beside each step. A view hides what its question asks for until that is revealed."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from kd_core.evaluation import bias
from kd_core.evaluation.claims import in_figures
from kd_core.experiments.comparison import Model, compare
from kd_core.experiments.lesson import material as lesson_material
from kd_core.experiments.lesson.catalogue import Step, entry, say
from kd_core.experiments.lesson.material import GRID, microjoules
from kd_core.experiments.lesson.questions import HOT, saved
from pages.lesson import figures
from pages.lesson.models import Shown
from pages.lesson.targets import soft_targets_of_three
from pages.lesson.training import distill
from pages.shared import tour
from pages.shared.components.chart.chart import chart
from pages.shared.components.images.images import show, width_of
from pages.shared.components.temperature_bars.temperature_bars import temperature_bars, temperature_slider
from pages.shared.figures import experiments
from pages.shared.language import _
from pages.shared.parts.findings import finding
from pages.shared.session import services
from pages.shared.words import explained

STUDIED = 112
"""Pixels of the longer side of the image beside its bars."""
UNDER_T = ("doubtful", "sure", "felt")
"""Views whose bars follow T."""
REVEALED_AT = {"sure": f"{HOT:g}", "felt": "2"}
"""T of a view once its question was answered."""
VOTES = 5
"""Teachers of an ensemble whose cost is counted."""


def step_button(label: str, to: Step, *, key: str, icon: str, **look: Any) -> None:
    """A button to another step of this page, on which T stands as the step's view begins."""
    st.button(label, key=key, icon=icon, on_click=_begin, args=(to,), **look)


def _begin(step: Step) -> None:
    tour.go(step.name)
    if step.view in UNDER_T:
        st.query_params["T"] = "1"


def prepare(step: Step) -> None:
    """Have a step that a link opened begin with T = 1, as one does that a button opened."""
    if step.view in UNDER_T:
        st.query_params.setdefault("T", "1")


def reveal(step: Step) -> None:
    """Move T to where the answer of a step is seen."""
    if step.view in REVEALED_AT:
        st.query_params["T"] = REVEALED_AT[step.view]


def costs(shown: Shown, _revealed: bool) -> None:
    """What the models on screen cost to run: counted, and measured on this machine."""
    known = st.container(key="lesson_known")  # frame.css keeps its room
    with st.container():  # what is awaited stands below what is known
        speed = finding("speed", shown.runs, _(say("views.milliseconds_wait")))
    with known:
        _costs_of(compare(shown.runs, speed=speed).models)


def _costs_of(models: Sequence[Model]) -> None:
    rows: dict[str, list[float | None]] = {_(model.name): [model.errors, *_costs(model)] for model in models}
    teacher = rows[_(models[0].name)]
    many: list[float | None] = [None, *(None if cost is None else VOTES * cost for cost in teacher[1:])]
    rows = {_(say("views.ensemble")): many, **rows}
    kinds = ["teacher", *(model.run.config.role for model in models)]
    counts = [values[2] for values in rows.values()]
    if None not in counts:
        figure = figures.costs([*rows], [float(count or 0) for count in counts], kinds, axis=_(say("views.costs_axis")))
        chart(figure, key="lesson_costs", text=_(say("views.costs_title")))
    table = pd.DataFrame.from_dict(rows, orient="index", columns=[*map(_, entry("views.costs_columns"))])
    st.dataframe(table.map(in_figures))
    st.caption(_(say("views.energy")), help=explained(_(say("views.costs_axis"))))


def _costs(model: Model) -> list[float | None]:
    """Parameters, multiply-adds, milliseconds and microjoules of one image; None where a black box hides them."""
    counted, pace = model.costs["multiply_adds"], model.single
    energy = None if counted is None else microjoules(counted)
    return [model.costs["parameters"], counted, None if pace is None else pace.latency_ms_p50, energy]


def bars(view: str, shown: Shown, _revealed: bool) -> None:
    """An image, and the bars of its models under T."""
    material, index = shown.material, shown.image(view)
    images, labels = services.test_set(shown.dataset)
    label = int(labels[index])
    with st.container(key="hand"):
        temperature_slider(key="temperature")
    beside, right = st.columns([1, 6], gap="small")
    with beside:
        caption = _(say("views.doubtful", index=index, label=shown.material.class_names[label]))
        show(images[index], text=caption, caption=caption, width=width_of(images[index], STUDIED))
    with right:
        logits = {run.id: services.test_logits(run.id)[index] for run in shown.runs}
        temperature_bars(shown.runs, logits, material.class_names, label, key="temperature_bars")


def gradient(marked: tuple[float, ...], shown: Shown, revealed: bool, height: int = 360) -> None:
    """The size of the soft gradient over T; before its question is answered, with T² alone."""
    bare, scaled = shown.material.gradients
    lines = {_(say("views.gradient_bare")): bare if revealed else [], _(say("views.gradient_scaled")): scaled}
    title, axis = _(say("views.gradient_title")), _(say("views.gradient_axis"))
    st.caption(title)
    figure = figures.gradient_over_temperature(GRID, lines, axis=axis, marked=marked, height=height)
    chart(figure, key="lesson_gradient", text=title)


def felt(shown: Shown, revealed: bool) -> None:
    """The curve of the bare gradient once it is revealed, and the doubtful image under T."""
    if revealed:
        gradient((1.0, 2.0), shown, revealed, height=210)
    bars("felt", shown, revealed)


def _say_not_here() -> None:
    st.warning(_(say("views.not_here")), icon=":material/inventory_2:")


def hot(shown: Shown, revealed: bool) -> None:
    """Students at two temperatures over seeds."""
    students = shown.material.students
    if students is None:
        _say_not_here()
        return
    values = {"cold": lesson_material.COLD_STUDENT, "hot": lesson_material.HOT_STUDENT}
    lines = {
        _(say("views.lines.baseline")): ("baseline", students.errors["baseline"]),
        _(say("views.lines.cold", **values)): ("distilled", students.errors["cold"]),
        _(say("views.lines.hot", **values)): ("distilled", students.errors["hot"] if revealed else []),
    }
    _over_seeds(lines, students)


def worth(shown: Shown, revealed: bool) -> None:
    """A student with few labels, with twice as many, and with a teacher."""
    students = shown.material.students
    if students is None:
        _say_not_here()
        return
    share = f"{students.fraction:.0%}"
    lines = {
        _(say("views.lines.few", fraction=share)): ("baseline", students.errors["few"]),
        _(say("views.lines.twice")): ("baseline", students.errors["twice"] if revealed else []),
        _(say("views.lines.taught", fraction=share)): ("distilled", students.errors["taught"] if revealed else []),
    }
    _over_seeds(lines, students)


def _over_seeds(lines: dict[str, tuple[str, Any]], students: lesson_material.Students) -> None:
    seeds = max(len(values) for _kind, values in lines.values())
    title = _(say("views.errors_title", seeds=seeds, data=students.data, examples=f"{students.examples:,}"))
    chart(figures.by_seed(lines, title=title, axis=_(say("views.errors_axis"))), key="lesson_seeds", text=title)


def seeds(shown: Shown, revealed: bool) -> None:
    """What the student saves with the seed that stands on screen, and with the others."""
    known = shown.material.seeds
    if known is None:
        _say_not_here()
        return
    by_seed = saved(known)
    here = by_seed.pop(known.this)
    lines = {
        _(say("views.seeds_this", seed=known.this)): ("distilled", [here]),
        _(say("views.seeds_others")): ("distilled", [*by_seed.values()] if revealed else []),
    }
    title = _(say("views.seeds_title", data=known.data))
    chart(figures.by_seed(lines, title=title, axis=_(say("views.seeds_axis"))), key="lesson_seeds", text=title)


def missing(shown: Shown, revealed: bool) -> None:
    """Images of the class that the student never saw; once revealed, what it makes of them, by its bias."""
    unseen = shown.material.missing
    if unseen is None:
        _say_not_here()
        return
    images, labels = services.test_set(unseen.dataset)
    name = str(shown.values["missing"])
    some = np.flatnonzero(np.isin(labels, unseen.classes))[:10]
    if not revealed:
        for row in (some[:5], some[5:]):
            for column, index in zip(st.columns(5), row, strict=False):
                with column:
                    show(images[index], text=name)
        st.caption(_(say("views.missing_never", missing=name)))
        return
    _bring_back(unseen, name)


@st.fragment
def _bring_back(unseen: lesson_material.Missing, name: str) -> None:
    correction = bias.correction(unseen.logits, unseen.labels, unseen.classes)
    strongest = float(np.ceil(correction.biases[-1]))
    label = _(say("views.missing_bias", missing=name))
    raised = st.slider(label, 0.0, strongest, 0.0, 0.1, key="lesson_bias", bind="query-params")
    total, among = correction.errors(raised)
    right, examples = correction.examples - among, f"{correction.examples:,}"
    st.markdown(
        _(say("views.missing_now", bias=f"{raised:.1f}", right=f"{right:,}", examples=examples, errors=f"{total:,}"))
    )
    counts = [correction.errors(by) for by in correction.biases]
    figure = experiments.biases(
        correction.biases.round(3).tolist(), [total for total, _among in counts], [among for _total, among in counts],
        name, {_(say("views.missing_yours")): raised},
    )  # fmt: skip
    chart(figure, key="lesson_bias_curve", text=_(say("views.missing_title")))


VIEWS: dict[str, Callable[[Shown, bool], None]] = {
    "costs": costs,
    "doubtful": partial(bars, "doubtful"),
    "targets": soft_targets_of_three,
    "sure": partial(bars, "sure"),
    "gradient": partial(gradient, (20.0,)),
    "felt": felt,
    "distill": distill,
    "hot": hot,
    "seeds": seeds,
    "worth": worth,
    "missing": missing,
}
"""By the view's name in the catalogue."""
