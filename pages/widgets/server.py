"""What the server does beside Streamlit's own work: hand out plotly.js, and get ready what the first visitor waits for."""

import gc
import importlib.util
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from starlette.routing import BaseRoute, Route
from starlette.requests import Request
from starlette.responses import FileResponse
from streamlit.runtime.pages_manager import PagesManager


def _plotly_js() -> Path:
    """The plotly.min.js that comes inside the plotly package, found without importing it."""
    package = importlib.util.find_spec("plotly")
    assert package is not None and package.origin is not None
    return Path(package.origin).parent / "package_data" / "plotly.min.js"


async def _send_plotly(request: Request) -> FileResponse:
    return FileResponse(_plotly_js(), media_type="text/javascript", headers={"Cache-Control": "public, max-age=86400"})


ROUTES: list[BaseRoute] = [Route("/assets/plotly.min.js", _send_plotly)]


@asynccontextmanager
async def lifespan(app: st.App) -> AsyncIterator[None]:
    """Runs around the life of the server."""
    # Until st.navigation has run once, Streamlit takes the folder pages/ for its old multipage layout, and a deep link
    # on a fresh server would show a page without app.py around it.
    PagesManager.uses_pages_directory = False
    threading.Thread(target=_get_ready, name="kd-lab-get-ready", daemon=True).start()
    yield


def _get_ready() -> None:
    """Import what pages need later than the first one, then take it out of the garbage collector's work."""
    import plotly.graph_objects  # noqa: F401
    import scipy.special  # noqa: F401
    import scipy.stats  # noqa: F401

    from kd_core import artifacts, datasets  # noqa: F401

    gc.collect()
    gc.freeze()
