"""Two lessons under the bars: what the teacher knows of all classes, and what the student feels from one image."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kd_core.base.templates import Said, said
from kd_core.evaluation.soft import likest_pairs, mean_soft_targets, most_alike, softened
from kd_core.runs.run import Run
from pages.shared.components.chart.chart import PLOTLY_JS
from pages.shared.components.common.browser import COMMON_JS, Component
from pages.shared.components.images.images import image_grid
from pages.shared.components.temperature_bars.temperature_bars import SLIDER_CSS
from pages.shared.figures import style
from pages.shared.language import _
from pages.shared.session import services
from pages.shared.session.address import callbacks, event_of, number
from pages.shared.words import literal, with_article

KNOWLEDGE = Component(
    str(Path(__file__).with_name("knowledge.py")), "kd-knowledge", css=SLIDER_CSS, js=COMMON_JS + PLOTLY_JS
)
DARK_KNOWLEDGE, DIAGONAL = "dark_knowledge", "diagonal"
CELL, CELL_IMAGES = "cell", 16
MOST_SENT = 2_000_000
"""Logits of a test set that a browser gets, two bytes each."""
MOST_MAPPED = 100
"""Classes of a map and a tree that can still be read."""
PAIRS = 10
ABOUT = said(
    "Each row is a true class, each cell what the teacher gives another class on average over the test set. The"
    " diagonal, the right answers, would outshine the rest, so it starts hidden. Turn T up: what appears is what the"
    " teacher knows about likeness."
)


@st.cache_data(show_spinner=False, max_entries=16)
def _mean_soft(run_id: str, dataset: str, temperature: float) -> NDArray[np.float64]:
    return mean_soft_targets(services.test_logits(run_id), services.test_set(dataset)[1], temperature)


@st.cache_data(show_spinner=False, max_entries=8)
def for_the_browser(run_id: str, dataset: str) -> dict[str, str]:
    """All logits of the test set, each image's largest 0 so that float16 holds them, and its labels, as uint16."""
    logits, labels = services.test_logits(run_id), services.test_set(dataset)[1]
    halves = (logits - logits.max(axis=1, keepdims=True)).astype("<f2")
    parts = {"rows": halves.clip(-60_000), "labels": labels.astype("<u2")}
    return {name: base64.b64encode(part.tobytes()).decode() for name, part in parts.items()}


def dark_knowledge_map(teacher: Run, temperature: float, class_names: Sequence[str]) -> None:
    """Show the teacher's mean soft target for each true class; a click shows the images behind a cell.

    It follows T in the browser. Of many classes those that share most at the T that came to rest, ordered by likeness;
    and in words, the pairs that share most.
    """
    st.header(_("The dark knowledge map"), anchor=False)
    st.markdown(_(ABOUT))
    dataset, classes = teacher.config.dataset, len(class_names)
    many, shown = classes > style.MANY, list(range(classes))
    sent: dict[str, Any]
    if classes <= MOST_MAPPED and services.test_logits(teacher.id).size <= MOST_SENT:
        sent = for_the_browser(teacher.id, dataset)
    else:
        mean_soft = _mean_soft(teacher.id, dataset, temperature)
        shown = [int(label) for label in most_alike(mean_soft, MOST_MAPPED)]
        sent = {"mean": np.nan_to_num(mean_soft)[np.ix_(shown, shown)].tolist(), "temperature": temperature}
    if len(shown) < classes:
        st.caption(
            _(
                "Of {classes:,} classes these are the {shown} that share most with another one.",
                classes=classes,
                shown=len(shown),
            )
        )
    data = {
        **sent,
        "key": teacher.id,
        "classes": list(class_names),
        "shown": shown,
        "many": many,
        "diagonal": number(DIAGONAL, 0, 0, 100),
        "colour": style.ROLE_COLOURS["teacher"],
    }
    state = KNOWLEDGE(
        key=DARK_KNOWLEDGE, data=data, on_clicked_change=lambda: None, **callbacks(DARK_KNOWLEDGE, DIAGONAL)
    )
    clicked = event_of(state, "clicked", lambda place: (str(int(place["x"])), str(int(place["y"]))))
    if clicked is not None:
        st.query_params[CELL] = ",".join(clicked)
    if many:
        _likest(_mean_soft(teacher.id, dataset, temperature), class_names, temperature)
    places = {str(label): label for label in shown}
    column, _comma, row = st.query_params.get(CELL, "").partition(",")
    if column in places and row in places:
        _cell_images(teacher, temperature, class_names, places[column], places[row])
    else:
        st.caption(_("Click a cell to see the images behind it."))


def _likest(mean_soft: NDArray[np.float64], class_names: Sequence[str], temperature: float) -> None:
    """Name the largest pairs of a map too large to be read cell by cell."""
    pairs = [
        _(
            "**{row}** for {other} ({share:.1%})",
            row=literal(class_names[row]),
            other=literal(with_article(class_names[other])),
            share=share,
        )
        for row, other, share in likest_pairs(mean_soft, PAIRS)
    ]
    st.markdown(
        _(
            "What the teacher takes for something else most, at T = {temperature:g}: {pairs}.",
            temperature=temperature,
            pairs=", ".join(pairs),
        )
    )


def _cell_images(teacher: Run, temperature: float, class_names: Sequence[str], column: int, row: int) -> None:
    images, labels = services.test_set(teacher.config.dataset)
    of_class = np.flatnonzero(labels == row)
    given = softened(services.test_logits(teacher.id)[of_class], temperature)[:, column]
    most = np.argsort(-given, kind="stable")[:CELL_IMAGES]
    name, other = literal(class_names[row]), literal(with_article(class_names[column]))
    st.markdown(_("Images of **{name}** that the teacher finds most like **{other}**:", name=name, other=other))
    image_grid(
        images[of_class[most]],
        [int(index) for index in of_class[most]],
        [
            _(
                "test image {index}: {share:.1%} for {name}",
                index=of_class[place],
                share=given[place],
                name=class_names[column],
            )
            for place in most
        ],
        selected=None,
        key="cell_images",
    )


def likeness_of(logits: NDArray[np.floating[Any]], class_names: Sequence[str]) -> Said | None:
    """Say in words which other classes a teacher's logits, (K,), favour; None of two classes."""
    others = [with_article(class_names[label]) for label in np.argsort(-logits)[1:]]
    if len(others) < 2:
        return None
    return said(
        "that to the teacher this image is more like {first} than like {last}",
        first=literal(others[0]),
        last=literal(others[-1]),
    )
