"""Two lessons under the bars: what the teacher knows of all classes, and what the student feels from one image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kd_core.evaluation.accuracy import likest
from kd_core.evaluation.soft import likest_pairs, mean_soft_targets, most_alike, similarity_tree, softened
from kd_core.runs.run import Run
from pages.shared.components.chart.chart import chart
from pages.shared.components.images.images import image_grid
from pages.shared.figures import softness, style
from pages.shared.session import services
from pages.shared.words import literal, with_article

CELL, CELL_IMAGES = "cell", 16
MOST_MAPPED = 100
"""Classes of a map and a tree that can still be read."""
PAIRS = 10


@st.cache_data(show_spinner=False, max_entries=16)
def _mean_soft(run_id: str, dataset: str, temperature: float) -> NDArray[np.float64]:
    return mean_soft_targets(services.test_logits(run_id), services.test_set(dataset)[1], temperature)


def dark_knowledge_map(teacher: Run, temperature: float, class_names: Sequence[str]) -> None:
    """Show the teacher's mean soft target for each true class at T; a click shows the images behind a cell.

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
    many = len(class_names) > style.MANY
    order = [int(shown[leaf]) for leaf in joined.leaves] if many else [int(label) for label in shown]
    if len(shown) < len(class_names):
        st.caption(f"Of {len(class_names):,} classes these are the {len(shown)} that share most with another one.")
    fade = st.slider("Show the diagonal", 0, 100, 0, 10, format="%d%%", key="diagonal", bind="query-params")
    heat, tree = (st.container(), st.container()) if many else st.columns(2, gap="large")
    with heat:
        clicked = chart(
            softness.dark_knowledge(mean_soft, class_names, order, diagonal=fade / 100, temperature=temperature),
            key="dark_knowledge",
            text=_map_in_words(mean_soft, class_names),
            clickable=True,
        )
        if clicked is not None:
            st.query_params[CELL] = ",".join(clicked)
    with tree:
        if len(shown) > 2:
            chart(
                softness.similarity(
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
    """Name the largest pairs of a map too large to be read cell by cell."""
    pairs = [
        f"**{literal(class_names[row])}** for {literal(with_article(class_names[other]))} ({share:.1%})"
        for row, other, share in likest_pairs(mean_soft, PAIRS)
    ]
    st.markdown(f"What the teacher takes for something else most, at T = {temperature:g}: {', '.join(pairs)}.")


def _cell_images(teacher: Run, temperature: float, class_names: Sequence[str], column: int, row: int) -> None:
    images, labels = services.test_set(teacher.config.dataset)
    of_class = np.flatnonzero(labels == row)
    given = softened(services.test_logits(teacher.id)[of_class], temperature)[:, column]
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
    """Say in words which other classes a teacher's logits, (K,), favour; None of two classes."""
    _, *others = (with_article(class_names[label]) for label in np.argsort(-logits))
    if len(others) < 2:
        return None
    return f"that to the teacher this image is more like {literal(others[0])} than like {literal(others[-1])}"


def _map_in_words(mean_soft: NDArray[np.float64], class_names: Sequence[str]) -> str:
    likeness = [
        f"{name} {with_article(class_names[other])}" for name, other in zip(class_names, likest(mean_soft), strict=True)
    ]
    return f"Mean soft target by true class. Most like: {', '.join(likeness[:MOST_MAPPED])}"
