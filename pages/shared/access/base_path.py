"""Where the app lies on its host: below `server.baseUrlPath`, behind a proxy that keeps that prefix or strips it.

Addresses that we give to a browser are relative, so that they hold below a prefix of which only a proxy knows.
"""

import posixpath

import streamlit as st
from starlette.types import ASGIApp, Receive, Scope, Send


def absolute(path: str) -> str:
    """The path on this server of one in the app: "/live" -> "/kd/live" below a base path of "kd"."""
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    return "/".join(["", *filter(None, [base]), path.lstrip("/")])


def within(path: str) -> str:
    """The path in the app of one on this server, which lies below the base path: "/kd/live" -> "/live"."""
    return "/" + path[len(absolute("")) :]


def relative(path: str, page: str) -> str:
    """How a page refers to another path of this server. page: a path too; path may have a query."""
    path, question, query = path.partition("?")
    steps = posixpath.relpath(path, posixpath.dirname(page))
    return "./" + (steps if steps != "." else "") + question + query


class AddBasePath:
    """Middleware: puts requests below the base path that come without it, as a proxy hands them on that strips it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not f"{scope['path']}/".startswith(absolute("")):
            raw = scope.get("raw_path") or scope["path"].encode()
            scope = {
                **scope,
                "path": absolute(scope["path"]),
                "raw_path": absolute(raw.decode("latin-1")).encode("latin-1"),
            }
        await self._app(scope, receive, send)
