"""Who may come in, and as whom: the passwords of a served app, the page that asks for them, the cookie that remembers.

    nothing set                 who sits at this machine is the presenter, everybody else a guest
    KD_PRESENTER_PASSWORD       the presenter is whoever gave it, wherever they sit
    KD_PASSWORD                 nobody sees anything before giving it (or the presenter's)

It stands before everything that the server hands out, websockets too, so that what it keeps out reaches no code of ours
but the few lines of this file.
"""

import contextlib
import hashlib
import hmac
import html
import ipaddress
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kd_core.base import paths as base_paths
from kd_core.base.config import LabError
from kd_core.base.files import write_atomic
from pages.shared.access.base_path import absolute, relative, within

Role = Literal["presenter", "guest"]

COOKIE = "kd_role"
ENTER = "/enter"
OPEN_PATHS = ("/_stcore/health",)
"""What says nothing but that the server is up."""
HOURS = 12
MAX_FAILURES, MAX_FAILURES_OF_ALL, PER_SECONDS = 10, 200, 60.0
MAX_FORM_BYTES = 4000
HERE = "127.0.0.1"
PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
"""By any of which a proxy gives itself away."""
_HERE = Path(__file__)
_PAGE = _HERE.with_suffix(".html").read_text(encoding="utf-8")


class Door:
    """Checks passwords and what it once gave for them.

    key: what cookies are signed with; whoever has it can make them. A cookie ends after HOURS, or when its password is
    changed.
    """

    def __init__(
        self,
        password: str | None,
        presenter_password: str | None,
        key: bytes,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._passwords: dict[Role, str] = {}
        if presenter_password:
            self._passwords["presenter"] = presenter_password
        if password:
            self._passwords["guest"] = password
        self._key, self._clock = key, clock
        self._failures: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def role_of(self, cookie: str | None, address: str | None) -> Role | None:
        """As whom a visitor is in; None where a password is asked for first. address: where the request came from."""
        known = self._role_in(cookie)
        if known == "presenter" or (known is None and "guest" in self._passwords):
            return known
        if "presenter" not in self._passwords and _is_here(address):
            return "presenter"
        return "guest"

    @property
    def asks_for_presenter(self) -> bool:
        """Whether there is a password with which a guest becomes the presenter."""
        return "presenter" in self._passwords

    def let_in(self, given: str, source: str) -> str | None:
        """The cookie that a password is worth, None where it is worth nothing. Raises LabError after many failures.

        source: against whom failures count.
        """
        now = self._clock()
        with self._lock:
            recent = {one: [at for at in times if at > now - PER_SECONDS] for one, times in self._failures.items()}
            self._failures = {one: times for one, times in recent.items() if times}
            failures = self._failures.get(source, [])
            if len(failures) >= MAX_FAILURES or sum(map(len, self._failures.values())) >= MAX_FAILURES_OF_ALL:
                raise LabError("Too many wrong passwords: wait a minute, then try again.")
            matching = [role for role, password in self._passwords.items() if _same(given, password)]
            if not matching:
                self._failures[source] = [*failures, now]
                return None
        return self._signed(matching[0], int(now + 3600 * HOURS))

    def _role_in(self, cookie: str | None) -> Role | None:
        if not cookie or len(cookie) > 200:
            return None
        for role in self._passwords:
            with contextlib.suppress(ValueError):
                ends = int(cookie.split(".")[1]) if cookie.count(".") == 2 else 0
                if ends > self._clock() and hmac.compare_digest(cookie.encode(), self._signed(role, ends).encode()):
                    return role
        return None

    def _signed(self, role: Role, ends: int) -> str:
        digest = hashlib.sha256(self._passwords[role].encode()).hexdigest()
        mac = hmac.new(self._key, f"{role}.{ends}.{digest}".encode(), hashlib.sha256).hexdigest()
        return f"{role}.{ends}.{mac}"


def _same(given: str, password: str) -> bool:
    """Whether two texts are equal, in a time that does not tell how nearly."""
    return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), hashlib.sha256(password.encode()).digest())


def _is_here(address: str | None) -> bool:
    """Whether a request comes from this machine; one without an address is a test's."""
    try:
        return address is None or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _key(home: Path) -> bytes:
    """The key kept in home, so that a restart signs nobody out; made anew where there is none."""
    file = home / "door.key"
    with contextlib.suppress(OSError):
        kept = file.read_bytes()
        if len(kept) == 32:
            return kept
    made = secrets.token_bytes(32)
    with contextlib.suppress(LabError, OSError):
        write_atomic(file, made)
        file.chmod(0o600)
    return made


_doors: dict[tuple[str | None, str | None], Door] = {}


def the_door() -> Door:
    """The door of this server, as its environment says."""
    named = os.environ.get("KD_PASSWORD"), os.environ.get("KD_PRESENTER_PASSWORD")
    if named not in _doors:
        _doors[named] = Door(*named, key=_key(base_paths.home()))
    return _doors[named]


class KeepDoor:
    """Middleware: lets through who is in, and asks the others for a password."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "http":
            send = _with_headers(send)
        path = within(scope["path"])
        if path in OPEN_PATHS:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket" and not from_our_pages(scope):
            await send({"type": "websocket.close", "code": 4403, "reason": "not from a page of this server"})
        elif scope["type"] == "http" and path == ENTER:
            await (await _enter(Request(scope, receive)))(scope, receive, send)
        elif the_door().role_of(_cookie(scope), _address(scope)) is not None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4401, "reason": "password needed"})
        else:
            query = scope.get("query_string", b"").decode("latin-1")
            target = path + (f"?{query}" if query else "")
            await _asking(scope, target, status=401)(scope, receive, send)


def _with_headers(send: Send) -> Send:
    """Answers that no other site may show in a frame, where its visitors would press our buttons unawares."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.append("Content-Security-Policy", "frame-ancestors 'self'")
            headers["X-Frame-Options"] = "SAMEORIGIN"
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "same-origin"
        await send(message)

    return send_with_headers


async def _enter(request: Request) -> Response:
    if request.method != "POST" or not from_our_pages(request.scope):
        return _asking(request.scope, _inside(request.query_params.get("to", "/")))
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM_BYTES:
            return _asking(request.scope, "/", "That is too long for a password.", status=413)
    form = parse_qs(body.decode("utf-8", errors="replace"), keep_blank_values=True)
    target = _inside(form.get("to", ["/"])[0])
    try:
        cookie = the_door().let_in(form.get("password", [""])[0], source_of(request.scope))
    except LabError as error:
        return _asking(request.scope, target, str(error), status=429)
    if cookie is None:
        return _asking(request.scope, target, "This is not the password. Ask whoever invited you for it.", status=403)
    answer = RedirectResponse(relative(absolute(target), request.scope["path"]), status_code=303)
    secure = request.url.scheme == "https"
    # Without a path of its own it holds below the folder that the browser sees, whatever a proxy makes of it.
    answer.set_cookie(COOKIE, cookie, path=None, httponly=True, samesite="lax", secure=secure)
    return answer


def _asking(scope: Scope, target: str, problem: str = "", status: int = 200) -> HTMLResponse:
    fields = {"action": relative(absolute(ENTER), scope["path"]), "problem": problem, "to": target}
    filled = re.sub(r"{{(\w+)}}", lambda field: html.escape(fields[field[1]], quote=True), _PAGE)
    policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'"
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": policy}
    return HTMLResponse(filled, status_code=status, headers=headers)


def _inside(target: str) -> str:
    """A path in the app, whatever was asked for."""
    plain = target.isascii() and target.isprintable() and len(target) < MAX_FORM_BYTES and ".." not in target
    return target if plain and target.startswith("/") and not target.startswith(("//", "/\\")) else "/"


def _cookie(scope: Scope) -> str | None:
    return HTTPConnection(scope).cookies.get(COOKIE)


def presents(scope: Scope) -> bool:
    """Whether a request comes from the presenter."""
    return the_door().role_of(_cookie(scope), _address(scope)) == "presenter"


def address_of(peer: str | None, headers: Mapping[str, str]) -> str | None:
    """Where a request came from, as far as it tells who sits at this machine.

    What a proxy hands on came from somewhere else than the proxy's own machine. So did, for all we know, what asks for
    another name than this machine has for itself: a web page elsewhere may give its own name our address, and have a
    browser here ask in its stead (DNS rebinding).
    """
    if any(name in headers for name in PROXY_HEADERS):
        return "forwarded"
    return peer if _names_here(headers.get("host")) else "by another name"


def _names_here(host: str | None) -> bool:
    """Whether a Host header, its port aside, is how this machine calls itself; none at all is a test's."""
    name = re.sub(r":\d+$", "", host or "localhost")
    return name.lower() == "localhost" or _is_here(name.strip("[]"))


def source_of(scope: Scope) -> str:
    """Whom to count against what one visitor may do: the address, of which IPv6 gives a house as many as it likes.

    Behind a proxy on this machine it is the visitor's own, as uvicorn reads it from what the proxy adds; others cannot
    make it up.
    """
    client = scope.get("client")
    address: str = client[0] if client else ""
    if _is_here(address):
        return HERE
    with contextlib.suppress(ValueError):
        parsed = ipaddress.ip_address(address)
        if isinstance(parsed, ipaddress.IPv6Address):
            parsed = parsed.ipv4_mapped or ipaddress.ip_network((address.partition("%")[0], 64), strict=False)[0]
        return str(parsed)
    return address


def from_our_pages(scope: Scope) -> bool:
    """Whether a request comes from a page of this server or from no page at all: browsers say so, and say the truth."""
    headers = Headers(scope=scope)
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host")


def _address(scope: Scope) -> str | None:
    client = scope.get("client")
    return address_of(client[0] if client else None, Headers(scope=scope))
