"""The catalogues of other languages: whole, and each translation with the marks and places of its message."""

import json
import re
from functools import cache
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from languages import catalogues

from pages.shared import language

ROOT = Path(__file__).resolve().parents[3]
OTHERS = [code for code in language.LANGUAGES if code != language.ENGLISH]
UPDATE = "run `python tools/languages/catalogues.py update`, then translate what `… missing` prints"
PLACE = re.compile(r"\{\w+(?:![rsa])?(?::[^{}]*)?\}")
KEPT = {
    "icons": r":material/\w+:",
    "links and pictures": r"(?<=\]\()[^)\s]+|https?://[\w./-]+\w",
    "formulas": r"\$[^$\n]+\$",
    "code": r"`[^`\n]+`",
    "tags of HTML": r"</?[a-z]+\d?[^<>]*>",
    "colours and badges": r":(?:[a-z]+-)?(?:badge|background|red|green|blue|orange|violet|gr[ae]y|small|primary)(?=\[)",
}
"""What stands in a message and in its translation alike."""
WRONG_PARTICLES = re.compile(
    r"\((?:은|이|을|과|으)\)(?:는|가|를|와|로)|(?:는\(은|가\(이|를\(을|와\(과|로\(으로)\)|은/는|이/가|을/를|와/과|과/와"
)
"""Other ways to leave a particle open, which with_particles does not know."""
FIXED_PARTICLE = re.compile(r"(?<!%)\}['\"”’*`]*(?:은|는|이|가|을|를|과|와|이라|라|으로|로)(?=[\s.,:;?!)]|$)")
"""A particle behind a place, whose value may end in any sound; that of percent ends in a vowel."""
_LITERAL = r'"(?:[^"\\\n]|\\.)*"'
CALL = re.compile(rf"(?<![\w.$])(?:_\(\s*({_LITERAL})|plural\(\s*({_LITERAL}),\s*({_LITERAL}))")
SCRIPTS = [path for top in ("pages", "kd_core") for path in ROOT.glob(f"{top}/**/*.js") if ".min." not in path.name]
EMPHASIS = re.compile(r"(?<!\*)(\*\*?)(?=\S)((?:[^*\n]|(?<=\\)\*)+?)(?<=\S)\1(?!\*)")


@cache
def messages():
    """(language, part) -> the messages of its catalogue."""
    by_part = {}
    for code in OTHERS:
        for file in sorted((language.CATALOGUES / code).glob("*.po")):
            with file.open("rb") as lines:
                by_part[code, file.stem] = [message for message in read_po(lines, locale=code) if message.id]
    return by_part


@cache
def code_messages():
    return catalogues.parts()


def forms(message):
    """Its last form in English, which of a plural is the one for many, and its translations."""
    english = message.id[-1] if isinstance(message.id, (tuple, list)) else message.id
    return english, [*message.string] if isinstance(message.string, (tuple, list)) else [message.string]


def pairs(code):
    """(message, translation) of a language."""
    for (spoken, _part), known in messages().items():
        if spoken == code:
            for message in known:
                english, translations = forms(message)
                yield from ((english, translation) for translation in translations if translation)


@pytest.mark.parametrize("code", OTHERS)
def test_the_catalogues_have_what_the_code_says_and_nothing_else(code):
    assert {part for spoken, part in messages() if spoken == code} == {*code_messages()}, UPDATE
    for part, expected in code_messages().items():
        known = {tuple(each.id) if isinstance(each.id, (tuple, list)) else each.id for each in messages()[code, part]}
        assert (known - {*expected}, {*expected} - known) == (set(), set()), f"{part}.po: {UPDATE}"


@pytest.mark.parametrize("code", OTHERS)
def test_every_message_is_translated_and_none_by_guess(code):
    lacking = [
        (part, message.id)
        for (spoken, part), known in messages().items()
        if spoken == code
        for message in known
        if message.fuzzy or not all(forms(message)[1])
    ]
    assert lacking == [], UPDATE


@pytest.mark.parametrize("code", OTHERS)
def test_a_message_has_one_translation_in_all_catalogues(code):
    """Catalogues are read as one: of two translations one would be lost."""
    by_message = {}
    for (spoken, part), known in messages().items():
        if spoken == code:
            for message in known:
                english, translations = forms(message)
                if all(translations):
                    by_message.setdefault(english, {})[part] = translations
    assert {
        english: by for english, by in by_message.items() if [*by.values()] != [next(iter(by.values()))] * len(by)
    } == {}


@pytest.mark.parametrize("code", OTHERS)
def test_a_translation_has_the_places_of_its_message_with_their_formats(code):
    def places(text):
        return {*PLACE.findall(re.sub(r"\{\{|\}\}", "", text))}

    wrong = [pair for pair in pairs(code) if places(pair[0]) != places(pair[1])]
    assert wrong == []


@pytest.mark.parametrize("code", OTHERS)
def test_a_template_with_places_can_be_filled_in_in_both_languages(code):
    """Braces that are none of a place are doubled in the one as in the other."""
    for english, translation in pairs(code):
        assert english.count("{{") == translation.count("{{"), translation
        assert english.count("}}") == translation.count("}}"), translation


@pytest.mark.parametrize("kind", KEPT)
@pytest.mark.parametrize("code", OTHERS)
def test_a_translation_keeps_what_is_no_language(code, kind):
    wrong = [pair for pair in pairs(code) if {*re.findall(KEPT[kind], pair[0])} != {*re.findall(KEPT[kind], pair[1])}]
    assert wrong == []


@pytest.mark.parametrize("code", OTHERS)
def test_a_translation_begins_and_ends_with_the_blanks_and_marks_of_its_message(code):
    """What stands before a heading, in a list or between other pieces."""

    def around(text):
        return re.match(r"\s*(?:#+ |[-*] |\d+\. |\| )?", text)[0], re.search(r"\s*$", text)[0]

    wrong = [pair for pair in pairs(code) if around(pair[0]) != around(pair[1]) and len(pair[0].split()) > 1]
    assert wrong == []


@pytest.mark.parametrize("code", OTHERS)
def test_what_is_emphasised_is_read_as_emphasised(code):
    """Markdown takes no ** for an end that has a mark before it and a letter behind, as in **학생(student)**은.

    Korean writes its particles without a blank: English never comes there.
    """
    wrong = []
    for english, translation in pairs(code):
        outside = re.sub(r"`[^`\n]+`|\$[^$\n]+\$", lambda code: "x" * len(code[0]), translation)
        assert outside.count("**") % 2 == english.count("**") % 2, translation  # in code T**2
        for emphasis in EMPHASIS.finditer(outside):
            before, behind = outside[: emphasis.start()][-1:], outside[emphasis.end() :][:1]
            inner = PLACE.sub("x", emphasis[2])
            opened = re.match(r"[\w\s]", inner) or not re.match(r"\w", before)
            closed = re.search(r"[\w\s]$", inner) or not re.match(r"\w", behind)
            if not (opened and closed):
                wrong.append(translation)
    assert wrong == []


@pytest.mark.parametrize("code", OTHERS)
def test_a_range_strikes_nothing_through(code):
    """Markdown strikes through what stands between two ~, as between those of two ranges: ∼ is none to it."""
    assert [pair for pair in pairs(code) if pair[1].count("~") > pair[0].count("~")] == []


@pytest.mark.parametrize("code", OTHERS)
def test_what_was_only_copied_is_no_sentence(code):
    """A translation that is the message itself: a name, notation or a line of code, but not a sentence."""
    copied = [english for english, translation in pairs(code) if english == translation]
    sentences = [
        text
        for text in copied
        if len(re.findall(r"[A-Za-z]{2,}", PLACE.sub("", text))) > 3 and not re.search(r"[=()#`$/\\]", text)
    ]
    assert sentences == []


def test_korean_particles_are_left_open_in_the_six_forms_only():
    wrong = []
    for _english, translation in pairs("ko"):
        rest = re.sub("|".join(map(re.escape, language.PARTICLES)), "", translation)
        if WRONG_PARTICLES.search(rest) or FIXED_PARTICLE.search(translation):
            wrong.append(translation)
    assert wrong == []


def test_korean_is_polite_to_the_end_of_a_sentence():
    """Sentences end as in a lecture (-ㅂ니다, -세요, -까요), never as among friends or in a diary."""
    plain = re.compile(r"[^니시]다[.!](?=\s|$)")
    wrong = [pair for pair in pairs("ko") if plain.search(re.sub(r"`[^`\n]+`", "", pair[1]))]
    assert wrong == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_call_of_a_script_is_given_its_words(path):
    """Wherever it stands: in a template, or in the values of another."""
    script = re.sub(r"^\s*//.*$|\s//\s.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    named = {json.loads(text) for call in CALL.findall(script) for text in call if text}
    assert named - {*language.words_of(script, OTHERS[0])} == set()
    listed = code_messages().get(catalogues.part_of(path), {})
    assert (
        named - {form for message in listed for form in ([message] if isinstance(message, str) else message)} == set()
    )
