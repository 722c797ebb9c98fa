"""The paper, redone: each MNIST experiment of Hinton, Vinyals and Dean, our result beside the printed one."""

import streamlit as st

from pages.paper.experiment import bias_lesson, redone, result_table
from pages.shared.language import _
from pages.shared.parts.start import launch

st.title(_("The paper, redone"), anchor=False)
st.markdown(
    _(
        "Each experiment of [Hinton, Vinyals and Dean](https://arxiv.org/abs/1503.02531), section 3, with one click:"
        " what they print, what this machine finds, and whether the difference could be chance."
    )
)

redo = redone()
launch(redo)
result_table(redo)
if redo.experiment.corrected:
    bias_lesson(redo)
