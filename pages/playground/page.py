"""Playground: a teacher and two students train in front of their visitor, in two dimensions, and all can be changed."""

import streamlit as st

from kd_core.base.templates import prose
from pages.playground.digits import digits
from pages.playground.playground import playground

st.title("Playground", anchor=False)
playground()
with st.expander("What is trained here, and what to look for"):
    st.markdown(prose(__file__)["about"])
st.header("The same with digits", anchor=False)
st.markdown(prose(__file__)["digits"])
digits()
