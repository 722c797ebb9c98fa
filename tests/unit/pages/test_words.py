"""What people wrote is shown as they wrote it, and does nothing."""

import ast
import json
import subprocess
import tomllib
from pathlib import Path
from types import SimpleNamespace

import playwright
import pytest
from tiny import tiny_config

from kd_core.base.config import flattened
from kd_core.models.config import BLACK_BOX, ModelConfig
from kd_core.runs.run import new_id
from pages.compare import cards, sections
from pages.runs import table
from pages.shared import language
from pages.shared.components.common.browser import COMMON_JS
from pages.shared.figures import curves
from pages.shared.figures.curves import Curve
from pages.shared.session import pickers
from pages.shared.words import GLOSSARY, NOTHING, cell, explained, hardware, literal, with_article

NODE = Path(playwright.__file__).parent / "driver" / "node"
"""The one that Playwright brings."""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[Sign in](https://evil.example)", f"\\[Sign in\\](https:{NOTHING}//evil.example)"),
        ("![](http://evil.example/x.png)", f"!\\[\\](http:{NOTHING}//evil.example/x.png)"),
        ("www.evil.example", f"www{NOTHING}.evil.example"),
        ("me@evil.example", f"me@{NOTHING}evil.example"),
        ("**loud** _slanted_ ~~gone~~ `code`", "\\*\\*loud\\*\\* \\_slanted\\_ \\~\\~gone\\~\\~ \\`code\\`"),
        ("$\\rule{99em}{99em}$", "\\$\\\\rule{99em}{99em}\\$"),
        ("<script>", "\\<script\\>"),
        ("# large\n\n- and a list", "\\# large - and a list"),
        (":red[warning]", f":{NOTHING}red\\[warning\\]"),
        (":material/home:", f":{NOTHING}material/home:"),
        (":+1: :green-badge[new]", f":{NOTHING}+1: :{NOTHING}green-badge\\[new\\]"),
    ],
)
def test_a_name_is_no_markdown(text, shown):
    assert literal(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "temperature must be above 0, got -1",
        "warmup_epochs must be below epochs (2)",
        "mlp 800-800, T 4 · 3%",
        "start KD Lab with KD_NETWORKS=my_pkg.nets:tiny",
    ],
)
def test_our_own_sentences_stay_as_they_are(text):
    assert literal(text) == text


NAMED = {
    **{name: f"a {name}" for name in ("0", "1", "3", "10", "12", "17", "108", "110", "1100", "1800", "B", "U", "k")},
    **{name: f"an {name}" for name in ("8", "11", "18", "80", "88", "800", "8000", "11000", "A", "F", "X", "m")},
    **{name: name for name in ("maple leaf", "Ankle boot", "healthy", "8b", "x-ray", "É", "²", "٨", "八", "")},
}  # fmt: skip
"""Class -> an image of it, in a caption."""


def test_a_caption_has_the_article_that_is_spoken():
    assert {name: with_article(name) for name in NAMED} == NAMED
    program = f"{COMMON_JS}\nconsole.log(JSON.stringify({json.dumps([*NAMED])}.map(withArticle)))"
    done = subprocess.run([NODE, "-e", f"window = globalThis; {program}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [*NAMED.values()]


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_cell_is_no_formula_for_a_spreadsheet(formula):
    assert cell(formula) == NOTHING + formula
    assert cell(f"T {formula}") == f"T {formula}"


def test_a_name_in_a_figure_is_no_html():
    figure = curves.learning_curves([Curve("a", '<a href="https://evil.example">x</a>', "teacher")], epochs=2)
    assert {trace.name for trace in figure.data} == {'&lt;a href="https://evil.example"&gt;x&lt;/a&gt;'}


def test_two_runs_of_one_name_are_told_apart(store):
    ids = [new_id() for _ in range(3)]
    store.create({run_id: tiny_config(seed=seed) for seed, run_id in enumerate(ids)})
    for run_id in ids[:2]:
        store.describe(run_id, name="The teacher", note="", tags=[])
    labels = pickers.told_apart(store.runs())
    assert len(set(labels.values())) == 3
    assert labels[ids[2]] == store.get(ids[2]).label


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "../../etc/passwd", "nowhere", "", "a\0b", "/etc/localtime", "x" * 9999]
)
def test_whatever_a_browser_calls_its_time_zone_the_list_has_times(monkeypatch, zone):
    monkeypatch.setattr(type(table.st.context), "timezone", zone)
    assert str(table._zone()) == (zone if zone == "Europe/Berlin" else "UTC")


RETIRED = (
    # false of our own models (tests/mnist/test_teaching.py measures them)
    "knowledge drowns", "with T²: keeps", "all is alike", "bit of a 3", "without T²: falls", "has little to gain",
    "hardly more than noise", "overconfident", "mean over the classes,", "until it is good", "errors come from dropout",
    "there is little to learn from it", "Fade the diagonal", "often lays its classes out",
    # not as the field says it
    "warm bars", "as good as the label", "beside that it is", "all that its teacher says", "move together",
    "Whoever writes such code", "errors more with the mistake", "told too good", "too good (", "that are not told",
    "May it be believed", "changes no top class", "Half a teacher", "is worth much", "learned by heart",
    "One colour a browser", "asks for another setting", "hardly heard", "chance of so uneven", "experiment's turn",
    "hardly a say", "Not looked at yet", "says what the original says", "Redo it",
    # one word each: distill, soft loss, baseline
    "distil ", "distils", "soft part", "hard part", "without a teacher {", "student, hard labels",
)  # fmt: skip
TOP = Path(__file__).resolve().parents[3]
TEXTS = [*TOP.glob("*.md"), *TOP.glob("docs/**/*.md"), TOP / "checkpoints" / "README.md"]
SOURCES = [
    path for folder in ("pages", "kd_core") for ending in ("py", "toml", "jinja", "html")
    for path in (TOP / folder).rglob(f"*.{ending}")
]  # fmt: skip
SCRIPTS = [*(TOP / "pages").rglob("*.js")]


def sentences(path):
    """What a file says to people: its whole text, or of a program the strings that are no docstrings."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".toml":
        return "\n".join(map(str, flattened(tomllib.loads(text)).values()))
    if path.suffix != ".py":
        return " ".join(text.split())
    tree = ast.parse(text)
    of_formats = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            texts.append("".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts += [] if id(node) in of_formats | docstrings else [node.value]
    return "\n".join(texts)


def test_no_retired_phrase_comes_back():
    texts = {path.relative_to(TOP): sentences(path) for path in (*TEXTS, *SOURCES, *SCRIPTS)}
    assert len(texts) > 50
    assert [(str(path), phrase) for path, text in texts.items() for phrase in RETIRED if phrase in text] == []


def test_a_term_of_the_glossary_is_explained_wherever_it_stands():
    assert explained("latency p50, ms").startswith("**p50**: The median")
    assert explained("In nats, after Holm's correction").count("\n") == 1
    assert explained("latency p95, ms") is None
    components = TOP / "pages" / "shared" / "components"
    heads = (components / "temperature_bars" / "temperature_bars.js").read_text(encoding="utf-8")
    assert {"effective classes", "KL from"} <= {term for term in GLOSSARY if term in heads}


def test_a_term_is_explained_under_its_name_in_the_language_that_is_read():
    with language.spoken("ko"):
        assert explained("nats").startswith(f"**{language._('nats')}**: ")


@pytest.mark.parametrize(
    ("machine", "korean"),
    [
        ("AMD EPYC, 2 cores", "AMD EPYC, 코어 2개"),
        ("A, B, 8 cores, 4 threads, torch 2.1; C, 1 cores, 1 threads, torch 2.2",
         "A, B, 코어 8개, 스레드 4개, torch 2.1; C, 코어 1개, 스레드 1개, torch 2.2"),
        ("a machine", "a machine"),
    ],
)  # fmt: skip
def test_what_the_engine_wrote_of_machines_is_translated(machine, korean):
    assert hardware(machine) == machine
    with language.spoken("ko"):
        assert hardware(machine) == korean


@pytest.mark.parametrize(
    ("model", "phrase"), [("mlp", "It is not measured yet"), (BLACK_BOX, "nothing inside to look at")]
)
def test_the_inside_of_models_says_why_there_is_nothing_of_it(model, phrase):
    run = SimpleNamespace(id="run", config=SimpleNamespace(model=ModelConfig(name=model)))
    (text,) = sections.inside(sections.Compared(SimpleNamespace(runs=[run]), {})).text
    assert phrase in text


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(None, "–"), (1_320, "1.3 kB"), (99_900, "99.9 kB"), (4_812_345, "4.81 MB")]
)
def test_a_small_networks_size_is_not_rounded_to_nothing(size_bytes, text):
    assert cards.size(size_bytes) == text
