"""Objectives, compared: the same student with the same budget, and what it minimises as the only difference."""

import streamlit as st

from pages.objectives.standings import contest, result
from pages.shared.language import _
from pages.shared.parts.start import launch

st.title(_("Objectives at equal budget"), anchor=False)
st.markdown(
    _(
        "Many objectives are published as better than Hinton's. Here each gets the same student, teacher, images,"
        " epochs and seeds, with the weights of its own paper's code, beside a baseline and one with label smoothing."
    )
)

redo = contest()
launch(redo)
result(redo)
