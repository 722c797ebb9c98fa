"""What the student feels: the gradient on one image, and what T does to its size."""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from kd_core.experiments import story
from kd_core.runs.run import Run
from pages.shared.components.chart.chart import chart
from pages.shared.figures import softness
from pages.shared.session.address import chosen
from pages.shared.words import explained
from pages.temperature.subject import Subject

TEMPERATURES = [float(t) for t in np.geomspace(0.1, 100, 61)]


def what_the_student_feels(
    subject: Subject, models: Sequence[Run], temperature: float, class_names: Sequence[str]
) -> None:
    """Losses and gradients of the chosen image, for the student, T and alpha of choice."""
    from kd_core.losses import one_example

    st.subheader("What the student feels")
    students = [run for run in models if run.config.role != "teacher"]
    names = story.names(models)
    if not students:
        st.info("This story has no student yet. Train one on the Train page.", icon=":material/school:")
        return
    settings, numbers = st.columns([1, 3], gap="large")
    with settings:
        by_id = {run.id: run for run in students}
        student = by_id[
            chosen(
                st.selectbox,
                "Student",
                list(by_id),
                name="student",
                key="felt_student",
                default=students[-1].id,
                format_func=names.__getitem__,
            )
        ]
        alpha = st.slider("alpha: weight of the soft loss", 0.0, 1.0, 0.9, 0.05, key="alpha", bind="query-params")
        t_squared = st.toggle("Multiply the soft loss by T²", value=True, key="t_squared", bind="query-params")
        teacher_logits, student_logits = subject.logits[models[0].id], subject.logits[student.id]
        label = subject.label
        if label is None:
            label = int(
                st.selectbox(
                    "Label",
                    range(len(class_names)),
                    index=int(teacher_logits.argmax()),
                    format_func=class_names.__getitem__,
                    key=f"felt_label_{int(teacher_logits.argmax())}",
                    bind="query-params",
                    help="Nobody has labelled your picture: say what it is.",
                )
            )
    felt = one_example.felt(
        student_logits.tolist(),
        teacher_logits.tolist(),
        label,
        temperature=temperature,
        alpha=alpha,
        t_squared=t_squared,
    )
    with numbers:
        squared = rf"{temperature:g}^2" if t_squared else "1"
        st.latex(
            rf"\mathcal L = \underbrace{{{alpha:.2g}}}_{{\alpha}} \cdot"
            rf" \underbrace{{{squared} \cdot \mathrm{{KL}}(p_T^t \,\|\, p_T^s)}}_{{{felt.soft_loss:.4g}}}"
            rf" + \underbrace{{{1 - alpha:.2g}}}_{{1 - \alpha}} \cdot"
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
        st.caption(
            "Training moves each logit against its gradient: bars below zero push a logit up, bars above pull it down."
        )
    sizes = one_example.gradient_sizes(student_logits.tolist(), teacher_logits.tolist(), TEMPERATURES)
    law = (
        "On this image it does not hold for this student at any T up to 100."
        if sizes.law_from is None
        else f"On this image it holds for this student from T = {sizes.law_from:.2g} on: the grey part of the plot."
    )
    curve, words = st.columns([3, 2], gap="large")
    with curve:
        chart(
            softness.gradient_sizes(
                sizes.temperatures, sizes.bare, sizes.times_t_squared, sizes.limit, temperature, sizes.law_from
            ),
            key="gradient_sizes",
            text=f"Size of the soft loss's gradient over temperature, with and without T squared, and its limit. {law}",
        )
    with words:
        st.markdown(
            "**Why T²?** Where T is large against the logits, softening divides the gradient of the soft loss twice by"
            " T: once in the logits, once because the two softened distributions come closer to each other. T² makes up"
            f" for it, so that soft and hard loss stay in proportion when T changes. {law} At lower T the gradient may"
            " even grow with T: while both networks are sure of the same class, they hardly differ."
        )
        st.latex(
            r"\frac{\partial\,\mathrm{KL}}{\partial z_i^s} = \frac{1}{T}\left(p_i^s - p_i^t\right)"
            r"\;\xrightarrow{\;T \to \infty\;}\; \frac{z_i^s - z_i^t}{K\,T^2}"
        )
        st.markdown(
            "That limit, dotted in the plot, is of logits that are centred in each example, that is, of mean zero"
            " (section 2.1). **At a very high T** distillation only matches these, however unlikely the class. **At a"
            " lower one** it pays less heed to logits far below the rest, which may be noise, or may carry knowledge."
        )
