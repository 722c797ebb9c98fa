"""The end of the lesson: four facts, what was predicted and what was true, where to go next, what to take home."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import streamlit as st

from kd_core.base.templates import filled
from kd_core.data.catalogue import info_of
from kd_core.experiments import presets
from kd_core.experiments import story as experiments_story
from kd_core.experiments.lesson.catalogue import QUESTIONS, entry, say
from kd_core.experiments.lesson.notebook import notebook
from kd_core.experiments.lesson.questions import Question, ask
from pages.lesson.asking import as_markdown, in_words, predictions
from pages.lesson.models import DIGITS, Shown
from pages.shared.language import _, current, spoken, when
from pages.shared.session.story import SETUP
from pages.shared.words import in_language

LINKS = {
    "temperature": "thermostat",
    "playground": "scatter_plot",
    "limits": "do_not_disturb_on",
    "mistakes": "bug_report",
    "sweep": "grid_on",
    "data": "photo_library",
    "export": "ios_share",
}
"""Where to go next: a page's folder, and its icon."""


def the_end(shown: Shown) -> None:
    """Look back, and lead on."""
    facts, worth = st.columns(2, gap="large")
    for column, name in ((facts, "facts"), (worth, "worth")):
        with column:
            st.header(_(say(f"end.{name}_title")), anchor=False)
            st.markdown("\n".join(f"{place}. {_(fact)}" for place, fact in enumerate(entry(f"end.{name}"), 1)))
    questions = [question for name in QUESTIONS if (question := ask(name, shown.material, as_markdown)) is not None]
    st.header(_(say("end.predictions_title")), anchor=False)
    _predictions(questions)
    st.header(_(say("end.next_title")), anchor=False)
    left, right = st.columns(2, gap="large")
    with left:
        for folder, icon in LINKS.items():
            st.page_link(f"pages/{folder}/page.py", label=_(say(f"end.links.{folder}")), icon=f":material/{icon}:")
    with right:
        _take_home(shown)


def _predictions(questions: list[Question]) -> None:
    given = predictions()
    if not given:
        st.markdown(_(say("end.no_predictions")))
    head = f"| | {_(say('words.predicted'))} | {_(say('words.true'))} |\n| --- | --- | --- |\n"
    rows = [(_(question.prompt), *in_words(question, given.get(question.name))) for question in questions]
    st.markdown(head + "\n".join(f"| {' | '.join(row)} |" for row in rows))


def _take_home(shown: Shown) -> None:
    story = st.session_state.get(SETUP) or presets.quick_demo(DIGITS)
    for name, make, file in (
        ("sheet", partial(sheet, shown), "distillation-on-one-page.html"),
        ("notebook", partial(notebook, story, say=_), "distillation.ipynb"),
    ):
        st.download_button(
            _(say(f"end.{name}")), partial(_in, current(), make), file_name=file, key=f"lesson_{name}",
            on_click="ignore", icon=":material/download:", help=_(say(f"end.{name}_help")),
        )  # fmt: skip


def _in(language: str, make: Callable[[], bytes]) -> bytes:
    """What is downloaded, which is made once no page is drawn any more."""
    with spoken(language):
        return make()


def sheet(shown: Shown) -> bytes:
    """The lesson on one page of HTML, to print: facts, questions, and what was true of these models."""
    questions = [question for name in QUESTIONS if (question := ask(name, shown.material)) is not None]
    names = experiments_story.names(shown.runs)
    measured = _(
        say(
            "end.sheet_models",
            models=", ".join(in_language(names[run.id]) for run in shown.runs),
            data=info_of(shown.dataset).label,
            date=when(time.time(), "dd MMMM yyyy"),
        )
    )
    plain = [question._replace(prompt=_(question.prompt).replace("**", "")) for question in questions]
    return filled(
        Path(__file__).with_name("sheet.html"), end=entry("end"), questions=plain, measured=measured,
        language=current(), _=_,
    ).encode()  # fmt: skip
