"""The images on which two models differ, and what every model says of the one that is looked at."""

from collections.abc import Mapping, Sequence

import streamlit as st

from kd_core.evaluation.accuracy import Logits
from kd_core.evaluation.soft import gallery
from kd_core.runs.run import Run
from pages.shared.components.images.images import caption_of, show, test_image_grid, width_of
from pages.shared.components.temperature_bars.temperature_bars import temperature_bars, temperature_slider
from pages.shared.language import _
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
    images, labels = services.test_set(first.config.dataset)
    class_names = services.class_names(first.config.dataset)
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
    shown = differing[:TILES]
    named = index_of_address(st.query_params.get(IMAGE, ""), len(labels))
    index = named if named is not None and named in shown else int(shown[0])
    key = f"differing_{first.id}_{other}"
    picked = test_image_grid((images, labels), class_names, shown, selected=index, key=key)
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
        temperature_bars(runs, of_image, class_names, int(labels[index]), key="differing_bars")
