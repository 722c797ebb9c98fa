"""Feel temperature: one image, every model's softened bars under a slider, and what follows from them."""

from pathlib import Path

import streamlit as st

from kd_core.base.templates import prose, said
from kd_core.data.catalogue import HANDWRITTEN
from pages.shared.components.temperature_bars.temperature_bars import temperature_bars, temperature_slider
from pages.shared.language import _
from pages.shared.session import pickers, services
from pages.shared.session.address import temperature_of_address
from pages.temperature.dark_knowledge import dark_knowledge_map, likeness_of
from pages.temperature.gradient import what_the_student_feels
from pages.temperature.subject import choose_subject, show_subject

st.html(Path(__file__).with_suffix(".css"))
heading, which = st.columns([3, 2], vertical_alignment="bottom")
heading.title(_("Feel temperature"), anchor=False)
texts = prose(__file__)

batches = pickers.batches_with_teacher()
if not batches:
    st.markdown(_(texts["intro"]))
    pickers.no_models_yet()
    st.stop()
with which:
    models = pickers.with_teacher(batches[pickers.batch_picker(batches)])
class_names = services.class_names_of(models[0])
temperature = temperature_of_address()
with st.container(key="hand"):
    temperature_slider(key="temperature")

look, bars = st.columns([2, 5], gap="large")
with look, st.container(key="pickers"):
    subject = choose_subject(models, class_names)
with bars:
    if subject is None:
        drawn = models[0].config.dataset in HANDWRITTEN
        do = (
            _("Pick, draw or upload a digit, and its bars appear here.")
            if drawn
            else _("Pick or upload an image, and its bars appear here.")
        )
        st.markdown(f"### {do}")
    else:
        image, soft = st.columns([1, 4], gap="medium")
        with image:
            show_subject(subject, models, class_names)
        with soft:
            temperature_bars(models, subject.logits, class_names, subject.label, key="temperature_bars")
    st.markdown(_(texts["intro"]))
    with st.expander(_("Hard target, soft target: what is the difference?")):
        likeness = None if subject is None else likeness_of(subject.logits[models[0].id], class_names)
        alike = likeness or said("which other classes the image is like")
        count = said("ten") if len(class_names) == 10 else f"{len(class_names):,}"
        st.markdown(_(texts["hard_and_soft"], likeness=alike, count=count))
        st.latex(r"p_i = \frac{\exp(z_i / T)}{\sum_j \exp(z_j / T)}\qquad T = " + f"{temperature:g}")
    with st.expander(_("Why not a T as high as possible?")):
        st.markdown(_(texts["high_t"]))

if pickers.test_set_is_here(models):
    st.divider()
    dark_knowledge_map(models[0], temperature, class_names)
if subject is not None:
    st.divider()
    what_the_student_feels(subject, models, class_names)
