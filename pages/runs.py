"""All runs: find them, lay their curves over each other, see what they differ in, carry them elsewhere."""

import streamlit as st

from pages.widgets import lab, pickers, rights
from pages.widgets.control import delete_selected, menu, offer_undo
from pages.widgets.exchange import downloads, upload
from pages.widgets.history import pick_runs
from pages.widgets.live import live_view
from pages.widgets.tables import difference_table
from pages.widgets.words import literal

st.title("Runs")
offer_undo()

runs = lab.store().runs()
if runs:
    selected = pick_runs(runs)
    if selected:
        st.subheader(f"{len(selected)} selected" if len(selected) > 1 else literal(selected[0].label))
        with st.container(horizontal=True, gap="small"):
            downloads(selected)
            if len(selected) == 1:
                menu(selected[0], "Name, continue, delete")
            elif rights.presenter():
                delete_selected(selected)
        live_view(selected, key="selected")
        if len(selected) > 1:
            st.subheader("What they differ in")
            difference_table(selected)
    else:
        st.markdown("Select rows to see their curves, compare their settings, and take them along.")
else:
    pickers.no_models_yet()

if rights.presenter():
    upload()
