"""Data: look at what networks learn from, and bring in your own."""

import streamlit as st

from pages.data.bring import bring_your_own
from pages.data.look import balance_and_numbers, pick_data_set, preview, remove_button
from pages.shared.access import rights
from pages.shared.language import _

st.title(_("Data"), anchor=False)
st.markdown(
    _(
        "What a network learns from decides what it can learn. Look at it before you train: are the images what you"
        " think they are, is any class rare, is there a test set that nobody has learned from?"
    )
)

look, numbers = st.columns([3, 2], gap="large")
with look:
    dataset = pick_data_set()
    is_here = preview(dataset)
with numbers:
    balance_and_numbers(dataset, is_here)
    remove_button(dataset)

st.divider()
if rights.presenter():
    bring_your_own()
else:
    st.caption(_("Only the presenter may bring in data here."))
