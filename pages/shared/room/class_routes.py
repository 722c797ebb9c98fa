"""A class's routes: the page that phones follow on, the presenter's own, and what both ask for.

Phones need the class's code and no password: they get what the presenter shows, and nothing else of the app. Whoever
may present may lead. All runs on the server's event loop, one request after another, and no page runs for it.
"""

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cache, wraps
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from kd_core.base.config import LabError
from kd_core.base.templates import filled, said
from kd_core.experiments.lesson.quiz import ITEMS
from pages.shared import language
from pages.shared.access.auth import CLASS, ENTER, from_our_pages, language_of, presents
from pages.shared.access.base_path import absolute
from pages.shared.components.common.browser import COMMON_JS, with_words
from pages.shared.components.temperature_bars.temperature_bars import BARS_CSS, BARS_JS
from pages.shared.language import LANG, LANGUAGES, _
from pages.shared.room.classroom import MOST_PICTURE, Classroom, Question, View, read
from pages.shared.tokens import css

_HERE = Path(__file__).parent
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'"
)
_PLAIN_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
MOST_VOTE_BYTES, MOST_LEAD_BYTES = 1_000, 2 * MOST_PICTURE
MOST_WRONG, PER_SECONDS = 300, 60.0
"""Wrong codes, after which phones that are not in the class yet have to wait."""
NO_CLASS = said("No class has this code now. Ask whoever presents for it.")


class _Now:
    """The class of this server, if there is one; one at a time."""

    classroom: Classroom | None = None
    wrong: list[float] = []  # noqa: RUF012  when a code was wrong


def classroom() -> Classroom | None:
    """The class that is on."""
    return _Now.classroom


def _joined(code: str, phone: str) -> Classroom:
    """The class of a code. Raises LabError without one, and while codes are guessed."""
    open_class = _Now.classroom
    if open_class is None:
        raise LabError(NO_CLASS)
    now = time.monotonic()
    _Now.wrong = [at for at in _Now.wrong if at > now - PER_SECONDS]
    if len(_Now.wrong) >= MOST_WRONG and not open_class.follows(phone):
        raise LabError(said("Too many wrong codes: wait a minute, then try again."))
    if code.upper() != open_class.code:
        _Now.wrong.append(now)
        raise LabError(NO_CLASS)
    return open_class


def _phone(text: object) -> str:
    """The id that a phone made up for itself."""
    if not isinstance(text, str) or not (8 <= len(text) <= 40 and text.isascii() and text.isalnum()):
        raise LabError(said("This page is broken: open it anew."))
    return text


async def _tell(request: Request) -> Response:
    """What is new for a phone; 204 while nothing is."""
    query = request.query_params
    try:
        phone = _phone(query.get("me"))
        joined = _joined(query.get("code", ""), phone)
    except LabError as error:
        return JSONResponse(language.of_error(error), status_code=404)
    joined.follow(phone)
    if query.get("seen") == str(joined.version):
        return Response(status_code=204)
    return Response(joined.news(), media_type="application/json", headers={"Cache-Control": "no-store"})


async def _vote(request: Request) -> Response:
    try:
        sent = await _body(request, MOST_VOTE_BYTES)
        phone, answer, quiz = _phone(sent.get("me")), sent.get("answer"), sent.get("quiz")
        joined = _joined(str(sent.get("code", "")), phone)
        if isinstance(quiz, list):
            joined.take_quiz(phone, quiz)
        elif isinstance(answer, int):
            joined.vote(phone, answer)
        else:
            raise LabError(said("This is none of the answers."))
    except LabError as error:
        return JSONResponse(language.of_error(error), status_code=409)
    return JSONResponse("counted")


async def _picture(request: Request) -> Response:
    try:
        joined = _joined(request.query_params.get("code", ""), _phone(request.query_params.get("me")))
    except LabError as error:
        return PlainTextResponse(language.of_error(error), 404)
    headers = {"Content-Security-Policy": _PLAIN_POLICY, "Cache-Control": "private, max-age=60"}
    return Response(joined.picture, media_type="image/svg+xml", headers=headers)


def _begin(sent: Mapping[str, Any]) -> None:
    _Now.classroom = _Now.classroom or Classroom()


def _end(sent: Mapping[str, Any]) -> None:
    _Now.classroom = None


ACTS: dict[str, Callable[[Classroom, Mapping[str, Any]], None]] = {
    "look": lambda led, sent: None,
    "show": lambda led, sent: led.show(read(View, sent.get("view") or {})),
    "picture": lambda led, sent: led.show_picture(str(sent.get("picture", ""))),
    "ask": lambda led, sent: led.ask(read(Question, sent.get("question") or {})),
    "again": lambda led, sent: led.again(),
    "stop": lambda led, sent: led.stop(),
    "reveal": lambda led, sent: led.reveal(True),
    "hide": lambda led, sent: led.reveal(False),
    "put away": lambda led, sent: led.put_away(),
    "quiz": lambda led, sent: led.open_quiz(str(sent.get("when", ""))),
}
"""What whoever leads may have done, by its name."""


async def _lead(request: Request) -> Response:
    """Do what the presenter wants, and answer how the class stands; null where there is none."""
    if not presents(request.scope) or not from_our_pages(request.scope):
        return JSONResponse(_("Only the presenter leads a class."), status_code=403)
    try:
        sent = await _body(request, MOST_LEAD_BYTES)
        act = sent.get("do", "look")
        if act in ("begin", "end"):
            (_begin if act == "begin" else _end)(sent)
        elif _Now.classroom is not None and act in ACTS:
            ACTS[act](_Now.classroom, sent)
    except LabError as error:
        return JSONResponse(language.of_error(error), status_code=400)
    return JSONResponse(_Now.classroom and _Now.classroom.for_presenter())


async def _body(request: Request, most: int) -> dict[str, Any]:
    """The object that was sent. Raises LabError for what is none, or more bytes than these."""
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > most:
            raise LabError(said("This is too much to send."))
    try:
        sent = json.loads(content)
    except ValueError:
        sent = None
    if not isinstance(sent, dict):
        raise LabError(said("This page is broken: open it anew."))
    return sent


async def _votes(request: Request) -> Response:
    if not presents(request.scope) or _Now.classroom is None:
        return PlainTextResponse(_("Only the presenter has a class's answers, while it is on."), 403)
    quiz = request.url.path.endswith("quiz.csv")
    content = _Now.classroom.quiz_to_csv() if quiz else _Now.classroom.to_csv()
    name = "quiz.csv" if quiz else "answers.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(content, media_type="text/csv", headers=headers)


async def _quiz_page(request: Request) -> Response:
    """The quiz as a page, and as a sheet to print with its key."""
    return _page("quiz", items=ITEMS)


async def _follow_page(request: Request) -> Response:
    return _page("phone")


async def _presenters_page(request: Request) -> Response:
    if not presents(request.scope):
        named = request.query_params.get(LANG)
        chosen = f"%3F{LANG}%3D{named}&{LANG}={named}" if named in LANGUAGES else ""
        return RedirectResponse(f"..{ENTER}?to={CLASS}/present{chosen}", status_code=303)
    return _page("presenter")


def _page(name: str, **values: object) -> Response:
    content = filled(_HERE / f"{name}.html", _=_, language=language.current(), **values)
    return Response(content, media_type="text/html", headers={"Content-Security-Policy": _POLICY})


@cache
def _asset(name: str, code: str) -> tuple[str, str]:
    """Content and type of what the pages load, in a language."""
    if name == "class.css":
        return css() + BARS_CSS + _read("votes.css") + _read(name), "text/css"
    return with_words(COMMON_JS + BARS_JS + _read("votes.js") + _read(name), code), "text/javascript"


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


async def _send(request: Request) -> Response:
    content, kind = _asset(request.url.path.rpartition("/")[2], language.current())
    return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})


def _route(path: str, answer: Callable[[Request], Awaitable[Response]], method: str = "GET") -> BaseRoute:
    @wraps(answer)
    async def spoken(request: Request) -> Response:
        with language.spoken(language_of(request.scope)):
            return await answer(request)

    return Route(absolute(f"{CLASS}{path}"), spoken, methods=[method])


ROUTES = [
    _route("", _follow_page),
    _route("/present", _presenters_page),
    *(_route(f"/{name}", _send) for name in ("class.css", "phone.js", "presenter.js", "quiz.js")),
    _route("/now", _tell),
    _route("/picture", _picture),
    _route("/vote", _vote, "POST"),
    _route("/lead", _lead, "POST"),
    _route("/votes.csv", _votes),
    _route("/quiz.csv", _votes),
    _route("/quiz", _quiz_page),
]
