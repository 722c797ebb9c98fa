"""The lesson's words: its steps, its questions and what its views say, read from one file.

A sentence is looked up by its name and filled with named values. It is Said, so that a page finds it in the catalogue
of another language.
"""

from typing import Any, NamedTuple

from kd_core.base.templates import Said, prose, said

_CATALOGUE = prose(__file__)
_WORDS = (said("bare"), said("yours"), said("parameters"), said("multiply-adds"))
"""Lone words of the file, which tools/languages/catalogues.py takes for identifiers."""


class Notes(NamedTuple):
    """For whoever teaches a step: what to say, what the class will answer, what the view shows."""

    say: str
    expect: str
    shows: str


class Step(NamedTuple):
    """A step of the lesson, of `minutes`.

    text stands before a formula (LaTeX), after behind it. page: the folder of the page that has the whole view. view:
    what the lesson shows beside it. question: of QUESTIONS, or empty. ahead: that of the next step, predicted here.
    """

    name: str
    title: str
    minutes: int
    page: str
    view: str
    text: str
    notes: Notes
    question: str = ""
    ahead: str = ""
    formula: str = ""
    after: str = ""


def _step(fields: dict[str, Any]) -> Step:
    words: dict[str, Any] = {name: Said(fields[name]) for name in ("title", "text", "after") if name in fields}
    notes = Notes(*(Said(fields["notes"][name]) for name in Notes._fields))
    return Step(**fields | words | {"notes": notes})


STEPS = tuple(map(_step, _CATALOGUE["steps"]))
BY_NAME = {step.name: step for step in STEPS}
QUESTIONS = tuple(step.question for step in STEPS if step.question)
"""In the order in which they are asked."""


def entry(name: str) -> Any:
    """Return what stands in the catalogue under a dotted name, such as 'questions.hot.answers'."""
    value: Any = _CATALOGUE
    for part in name.split("."):
        value = value[part]
    return value


def say(name: str, /, **values: object) -> Said:
    """Return the sentence of a dotted name, its placeholders filled. Raises KeyError where one has no value."""
    return Said(str(entry(name)), **values)
