"""What people wrote is shown as they wrote it, and does nothing."""

import pytest
from streamlit.testing.v1 import AppTest
from tiny import tiny_config

from kd_core import figures
from kd_core.figures import Curve
from kd_core.runs import new_id
from pages.widgets import history, lab, pickers
from pages.widgets.words import NOTHING, cell, literal


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
    ],
)
def test_a_name_is_no_markdown(text, shown):
    assert literal(text) == shown


@pytest.mark.parametrize(
    "text", ["temperature must be above 0, got -1", "warmup_epochs must be below epochs (2)", "mlp 800-800, T 4 · 3%"]
)
def test_our_own_sentences_stay_as_they_are(text):
    assert literal(text) == text


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_cell_is_no_formula_for_a_spreadsheet(formula):
    assert cell(formula) == NOTHING + formula
    assert cell(f"T {formula}") == f"T {formula}"


def test_a_name_in_a_figure_is_no_html():
    figure = figures.learning_curves([Curve("a", '<a href="https://evil.example">x</a>', "teacher")], epochs=2)
    assert {trace.name for trace in figure.data} == {'&lt;a href="https://evil.example"&gt;x&lt;/a&gt;'}


def test_two_runs_of_one_name_are_told_apart(store):
    ids = [new_id() for _ in range(3)]
    store.create({run_id: tiny_config(seed=seed) for seed, run_id in enumerate(ids)})
    for run_id in ids[:2]:
        store.describe(run_id, name="The teacher", note="", tags=[])
    labels = pickers.told_apart(store.runs())
    assert len(set(labels.values())) == 3
    assert labels[ids[2]] == store.get(ids[2]).label


EVIL = "[x](https://evil.example) <b> $y$ =1"


def test_the_pages_show_a_run_with_an_evil_name_as_text(home, monkeypatch, at_this_machine):
    store = lab._opened(home).store
    run_id = new_id()
    store.create({run_id: tiny_config()})
    store.apply(run_id, {"kind": "failed", "text": "for this test"})
    store.describe(run_id, name=EVIL, note="=2", tags=["=3"])
    app = AppTest.from_file("../app.py", default_timeout=60)
    app.query_params["runs"] = run_id
    app.query_params["compared"] = run_id
    app.run()
    try:
        app.switch_page("pages/runs.py").run()
        assert app.subheader[0].value == literal(EVIL)
        row = app.dataframe[0].value.iloc[0]
        assert (row["note"], list(row["tags"])) == (NOTHING + "=2", [NOTHING + "=3"])
    finally:
        lab.jobs().close()
        store.close()


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "../../etc/passwd", "nowhere", "", "a\0b", "/etc/localtime", "x" * 9999]
)
def test_whatever_a_browser_calls_its_time_zone_the_list_has_times(monkeypatch, zone):
    monkeypatch.setattr(type(history.st.context), "timezone", zone)
    assert str(history._zone()) == (zone if zone == "Europe/Berlin" else "UTC")
