"""Where a lesson is on: which step, in the address and the session; and the way back to it from any other page."""

import streamlit as st

from kd_core.experiments.lesson.catalogue import BY_NAME, STEPS, Step, say
from pages.shared.language import _
from pages.shared.navigation import LISTED

LESSON, PAGE = "lesson", "lesson"
"""The query parameter that names the step, and the folder of the lesson's own page."""
OF_BEFORE = {"1": "why", "2": "feel", "3": "distill", "4": "compare", "5": "missing"}
"""Addresses of before December 2026 had five steps, by their numbers."""
_WANTED, _LEFT = "lesson_wanted", "lesson_left"
TITLES = {page.folder: page.title for page in LISTED}


def step() -> Step | None:
    """The lesson's step, of the address or the session; None while there is no lesson."""
    named = st.query_params.get(LESSON)
    if named is not None:
        st.session_state[LESSON] = named = OF_BEFORE.get(named, named)
    name: str | None = st.session_state.get(LESSON)
    if name not in BY_NAME:
        st.session_state[LESSON] = None
        st.query_params.pop(LESSON, None)
        return None
    if st.query_params.get(LESSON) != name:
        st.query_params[LESSON] = name
    return BY_NAME[name]


def go(name: str) -> None:
    """Have the lesson stand on a step, before its page is drawn."""
    st.session_state[LESSON] = st.query_params[LESSON] = name


def neighbour(of: Step, by: int) -> Step | None:
    """The step so many after another one, or None beyond the ends."""
    place = STEPS.index(of) + by
    return STEPS[place] if 0 <= place < len(STEPS) else None


def count_of(at: Step) -> str:
    """Which step it is, of how many."""
    return _(say("words.count", number=STEPS.index(at) + 1, steps=len(STEPS)))


def start() -> None:
    """A link to the lesson, where it stands or at its first step."""
    name = st.session_state.get(LESSON) or STEPS[0].name
    label, file = f"**{_(say('words.start'))}**", f"pages/{PAGE}/page.py"
    st.page_link(file, label=label, icon=":material/school:", query_params={LESSON: name})


def guide(page: str) -> None:
    """Where a lesson is on, the way back to it above another page. page: its folder."""
    if _WANTED in st.session_state:
        st.switch_page(f"pages/{PAGE}/page.py", query_params={LESSON: st.session_state.pop(_WANTED)})
    left = st.session_state.pop(_LEFT, False)
    if left and page == PAGE:
        st.switch_page("pages/overview/page.py")
    at = step()
    if at is None or page == PAGE:
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="lesson"):
        st.markdown(f":material/school: **{count_of(at)}: {_(at.title)}** :small[{_(say('words.elsewhere'))}]")
        _button(_(say("words.return")), at, key="lesson_return", icon=":material/undo:")
        ahead = neighbour(at, 1)
        if ahead is not None and page == at.page:
            label = _(say("words.next", title=ahead.title))
            _button(label, ahead, key="lesson_next", icon=":material/chevron_right:")
        st.button(_(say("words.leave")), key="lesson_leave", type="tertiary", on_click=leave)


def _button(label: str, to: Step, *, key: str, icon: str) -> None:
    """A button to a step. It notes the step, so that a rerun that comes between does not lose the click."""
    st.button(label, key=key, icon=icon, on_click=st.session_state.update, args=({_WANTED: to.name},))


def leave() -> None:
    """End the lesson; what was predicted is kept."""
    st.session_state[LESSON], st.session_state[_LEFT] = None, True
    st.query_params.pop(LESSON, None)
