"""Every page in a language that marks what it says, ⟦so⟧: what stands outside of the marks is not translated."""

import json
import re
from gettext import NullTranslations
from pathlib import Path

import pytest
from app_test import app_on
from languages import catalogues

from kd_core.data.catalogue import DATASETS
from kd_core.exchange import shipped
from kd_core.experiments.lesson.catalogue import STEPS
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.models.config import MODELS
from pages.shared import language
from pages.shared.navigation import LISTED
from pages.shared.session import services

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {
    "alt", "body", "caption", "content", "default_tab_label", "delta", "delta_description", "help", "label", "message",
    "options", "placeholder", "text", "title", "validate_message",
}  # fmt: skip
"""Fields of Streamlit's messages that a visitor reads; the others are ids, icons, addresses and code."""
OF_FIGURES = {"text", "name", "ticktext", "hovertemplate", "hovertext", "label", "labels"}
"""Keys of a plotly figure that a visitor reads."""
NO_LANGUAGE = (
    r"```.*?```|`[^`\n]+`",  # code
    r"\$\$?[^$]+\$\$?",  # formulas
    r"<style>.*?</style>|<[^>]*>|&\w+;",  # HTML
    r"\]\([^)]*\)|https?://\S+",  # addresses
    r":material/\w+:|:[a-z-]+(?=\[)|\\[a-zA-Z]+",  # icons, colours
    r"%\{[^}]*\}",  # places of plotly
    r"\b[\w.-]+\.(?:py|onnx|zip|pt2?|safetensors|csv|json|html|parquet|md)\b",  # files
    r"\b[0-9a-f]{4,64}\b",  # ids and checksums
    r"\b\w+[._]\w+\b",  # settings by their names: training.epochs, model_size
)
ALLOWED = {
    "names": ("KD Lab", "English", "Hinton", "Vinyals", "Dean", "Holm", "McNemar", "Kullback-Leibler", "Student"),
    "data sets": tuple(info.label for info in DATASETS.values()),
    "networks": tuple(MODELS),
    "objectives that go by their authors' names": tuple(info.label for info in OBJECTIVES.values()),
    "notation": ("alpha", "softmax", "log", "KL", "CE", "ReLU", "logits"),
    "formats and programs": ("ONNX", "PyTorch", "safetensors", "Parquet", "CSV", "Python", "CPU", "GPU"),
    "precisions": ("float16", "float32", "bfloat16", "int8"),
    "units": ("ms", "kB", "MB", "GB", "px"),
}  # fmt: skip
"""What reads the same in every language, and why."""
_SKIPPED = re.compile("|".join(NO_LANGUAGE), re.DOTALL)
_ALL_NAMES = sorted((re.escape(name) for names in ALLOWED.values() for name in names), key=len, reverse=True)
_NAMES = re.compile(rf"(?<![A-Za-z])(?:{'|'.join(_ALL_NAMES)})(?![A-Za-z])")

VIEWS = [
    *((page.folder, {}) for page in LISTED),
    *(("lesson", {"lesson": step.name}) for step in STEPS[1:]),
    *{step.page: (step.page, {"lesson": step.name}) for step in STEPS}.values(),
    *(("train", {"view": view, "batch": f"{shipped.TAG}digits"}) for view in ("Set up", "Watch")),
    *((page, {"batch": f"{shipped.TAG}digits"}) for page in ("temperature", "compare", "export")),
    ("runs", {"runs": "nowhere"}),
]


class Marked(NullTranslations):
    """⟦Each message⟧ that is in the catalogues; any other text as it is."""

    def __init__(self):
        super().__init__()
        messages = [message for part in catalogues.parts().values() for message in part]
        self.known = {form for message in messages for form in ([message] if isinstance(message, str) else message)}

    def gettext(self, message):
        return f"⟦{message}⟧" if message in self.known else message

    def ngettext(self, msgid1, msgid2, n):
        return self.gettext(msgid1 if n == 1 else msgid2)


def outside(text):
    """What stands outside of ⟦…⟧."""
    left, depth = [], 0
    for letter in text:
        depth += (letter == "⟦") - (letter == "⟧")
        left.append(letter if depth <= 0 and letter != "⟧" else "")
    return "".join(left)


def english(text):
    """The words of two letters and more that nothing translated, and that are no names or notation."""
    return re.findall(r"[A-Za-z][A-Za-z'’-]*[A-Za-z]", _NAMES.sub(" ", _SKIPPED.sub(" ", outside(text))))


def strings(message):
    """The texts in a message of Streamlit's, whatever its kind."""
    for field, value in message.ListFields():
        repeated = not isinstance(value, (str, bytes, int, float)) and not hasattr(value, "ListFields")
        for each in value if repeated and not hasattr(value, "items") else [value]:
            if isinstance(each, str):
                if field.name in TEXTS:
                    yield each
            elif hasattr(each, "ListFields"):
                yield from strings(each)


def of_table(element):
    """What stands over a table's columns."""
    looks = json.loads(element.proto.columns or "{}")
    for column in element.value.columns:
        look = looks.get(str(column)) or {}
        if not look.get("hidden"):
            yield str(look.get("label") or column)
            yield str(look.get("help") or "")


def of_component(value, key=""):
    """Sentences in what a component is given; of a figure all that it shows."""
    if isinstance(value, dict):
        for name, each in value.items():
            figure = each if name != "figure" else json.loads(each) if isinstance(each, str) else each
            yield from of_figure(figure) if name == "figure" else of_component(figure, name)
    elif isinstance(value, list):
        for each in value:
            yield from of_component(each, key)
    elif isinstance(value, str) and re.search(r"[A-Za-z]{2,}[,.:;]? [A-Za-z]{2,}", outside(value)):
        yield value


def of_figure(value, key=""):
    if isinstance(value, dict):
        for name, each in value.items():
            yield from of_figure(each, name) if name not in ("meta", "customdata", "font") else ()
    elif isinstance(value, list):
        for each in value:
            yield from of_figure(each, key)
    elif isinstance(value, str) and key in OF_FIGURES:
        yield value


def said(app):
    """Every text of a page: (where, text)."""
    for node in app._tree:
        if node.type == "bidi_component":
            data = json.loads(node.proto.json or node.proto.mixed.json or "null")
            yield from ((f"component {node.key}", text) for text in of_component(data))
            continue
        if node.type in ("dataframe", "data_editor", "table"):
            yield from ((f"{node.type} {node.key}", text) for text in of_table(node))
        if node.type not in ("code", "json") and hasattr(node.proto, "ListFields"):
            yield from ((f"{node.type} {node.key or ''}", text) for text in strings(node.proto))


@pytest.fixture(scope="module")
def marked():
    return Marked()


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """Two homes for all tests of this file, for one with and one without the models that ship; closed at the end."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("ships", "empty")}
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
    return sorted({(where, text, tuple(words)) for where, text in said(app) if (words := english(text))})


def test_marks_show_what_nobody_translates():
    assert (
        english("⟦all of ⟦it⟧ said⟧ **3** `code here` $alpha x$ [⟦there⟧](https://here.org) KD Lab :material/add:")
        == []
    )
    assert english("⟦half⟧ of it, T 4, alpha 0.9") == ["of", "it"]


@pytest.mark.parametrize(("page", "query"), VIEWS, ids=str)
def test_a_page_says_nothing_that_is_not_translated(open_marked, page, query):
    assert left_in_english(open_marked("ships", page, **query)) == []


@pytest.mark.parametrize("page", [page.folder for page in LISTED])
def test_a_page_without_any_model_says_nothing_that_is_not_translated(open_marked, page):
    assert left_in_english(open_marked("empty", page)) == []
