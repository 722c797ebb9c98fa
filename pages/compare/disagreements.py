"""The test images on which models differ or err, and what every model says of the one that is looked at."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kd_core.data.own import library
from kd_core.evaluation import predictions
from kd_core.evaluation.accuracy import Logits, losses
from kd_core.evaluation.soft import gallery
from kd_core.runs.run import Run
from pages.shared.components.images.images import caption_of, show, test_image_grid, width_of
from pages.shared.components.temperature_bars.temperature_bars import temperature_bars, temperature_slider
from pages.shared.language import _
from pages.shared.parts.button import in_turn
from pages.shared.session import services
from pages.shared.session.address import IMAGE, TEST, index_of_address, selected
from pages.shared.session.pickers import told_apart
from pages.shared.words import in_language, literal

TILES = 48


def disagreements(runs: Sequence[Run], logits: Mapping[str, Logits]) -> None:
    """Show the images on which another model differs from the first, and the softened bars of all models."""
    first, others = runs[0], {run.id: run for run in runs[1:]}
    if not others:
        st.info(_("Choose a second model to see where the two differ."), icon=":material/balance:")
        return
    labels = services.test_set(first.config.dataset)[1]
    title = literal(_("Where {name} differs from", name=in_language(first.label)))
    other = selected(title, told_apart(others.values()), name="other", key="differs_from")
    differing = gallery("teacher and student disagree", labels, logits[first.id], logits[other])
    if len(differing) == 0:
        st.success(_("They name the same class for every test image."), icon=":material/handshake:")
        return
    st.markdown(
        _(
            "They differ on **{differing:,}** of {images:,} test images; first what the first is least sure of.",
            differing=len(differing),
            images=len(labels),
        )
    )
    _look_at(differing, runs, logits, "differing", of=f"{first.id}_{other}")


def mistakes(runs: Sequence[Run], logits: Mapping[str, Logits]) -> None:
    """Show the images that a model gets most wrong, and offer what it says of every test image as a file."""
    labels = services.test_set(runs[0].config.dataset)[1]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        of = selected(_("Mistakes of"), told_apart(runs), name="of", key="mistakes_of")
        _predictions(of, logits[of], labels, runs[0].config.dataset)
    wrong = predictions.most_wrong(logits[of], labels)
    if len(wrong) == 0:
        st.success(_("It gets every test image right."), icon=":material/check_circle:")
        return
    st.markdown(
        _(
            "It gets **{wrong:,}** of {images:,} test images wrong; the largest loss, {loss:.2f} nats, comes first.",
            wrong=len(wrong),
            images=len(labels),
            loss=losses(logits[of][wrong[:1]], labels[wrong[:1]])[0],
        )
    )
    _look_at(wrong, runs, logits, "mistakes", of=of)


def _predictions(run_id: str, logits: Logits, labels: NDArray[np.int64], dataset: str) -> None:
    """Offer the predictions of every test image, made on the press."""
    facts = logits, labels, services.class_names(dataset), library.test_files(services.store().storage, dataset)
    for title, kind in (("CSV", "csv"), ("Parquet", "parquet")):
        st.download_button(
            _("Predictions, {kind}", kind=title),
            in_turn(partial(_made, kind, *facts)),
            file_name=f"{run_id}-predictions.{kind}",
            key=f"predictions_{kind}",
            icon=":material/download:",
            on_click="ignore",
            help=_("Of every test image: its class, the predicted one, probability, margin, loss and all logits."),
        )


def _made(
    kind: str, logits: Logits, labels: NDArray[np.int64], class_names: tuple[str, ...], files: list[str] | None
) -> bytes:
    return predictions.as_file(predictions.table(logits, labels, class_names, files), kind)


def _look_at(
    chosen: NDArray[np.int64], runs: Sequence[Run], logits: Mapping[str, Logits], kind: str, *, of: str
) -> None:
    """Show the first of these test images, and the softened bars of all models for the one that is picked.

    kind, of: whose images these are, for the keys of what is drawn.
    """
    images, labels = services.test_set(runs[0].config.dataset)
    class_names = services.class_names(runs[0].config.dataset)
    shown = chosen[:TILES]
    named = index_of_address(st.query_params.get(IMAGE, ""), len(labels))
    index = named if named is not None and named in shown else int(shown[0])
    picked = test_image_grid((images, labels), class_names, shown, selected=index, key=f"{kind}_{of}")
    if picked is not None:
        st.query_params[IMAGE] = f"{TEST}{picked}"
        st.rerun()
    image, bars = st.columns([1, 4], gap="large")
    caption = caption_of(index, class_names[labels[index]])
    with image:
        show(images[index], text=caption, caption=caption, width=width_of(images[index], 168))
    of_image = {run.id: logits[run.id][index] for run in runs}
    with bars:
        temperature_slider(key="temperature")
        temperature_bars(runs, of_image, class_names, int(labels[index]), key=f"{kind}_bars")
