"""Prepared views: what an address hides and locks, whatever strangers write there."""

import ast
from types import SimpleNamespace

import pytest
from serving import ROOT

from pages.shared.room import prepared


@pytest.fixture
def visit(monkeypatch):
    """visit(hide=…, lock=…, drawn=…) -> what is prepared, on a page with controls of these keys."""
    session = {}

    def visit(drawn=(), **query):
        parameters = SimpleNamespace(get_all=lambda name: [query[name]] if name in query else [])
        monkeypatch.setattr(prepared.st, "query_params", parameters)
        session.update(dict.fromkeys(drawn))
        monkeypatch.setattr(prepared.st, "session_state", session)
        return prepared.of_address()

    return visit


def test_controls_are_named_as_the_address_names_them(visit):
    view = visit(hide="alpha,source", lock="T")
    assert view == (("alpha", "source"), ("T",))
    assert ".st-key-alpha," in prepared.selector(view.hidden)
    assert ".st-key-image_source," in prepared.selector(view.hidden)
    assert prepared.selector(view.locked).endswith('[data-control~="T"]')
    assert ".st-key-form_temperature" in prepared.selector(view.locked)


def test_the_navigation_is_a_control_too(visit):
    assert "stTopNav" in prepared.selector(visit(hide="pages").hidden)
    assert "stTopNav" not in prepared.selector(visit(hide="alpha").hidden)


ODD = ["", ",,,", "a b", "x{}</style><script>", '"]', "é", "\x00", "x" * 10_000, "%", "../", "*", "a:b"]


@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_name_hides_nothing_and_is_a_line_in_the_log(visit, caplog, odd):
    view = visit(hide=odd, lock=odd)
    assert view == ((), ())
    assert prepared.selector(view.hidden) == ""
    prepared.log_unknown(view)
    assert len(caplog.records) == (2 if odd.strip(",") else 0)
    assert all(len(record.getMessage()) < 400 and "\n" not in record.getMessage() for record in caplog.records)


def test_ten_thousand_names_are_not_all_read(visit, caplog):
    view = visit(hide=",".join(f"name{n}" for n in range(10_000)))
    assert len(view.hidden) == prepared.MOST_NAMES
    prepared.log_unknown(view)
    assert len(caplog.records) == 1


def test_a_name_that_the_page_does_not_know_is_logged_once(visit, caplog):
    view = visit(drawn=["alpha", "image_source"], hide="alpha,source,melon", lock="T")
    prepared.log_unknown(view)
    prepared.log_unknown(view)
    assert [record.getMessage() for record in caplog.records] == [
        "hide= of an address was ignored for what names no control of its page: 'melon'"
    ]


def test_a_page_that_nobody_prepared_logs_nothing(visit, caplog):
    prepared.log_unknown(visit())
    assert not caplog.records


def keys_by_name():
    """Of every control that has another name in the address than its key: name -> keys, read from the pages."""
    keys = {}
    called = {"chosen": None, "selected": None, "choose_data_set": "on", "choose_seeds": "seeds"}
    for path in (ROOT / "pages").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            function = getattr(getattr(call, "func", None), "id", None)
            if function not in called:
                continue
            given = {word.arg: word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)}
            name = given.get("name", called[function])
            if name and given.get("key", name) != name:
                keys.setdefault(name, set()).add(given["key"])
    return keys


def test_every_control_is_hidden_by_its_name_in_the_address():
    missing = {name: keys - set(prepared.KEYS.get(name, ())) for name, keys in keys_by_name().items()}
    assert not any(missing.values()), missing
