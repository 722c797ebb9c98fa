"""How much of the server one visitor may take: open pages, files that wait to be looked at, and what a tab may ask.

It stands behind the password (auth.py) and before Streamlit, whose own limits are those of one message or one
file, however many somebody sends.
"""

import html
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from kd_core.base.templates import Said, said
from pages.shared.access.auth import FIRST_ASKED, HERE, language_of, presents, source_of, told_before_the_socket
from pages.shared.access.base_path import within
from pages.shared.language import _, spoken
from pages.shared.server.streamlit_patches import is_uploaded, permitted
from pages.shared.session import keys

MAX_PAGES, MAX_PAGES_OF_ADDRESS, MAX_PAGES_OF_ALL = 30, 300, 1000
"""Open at once, by one browser, from one address other than this machine's, and in all."""
MAX_UPLOADED_BYTES, MAX_UPLOADED_BYTES_OF_ALL = 60_000_000, 600_000_000
"""Of files that open pages hold, by one browser and in all."""
MAX_FILE_BYTES, MAX_PRESENTERS_FILE_BYTES = 21_000_000, 220_000_000
"""Of one file with what its upload adds: a picture or a run, and a data set, which only the presenter brings in."""
MAX_ADDRESS = 16_000
"""Characters of a page's query."""
NO_ROOM = 507
"""The status of an upload for which there is no room; 413 is that of a file that is too large, for a proxy too."""
SOCKET = "/_stcore/stream"
SECONDS_PLAIN = 20.0
NO_UPGRADE = said(
    "The proxy before KD Lab does not pass on web sockets, by which a page hears what it shows: whoever runs it has it"
    " pass on Upgrade and Connection. docs/proxies.md has it for nginx and Caddy."
)
UPLOADS = "/_stcore/upload_file/"


class _Visitor(NamedTuple):
    browser: str
    source: str

    @classmethod
    def of(cls, scope: Scope) -> "_Visitor":
        source = source_of(scope)
        return cls(HTTPConnection(scope).cookies.get(keys.BROWSER_COOKIE, "")[:40] or source, source)


class KeepBounds:
    """Middleware: refuses what would be more than one visitor's share, in a sentence where a person reads it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._of_browser: Counter[str] = Counter()
        self._of_address: Counter[str] = Counter()
        self._uploads: dict[tuple[str, str], tuple[str, int]] = {}  # session, file -> whose, bytes
        self._arriving: Counter[tuple[str, str]] = Counter()
        self._plain_sockets: dict[str, float] = {}  # browser -> when it last asked for one without an upgrade

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._page(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "PUT" and UPLOADS in scope["path"]:
            await self._upload(scope, receive, send)
        elif scope["type"] == "http" and within(scope["path"]) in (SOCKET, FIRST_ASKED):
            await self._before_the_socket(scope)(scope, receive, send)
        elif scope["type"] == "http" and "text/html" in Headers(scope=scope).get("accept", ""):
            problem = self._full(_Visitor.of(scope))
            answer: ASGIApp = self._app if problem is None else _refusal(problem, scope)
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _before_the_socket(self, scope: Scope) -> ASGIApp:
        """The app; where the browser's socket came as a plain request a moment ago, what the proxy left out."""
        browser, now = _Visitor.of(scope).browser, time.monotonic()
        self._plain_sockets = {key: at for key, at in self._plain_sockets.items() if at > now - SECONDS_PLAIN}
        if within(scope["path"]) == SOCKET:
            self._plain_sockets[browser] = now
        return told_before_the_socket(NO_UPGRADE, scope) if browser in self._plain_sockets else self._app

    def _full(self, visitor: _Visitor) -> Said | None:
        """Why a visitor may open no page more, in a sentence, or None where they may."""
        if self._of_browser[visitor.browser] >= MAX_PAGES:
            return said("You have {count} pages of KD Lab open: close one, then reload this.", count=MAX_PAGES)
        crowded = visitor.source != HERE and self._of_address[visitor.source] >= MAX_PAGES_OF_ADDRESS
        if crowded or self._of_browser.total() >= MAX_PAGES_OF_ALL:
            return said("KD Lab has as many pages open as it can serve: try again when somebody has left.")
        return None

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        visitor = _Visitor.of(scope)
        if self._full(visitor) is not None:
            await WebSocketClose(4429, "too many open pages")(scope, receive, send)
            return
        with _counted(self._of_browser, visitor.browser), _counted(self._of_address, visitor.source):
            await self._app(scope, _checked(receive), send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        session, _, file = scope["path"].partition(UPLOADS)[2].partition("/")
        self._uploads = {key: kept for key, kept in self._uploads.items() if key in self._arriving or is_uploaded(*key)}
        refusal = self._no_room(scope, (session, file))
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        self._uploads[session, file] = _Visitor.of(scope).browser, int(Headers(scope=scope)["content-length"])
        with _counted(self._arriving, (session, file)):
            await self._app(scope, receive, send)

    def _no_room(self, scope: Scope, upload: tuple[str, str]) -> Response | None:
        """Why a file may not come in; None where there is room, and it says how large it is, as browsers do."""
        length = Headers(scope=scope).get("content-length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 12):
            return PlainTextResponse("The size of the file is not stated.", 411)
        browser = _Visitor.of(scope).browser
        others = [kept for key, kept in self._uploads.items() if key != upload]
        own, of_all = sum(size for whose, size in others if whose == browser), sum(size for _, size in others)
        most, most_own = MAX_FILE_BYTES, MAX_UPLOADED_BYTES
        if presents(scope):
            most, most_own = MAX_PRESENTERS_FILE_BYTES, MAX_UPLOADED_BYTES + MAX_PRESENTERS_FILE_BYTES
        if int(length) > most:
            return PlainTextResponse(f"A file may have {most // 1_000_000} MB at most.", 413)
        if own + int(length) > most_own or of_all + int(length) > MAX_UPLOADED_BYTES_OF_ALL:
            return PlainTextResponse("There is no room for more files: close other pages.", NO_ROOM)
        return None


@contextmanager
def _counted(counter: Counter[Any], key: object) -> Iterator[None]:
    """Count one more for as long as the block lasts; who has none left is forgotten."""
    counter[key] += 1
    try:
        yield
    finally:
        counter -= Counter([key])


def _refusal(problem: Said, scope: Scope) -> Response:
    language = language_of(scope)
    with spoken(language):
        text = html.escape(_(problem))
    head = f'<!doctype html><html lang="{language}"><meta charset="utf-8"><title>KD Lab</title>'
    return HTMLResponse(f"{head}<p>{text}</p></html>", 429, headers={"Cache-Control": "no-store"})


def _checked(receive: Receive) -> Receive:
    """What a tab sends, without what it may not ask."""

    async def receive_checked() -> Message:
        while True:
            message = await receive()
            content = message.get("bytes") if message["type"] == "websocket.receive" else None
            if content is None:
                return message
            content = permitted(content, MAX_ADDRESS)
            if content is not None:
                return {**message, "bytes": content}

    return receive_checked
