"""Playground: a teacher and two students train in front of their visitor, in two dimensions, and all can be changed."""

import streamlit as st

from kd_core.base.templates import prose
from pages.playground.digits import digits
from pages.playground.playground import playground
from pages.shared.language import _

st.title(_("Playground"), anchor=False)
playground()
with st.expander(_("What is trained here, and what to look for")):
    st.markdown(_(prose(__file__)["about"]))
st.header(_("The same with digits"), anchor=False)
st.markdown(_(prose(__file__)["digits"]))
digits()
