"""The app under AppTest, which runs its script in the test's own process."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from kd_core.jobs import execute
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig

APP = Path(__file__).resolve().parents[2] / "app.py"


# Each AppTest reads what every installed package says of itself: half of the time that tests of pages took.
manifest_scanner.scan_component_manifests = functools.cache(manifest_scanner.scan_component_manifests)


def app_test() -> AppTest:
    """Return the app, not yet run."""
    return AppTest.from_file(APP, default_timeout=60)


def app_on(page: str, **query: str) -> AppTest:
    """Return the app on a page, as whoever follows a link with this query finds it. Fails where the page does."""
    app = app_test()
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    app.switch_page(f"pages/{page}/page.py").run()
    assert not app.exception, [error.value for error in app.exception]
    return app


@contextmanager
def home_with(home: Path, runs: dict[str, RunConfig]) -> Iterator[Path]:
    """A home whose store holds these runs, trained here; what the app opened on it is closed at the end."""
    from pages.shared.session import services

    store = Store(home)
    store.create(runs)
    for run_id in runs:
        execute.run_here(store, run_id, lambda event: None, lambda: None)
    store.close()
    yield home
    services._jobs(home).close()
    services._opened(home).store.close()


def choose_pair(app: AppTest, *, student: str, teacher: str) -> AppTest:
    """Choose an experiment's own pair on digits, for one epoch, and run the page."""
    app.text_input(key="pair digits student").set_value(student)
    app.selectbox(key="pair digits teacher").set_value(teacher)
    return app.number_input(key="pair digits epochs").set_value(1).run()
