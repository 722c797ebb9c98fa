"""Two lessons under the bars: what the teacher knows of all classes, and what the student feels from one image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kd_core import figures
from kd_core.evaluation.accuracy import likest
from kd_core.evaluation.soft import likest_pairs, mean_soft_targets, most_alike, similarity_tree, softened
from kd_core.experiments import story
from kd_core.runs.run import Run
from pages.widgets import lab
from pages.widgets.address import chosen
from pages.widgets.chart import chart
from pages.widgets.images import image_grid
from pages.widgets.subject import Subject
from pages.widgets.words import explained, literal, one

CELL, CELL_IMAGES = "cell", 16
MOST_MAPPED = 100
"""Classes of a map and a tree that can still be read."""
PAIRS = 10
TEMPERATURES = [float(t) for t in np.geomspace(0.1, 100, 61)]


@st.cache_data(show_spinner=False, max_entries=16)
def _mean_soft(run_id: str, dataset: str, temperature: float) -> NDArray[np.float64]:
    return mean_soft_targets(lab.test_logits(run_id), lab.test_set(dataset)[1], temperature)


def dark_knowledge_map(teacher: Run, temperature: float, class_names: Sequence[str]) -> None:
    """The teacher's mean soft target for each true class, following T; a click shows the images behind a cell.

    Of many classes those that share most, ordered by likeness; and in words, the pairs that share most.
    """
    st.subheader("The dark knowledge map")
    st.markdown(
        "Each row is a true class, each cell what the teacher gives another class on average over the test set. The"
        " diagonal, the right answers, would outshine the rest, so it starts hidden. Turn T up: what appears is what"
        " the teacher knows about likeness."
    )
    mean_soft = _mean_soft(teacher.id, teacher.config.dataset, temperature)
    shown = most_alike(mean_soft, MOST_MAPPED)
    joined = similarity_tree(np.nan_to_num(mean_soft)[np.ix_(shown, shown)])
    many = len(class_names) > figures.MANY
    order = [int(shown[leaf]) for leaf in joined.leaves] if many else [int(label) for label in shown]
    if len(shown) < len(class_names):
        st.caption(f"Of {len(class_names):,} classes these are the {len(shown)} that share most with another one.")
    fade = st.slider("Show the diagonal", 0, 100, 0, 10, format="%d%%", key="diagonal", bind="query-params")
    heat, tree = (st.container(), st.container()) if many else st.columns(2, gap="large")
    with heat:
        clicked = chart(
            figures.dark_knowledge(mean_soft, class_names, order, diagonal=fade / 100, temperature=temperature),
            key="dark_knowledge",
            text=_map_in_words(mean_soft, class_names),
            clickable=True,
        )
        if clicked is not None:
            st.query_params[CELL] = ",".join(clicked)
    with tree:
        if len(shown) > 2:
            chart(
                figures.similarity(
                    joined.leaves, joined.positions, joined.heights, [class_names[label] for label in shown]
                ),
                key="similarity",
                text="Classes joined by likeness, in the order of the tree: "
                + ", ".join(class_names[shown[leaf]] for leaf in joined.leaves),
            )
            st.caption(
                "The lower two classes are joined, the larger the share that they lend each other, at this T, of what"
                " they give classes other than their own."
            )
    if many:
        _likest(mean_soft, class_names, temperature)
    places = {str(label): label for label in order}
    column, _, row = st.query_params.get(CELL, "").partition(",")
    if column in places and row in places:
        _cell_images(teacher, temperature, class_names, places[column], places[row])
    else:
        st.caption("Click a cell to see the images behind it.")


def _likest(mean_soft: NDArray[np.float64], class_names: Sequence[str], temperature: float) -> None:
    """The pairs of a map too large to be read cell by cell."""
    said = [
        f"**{literal(class_names[row])}** for {literal(one(class_names[other]))} ({share:.1%})"
        for row, other, share in likest_pairs(mean_soft, PAIRS)
    ]
    st.markdown(f"What the teacher takes for something else most, at T = {temperature:g}: {', '.join(said)}.")


def _cell_images(teacher: Run, temperature: float, class_names: Sequence[str], column: int, row: int) -> None:
    images, labels = lab.test_set(teacher.config.dataset)
    of_class = np.flatnonzero(labels == row)
    given = softened(lab.test_logits(teacher.id)[of_class], temperature)[:, column]
    most = np.argsort(-given, kind="stable")[:CELL_IMAGES]
    article = "a " if len(class_names[column]) == 1 else ""
    st.markdown(
        f"Images of **{literal(class_names[row])}** that the teacher finds most like"
        f" {article}**{literal(class_names[column])}**:"
    )
    image_grid(
        images[of_class[most]],
        [int(index) for index in of_class[most]],
        [f"test image {of_class[place]}: {given[place]:.1%} for {class_names[column]}" for place in most],
        selected=None,
        key="cell_images",
    )


def likeness_of(logits: NDArray[np.floating[Any]], class_names: Sequence[str]) -> str | None:
    """What a teacher's logits of an image, (K,), say beside its first class, in words; None of two classes."""
    _, *others = (one(class_names[label]) for label in np.argsort(-logits))
    if len(others) < 2:
        return None
    return f"that to the teacher this image is more like {literal(others[0])} than like {literal(others[-1])}"


def _map_in_words(mean_soft: NDArray[np.float64], class_names: Sequence[str]) -> str:
    likeness = [f"{name} {one(class_names[other])}" for name, other in zip(class_names, likest(mean_soft), strict=True)]
    return f"Mean soft target by true class. Most like: {', '.join(likeness[:MOST_MAPPED])}"


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
            figures.gradients(felt.soft_gradient, felt.hard_gradient, class_names),
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
            figures.gradient_sizes(
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
