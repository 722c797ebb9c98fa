"""A sweep: many small students that differ in temperature, alpha, seed and width, trained together."""

import streamlit as st

from pages.shared.language import _
from pages.sweep.grid import choose_sweep, sweep_form, watch_sweep

st.title(_("Sweep"), anchor=False)
st.markdown(
    _(
        "Which temperature, which alpha, which student? Train every combination and look. Small mlps of one shape train"
        " as one model, so that a whole grid of them takes about as long as a few would."
    )
)

sweep_form()
chosen = choose_sweep()
if chosen is not None:
    watch_sweep(chosen)
else:
    st.caption(_("A map of errors, alpha by temperature, will stand here and fill in while the students learn."))
