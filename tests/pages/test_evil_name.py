"""A run's name is shown as text."""

from app_test import app_test
from tiny import tiny_config

from kd_core.runs.run import new_id
from pages.shared.session import services
from pages.shared.words import NOTHING, literal

EVIL = "[x](https://evil.example) <b> $y$ =1"


def test_the_pages_show_a_run_with_an_evil_name_as_text(home, monkeypatch, at_this_machine):
    store = services._opened(home).store
    run_id = new_id()
    store.create({run_id: tiny_config()})
    store.apply(run_id, {"kind": "failed", "text": "for this test"})
    store.describe(run_id, name=EVIL, note="=2", tags=["=3"])
    app = app_test()
    app.query_params["runs"] = run_id
    app.query_params["compared"] = run_id
    app.run()
    try:
        app.switch_page("pages/runs/page.py").run()
        assert app.header[0].value == literal(EVIL)
        row = app.dataframe[0].value.iloc[0]
        assert (row["note"], list(row["tags"])) == (NOTHING + "=2", [NOTHING + "=3"])
    finally:
        services.jobs().close()
        store.close()
