"""How much of the server one visitor may take: open pages, files that wait to be looked at, and what a tab may ask.

It stands behind the door (auth.py) and before Streamlit, whose own limits are those of one message or one
file, however many somebody sends.
"""

import html
from collections import Counter
from typing import NamedTuple, TypeVar

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pages.shared.access.auth import HERE, presents, source_of
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
UPLOADS = "/_stcore/upload_file/"
_Counted = TypeVar("_Counted")


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._page(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "PUT" and UPLOADS in scope["path"]:
            await self._upload(scope, receive, send)
        elif scope["type"] == "http" and "text/html" in Headers(scope=scope).get("accept", ""):
            problem = self._full(_Visitor.of(scope))
            answer: ASGIApp = self._app if problem is None else _said(problem)
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _full(self, visitor: _Visitor) -> str | None:
        """Why a visitor may open no page more, in a sentence, or None where they may."""
        if self._of_browser[visitor.browser] >= MAX_PAGES:
            return f"You have {MAX_PAGES} pages of KD Lab open: close one, then reload this."
        if self._of_address[visitor.source] >= MAX_PAGES_OF_ADDRESS or self._of_browser.total() >= MAX_PAGES_OF_ALL:
            return "KD Lab has as many pages open as it can serve: try again when somebody has left."
        return None

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        visitor = _Visitor.of(scope)
        if self._full(visitor) is not None:
            await send({"type": "websocket.close", "code": 4429, "reason": "too many open pages"})
            return
        counted = [(self._of_browser, visitor.browser)]
        if visitor.source != HERE:
            counted.append((self._of_address, visitor.source))
        for counter, one in counted:
            counter[one] += 1
        try:
            await self._app(scope, _checked(receive), send)
        finally:
            for counter, one in counted:
                _less(counter, one)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a file through where there is room for it and it says how large it is, as browsers do."""
        length = Headers(scope=scope).get("content-length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 12):
            await PlainTextResponse("The size of the file is not stated.", 411)(scope, receive, send)
            return
        session, _, file = scope["path"].partition(UPLOADS)[2].partition("/")
        this, browser = (session, file), _Visitor.of(scope).browser
        self._uploads = {one: kept for one, kept in self._uploads.items() if one in self._arriving or is_uploaded(*one)}
        others = [kept for one, kept in self._uploads.items() if one != this]
        own, of_all = sum(size for whose, size in others if whose == browser), sum(size for _, size in others)
        most, most_own = MAX_FILE_BYTES, MAX_UPLOADED_BYTES
        if presents(scope):
            most, most_own = MAX_PRESENTERS_FILE_BYTES, MAX_UPLOADED_BYTES + MAX_PRESENTERS_FILE_BYTES
        if int(length) > most:
            await PlainTextResponse(f"A file may have {most // 1_000_000} MB at most.", 413)(scope, receive, send)
            return
        if own + int(length) > most_own or of_all + int(length) > MAX_UPLOADED_BYTES_OF_ALL:
            await PlainTextResponse("There is no room for more files: close other pages.", 413)(scope, receive, send)
            return
        self._uploads[this] = browser, int(length)
        self._arriving[this] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            _less(self._arriving, this)


def _less(counter: Counter[_Counted], one: _Counted) -> None:
    """Count one less, and forget who has none left."""
    counter[one] -= 1
    if counter[one] <= 0:
        del counter[one]


def _said(problem: str) -> Response:
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>KD Lab</title>'
    return HTMLResponse(f"{head}<p>{html.escape(problem)}</p></html>", 429, headers={"Cache-Control": "no-store"})


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
