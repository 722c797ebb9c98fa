"""What a fresh server imports before the second page, and when garbage is collected."""

import gc
import threading
from importlib import import_module

from pages.shared.server.routes import compressed_plotly

AFTER_START_SECONDS = 3.0
SECONDS_BETWEEN_COLLECTIONS = 30.0


def _get_ready() -> None:
    """Import what pages need later than the first one, then take it out of the garbage collector's work."""
    _wanted.wait(AFTER_START_SECONDS)  # the first page comes first
    import_module("torch")  # before scipy, which fails on the half of it that the first page may be importing
    import plotly.graph_objects  # noqa: F401
    import scipy.stats  # noqa: F401

    from kd_core.runs import artifacts  # noqa: F401

    compressed_plotly()
    gc.collect()
    gc.freeze()


def collect_garbage(ended: threading.Event) -> None:
    """What Streamlit would do after every run of a page (postScriptGC), for all of them together now and then.

    It takes 0.15 s with 30 sessions. Python's own rule waits until a quarter of all objects may be garbage.
    """
    while not ended.wait(SECONDS_BETWEEN_COLLECTIONS):
        gc.collect()


_wanted = threading.Event()
GETTING_READY = threading.Thread(target=_get_ready, name="kd-lab-get-ready", daemon=True)


def wait_until_ready() -> None:
    """Wait for the imports of a server that has just started; at once in a test, which has none.

    While one thread imports torch, scipy fails in every other ("partially initialized module 'torch'").
    """
    if GETTING_READY.is_alive():
        _wanted.set()
        GETTING_READY.join()
