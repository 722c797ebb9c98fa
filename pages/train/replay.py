"""A few fixed test images, and how the students' softened bars approach their teacher's, epoch by epoch."""

from collections.abc import Sequence

import streamlit as st

from kd_core.data import paths
from kd_core.evaluation import soft
from kd_core.experiments import story
from kd_core.runs.run import ACTIVE, Run
from pages.shared.components.common.browser import Component
from pages.shared.components.images.images import GRID_CSS, smooth, strip
from pages.shared.components.temperature_bars.temperature_bars import BARS_CSS, SLIDER_CSS
from pages.shared.figures import style
from pages.shared.language import _
from pages.shared.parts.naming import shades
from pages.shared.session import services
from pages.shared.words import glossary, in_language, with_article

START = 9
"""The image shown first while there is no trained teacher to say which it is least sure of: of digits the second 4."""


def replay(runs: Sequence[Run]) -> None:
    """Show the replay of linked runs; nothing where their test set is not on this machine."""
    if not runs or not paths.available(runs[0].config.dataset):
        return
    st.header(_("Watch the bars approach the teacher's"), anchor=False)
    images, labels, indices = services.probes(runs[0].config.dataset)
    class_names = services.class_names(runs[0].config.dataset)
    distillation = next((run.config.distillation for run in runs if run.config.distillation), None)
    teacher = next((run for run in runs if run.config.role == "teacher" and run.usable), None)
    start = min(START, len(labels) - 1)
    if teacher is not None:  # what it is least sure of
        logits = services.test_logits(teacher.id)[indices]
        start = int(soft.gallery("most ambiguous for the teacher", labels, logits, None)[0])
    names, colours = story.names(runs), shades(runs)
    Component(__file__, "kd-bars", css=SLIDER_CSS + BARS_CSS + GRID_CSS)(
        key="replay",
        data={
            "runs": [
                {"id": run.id, "role": run.config.role, "title": in_language(names[run.id]), "colour": colours[run.id]}
                for run in runs
            ],
            "colours": style.ROLE_COLOURS,
            "temperature": distillation.temperature if distillation else 1.0,
            "ensemble": distillation.average if distillation else "probabilities",
            "classes": class_names,
            "glossary": glossary(),
            "labels": labels.tolist(),
            "captions": [with_article(class_names[label]) for label in labels],
            "strip": strip(images),
            "smooth": smooth(images),
            "start": start,
            "active": any(run.status in ACTIVE for run in runs),
        },
    )
    if len(labels) >= 2 * len(class_names):
        shown = _("Two test images of each class: its first, and the one nearest the border to another class.")
    else:
        shown = _(
            "Two test images of each of {classes} classes: its first, and the one nearest the border to another class.",
            classes=len(labels) // 2,
        )
    warning = _(
        "KD Lab chooses no epoch by them. But a run that you stop because of what they show is chosen by test images:"
        " its test errors look better than they are."
    )
    st.caption(f"{shown} {warning}")
