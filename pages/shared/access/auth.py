"""Who may come in, and as whom: the passwords of a served app, the page that asks for them, the cookie that remembers.

    nothing set                 who sits at this machine is the presenter, everybody else a guest
    KD_PRESENTER_PASSWORD       the presenter is whoever gave it, wherever they sit
    KD_PASSWORD                 nobody sees anything before giving it (or the presenter's)

RequirePassword stands before everything that the server hands out, websockets too. What it keeps out reaches no code of
ours but this file. Starlette's SessionMiddleware does not serve: its cookie names a path, which only a proxy may know,
and outlives a changed password.
"""

import contextlib
import hashlib
import html
import ipaddress
import os
import re
import secrets
import textwrap
import threading
import time
from collections.abc import Mapping
from functools import cache
from hmac import compare_digest
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs

from itsdangerous import BadSignature, TimestampSigner
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import request_response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from kd_core.base import paths as base_paths
from kd_core.base.config import ConfigError, LabError
from kd_core.base.files import keep_private
from kd_core.base.templates import said
from pages.shared.access.base_path import absolute, relative, within
from pages.shared.language import ENGLISH, LANG, LANGUAGES, _, of_browser, spoken
from pages.shared.tokens import css

Role = Literal["presenter", "guest"]

COOKIE = "kd_role"
ENTER = "/enter"
OPEN_PATHS = ("/_stcore/health",)
"""What says nothing but that the server is up."""
CLASS = "/class"
"""A class's phones need its code and no password; who leads it is checked there (room/class_routes.py)."""
FIRST_ASKED = "/_stcore/host-config"
"""What a page asks for before it opens its socket. A refusal's text is shown on it; that of a socket is not."""
COLUMNS = 34
"""Of a line of that text, on a telephone."""
HOURS = 12
PER_SECONDS = 60.0
MAX_FAILURES, MAX_FAILURES_UNDER_ATTACK, ATTACK, MAX_FAILURES_OF_ALL = 100, 10, 200, 1000
"""Wrong passwords in PER_SECONDS: from an address, which a class may share; from one when there were ATTACK in all; and
in all. An address from which the right one came is no attacker's, and this machine is never held up."""
MAX_FORM_BYTES = 4000
HERE = "127.0.0.1"
PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
"""By any of which a proxy gives itself away."""
_PAGE = Path(__file__).with_suffix(".html").read_text(encoding="utf-8").replace("{{tokens}}", css())
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'"
_HEADERS = {"X-Frame-Options": "SAMEORIGIN", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}


class Auth:
    """Check passwords, and the signed cookies that were given for them.

    key: what cookies are signed with; whoever has it can make them. A cookie ends after HOURS, or when its password is
    changed.
    """

    def __init__(self, password: str | None, presenter_password: str | None, key: bytes) -> None:
        named: dict[Role, str | None] = {"presenter": presenter_password, "guest": password}
        self._passwords = {role: given for role, given in named.items() if given}
        self._signers = {role: _signer(key, given) for role, given in self._passwords.items()}
        self._failures: list[tuple[str, float]] = []
        self._welcome: set[str] = set()
        self._lock = threading.Lock()

    def role_of(self, cookie: str | None, address: str | None) -> Role | None:
        """Return the role of a visitor; None where a password is needed first. address: where the request came from."""
        role = self._role_in(cookie or "")
        if role == "presenter" or (role is None and "guest" in self._passwords):
            return role
        if "presenter" not in self._passwords and _is_here(address):
            return "presenter"
        return "guest"

    @property
    def asks_for_presenter(self) -> bool:
        """Whether there is a password with which a guest becomes the presenter."""
        return "presenter" in self._passwords

    def sign_in(self, given: str, source: str | None) -> str | None:
        """Return the cookie for a password, None for a wrong one. Raises LabError after many failures.

        source: against whom failures count, None for who sits at this machine.
        """
        now = time.time()
        with self._lock:
            self._failures = [(failed, at) for failed, at in self._failures if at > now - PER_SECONDS]
            if source is not None and self._held_up(source):
                raise LabError(said("Too many wrong passwords: wait a minute, then try again."))
            for role, password in self._passwords.items():
                if compare_digest(_digest(given), _digest(password)):  # in a time that does not tell how nearly
                    self._welcome |= {source} if source is not None else set()
                    return self._signers[role].sign(role).decode()
            if source is not None:
                self._failures.append((source, now))
        return None

    def _held_up(self, source: str) -> bool:
        of_all, of_source = len(self._failures), sum(failed == source for failed, _ in self._failures)
        if source in self._welcome:
            return of_source >= MAX_FAILURES
        most = MAX_FAILURES if of_all < ATTACK else MAX_FAILURES_UNDER_ATTACK
        return of_source >= most or of_all >= MAX_FAILURES_OF_ALL

    def _role_in(self, cookie: str) -> Role | None:
        for role, signer in self._signers.items():
            with contextlib.suppress(BadSignature, UnicodeError):
                if signer.unsign(cookie, max_age=3600 * HOURS) == role.encode():
                    return role
        return None


def _signer(key: bytes, password: str) -> TimestampSigner:
    """Return what signs the role of a password. Another password, like another key, makes other signatures."""
    return TimestampSigner(key, salt=_digest(password), key_derivation="hmac", digest_method=hashlib.sha256)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


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
    with contextlib.suppress(OSError):
        keep_private(home, file.name)
        file.touch()
        file.chmod(0o600)  # before it holds anything
        file.write_bytes(made)
    return made


def passwords() -> tuple[str | None, str | None]:
    """Return the passwords that the environment names: everybody's, and the presenter's. Raises ConfigError."""
    password, presenter_password = os.environ.get("KD_PASSWORD"), os.environ.get("KD_PRESENTER_PASSWORD")
    if password and password == presenter_password:
        raise ConfigError(
            "KD_PASSWORD and KD_PRESENTER_PASSWORD are the same, and whoever gives it would be the presenter: set two"
        )
    return password, presenter_password


def server_auth() -> Auth:
    """Return what checks the passwords of this server. Raises ConfigError where they cannot be told apart."""
    return auth_of(*passwords())


@cache
def auth_of(password: str | None, presenter_password: str | None) -> Auth:
    """Return what checks these passwords: one for all requests, as it counts failures."""
    return Auth(password, presenter_password, key=_key(base_paths.home()))


class RequirePassword:
    """Middleware: lets through who is in, and asks the others for a password."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: ASGIApp = self._app
        if scope["type"] == "http":
            send = _with_headers(send)
            answer = _ENTER if within(scope["path"]) == ENTER else _refusal(scope) or self._app
        elif scope["type"] == "websocket":
            answer = _refusal(scope) or self._app
        await answer(scope, receive, send)


def _refusal(scope: Scope) -> ASGIApp | None:
    """What answers a request in place of the app; None where it may pass."""
    path, websocket = within(scope["path"]), scope["type"] == "websocket"
    if path in OPEN_PATHS or path == CLASS or path.startswith(f"{CLASS}/"):
        return None
    if path == FIRST_ASKED and (elsewhere := _named_otherwise(Headers(scope=scope), "referer")):
        return told_before_the_socket(elsewhere, scope)
    if websocket and not from_our_pages(scope):
        return WebSocketClose(4403, "not from a page of this server")
    if _role_of(scope) is not None:
        return None
    if websocket:
        return WebSocketClose(4401, "password needed")
    query = scope.get("query_string", b"").decode("latin-1")
    return _login_page(scope, path + (f"?{query}" if query else ""), status=401)


def told_before_the_socket(problem: str, scope: Scope) -> Response:
    """What answers FIRST_ASKED where a page's socket cannot work: what is no JSON, or a long line, is not shown."""
    language = language_of(scope)
    with spoken(language):
        columns = COLUMNS if language == ENGLISH else COLUMNS // 2  # a syllable of Hangul is as wide as two letters
        return JSONResponse(textwrap.fill(_(problem), columns, break_long_words=False), 421)


def language_of(scope: Scope) -> str:
    """The language of who asks: that of the address, of the page that the request comes from, of the browser."""
    headers, query = Headers(raw=[*scope.get("headers", ())]), scope.get("query_string", b"").decode("latin-1")
    for words in (query, headers.get("referer", "").partition("?")[2]):
        named: str = parse_qs(words).get(LANG, [""])[0]
        if named in LANGUAGES:
            return named
    wished: str = headers.get("accept-language", "")
    return of_browser(wished)


def _with_headers(send: Send) -> Send:
    """Answers that no other site may show in a frame, where its visitors would press our buttons unawares."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.append("Content-Security-Policy", "frame-ancestors 'self'")
            headers.update(_HEADERS)
        await send(message)

    return send_with_headers


async def _enter(request: Request) -> Response:
    if request.method != "POST" or not from_our_pages(request.scope):
        elsewhere = _named_otherwise(request.headers, "origin") if request.method == "POST" else ""
        target = _inside(request.query_params.get("to", "/"))
        return _login_page(request.scope, target, elsewhere, status=403 if elsewhere else 200)
    form = parse_qs((await request.body()).decode("utf-8", errors="replace"), keep_blank_values=True)
    target = _inside(form.get("to", ["/"])[0])
    try:
        source = None if _is_here(_address(request)) else source_of(request.scope)
        cookie = server_auth().sign_in(form.get("password", [""])[0], source)
    except LabError as error:
        return _login_page(request.scope, target, str(error), status=429)
    if cookie is None:
        problem = said("This is not the password. Ask whoever invited you for it.")
        return _login_page(request.scope, target, problem, status=403)
    answer = RedirectResponse(relative(absolute(target), request.scope["path"]), status_code=303)
    secure = request.url.scheme == "https"
    # Without a path of its own it holds below the folder that the browser sees, whatever a proxy makes of it.
    answer.set_cookie(COOKIE, cookie, path=None, httponly=True, samesite="lax", secure=secure)
    return answer


_ENTER = RequestBodyLimitMiddleware(request_response(_enter), MAX_FORM_BYTES)


def _login_page(scope: Scope, target: str, problem: str = "", status: int = 200) -> HTMLResponse:
    language = language_of(scope)
    with spoken(language):
        fields = {
            "language": language,
            "action": relative(absolute(ENTER), scope["path"]),
            "lead": _("See what a teacher knows. This lab asks for a password."),
            "problem": _(problem),
            "password": _("Password"),
            "to": target,
            "enter": _("Come in"),
        }
    filled = re.sub(r"{{(\w+)}}", lambda field: html.escape(fields[field[1]], quote=True), _PAGE)
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": _PAGE_POLICY}
    return HTMLResponse(filled, status_code=status, headers=headers)


def _inside(target: str) -> str:
    """A path in the app, whatever was asked for."""
    plain = target.isascii() and target.isprintable() and len(target) < MAX_FORM_BYTES and ".." not in target
    return target if plain and target.startswith("/") and not target.startswith(("//", "/\\")) else "/"


def _role_of(scope: Scope) -> Role | None:
    connection = HTTPConnection(scope)
    return server_auth().role_of(connection.cookies.get(COOKIE), _address(connection))


def _address(connection: HTTPConnection) -> str | None:
    return address_of(None if connection.client is None else connection.client.host, connection.headers)


def presents(scope: Scope) -> bool:
    """Whether a request comes from the presenter."""
    return _role_of(scope) == "presenter"


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
    return not _named_otherwise(Headers(scope=scope), "origin")


def _named_otherwise(headers: Mapping[str, str], header: Literal["origin", "referer"]) -> str:
    """Say that the page that asks is at another address than the server is asked for; nothing where it is at the same.

    That is the page of another site, or our own behind a proxy that makes up a Host.
    """
    named, asked_for = headers.get(header), headers.get("host")
    if named is None or (host := named.partition("://")[2].partition("/")[0]) == asked_for:
        return ""
    return said(
        "Your browser is at {host}, and KD Lab was asked for {asked_for}. Where a proxy stands between them, it has to"
        " pass on the Host that it was given, and web sockets: docs/proxies.md has it for nginx and Caddy.",
        host=host or named,
        asked_for=asked_for,
    )
