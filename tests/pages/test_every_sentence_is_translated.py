"""Every page in a language that marks what it says, ⟦so⟧: what stands outside of the marks is not translated.

Each sentence is its English template in marks that end at its places: a value shows whether it was translated itself.
"""

import json
import re
from dataclasses import replace
from gettext import NullTranslations

import pytest
from app_test import app_on
from google.protobuf.message import Message
from languages import catalogues

from kd_core.exchange import shipped
from kd_core.experiments.lesson.catalogue import STEPS
from kd_core.experiments.limits import catalogue as limits
from kd_core.models.config import ModelConfig
from kd_core.runs.run import LOST_WORKER
from kd_core.runs.store import Store
from kd_core.training.mistakes import MISTAKES
from pages.shared import language
from pages.shared.navigation import LISTED
from pages.shared.session import services

TEXTS = {
    "alt", "body", "caption", "captions", "content", "default_tab_label", "delta", "delta_description", "help", "label",
    "message", "options", "placeholder", "text", "title", "validate_message",
}  # fmt: skip
"""Fields of Streamlit's messages that a visitor reads; the others are ids, icons, addresses and code."""
OF_FIGURES = {"text", "name", "ticktext", "hovertemplate", "hovertext", "label", "labels"}
"""Keys of a plotly figure that a visitor reads."""
FIGURES = ("figure", "narrow")
"""Where components are given figures of plotly, as JSON."""
NO_LANGUAGE = (
    r"```.*?```|`[^`\n]+`",  # code
    r"\$\$?[^$]+\$\$?",  # formulas
    r"<style>.*?</style>|<[^>]*>|&\w+;",  # HTML
    r"\]\([^)]*\)",  # addresses
    r":material/\w+:|:[a-z-]+(?=\[)|\\[a-zA-Z]+",  # icons, colours
    r"%\{[^}]*\}",  # places of plotly
    r"\b[0-9a-f]{4,64}\b",  # ids and checksums
)
ALLOWED = {
    "data sets, by their names and, in a run's label, by their ids": (
        "MNIST", "Fashion-MNIST", "KMNIST", "CIFAR-10", "digits",
    ),
    "networks, by their names and in notation": ("ResNet-18", "MobileNetV3 small", "mlp", "cnn", "resnet18"),
    "optimisers, as PyTorch calls them": ("sgd", "adam", "adamw"),
    "augmentation, as its papers call it": ("RandAugment", "mixup", "CutMix"),
    "notation": ("alpha",),
    "units": ("MB", "kB"),
    "the machine of the results that ship": ("Intel(R) Xeon(R) Processor", "cpu"),
    "a tag and the start of a batch's id, as somebody might have written them": ("shipped", "ship"),
    "the way back to English, for who reads no other language": ("Read in English",),
}  # fmt: skip
"""Why it reads the same in every language: what does."""
PLACE = re.compile(r"(?<!\{)\{[a-z]\w*(?::[^{}]*)?\}")
_SKIPPED = re.compile("|".join(NO_LANGUAGE), re.DOTALL)
_ALL_NAMES = sorted((re.escape(name) for names in ALLOWED.values() for name in names), key=len, reverse=True)
_NAMES = re.compile(rf"(?<![A-Za-z])(?:{'|'.join(_ALL_NAMES)})(?![A-Za-z])")

BATCH = f"{shipped.TAG}digits"
VIEWS = [
    *((page.folder, {}) for page in LISTED),
    *(("lesson", {"lesson": step.name}) for step in STEPS[1:]),
    *{step.page: (step.page, {"lesson": step.name}) for step in STEPS}.values(),
    *(("train", {"view": view, "batch": BATCH}) for view in ("Set up", "Watch")),
    *((page, {"batch": BATCH}) for page in ("temperature", "compare", "export")),
    ("runs", {"runs": "0ff0"}),
    *(("limits", {"experiment": name, "on": "digits", "guess": f"{name}.digits.skip"}) for name in limits.NAMES),
    *(("mistakes", {"mistake": name}) for name in MISTAKES),
]


class Marked(NullTranslations):
    """⟦Each message⟧ that is in the catalogues; any other text as it is."""

    def __init__(self):
        super().__init__()
        messages = [message for part in catalogues.parts().values() for message in part]
        self.known = {form for message in messages for form in ([message] if isinstance(message, str) else message)}

    def gettext(self, message):
        return "⟦" + PLACE.sub(r"⟧\g<0>⟦", message) + "⟧" if message in self.known else message

    def ngettext(self, msgid1, msgid2, n):
        return self.gettext(msgid1 if n == 1 else msgid2)


def outside(text):
    """A text in which · stands for each letter within ⟦…⟧: marks of Markdown there may go with what is outside."""
    left, depth = [], 0
    for letter in text:
        depth += (letter == "⟦") - (letter == "⟧")
        left.append("" if letter in "⟦⟧" else "·" if depth > 0 and letter.isalpha() else letter)
    return "".join(left)


def english(text):
    """The words of two letters and more that nothing translated, and that are no names or notation."""
    return re.findall(r"[A-Za-z][A-Za-z'’-]*[A-Za-z]", _NAMES.sub(" ", _SKIPPED.sub(" ", outside(text))))


def strings(message):
    """The texts in a message of Streamlit's, whatever its kind."""
    for field, value in message.ListFields():
        for each in value if field.is_repeated else [value]:
            if isinstance(each, Message):
                yield from strings(each)
            elif field.name in TEXTS:
                yield each


def of_table(element):
    """What stands over a table's columns, and in its cells; its index is a column too, where it is shown."""
    looks, table = json.loads(element.proto.columns or "{}"), element.value
    for name, cells in [("_index", table.index), *table.items()]:
        look = looks.get(name) or {}
        if not look.get("hidden"):
            yield look.get("label") or ("" if name == "_index" else name)
            yield look.get("help") or ""
            yield from (cell for cell in cells if isinstance(cell, str))


def of_component(value):
    """Sentences in what a component is given; of a figure all that it shows."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from of_figure(json.loads(each)) if name in FIGURES else of_component(each)
    elif isinstance(value, list):
        for each in value:
            yield from of_component(each)
    elif isinstance(value, str) and re.search(r"[A-Za-z]{2,}[,.:;]? [A-Za-z]{2,}", outside(value)):
        yield value


def of_figure(value, key=""):
    """What a figure shows."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from of_figure(each, name) if name not in ("meta", "font") else ()
    elif isinstance(value, list):
        for each in value:
            yield from of_figure(each, key)
    elif isinstance(value, str) and key in OF_FIGURES:
        yield value


def texts_of(app):
    """Every text of a page: (where, text)."""
    for node in app._tree:
        if node.type == "bidi_component":
            data = json.loads(node.proto.json or node.proto.mixed.json or "null")
            yield from ((f"component {node.key}", text) for text in of_component(data))
            continue
        if node.type == "dataframe":
            yield from ((f"table {node.key}", text) for text in of_table(node))
        if node.type not in ("code", "json") and isinstance(getattr(node, "proto", None), Message):
            yield from ((f"{node.type} {node.key}", text) for text in strings(node.proto))


@pytest.fixture(scope="module")
def marked():
    return Marked()


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """Two homes for all tests of this file, one with and one without runs; closed at the end.

    The runs are those that ship: of MNIST as they are; of the digits as a visitor's own, without a name, and one more
    that was to make a mistake, and failed.
    """
    folders = {name: tmp_path_factory.mktemp(name) for name in ("trained", "empty")}
    store = Store(folders["trained"])
    shipped.take_in(store)
    for run in store.runs(batch=BATCH):
        store.describe(run.id, name="", note="", tags=())
    student = next(run for run in store.runs(batch=BATCH) if run.config.role == "distilled")
    config = student.config.replace(mistake="stale_cache", model=ModelConfig(name="cnn", norm_last=True))
    store.adopt(replace(student, id="fa17ed", config=config, status="failed", results={}, message=LOST_WORKER), (), ())
    store.close()
    yield folders
    for folder in folders.values():
        services._jobs(folder).close()
        services._opened(folder).store.close()


@pytest.fixture
def open_marked(homes, marked, tmp_path, monkeypatch, at_this_machine):
    """open_marked(home, page) -> the page in the language of marks. No data set is here but the digits."""

    def open_it(home, page, **query):
        monkeypatch.setattr(language, "translations", lambda code: NullTranslations() if code == "en" else marked)
        monkeypatch.setenv("KD_HOME", str(homes[home]))
        for name in ("KD_DATA_DIR", "XDG_CACHE_HOME"):
            monkeypatch.setenv(name, str(tmp_path / "nothing"))
        if home == "empty":
            monkeypatch.setattr(shipped, "FOLDER", tmp_path / "nothing")
        return app_on(page, lang="ko", **query)

    language.words_of.cache_clear()
    yield open_it
    language.words_of.cache_clear()


def left_in_english(app):
    return sorted({(where, text, tuple(words)) for where, text in texts_of(app) if (words := english(text))})


def test_marks_show_what_nobody_translates():
    assert english("⟦all of ⟦it⟧ said⟧ `code here` $alpha x$ ⟦`and ⟧there⟦`⟧ [⟦so⟧](https://it.org) :blue[7]") == []
    assert english("⟦half⟧ of it, T 4, alpha 0.9") == ["of", "it"]


def test_a_value_that_nobody_translates_shows_within_what_somebody_did(marked):
    template = marked.gettext("{label} · {data} · {id}")
    assert english(template.format(label="⟦teacher⟧ mlp 30", data="of mine", id="0a1b")) == ["of", "mine"]


@pytest.mark.parametrize(("page", "query"), VIEWS, ids=str)
def test_a_page_says_nothing_that_is_not_translated(open_marked, page, query):
    assert left_in_english(open_marked("trained", page, **query)) == []


@pytest.mark.parametrize("page", [page.folder for page in LISTED])
def test_a_page_without_any_model_says_nothing_that_is_not_translated(open_marked, page):
    assert left_in_english(open_marked("empty", page)) == []
