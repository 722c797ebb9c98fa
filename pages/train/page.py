"""Distill live: choose, press one button, watch three networks learn."""

import streamlit as st

from pages.shared.access import rights
from pages.shared.language import _
from pages.shared.live.live import live_view
from pages.shared.parts.advice import advice_on
from pages.shared.parts.run_menu import manage_runs
from pages.shared.session import keys, pickers
from pages.train.bring_teacher import bring_teacher
from pages.train.form import preset_buttons, story_form
from pages.train.launch import launch_panel
from pages.train.replay import replay

st.title(_("Distill live"), anchor=False)

batches = pickers.batches()
going = pickers.going(batches)
if keys.train_view(busy=going is not None) == keys.SET_UP:
    preset_buttons()
    choose, means = st.columns([4, 5], gap="large")
    with choose, st.container(border=True):
        story = story_form()
    with means:
        if story is not None:
            launch_panel(story)
            if rights.presenter():
                bring_teacher(story)
        live_view([], curves=False, key="queue")
elif batches:
    runs = pickers.linked(batches[pickers.batch_picker(batches, opens=going or pickers.opening(batches))])
    live_view(runs, key="live")
    advice_on(runs)
    manage_runs(runs)
    replay(runs)
    st.page_link("pages/compare/page.py", label=_("Compare what they learned"), icon=":material/balance:")
else:
    st.info(_("Here the curves will move. Set up a story and press Train."), icon=":material/show_chart:")
