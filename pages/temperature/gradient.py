"""What the student feels: the gradient on one image, and what T does to its size."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kd_core.base.templates import prose
from kd_core.experiments import story
from kd_core.runs.run import Run
from pages.shared.components.common.browser import Component
from pages.shared.components.temperature_bars.temperature_bars import BARS_CSS, SLIDER_CSS
from pages.shared.figures import style
from pages.shared.language import _
from pages.shared.session.address import callbacks, number, selected
from pages.shared.words import explained, in_language
from pages.temperature.subject import Subject

TEXTS = prose(__file__)
ALPHA = "alpha"
LIMIT = (
    r"\frac{\partial\,\mathrm{KL}}{\partial z_i^s} = \frac{1}{T}\left(p_i^s - p_i^t\right)"
    r"\;\overset{T \to \infty}{\longrightarrow}\; \frac{z_i^s - z_i^t}{K\,T^2}"
)
"""Equations 2 to 4 of the paper, in LaTeX."""
FELT = Component(str(Path(__file__).with_name("felt.py")), "kd-felt", css=SLIDER_CSS + BARS_CSS)


class Settings(NamedTuple):
    """Which student looks at the image, and whether T² is in its loss; label: the image's class."""

    student: Run
    t_squared: bool
    label: int


def what_the_student_feels(subject: Subject, models: Sequence[Run], class_names: Sequence[str]) -> None:
    """Show losses and gradients of the chosen image, for a chosen student. They follow T and alpha in the browser."""
    st.header(_("What the student feels"), anchor=False)
    if not any(run.config.role != "teacher" for run in models):
        st.info(_("This story has no student yet. Train one on the Train page."), icon=":material/school:")
        return
    left, numbers = st.columns([1, 3], gap="large")
    with left:
        settings = _settings(subject.label, models, subject.logits[models[0].id], class_names)
    student, teacher = (
        {"id": run.id, "logits": subject.logits[run.id].tolist()} for run in (settings.student, models[0])
    )
    with numbers:
        FELT(
            key="felt",
            data={
                "student": student,
                "teacher": teacher,
                "label": settings.label,
                "alpha": number(ALPHA, 0.9, 0, 1),
                "t_squared": settings.t_squared,
                "classes": list(class_names),
                "colours": style.GRADIENT_COLOURS,
                "texts": {name: _(text) for name, text in TEXTS.items()},
            },
            **callbacks("felt", ALPHA),
        )
        st.caption(_(TEXTS["down_or_up"]), help=explained("nats"))
    why, limit = st.columns(2, gap="large")
    why.markdown(_(TEXTS["why"]))
    limit.latex(LIMIT)
    limit.markdown(_(TEXTS["limit"]))


def _settings(
    label: int | None, models: Sequence[Run], teacher_logits: NDArray[np.float32], class_names: Sequence[str]
) -> Settings:
    """Let the user choose them. label: None where nobody has labelled the image."""
    students = {run.id: run for run in models if run.config.role != "teacher"}
    labels = {run_id: in_language(name) for run_id, name in story.names(models).items() if run_id in students}
    student = selected(_("Student"), labels, name="student", key="felt_student", default=[*students][-1])
    t_squared = st.toggle(_("Multiply the soft loss by T²"), value=True, key="t_squared", bind="query-params")
    if label is None:
        likeliest = int(teacher_logits.argmax())
        label = int(
            st.selectbox(
                _("Label"),
                range(len(class_names)),
                index=likeliest,
                format_func=class_names.__getitem__,
                key=f"felt_label_{likeliest}",
                bind="query-params",
                help=_("Nobody has labelled your picture: say what it is."),
            )
        )
    return Settings(students[student], t_squared, label)
