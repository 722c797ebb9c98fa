"""Distill live: choose, press one button, watch three networks learn."""

import streamlit as st

from pages.widgets import keys, lab, pickers
from pages.widgets.forms import story_form
from pages.widgets.live import live_runs

st.title("Distill live")

choose, watch = st.columns([2, 3], gap="large")

with choose:
    runs = story_form()
    if st.button("Train", type="primary", key="train", icon=":material/play_arrow:", disabled=runs is None) and runs:
        ids = lab.jobs().submit(runs)
        keys.choose_batch(lab.store().get(ids[0]).batch)
        st.rerun()

with watch:
    found = pickers.batches()
    if found:
        live_runs(pickers.batch_picker(found))
        st.page_link("pages/compare.py", label="Compare what they learned", icon=":material/balance:")
    else:
        st.info("Here the curves will move. Choose on the left, or just press Train.", icon=":material/show_chart:")
