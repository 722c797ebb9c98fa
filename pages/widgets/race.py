"""The race: models classify the same stream of test images side by side, each at the speed that was measured."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kd_core.evaluation import predictions
from kd_core.figures import ROLE_COLOURS
from pages.widgets import lab
from pages.widgets.closer import Compared
from pages.widgets.images import sprite
from pages.widgets.temperature_bars import COMMON_JS
from pages.widgets.verdicts import short_name

_HERE = Path(__file__)
STREAM = 2000
"""Images of the race: the test set's first. All of MNIST's would take the page megabytes."""


class Lane(NamedTuple):
    """One model in the race: its top class for every test image, (N,), and the measured latency of one image."""

    title: str
    colour: str
    predictions: NDArray[np.int64]
    latency_ms: float


def race(
    lanes: Sequence[Lane], images: NDArray[np.uint8], labels: NDArray[np.int64], class_names: Sequence[str]
) -> None:
    """Let the models run over the first STREAM images.

    images: (N, C, H, W), labels: (N,): the test set in its own order, as the lanes' predictions are.
    """
    component = st.components.v2.component(
        "kd_lab_race",
        html='<div class="kd-race"></div>',
        css=_HERE.with_suffix(".css").read_text(encoding="utf-8"),
        js=COMMON_JS + _HERE.with_suffix(".js").read_text(encoding="utf-8"),
    )
    picture, columns = sprite(images[:STREAM])
    component(
        key="race",
        data={
            "lanes": [
                {
                    "title": lane.title,
                    "colour": lane.colour,
                    "predictions": _packed(lane.predictions[:STREAM]),
                    "latency_ms": lane.latency_ms,
                }
                for lane in lanes
            ],
            "labels": _packed(labels[:STREAM]),
            "classes": list(class_names),
            "sprite": picture,
            "columns": columns,
            "side": images.shape[-1],
        },
    )


def _packed(classes: NDArray[np.int64]) -> str:
    """Class indices below 256, a byte each."""
    return base64.b64encode(classes.astype(np.uint8).tobytes()).decode()


def race_of(compared: Compared) -> None:
    """The race of compared models; nothing while their speed is not known."""
    if compared.speed is None:
        return
    images, labels = lab.test_set(compared.runs[0].config.dataset)
    lanes = [
        Lane(
            f"{short_name(run)} · {run.config.network}",
            ROLE_COLOURS[run.config.role],
            predictions(compared.logits[run.id]),
            compared.speed["models"][run.id]["latency_ms_p50"],
        )
        for run in compared.runs
    ]
    race(lanes, images, labels, compared.class_names)
