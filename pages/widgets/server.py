"""What the server does beside Streamlit's own work: hand out plotly.js, and import what visitors will wait for."""

import gc
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import plotly
import streamlit as st
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import BaseRoute, Route
from streamlit.runtime.pages_manager import PagesManager

AFTER_START_SECONDS = 3.0
_PLOTLY_JS = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


async def _send_plotly(request: Request) -> FileResponse:
    return FileResponse(_PLOTLY_JS, media_type="text/javascript", headers={"Cache-Control": "public, max-age=86400"})


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
    time.sleep(AFTER_START_SECONDS)  # the first page comes first
    import plotly.graph_objects  # noqa: F401
    import scipy.stats  # noqa: F401

    from kd_core import artifacts  # noqa: F401

    gc.collect()
    gc.freeze()
