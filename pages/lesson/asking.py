"""A question before its answer: what was predicted is kept in the session, never judged, and can be looked back on."""

import html
import json
from collections.abc import Callable

import streamlit as st

from kd_core.experiments.lesson.catalogue import Step, say
from kd_core.experiments.lesson.material import Material
from kd_core.experiments.lesson.questions import Question, ask
from pages.shared.language import _
from pages.shared.words import in_language, literal

ANSWERS = "lesson_answers"
"""Of the session: question -> the answer's name that was predicted, or SKIPPED."""
SKIPPED = ""


def as_markdown(value: object) -> str:
    """A value of the catalogue's sentences, in the language that is read."""
    return literal(in_language(value) if isinstance(value, str) else str(value))


def predictions() -> dict[str, str]:
    """What this session predicted, by question."""
    answers: dict[str, str] = st.session_state.setdefault(ANSWERS, {})
    return answers


def predict(name: str, material: Material, then: Callable[[], None]) -> bool:
    """Put a question of the catalogue, and say what is true once it was answered or skipped; whether it was.

    then: what is done as it is.
    """
    question = ask(name, material, as_markdown)
    if question is None:
        return True
    given = predictions().get(name)
    if given is None:
        _choose(question, then)
        key = f"lesson_skip_{name}"
        st.button(_(say("words.skip")), key=key, type="tertiary", on_click=_keep, args=(name, SKIPPED, then))
        return False
    with st.container(border=True, key="lesson_truth"):
        _show(question, given, question.answer)
        st.markdown(_(question.why))
    st.button(_(say("words.again")), key=f"lesson_again_{name}", type="tertiary", on_click=_forget, args=(name,))
    return True


def predict_ahead(name: str, material: Material) -> None:
    """Put the next step's question while something is waited for; the next step says what is true."""
    question = ask(name, material, as_markdown) if name else None
    if question is None:
        return
    given = predictions().get(name)
    st.caption(_(say("words.meanwhile" if given is None else "words.next_step_says")))
    if given is None:
        _choose(question, lambda: None)
    else:
        _show(question, given, None)


def for_a_class(step: Step, material: Material) -> None:
    """Lay the step's notes and its question down for whoever leads a class: the page's script hands them on."""
    question = ask(step.question or step.ahead, material) if step.question or step.ahead else None
    suggested = question and {
        "prompt": _(question.prompt).replace("**", ""),
        "answers": [*map(_, question.answers.values())],
        "truth": [*question.answers].index(question.answer),
    }
    known = json.dumps({"question": suggested, "notes": "\n\n".join(map(_, step.notes))})
    st.html(f'<div hidden data-lesson-step="{html.escape(known)}"></div>')


def in_words(question: Question, given: str | None) -> tuple[str, str]:
    """What was predicted, and what is true."""
    predicted = _(say("words.skipped")) if given is None else _(question.answers.get(given) or say("words.unanswered"))
    return predicted, _(question.answers[question.answer])


def _choose(question: Question, then: Callable[[], None]) -> None:
    key, names = f"lesson_choice_{question.name}", [*question.answers]
    st.radio(
        _(question.prompt),
        names,
        index=None,
        format_func=lambda name: _(question.answers[name]),
        key=key,
        on_change=lambda: _keep(question.name, st.session_state[key], then),
    )


def _show(question: Question, given: str, true: str | None) -> None:
    """The answers: which was predicted and, where it may be said, which is true."""
    prompt = _(question.prompt)
    lines = [f"**{prompt}**" if true is None else prompt]
    for name, text in question.answers.items():
        answer = _(text)
        mark = "check_circle" if name == true else "radio_button_unchecked"
        mark = "radio_button_checked" if name == given and name != true else mark
        predicted = f" :small[{_(say('words.predicted'))}]" if name == given else ""
        lines.append(f":material/{mark}: {f'**{answer}**' if name == true else answer}{predicted}")
    st.markdown("  \n".join(lines))


def _keep(name: str, answer: str, then: Callable[[], None]) -> None:
    predictions()[name] = answer
    then()


def _forget(name: str) -> None:
    del predictions()[name]
