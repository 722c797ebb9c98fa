"""What surrounds every page."""

import ast
from pathlib import Path
from types import SimpleNamespace

import pytest

from pages.shared import frame

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def shown(monkeypatch):
    """A page with nothing on it: shown.errors has what is said of the queue, shown.look() is the timer's ring."""
    page = SimpleNamespace(errors=[], look=None, queue=SimpleNamespace(trouble="No worker is free."))

    def fragment(function, *, run_every):
        assert 0 < run_every <= 5

        def look():
            page.errors.clear()
            function()

        page.look = look
        return look

    nothing = SimpleNamespace(empty=lambda: None, forget=lambda: None)
    drawn = SimpleNamespace(fragment=fragment, error=lambda text, icon: page.errors.append(text))
    for name, stand_in in {"st": drawn, "button": nothing, "rights": SimpleNamespace(presenter=lambda: True)}.items():
        monkeypatch.setattr(frame, name, stand_in)
    for name in ("room", "guide", "wait_until_ready", "explain_refused_uploads", "_say_what_was_mended"):
        monkeypatch.setattr(frame, name, lambda *_: None)
    monkeypatch.setattr(frame, "server_auth", lambda: SimpleNamespace(asks_for_presenter=False))
    monkeypatch.setattr(frame.services, "jobs", lambda: page.queue)
    page.run = lambda: frame.run_page(SimpleNamespace(url_path="train", run=lambda: None))
    return page


def test_trouble_of_the_queue_goes_by_itself_once_it_is_over(shown):
    shown.run()
    assert shown.errors == ["No worker is free."]
    shown.queue.trouble = None
    shown.look()  # without the page
    assert shown.errors == []


def test_a_page_without_trouble_has_no_timer(shown):
    shown.queue.trouble = None
    shown.run()
    assert (shown.errors, shown.look) == ([], None)


def test_what_is_folded_has_a_chevron():
    calls = [
        node
        for path in (ROOT / "pages").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "expander"
    ]
    assert calls
    assert not [call.lineno for call in calls if any(keyword.arg == "icon" for keyword in call.keywords)]
