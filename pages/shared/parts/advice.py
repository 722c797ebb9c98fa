"""After a run: what its own numbers say, and the next experiment at the press of a button."""

from collections.abc import Sequence

import streamlit as st

from kd_core.base.config import LabError
from kd_core.experiments.advice import after, evidence
from kd_core.experiments.advice.memorised import memorised
from kd_core.experiments.story import StoryConfig
from kd_core.runs.run import Run
from pages.shared.language import _, of_error
from pages.shared.parts.button import filled
from pages.shared.session import keys, services
from pages.shared.session.address import selected
from pages.shared.session.story import set_story
from pages.shared.words import in_language, literal


def advice_on(runs: Sequence[Run]) -> None:
    """A short diagnosis of each distilled student among runs that has come to an end; nothing where there is none."""
    for run in runs:
        sentence = memorised(run.config, services.store().records(run.id, "epoch")) if run.usable else ""
        if sentence:
            name = literal(in_language(run.label))
            st.warning(f"**{name}**: {literal(_(sentence))}", icon=":material/psychology_alt:")
    students = [run for run in runs if evidence.can_be_read(run)]
    if not students:
        return
    st.header(_("What next?"), anchor=False)
    student = students[-1]
    if len(students) > 1:
        labels = {run.id: in_language(run.label) for run in students}
        named = selected(_("Advice on"), labels, name="advice", key="advice_on", default=student.id)
        student = next(run for run in students if run.id == named)
    try:
        advices = services.advice(student)
    except LabError as error:
        st.warning(literal(of_error(error)), icon=":material/error:")
        return
    if not advices:
        st.success(_(after.ALL_WELL), icon=":material/check_circle:")
    for place, advice in enumerate(advices):
        with st.container(border=True):
            st.markdown(f"**{literal(_(advice.sentence))}**  \n:small[{literal(_(advice.evidence))}]")
            if advice.next is not None:
                pressed = st.button(
                    _(advice.change),
                    key=f"advice_{place}",
                    icon=":material/science:",
                    type=filled("advice_0") if place == 0 else "secondary",
                    help=_("Fills the form with this story; nothing starts yet."),
                    on_click=_fill,
                    args=(advice.next,),
                )
                if pressed:  # on the train page itself the form stands here already
                    st.switch_page("pages/train/page.py", query_params={keys.VIEW: keys.SET_UP})


def _fill(story: StoryConfig) -> None:
    set_story(story)
    st.session_state[keys.VIEW] = keys.SET_UP
