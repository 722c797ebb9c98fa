"""The race: models classify the same stream of test images side by side, each at the speed that was measured."""

import base64

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kd_core.evaluation.accuracy import predictions
from pages.compare.sections import Compared
from pages.shared.components.common.browser import Component
from pages.shared.components.images.images import sprite, thumbnails
from pages.shared.language import _
from pages.shared.session import services
from pages.shared.words import in_language, with_article

STREAM = 2000
"""Images of the race at most: the test set's first. All of MNIST's would take the page megabytes."""
STREAM_BYTES = 3_000_000
"""Of its pixels: of colour images of 32x32 they are the first 976."""
PICTURE = 48
"""Pixels of an image's longer side, at most."""


def stream_length(images: NDArray[np.uint8]) -> int:
    """Return how many of a test set's images, (N, C, H, W), the models race over."""
    side = min(PICTURE, max(images.shape[2:]))
    affordable = STREAM_BYTES // (images.shape[1] * side**2)
    return int(min(len(images), STREAM, affordable))


def _packed(classes: NDArray[np.int64]) -> str:
    """Encode class indices below 65,536 as base64 of little-endian uint16."""
    return base64.b64encode(classes.astype("<u2").tobytes()).decode()


def race(compared: Compared) -> None:
    """Show the race; nothing while the speed is unknown, a sentence where it would run on noise."""
    comparison, paces = compared.comparison, compared.comparison.paces_ms
    if not paces:
        return
    level = len(paces) - len(set(paces.values()))
    if level and level == len(paces) - 1:
        noise = _("Between these models no difference in speed could be measured: a race would run on noise.")
        st.info(noise, icon=":material/sync_alt:")
        again = services.store().forget_finding
        args = ("speed", [run.id for run in comparison.runs])
        st.button(_("Measure again"), key="race_again", icon=":material/timer:", on_click=again, args=args)
        return
    if level:
        st.caption(_("Lanes at one speed are those between which no difference in speed could be measured."))
    images, labels = services.test_set(comparison.runs[0].config.dataset)
    length = stream_length(images)
    pictures = thumbnails(images[:length], PICTURE)
    picture, columns = sprite(pictures)
    lanes = [
        {
            "title": f"{compared.names[model.run.id]} · {in_language(model.run.config.network)}",
            "colour": compared.colours[model.run.id],
            "predictions": _packed(predictions(comparison.logits[model.run.id])[:length]),
            "latency_ms": paces[model.run.id],
            "per_second": model.single.images_per_second,
        }
        for model in comparison.models
        if model.single is not None
    ]
    Component(__file__, "kd-race")(
        key="race",
        data={
            "lanes": lanes,
            "labels": _packed(labels[:length]),
            "classes": list(compared.class_names),
            "captions": [with_article(name) for name in compared.class_names],
            "sprite": picture,
            "columns": columns,
            "side": pictures.shape[-1],
        },
    )
