"""The lesson: a step at a time, a question before its answer, and the view in which it happens beside it."""

from functools import partial
from pathlib import Path

import streamlit as st

from kd_core.experiments.lesson.catalogue import STEPS, say
from pages.lesson import views
from pages.lesson.asking import for_a_class, predict, predict_ahead
from pages.lesson.end import the_end
from pages.lesson.models import models_on_screen
from pages.lesson.training import trained
from pages.shared import tour
from pages.shared.language import _
from pages.shared.parts.button import filled
from pages.shared.session import pickers

st.html(Path(__file__).with_suffix(".css"))
step = tour.step() or STEPS[0]
tour.go(step.name)
views.prepare(step)
back, ahead = tour.neighbour(step, -1), tour.neighbour(step, 1)
shown = models_on_screen()
if shown is None:
    st.title(_(step.title), anchor=False)
    pickers.no_models_yet()
    st.stop()

with st.container(key="part_lesson"):
    with st.container(horizontal=True, vertical_alignment="center", key="lesson_steps"):
        st.markdown(f"**{tour.count_of(step)}** · {_(say('words.minutes', minutes=step.minutes))} · {shown.sentence}")
        if back is not None:
            views.step_button(_(say("words.back")), back, key="lesson_back", icon=":material/chevron_left:")
        if ahead is not None:
            leads = "secondary" if step.view == "distill" and not trained() else filled("lesson_next")
            label = _(say("words.next", title=ahead.title))
            views.step_button(label, ahead, key="lesson_next", icon=":material/chevron_right:", type=leads)
    if step.view == "end":
        st.title(_(step.title), anchor=False)
        the_end(shown)
    else:
        words, view = st.columns([5, 8], gap="large")
        with words:
            st.title(_(step.title), anchor=False)
            st.markdown(_(step.text, **shown.values))
            if step.formula:
                st.latex(step.formula)
                st.markdown(_(step.after))
            revealed = not step.question or predict(step.question, shown.material, partial(views.reveal, step))
            predict_ahead(step.ahead, shown.material)
        with view:
            views.VIEWS[step.view](shown, revealed)
for_a_class(step, shown.material)
with st.container(horizontal=True, vertical_alignment="center"):
    st.page_link(
        f"pages/{step.page}/page.py",
        label=_(say("words.full_view", page=_(tour.TITLES[step.page]))),
        icon=":material/open_in_full:",
        query_params={tour.LESSON: step.name, **shown.address(step.view)},
    )
    st.button(_(say("words.leave")), key="lesson_leave", type="tertiary", on_click=tour.leave)
