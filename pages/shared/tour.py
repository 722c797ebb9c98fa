"""The ten-minute lesson: a path through the pages for a teacher in front of a class, a next button on each."""

from typing import NamedTuple

import streamlit as st

from kd_core.base.templates import prose
from kd_core.data import paths
from kd_core.exchange import shipped
from pages.shared.parts.button import filled
from pages.shared.session import keys, pickers, services

LESSON = "lesson"
_WANTED = "lesson_wanted"
HAVE_A_PRIMARY_BUTTON = ("overview", "train")
"""Pages whose own button is what a visitor should press next."""
AFTER = "mistakes"
"""The page to which the last step leads on."""
SURE_2 = {"mnist": 35, "digits": 15}
"""By data set, the first test image of a 2 of which the teacher that ships is sure (over 99%), with the class beside it
that this teacher finds a 2 most like: on MNIST the 7, on digits the 3."""


class Step(NamedTuple):
    """A stop of the lesson: the page it happens on, how many minutes it takes, what to say and what to do there."""

    page: str
    title: str
    minutes: int
    say: str
    do: str


STEPS = tuple(Step(**step) for step in prose(__file__)["steps"])


def start() -> None:
    """A button that starts the lesson, while it is not on. In a fragment too, whose run a button ends."""
    if _step() is None:
        _button("Start the ten-minute lesson", 1, key="lesson_start", icon=":material/school:")
    if _WANTED in st.session_state:
        st.rerun()


def guide(page: str) -> None:
    """Where a lesson is on, its step above a page. page: the name of its file, without .py."""
    if _WANTED in st.session_state:
        _go_to(st.session_state.pop(_WANTED))
    number = _step()
    if number is None:
        return
    step = STEPS[number - 1]
    with st.container(border=True, key="lesson"):
        after = page == AFTER and number == len(STEPS)
        if after:
            st.markdown(
                ":material/school: **After the lesson: Break it**  \nFor whoever writes distillation: choose a mistake,"
                " press **Break it**, and measure what it costs."
            )
        else:
            _show_step(step, number, on_its_page=page == step.page)
        with st.container(horizontal=True, vertical_alignment="center"):
            if page != step.page:
                _button("Back to the lesson", number, key="lesson_return", icon=":material/undo:")
            if number > 1 and not after:
                _button("Back", number - 1, key="lesson_back", icon=":material/chevron_left:")
            if number < len(STEPS):
                ahead = f"Next: {STEPS[number].title}"
                leads = page == step.page and page not in HAVE_A_PRIMARY_BUTTON
                _button(ahead, number + 1, key="lesson_next", icon=":material/chevron_right:", leads=leads)
            elif not after:
                next_one = "Writing your own? Next: Break it"
                st.page_link("pages/mistakes/page.py", label=next_one, icon=":material/bug_report:")
            st.button("Leave the lesson", key="lesson_leave", type="tertiary", on_click=_leave)


def _show_step(step: Step, number: int, *, on_its_page: bool) -> None:
    """Which step it is; and on its own page what to say and to do."""
    st.markdown(f":material/school: **{number} of {len(STEPS)}: {step.title}** :small[about {step.minutes} min]")
    st.markdown(
        f"{step.say}  \n:material/arrow_forward: {step.do}" if on_its_page else "The lesson goes on, on another page."
    )


def _step() -> int | None:
    """The lesson's step, of the address or the session; None while there is no lesson."""
    named = st.query_params.get(LESSON)
    if named is not None:
        whole = named.isascii() and named.isdigit() and len(named) < 3 and 1 <= int(named) <= len(STEPS)
        st.session_state[LESSON] = int(named) if whole else None
    number: int | None = st.session_state.get(LESSON)
    if number is None:
        st.query_params.pop(LESSON, None)
    elif named is None:
        st.query_params[LESSON] = str(number)
    return number


def _button(label: str, number: int, *, key: str, icon: str, leads: bool = False) -> None:
    """A button to a step. It notes the step, so that a rerun that comes between does not lose the click."""
    note, wanted = st.session_state.update, {_WANTED: number}
    st.button(label, key=key, icon=icon, type=filled(key) if leads else "secondary", on_click=note, args=(wanted,))


def _leave() -> None:
    st.session_state[LESSON] = None
    st.query_params.pop(LESSON, None)


def _go_to(number: int) -> None:
    """Open a step's page as the step wants it."""
    step = STEPS[number - 1]
    st.session_state[LESSON] = number
    st.switch_page(f"pages/{step.page}/page.py", query_params={LESSON: str(number), **_view(step.page)})


def _view(page: str) -> dict[str, str]:
    """The address in which a step's page opens."""
    if page == "temperature":
        for dataset, index in SURE_2.items():
            batch = f"{shipped.TAG}{dataset}"
            if paths.available(dataset) and services.store().runs(batch=batch):
                return {"T": "1", keys.BATCH: batch, "image": f"test-{index}"}
        return {"T": "1"}
    if page == "train":
        return {keys.VIEW: keys.SET_UP}
    if page == "compare":
        return _comparable()
    if page == "paper":
        return {"experiment": "no_3", "on": "mnist" if paths.available("mnist") else "digits"}
    return {}


def _comparable() -> dict[str, str]:
    """The address of an experiment whose test images are here: the one last looked at, or else the shipped digits.

    Of one that is not trained yet, the page says when it will be.
    """
    for batch in filter(None, (keys.chosen_batch(), f"{shipped.TAG}digits")):
        runs = services.store().runs(batch=batch)
        if runs and pickers.test_set_is_here(runs):
            return {keys.BATCH: batch}
    return {}
