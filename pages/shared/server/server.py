"""What the server does beside Streamlit's own work.

It hands out plotly.js, tells the live view what is new, gives each browser an id, and imports what visitors will wait
for. The lab is imported by the first request: its caches want a running server.
"""

import secrets
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.media_file_manager import MediaFileManager
from streamlit.runtime.pages_manager import PagesManager

from kd_core.base import process
from pages.shared.access.base_path import AddBasePath
from pages.shared.access.bounds import KeepBounds
from pages.shared.access.door import KeepDoor
from pages.shared.server.ready import GETTING_READY, collect_garbage
from pages.shared.server.streamlit_patches import request_rerun, watch_no_files
from pages.shared.session import keys

process.let_threads_sleep()
process.keep_heaps_few()

SECONDS_A_DOWNLOAD_WAITS = 60.0


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
    AppSession.register_file_watchers = watch_no_files  # type: ignore[method-assign]
    AppSession.request_rerun = request_rerun  # type: ignore[method-assign]
    MediaFileManager.remove_orphaned_files = _remove_orphaned_files  # type: ignore[method-assign]
    GETTING_READY.start()
    ended = threading.Event()
    threading.Thread(target=collect_garbage, args=(ended,), name="kd-lab-garbage", daemon=True).start()
    yield
    ended.set()


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
