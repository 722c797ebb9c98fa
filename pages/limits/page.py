"""When does distillation not help? One experiment after the other: predict, see, and read what is claimed of it."""

import streamlit as st

from pages.limits.experiment import choose, look_back, next_one, predicted, redo_here, result
from pages.shared.language import _

st.title(_("When does it not help?"), anchor=False)
st.markdown(
    _(
        "Seven experiments with real networks on where distillation ends. Predict, then see what five seeds say, beside"
        " what the literature claims. Their verdict may be that they cannot tell."
    )
)

given, redo = choose()
prediction = predicted(given)
if prediction is not None:
    result(given, redo, prediction)
    redo_here(given, redo)
    next_one(given)
look_back()
