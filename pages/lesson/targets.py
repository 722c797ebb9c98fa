"""Hard and soft targets of three classes, two that are alike and one that is not, as rows of shares."""

import html

import numpy as np
import streamlit as st

from kd_core.evaluation.accuracy import likest
from kd_core.experiments.lesson.catalogue import say
from kd_core.experiments.lesson.material import WARM
from pages.lesson.models import Shown
from pages.shared.components.images.images import strip
from pages.shared.language import _
from pages.shared.session import services

MOST = 12
"""Classes that a row has a column for: of more, those likest to the three."""


def soft_targets_of_three(shown: Shown, revealed: bool) -> None:
    """The class that the lesson follows, with its hard target; once revealed, the soft targets of three classes."""
    material = shown.material
    images, labels = services.test_set(shown.dataset)
    classes = _columns(shown)
    head = "".join(f"<th scope='col'>{html.escape(material.class_names[k])}</th>" for k in classes)
    most_alike, rows = likest(material.mean_soft), []
    for place, label in enumerate(material.alike):
        of_it = [material.sure] if not place else np.flatnonzero(labels == label)
        if (place and not revealed) or not len(of_it):
            break
        index = int(of_it[0])
        name = html.escape(material.class_names[label])
        hard = "".join(_cell(float(k == label), "hard") for k in classes)
        soft = "".join(
            _cell(float(material.mean_soft[label][k]), "likest" if k == most_alike[label] else "soft") for k in classes
        )
        rows.append(
            f"<tr><th scope='rowgroup' rowspan='2'><img src='{strip(images[[index]])}' alt='{name}'></th>"
            f"<th scope='row'>{_(say('views.hard'))}</th>{hard}</tr>"
        )
        what = _(say("views.soft", temperature=f"{WARM:g}")) if revealed else _(say("views.soft_hidden"))
        empty = f"<td colspan='{len(classes)}' class='hidden'>?</td>"
        rows.append(f"<tr><th scope='row'>{what}</th>{soft if revealed else empty}</tr>")
    st.html(
        f"<table class='kd-targets'><thead><tr><td></td><td></td>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _columns(shown: Shown) -> list[int]:
    """The classes in order; of many, the three and those that the first is most like."""
    material = shown.material
    if len(material.class_names) <= MOST:
        return [*range(len(material.class_names))]
    wanted = [*material.alike, *material.by_likeness]
    return sorted(dict.fromkeys(wanted[: MOST + 2]))[:MOST]


def _cell(share: float, kind: str) -> str:
    number = f"{share:.0%}" if share >= 0.0995 or not share or share == 1 else f"{share:.1%}"
    return f"<td class='{kind}' style='--share: {share:.4f}'><i></i><span>{number}</span></td>"
