"""What people wrote, shown as they wrote it: a run's name is no link, picture or formula on other people's pages."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from kd_core.base.config import LabError
from pages.shared.parts.button import acting

_MARKS = re.compile(r"[\\`*\[\]<>$~|]|(?<!\w)_|_(?!\w)|^(?=[#+-])")
_LIVE = re.compile(r"(?<=www)(?=\.)|(?<=:)(?=//|[a-z])|(?<=\w@)(?=\w)", re.IGNORECASE)
"""Where a web address, an icon, a colour or an e-mail address would begin to be one, escaped or not."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
GLOSSARY = {
    "effective classes": "2 to the power of the entropy: so many equally likely classes would be as uncertain.",
    "KL from": "Kullback-Leibler divergence of these probabilities from the teacher's: 0 where they are equal.",
    "nats": "Unit of a loss that takes natural logarithms: 1 nat is 1.44 bits.",
    "transfer set": "The training images that the student is distilled on (Hinton et al., section 3).",
    "p50": "The median: half of the measured times are longer. p95: one in twenty is longer.",
    "multiply-adds": "Multiplications, each with an addition, that one image takes; additions of biases do not count.",
    "Holm": "Holm's correction: the chance of even one false alarm among all these comparisons stays below 5%.",
}
"""Terms that not every visitor knows: what stands in a heading or text -> a sentence, shown where the term stands."""
_AN = re.compile("8|1[18]([0-9]{3})*$|[AEFHILMNORSX]", re.IGNORECASE)
"""What begins with the sound of a vowel: eight, eleven, eighteen, and letters by their names."""
NOTHING = "\u200b"
"""A space of no width: a browser makes no link, and a spreadsheet no formula, of what has one in it."""


def literal(text: str) -> str:
    """Text for st.markdown and all that reads Markdown, in one line, in which nothing is Markdown."""
    return _MARKS.sub(lambda match: f"\\{match[0]}", _LIVE.sub(NOTHING, " ".join(text.split())))


def explained(text: str) -> str | None:
    """The sentences on the terms of GLOSSARY in a text, for help=; None where it has none."""
    return "  \n".join(f"**{term}**: {meaning}" for term, meaning in GLOSSARY.items() if term in text) or None


def cell(text: str) -> str:
    """Text for a table that its reader may download and open in a spreadsheet, where it must be no formula."""
    return NOTHING + text if text.startswith(_FORMULA) else text


def with_article(class_name: str) -> str:
    """An image of this class, in a caption: 'a 3', 'an 8', 'an 18', 'an F'. As withArticle in common.js.

    A longer name stays bare: nothing says whether 'healthy' and 'oak leaves' take an article.
    """
    if not re.fullmatch("[0-9]+|[A-Za-z]", class_name):
        return class_name
    return f"{'an' if _AN.match(class_name) else 'a'} {class_name}"


def duration(seconds: float) -> str:
    """In the largest unit in which it is a whole number of two digits or so: no estimate knows a tenth of an hour."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 3 * 3600:
        return f"{round(seconds / 60)} min"
    return f"{round(seconds / 3600)} h"


@contextmanager
def refusals(*, later: bool = False) -> Iterator[None]:
    """Within, what is refused ends the block, and its sentence is shown. later: by say_refusal, as a callback needs.

    No click comes between what is done here and that it is remembered.
    """
    try:
        with acting():
            yield
    except LabError as error:
        st.session_state["refused"] = str(error)
        if not later:
            say_refusal()


def say_refusal() -> None:
    """What a button was refused, in words, once."""
    if "refused" in st.session_state:
        st.error(literal(st.session_state.pop("refused")), icon=":material/error:")


SPREAD_IN_WORDS = "Means over the seeds; bars are 95% intervals of the mean (Student's t), of two seeds their range."
