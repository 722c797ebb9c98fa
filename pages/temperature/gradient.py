"""What the student feels: the gradient on one image, and what T does to its size."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kd_core.base.templates import prose
from kd_core.experiments import story
from kd_core.runs.run import Run
from pages.shared.components.chart.chart import chart
from pages.shared.figures import softness
from pages.shared.session.address import selected
from pages.shared.words import explained
from pages.temperature.subject import Subject

if TYPE_CHECKING:
    from kd_core.losses.one_example import Felt, GradientSizes

TEXTS = prose(__file__)
TEMPERATURES = [float(t) for t in np.geomspace(0.1, 100, 61)]


class Settings(NamedTuple):
    """Which student looks at the image, and how its loss is weighed; label: the image's class."""

    student: Run
    alpha: float
    t_squared: bool
    label: int


def what_the_student_feels(
    subject: Subject, models: Sequence[Run], temperature: float, class_names: Sequence[str]
) -> None:
    """Show losses and gradients of the chosen image, for a chosen student, T and alpha."""
    from kd_core.losses import one_example

    st.subheader("What the student feels")
    if not any(run.config.role != "teacher" for run in models):
        st.info("This story has no student yet. Train one on the Train page.", icon=":material/school:")
        return
    teacher_logits = subject.logits[models[0].id]
    left, numbers = st.columns([1, 3], gap="large")
    with left:
        settings = _settings(subject.label, models, teacher_logits, class_names)
    student, teacher = subject.logits[settings.student.id].tolist(), teacher_logits.tolist()
    alpha, t_squared = settings.alpha, settings.t_squared
    felt = one_example.felt(student, teacher, settings.label, temperature=temperature, alpha=alpha, t_squared=t_squared)
    with numbers:
        _loss_and_gradient(felt, settings, temperature, class_names)
    _why_t_squared(one_example.gradient_sizes(student, teacher, TEMPERATURES), temperature)


def _settings(
    label: int | None, models: Sequence[Run], teacher_logits: NDArray[np.float32], class_names: Sequence[str]
) -> Settings:
    """Let the user choose them. label: None where nobody has labelled the image."""
    students = {run.id: run for run in models if run.config.role != "teacher"}
    labels = {run_id: name for run_id, name in story.names(models).items() if run_id in students}
    student = selected("Student", labels, name="student", key="felt_student", default=[*students][-1])
    alpha = st.slider("alpha: weight of the soft loss", 0.0, 1.0, 0.9, 0.05, key="alpha", bind="query-params")
    t_squared = st.toggle("Multiply the soft loss by T²", value=True, key="t_squared", bind="query-params")
    if label is None:
        likeliest = int(teacher_logits.argmax())
        label = int(
            st.selectbox(
                "Label",
                range(len(class_names)),
                index=likeliest,
                format_func=class_names.__getitem__,
                key=f"felt_label_{likeliest}",
                bind="query-params",
                help="Nobody has labelled your picture: say what it is.",
            )
        )
    return Settings(students[student], alpha, t_squared, label)


def _loss_and_gradient(felt: "Felt", settings: Settings, temperature: float, class_names: Sequence[str]) -> None:
    """Show the loss with its numbers, and its gradient on each logit."""
    squared = rf"{temperature:g}^2" if settings.t_squared else "1"
    st.latex(
        rf"\mathcal L = \underbrace{{{settings.alpha:.2g}}}_{{\alpha}} \cdot"
        rf" \underbrace{{{squared} \cdot \mathrm{{KL}}(p_T^t \,\|\, p_T^s)}}_{{{felt.soft_loss:.4g}}}"
        rf" + \underbrace{{{1 - settings.alpha:.2g}}}_{{1 - \alpha}} \cdot"
        rf" \underbrace{{\mathrm{{CE}}(y, p^s)}}_{{{felt.hard_loss:.4g}}}"
        rf" = {felt.loss:.4g}\ \text{{nats}}",
        help=explained("nats"),
    )
    chart(
        softness.gradients(felt.soft_gradient, felt.hard_gradient, class_names),
        key="gradients",
        text="Gradient on each logit of the student: "
        + ", ".join(f"{name} {value:.3g}" for name, value in zip(class_names, felt.gradient, strict=True)),
    )
    st.caption(TEXTS["down_or_up"])


def _why_t_squared(sizes: "GradientSizes", temperature: float) -> None:
    """Plot the size of the soft loss's gradient over T, and say what the paper says of it."""
    law = TEXTS["never_holds" if sizes.law_from is None else "holds"].format(law_from=sizes.law_from)
    curve, words = st.columns([3, 2], gap="large")
    with curve:
        chart(
            softness.gradient_sizes(
                sizes.temperatures, sizes.bare, sizes.times_t_squared, sizes.limit, temperature, sizes.law_from
            ),
            key="gradient_sizes",
            text=TEXTS["plot"].format(law=law),
        )
    with words:
        st.markdown(TEXTS["why"].format(law=law))
        st.latex(
            r"\frac{\partial\,\mathrm{KL}}{\partial z_i^s} = \frac{1}{T}\left(p_i^s - p_i^t\right)"
            r"\;\xrightarrow{\;T \to \infty\;}\; \frac{z_i^s - z_i^t}{K\,T^2}"
        )
        st.markdown(TEXTS["limit"])
