"""Break it: mistakes of public code, each live beside the right way, and what it costs."""

import streamlit as st

from pages.mistakes.lesson import choose_mistake, curves, side_by_side, what_it_cost, what_it_does
from pages.shared.language import _
from pages.shared.parts.start import start_button

st.title(_("Break it"), anchor=False)
st.markdown(
    _(
        "Distillation that goes wrong seldom crashes: it trains, prints a number, and the number is worse, or too good."
        " These are mistakes found in public code. Make one on purpose, beside the right way, and measure what it"
        " costs."
    )
)

given, redo = choose_mistake()
side_by_side(given, redo)
what_it_does(given, redo)
start_button(redo.plan, _("Break it"), key="break")
what_it_cost(given, redo)
curves(redo)
