"""The app under AppTest, which runs its script in the test's own process."""

from pathlib import Path

from streamlit.testing.v1 import AppTest

APP = Path(__file__).resolve().parents[2] / "app.py"


def app_test() -> AppTest:
    """Return the app, not yet run."""
    return AppTest.from_file(APP, default_timeout=60)
