"""What the server does beside Streamlit's own work.

It hands out plotly.js, tells the live view what is new, gives each browser an id, and imports what visitors will wait
for. The services are imported by the first request: their caches want a running server.
"""

import secrets
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kd_core.base import process
from kd_core.base.config import ConfigError
from pages.shared.access.auth import RequirePassword, passwords
from pages.shared.access.base_path import AddBasePath
from pages.shared.access.bounds import KeepBounds
from pages.shared.server import streamlit_patches
from pages.shared.server.ready import GETTING_READY, collect_garbage
from pages.shared.server.routes import send_frontend
from pages.shared.session import keys

process.let_threads_sleep()
process.keep_heaps_few()
try:
    passwords()
except ConfigError as error:
    sys.exit(f"error: {error}")


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


class _SayOurWords:
    """Sends Streamlit's frontend with our words on a lost connection; an app may have no route to Streamlit's files."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and scope["path"].endswith(f"/static/js/{streamlit_patches.frontend()[0]}"):
            app = await send_frontend(Request(scope))
        await app(scope, receive, send)


MIDDLEWARE = [
    *(Middleware(AddBasePath), Middleware(RequirePassword), Middleware(KeepBounds)),
    *(Middleware(_NameBrowsers), Middleware(_SayOurWords)),
]


@asynccontextmanager
async def lifespan(app: st.App) -> AsyncIterator[None]:
    """Runs around the life of the server."""
    streamlit_patches.apply()
    GETTING_READY.start()
    ended = threading.Event()
    threading.Thread(target=collect_garbage, args=(ended,), name="kd-lab-garbage", daemon=True).start()
    yield
    ended.set()
