"""All runs: find them, lay their curves over each other, see what they differ in, carry them elsewhere."""

import streamlit as st

from pages.runs.differences import difference_table
from pages.runs.files import downloads, upload
from pages.runs.table import pick_runs
from pages.shared.access import rights
from pages.shared.language import _
from pages.shared.live.live import live_view
from pages.shared.parts.missing import say_own_code
from pages.shared.parts.run_menu import delete_selected, menu, offer_undo
from pages.shared.session import pickers, services
from pages.shared.words import in_language, literal

st.title(_("Runs"), anchor=False)
offer_undo()

runs = services.store().listing()
if runs.by_id:
    selected = pick_runs(runs)
    if selected:
        several = len(selected) > 1
        st.header(
            _("{count} selected", count=len(selected)) if several else literal(in_language(selected[0].label)),
            anchor=False,
        )
        with st.container(horizontal=True, gap="small"):
            downloads(selected)
            if len(selected) == 1:
                menu(selected[0], _("Name, continue, delete"))
            elif rights.presenter():
                delete_selected(selected)
        say_own_code(selected)
        live_view(selected, key="selected")
        if several:
            st.header(_("What they differ in"), anchor=False)
            difference_table(selected)
    else:
        st.markdown(
            _(
                "Select rows to see their curves, compare their settings, and take them along. By keys: arrows, then"
                " Shift and Space."
            )
        )
else:
    pickers.no_models_yet()

if rights.presenter():
    upload()
