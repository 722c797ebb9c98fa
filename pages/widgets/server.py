"""What the server does beside Streamlit's own work.

It hands out plotly.js, tells the live view what is new, gives each browser an id, and imports what visitors will wait
for. The lab is imported by the first request: its caches want a running server.
"""

import gc
import gzip
import math
import secrets
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from weakref import WeakKeyDictionary

import plotly
import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.media_file_manager import MediaFileManager
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequestType

from kd_core.base import process
from kd_core.base.config import LabError
from kd_core.runs import progress
from kd_core.runs.run import ACTIVE
from pages.widgets import keys
from pages.widgets.base_path import AddBasePath, absolute
from pages.widgets.bounds import KeepBounds
from pages.widgets.door import KeepDoor

process.let_threads_sleep()
process.keep_heaps_few()

AFTER_START_SECONDS = 3.0
SECONDS_BETWEEN_COLLECTIONS = 30.0
SECONDS_A_DOWNLOAD_WAITS = 60.0
MAX_WATCHED = 60
"""Runs of one live view."""
QUEUE_SHOWN = 12
FIRST_POINT_POLL_MS, POLL_MS, POLL_MS_A_WATCHER, SLOWEST_POLL_MS = 150, 400, 50, 1600
_PLOTLY_JS = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


async def _send_plotly(request: Request) -> Response:
    headers = {"Cache-Control": "public, max-age=86400", "Vary": "Accept-Encoding"}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return FileResponse(_PLOTLY_JS, media_type="text/javascript", headers=headers)
    headers["Content-Encoding"] = "gzip"
    return Response(_compressed_plotly(), media_type="text/javascript", headers=headers)


@cache
def _compressed_plotly() -> bytes:
    """Compressed once: Streamlit's server would do it again for every browser, on the thread that serves them all."""
    return gzip.compress(_PLOTLY_JS.read_bytes(), mtime=0)


def _tell(request: Request) -> JSONResponse:
    """How the runs named in the address stand, and their records since the step that the browser has seen."""
    from pages.widgets import lab

    asked = request.query_params
    named = [run_id for run_id in asked.get("runs", "").split(",") if run_id][:MAX_WATCHED]
    try:
        store, lineup = lab.store(), lab.jobs().lineup()
        told = progress.told(store, store.some(named), progress.parse_seen(asked.get("seen", "")))
        shown = store.some([run_id for run_id, _ in lineup[:QUEUE_SHOWN]])
        spans = lab.queue_forecast() if any(run["status"] == "queued" for run in told) else {}
    except LabError as error:
        return JSONResponse(str(error), status_code=503)
    places, me = dict(lineup), request.cookies.get(keys.BROWSER_COOKIE, "")
    for run in told:
        run["position"] = places.get(run["id"])
        begins = spans[run["id"]].begins if run["id"] in spans else math.inf
        run["begins_in"] = begins if math.isfinite(begins) else None
    starting = any(run["status"] in ACTIVE and not run["step"] for run in told)
    answer = {
        "runs": told,
        "queue": [
            {
                "id": run.id,
                "label": run.label,
                "place": places[run.id],
                "colour": lab.owner_colour(run.browser),
                "yours": bool(me) and me in run.browsers,
            }
            for run in shown
        ],
        "queue_more": max(0, len(lineup) - QUEUE_SHOWN),
        "poll_ms": _WATCHERS.poll_ms(asked.get("watcher", "")[:40], starting),
    }
    return JSONResponse(answer)


def _tell_probes(request: Request) -> JSONResponse:
    """Logits of one probe image as the runs named in the address learned: epochs after the ones the browser has."""
    from pages.widgets import lab

    asked = request.query_params
    named = [run_id for run_id in asked.get("runs", "").split(",") if run_id][:MAX_WATCHED]
    image = asked.get("image", "0")[:6]
    try:
        store = lab.store()
        seen = progress.parse_seen(asked.get("seen", ""))
        told = progress.probes_told(store, store.some(named), int(image) if image.isdecimal() else 0, seen)
    except LabError as error:
        return JSONResponse(str(error), status_code=503)
    return JSONResponse({"runs": told})


class _Watchers:
    """How many live views are open, and how often each may ask so that together they cost the training little."""

    def __init__(self) -> None:
        self._asked_at: dict[str, float] = {}

    def poll_ms(self, watcher: str, starting: bool) -> int:
        """When this one should ask again: soon while its first point is awaited, at the latest in SLOWEST_POLL_MS."""
        now = time.monotonic()
        oldest = now - 3 * SLOWEST_POLL_MS / 1000
        self._asked_at = {one: at for one, at in list(self._asked_at.items()) if at > oldest} | {watcher: now}
        fastest = FIRST_POINT_POLL_MS if starting else POLL_MS
        return min(SLOWEST_POLL_MS, max(fastest, POLL_MS_A_WATCHER * len(self._asked_at)))


_WATCHERS = _Watchers()

ROUTES: list[BaseRoute] = [
    Route(absolute("/assets/plotly.min.js"), _send_plotly),
    Route(absolute("/live"), _tell),
    Route(absolute("/probes"), _tell_probes),
]


class _NameBrowsers:
    """Gives each browser an id, in a cookie that its scripts cannot read: whose run is whose, and whose turn it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or keys.BROWSER_COOKIE in Request(scope).cookies:
            await self._app(scope, receive, send)
            return

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                # 304: the browser kept the page, and may have lost the cookie since.
                if headers.get("content-type", "").startswith("text/html") or message["status"] == 304:
                    cookie = f"{keys.BROWSER_COOKIE}={secrets.token_hex(8)}; Max-Age=31536000; HttpOnly"
                    secure = "; Secure" if scope["scheme"] == "https" else ""
                    headers.append("set-cookie", f"{cookie}; SameSite=Lax{secure}")
            await send(message)

        await self._app(scope, receive, send_with_cookie)


MIDDLEWARE = [Middleware(AddBasePath), Middleware(KeepDoor), Middleware(KeepBounds), Middleware(_NameBrowsers)]


@asynccontextmanager
async def lifespan(app: st.App) -> AsyncIterator[None]:
    """Runs around the life of the server."""
    # Until st.navigation has run once, Streamlit takes the folder pages/ for its old multipage layout, and a deep link
    # on a fresh server would show a page without app.py around it.
    PagesManager.uses_pages_directory = False
    # A session that comes back after a lost connection is made to look for changed source files even where that is
    # switched off, and holds all others up for 0.13 s (Streamlit 1.67).
    AppSession.register_file_watchers = _watch_no_files  # type: ignore[method-assign]
    AppSession.request_rerun = _request_rerun  # type: ignore[method-assign]
    MediaFileManager.remove_orphaned_files = _remove_orphaned_files  # type: ignore[method-assign]
    _getting_ready.start()
    ended = threading.Event()
    threading.Thread(target=_collect_garbage, args=(ended,), name="kd-lab-garbage", daemon=True).start()
    yield
    ended.set()


def _watch_no_files(self: AppSession) -> None:
    """In place of AppSession.register_file_watchers."""


_streamlits_request_rerun = AppSession.request_rerun


def _request_rerun(self: AppSession, client_state: ClientState | None) -> None:
    """In place of AppSession.request_rerun: deaf to a fragment's timer while the session's script runs or waits to.

    The timer asks again. Streamlit (1.67) would draw the fragment afterwards, on the page that the browser showed when
    the timer rang: a page that was opened meanwhile would lose all but what stands above it, and a click on a link that
    waits for its turn would be taken for one on the old page.
    """
    runner = self._scriptrunner
    at_work = runner is not None and runner._requests._state != ScriptRequestType.STOP
    if at_work and client_state is not None and client_state.is_auto_rerun:
        return
    _streamlits_request_rerun(self, client_state)


_streamlits_remove_orphaned_files = MediaFileManager.remove_orphaned_files
_removed_at: WeakKeyDictionary[MediaFileManager, float] = WeakKeyDictionary()


def _remove_orphaned_files(self: MediaFileManager) -> None:
    """In place of MediaFileManager.remove_orphaned_files: not before SECONDS_A_DOWNLOAD_WAITS have gone by.

    A file that is made when its button is pressed belongs to no page (Streamlit 1.67), and is gone at the second end
    of any run of any visitor's page: of one that polls, before its own browser has fetched it.
    """
    now = time.monotonic()
    if now - _removed_at.setdefault(self, now) >= SECONDS_A_DOWNLOAD_WAITS:
        _removed_at[self] = now
        _streamlits_remove_orphaned_files(self)


def _get_ready() -> None:
    """Import what pages need later than the first one, then take it out of the garbage collector's work."""
    _wanted.wait(AFTER_START_SECONDS)  # the first page comes first
    import plotly.graph_objects  # noqa: F401
    import scipy.stats  # noqa: F401

    from kd_core.runs import artifacts  # noqa: F401

    _compressed_plotly()
    gc.collect()
    gc.freeze()


def _collect_garbage(ended: threading.Event) -> None:
    """What Streamlit would do after every run of a page (postScriptGC), for all of them together now and then.

    It takes 0.15 s with 30 sessions. Python's own rule waits until a quarter of all objects may be garbage.
    """
    while not ended.wait(SECONDS_BETWEEN_COLLECTIONS):
        gc.collect()


_wanted = threading.Event()
_getting_ready = threading.Thread(target=_get_ready, name="kd-lab-get-ready", daemon=True)


def wait_until_ready() -> None:
    """Wait for the imports of a server that has just started; at once in a test, which has none.

    While one thread imports torch, scipy fails in every other ("partially initialized module 'torch'").
    """
    if _getting_ready.is_alive():
        _wanted.set()
        _getting_ready.join()
