"""What people wrote, shown as they wrote it: a run's name is no link, picture or formula on other people's pages."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from kd_core.base.config import LabError
from kd_core.base.templates import Said, said, said_by
from kd_core.runs.run import STATES as STATES
from pages.shared.language import _
from pages.shared.parts.button import acting

_MARKS = re.compile(r"[\\`*\[\]<>$~|]|(?<!\w)_|_(?!\w)|^(?=[#+-])")
_LIVE = re.compile(r"(?<=www)(?=\.)|(?<=:)(?=//|[\w+-]+[:\[/])|(?<=\w@)(?=\w)", re.IGNORECASE)
"""Where a web address, an icon, a colour or an e-mail address would begin to be one, escaped or not."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
GLOSSARY = {
    said("effective classes"): said(
        "2 to the power of the entropy: so many equally likely classes would be as uncertain."
    ),
    said("KL from"): said(
        "Kullback-Leibler divergence of these probabilities from the teacher's: 0 where they are equal."
    ),
    said("nats"): said("Unit of a loss that takes natural logarithms: 1 nat is 1.44 bits."),
    said("transfer set"): said("The training images that the student is distilled on (Hinton et al., section 3)."),
    said("p50"): said("The median: half of the measured times are longer. p95: one in twenty is longer."),
    said("multiply-adds"): said(
        "Multiplications, each with an addition, that one image takes; additions of biases do not count."
    ),
    said("Holm"): said(
        "Holm's correction: the chance of even one false alarm among all these comparisons stays below 5%."
    ),
}
"""Terms that not every visitor knows: what stands in a heading or text -> a sentence, shown where the term stands."""
_AN = re.compile("8|1[18]([0-9]{3})*$|[AEFHILMNORSX]", re.IGNORECASE)
"""What begins with the sound of a vowel: eight, eleven, eighteen, and letters by their names."""
_MONTHS = (
    *(said("Jan"), said("Feb"), said("Mar"), said("Apr"), said("May"), said("Jun")),
    *(said("Jul"), said("Aug"), said("Sep"), said("Oct"), said("Nov"), said("Dec")),
)
_MACHINE = re.compile(
    r"(?P<processor>[^;]+), (?P<cores>\d+) cores(?:, (?P<threads>\d+) threads, torch (?P<torch>[^;]+))?"
)
NOTHING = "\u200b"
"""A space of no width: a browser makes no link, and a spreadsheet no formula, of what has one in it."""


def literal(text: str) -> str:
    """Text for st.markdown and all that reads Markdown, in one line, in which nothing is Markdown."""
    return _MARKS.sub(lambda match: f"\\{match[0]}", _LIVE.sub(NOTHING, " ".join(text.split())))


def explained(text: str) -> str | None:
    """The sentences on the terms of GLOSSARY in a text, for help=; None where it has none."""
    terms = ((_(term), meaning) for term, meaning in GLOSSARY.items() if term in text or _(term) in text)
    return "  \n".join(f"**{term}**: {_(meaning)}" for term, meaning in terms) or None


def glossary() -> dict[str, str]:
    """GLOSSARY in the language that is read."""
    return {_(term): _(meaning) for term, meaning in GLOSSARY.items()}


def in_language(text: str) -> str:
    """What the engine Said, in the language that is read. What somebody wrote, as a run's name, stays as it is."""
    return _(text) if isinstance(text, Said) else text


def moment(seconds: float) -> Said:
    """When something was, by this machine's clock: '30 Nov 21:07'."""
    at = time.localtime(seconds)
    day, clock = time.strftime("%d", at), time.strftime("%H:%M", at)
    return said("{day} {month} {clock}", day=day, month=_MONTHS[at.tm_mon - 1], clock=clock)


def hardware(text: str) -> str:
    """What the engine wrote of machines, such as 'AMD EPYC, 2 cores', in the language that is read."""

    def said_again(machine: re.Match[str]) -> str:
        if machine["torch"] is None:
            return _("{processor}, {cores} cores", processor=machine["processor"], cores=machine["cores"])
        return _("{processor}, {cores} cores, {threads} threads, torch {torch}", **machine.groupdict())

    return _MACHINE.sub(said_again, text)


def cell(text: str) -> str:
    """Text for a table that its reader may download and open in a spreadsheet, where it must be no formula."""
    return NOTHING + text if text.startswith(_FORMULA) else text


def with_article(class_name: str) -> str:
    """An image of this class, in a caption: 'a 3', 'an 8', 'an 18', 'an F'. As withArticle in common.js.

    A longer name stays bare: nothing says whether 'healthy' and 'oak leaves' take an article.
    """
    if not re.fullmatch("[0-9]+|[A-Za-z]", class_name):
        return class_name
    return _("an {name}", name=class_name) if _AN.match(class_name) else _("a {name}", name=class_name)


def duration(seconds: float) -> str:
    """In the largest unit in which it is a whole number of two digits or so: no estimate knows a tenth of an hour."""
    if seconds < 90:
        return _("{seconds} s", seconds=max(1, round(seconds)))
    if seconds < 3 * 3600:
        return _("{minutes} min", minutes=round(seconds / 60))
    return _("{hours} h", hours=round(seconds / 3600))


@contextmanager
def refusals(*, later: bool = False) -> Iterator[None]:
    """Within, what is refused ends the block, and its sentence is shown. later: by say_refusal, as a callback needs.

    No click comes between what is done here and that it is remembered.
    """
    try:
        with acting():
            yield
    except LabError as error:
        st.session_state["refused"] = said_by(error)
        if not later:
            say_refusal()


def say_refusal() -> None:
    """What a button was refused, in words, once."""
    if "refused" in st.session_state:
        st.error(literal(_(st.session_state.pop("refused"))), icon=":material/error:")


SPREAD_IN_WORDS = said(
    "Means over the seeds; bars are 95% intervals of the mean (Student's t), of two seeds their range."
)
