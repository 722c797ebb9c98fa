"""The language in which a visitor reads the pages. English stands in the code; others are catalogues below languages/.

Every sentence that a visitor reads goes through `_`, or through `plural` where it counts something. Both take a literal
template with named places, and the values; or what the engine has Said, which brings its own.
"""

import datetime as dt
import io
import re
from ast import literal_eval
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

import streamlit as st
from babel import Locale
from babel.dates import format_datetime
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from kd_core.base.templates import Said, said_by
from pages.shared.server.streamlit_patches import runs_a_page

ENGLISH = "en"
LANGUAGES = {ENGLISH: "English", "ko": "한국어"}
"""By its code, as in an address: what a language calls itself."""
LANG = "lang"
"""The query parameter, and the name in the session."""
CATALOGUES = Path(__file__).with_name("languages")
"""By language a folder of catalogues, one for each part of the program."""
_spoken: ContextVar[str | None] = ContextVar("spoken", default=None)


def settle() -> str:
    """Find the language of this session, before its page is drawn: that of the address, of the session, of the browser.

    One that was chosen stays in the address, so that who is sent a view reads what is seen.
    """
    named = st.query_params.get(LANG)
    if named in LANGUAGES:
        st.session_state[LANG] = named
    elif st.session_state.get(LANG) is None:
        st.session_state[LANG] = of_browser(st.context.locale or "")
    language: str = st.session_state[LANG]
    if language != of_browser(st.context.locale or "") and named != language:
        st.query_params[LANG] = language
    return language


def of_browser(wished: str) -> str:
    """The first language of a browser's, as in "ko-KR,ko;q=0.9,en;q=0.8", that is here; else English."""
    codes = (entry.split(";")[0].split("-")[0].strip().lower() for entry in wished.split(","))
    return next((code for code in codes if code in LANGUAGES), ENGLISH)


@contextmanager
def spoken(language: str) -> Iterator[None]:
    """Within, which is no page of Streamlit's, this language is read."""
    before = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(before)


def current() -> str:
    """The code of the language that is read here and now."""
    if (language := _spoken.get()) is not None:
        return language
    known: str | None = st.session_state.get(LANG) if runs_a_page() else None
    return known or ENGLISH


def _(message: str, /, **values: object) -> str:
    """Say a sentence in the language that is read, with its values, as `_("{name} has no weights", name=run.name)`.

    A message that is no template of the catalogue, as a name that somebody gave, stays as it is.
    """
    if isinstance(message, Said):
        return _translated(message.template, message.many, message.values | values)
    return _translated(message, None, values)


def plural(one: str, many: str, count: float, /, **values: object) -> str:
    """Say a sentence that counts, as `plural("{count} run trains", "{count} runs train", 3)`."""
    return _translated(one, many, {"count": count, **values})


def of_error(error: Exception) -> str:
    """The sentence of an error, which the engine raised with what it Said."""
    return _(said_by(error))


def _translated(template: str, many: str | None, values: Mapping[str, object]) -> str:
    language = current()
    words = translations(language)
    if not template:  # which gettext keeps for what describes the catalogue
        return template
    own = words.gettext(template) if many is None else words.ngettext(template, many, _whole(values["count"]))
    if not values:
        return own
    text = own.format(**{name: _(value) if isinstance(value, Said) else value for name, value in values.items()})
    return with_particles(text) if language == "ko" else text


def _whole(count: object) -> int:
    return int(count) if isinstance(count, int) or (isinstance(count, float) and count.is_integer()) else 2


@cache
def translations(language: str) -> NullTranslations:
    """What is said in a language: all its catalogues in one."""
    if language == ENGLISH:
        return NullTranslations()
    whole = Catalog(locale=language)
    for file in sorted((CATALOGUES / language).glob("*.po")):
        with file.open("rb") as lines:
            for message in read_po(lines, locale=language):
                if message.id and any(message.string or ()):
                    whole[message.id] = message
    buffer = io.BytesIO()
    write_mo(buffer, whole)
    buffer.seek(0)
    return GNUTranslations(buffer)


_TEXT = r"""(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\$]|\\.|\$(?!\{))*`)"""
_TEXTS = rf"{_TEXT}(?:\s*\+\s*{_TEXT})*"
_CALL = re.compile(rf"(?<![\w.$])(?:_\(\s*({_TEXTS})|plural\(\s*({_TEXTS})\s*,\s*({_TEXTS}))\s*[,)]")
_COMMENT = re.compile(r"^\s*//.*$|\s//\s.*$", re.MULTILINE)


def said_by_script(script: str) -> Iterator[str | tuple[str, ...]]:
    """What a script says, in order: Babel's own reader passes over a call in another's arguments, and in `${_(…)}`."""
    for call in _CALL.finditer(_COMMENT.sub("", script)):
        whole, *forms = ("".join(map(_unquoted, re.findall(_TEXT, text or ""))) for text in call.groups())
        yield whole or tuple(forms)


def _unquoted(text: str) -> str:
    """The value of a string of JavaScript's, which Python's differ from in the third kind of quotes alone."""
    if text.startswith("`"):
        text = '"""' + text[1:-1].replace('"', '\\"') + '"""'
    return str(literal_eval(text))


@cache
def words_of(script: str, language: str) -> dict[str, str]:
    """What a script for browsers says, in a language: template -> its translation; empty for English."""
    if language == ENGLISH:
        return {}
    words = translations(language)
    translated: dict[str, str] = {}
    for message in said_by_script(script):
        if isinstance(message, tuple):
            single, many = message
            translated |= {form: words.ngettext(single, many, count) for count, form in ((1, single), (2, many))}
        else:
            translated[message] = words.gettext(message)
    return translated


def when(seconds: float, pattern: str) -> str:
    """A moment, in seconds since the epoch, on this machine's clock. pattern: CLDR's; PATTERNS may have another."""
    moment = dt.datetime.fromtimestamp(seconds)
    return format_datetime(moment, PATTERNS.get(current(), {}).get(pattern, pattern), locale=Locale(current()))


PATTERNS = {"ko": {"dd MMMM yyyy": "yyyy년 M월 d일"}}

PARTICLES = {
    "은(는)": "은는",
    "이(가)": "이가",
    "을(를)": "을를",
    "과(와)": "과와",
    "이(라)": ("이라", "라"),
    "으로(로)": ("으로", "로"),
}
_MARKS = r"""[)\]'"”’*`]*"""
_PARTICLE = re.compile(rf"(\S)({_MARKS}(?:\([^()]*\))?{_MARKS})(" + "|".join(map(re.escape, PARTICLES)) + ")")
"""A particle fits the word before it, not what is added to that in brackets."""
_CLOSED_DIGITS, _CLOSED_LETTERS = "013678", "lmnr"
"""Digits and letters that, read in Korean, end in a consonant: 영 일 삼 육 칠 팔, 엘 엠 엔 알."""


def with_particles(text: str) -> str:
    """Korean whose particles fit what stands before them: "3은(는)" reads "3은", "T을(를)" reads "T를"."""

    def fit(match: re.Match[str]) -> str:
        last, marks, written = match.groups()
        after_consonant, after_vowel = PARTICLES[written]
        lone = after_vowel if written == "으로(로)" and _ends_in_l(last) else None
        return last + marks + (lone or (after_consonant if _is_closed(last) else after_vowel))

    return _PARTICLE.sub(fit, text)


def _is_closed(letter: str) -> bool:
    """Whether a syllable, digit or letter, as it is read, ends in a consonant."""
    if "가" <= letter <= "힣":
        return (ord(letter) - ord("가")) % 28 != 0
    return letter in _CLOSED_DIGITS or letter.lower() in _CLOSED_LETTERS


def _ends_in_l(letter: str) -> bool:
    """Whether it ends in ㄹ, after which 로 stands: 일 칠 팔, 엘 알."""
    return letter in "178lLrR" or ("가" <= letter <= "힣" and (ord(letter) - ord("가")) % 28 == 8)
