"""What the browser asks for beside the pages: plotly.js, Streamlit's frontend, models, news of runs, probes, codes."""

import gzip
import json
import math
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from kd_core.base.config import LabError
from kd_core.exchange import browser_lesson, opening
from kd_core.exchange.javascript.scripts import scripts
from kd_core.runs import progress
from kd_core.runs.run import ACTIVE, Run
from kd_core.runs.store import Store
from pages.shared import language
from pages.shared.access.auth import language_of
from pages.shared.access.base_path import absolute
from pages.shared.language import _, of_error, spoken
from pages.shared.navigation import SECTIONS
from pages.shared.room import class_routes
from pages.shared.room.qr import send_qr
from pages.shared.server import streamlit_patches
from pages.shared.session import keys
from pages.shared.tokens import css
from pages.shared.words import in_language

MAX_WATCHED = 60
"""Runs of one live view."""
QUEUE_SHOWN = 12
FIRST_POINT_POLL_MS, POLL_MS, POLL_MS_A_WATCHER, SLOWEST_POLL_MS = 150, 400, 50, 1600
PLOTLY_JS = Path(__file__).parents[1] / "components" / "common" / "plotly-cartesian.min.js"
"""The plots of an x and a y axis, a third of all that plotly.js draws: what a browser loads before its first chart."""


async def _send_plotly(request: Request) -> Response:
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return FileResponse(PLOTLY_JS, media_type="text/javascript", headers=_headers())
    return Response(compressed_plotly(), media_type="text/javascript", headers=_headers("gzip"))


def _sent(request: Request, kind: str, content: Callable[[], bytes], packed: Callable[[], bytes]) -> Response:
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(packed(), media_type=kind, headers=_headers("gzip"))
    return Response(content(), media_type=kind, headers=_headers())


@cache
def compressed_plotly() -> bytes:
    """Compressed once: Streamlit's server would do it again for every browser, on the thread that serves them all."""
    return gzip.compress(PLOTLY_JS.read_bytes(), mtime=0)


FRAME = Path(__file__).parents[1] / "frame"


def _send_style(request: Request) -> Response:
    style = css() + FRAME.with_suffix(".css").read_text(encoding="utf-8")
    return Response(style, media_type="text/css", headers={"Cache-Control": "no-cache"})


def _send_script(request: Request) -> Response:
    menus: dict[str, list[str]] = {}
    menu: dict[str, str] = {}
    controls: dict[str, dict[str, str]] = {}
    for code in language.LANGUAGES:
        with spoken(code):
            menus |= {_(title): [page.path for page in pages] for title, pages in SECTIONS.items() if title}
            menu[code] = _("Menu of pages")
            if code != language.ENGLISH:
                controls[code] = {str(words): _(words) for words in streamlit_patches.CONTROLS}
    constants = {"MENUS": menus, "MENU_OF_PAGES": menu, "CONTROLS": controls}
    script = "".join(f"const {name} = {json.dumps(words)};\n" for name, words in constants.items())
    script += FRAME.with_suffix(".js").read_text(encoding="utf-8")
    return Response(script, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


def _refused(request: Request, error: LabError, status: int) -> JSONResponse:
    with spoken(language_of(request.scope)):
        return JSONResponse(of_error(error), status_code=status)


def _headers(encoding: str = "") -> dict[str, str]:
    kept = {"Cache-Control": "public, max-age=86400", "Vary": "Accept-Encoding"}
    return kept | ({"Content-Encoding": encoding} if encoding else {})


async def send_frontend(request: Request) -> Response:
    """Answer who asks for the script of Streamlit's that has our words in it."""
    return _sent(request, "text/javascript", lambda: streamlit_patches.frontend()[1], _packed_frontend)


@cache
def _packed_frontend() -> bytes:
    return gzip.compress(streamlit_patches.frontend()[1], mtime=0)


async def _send_pen(request: Request) -> Response:
    """The worker of the first screen, which has bars follow a pen."""
    return Response(scripts("as_mnist", "interpreter", "worker"), media_type="text/javascript", headers=_headers())


def _send_models(request: Request) -> Response:
    """What it runs: the models that ship for a data set."""
    dataset = request.path_params["dataset"]
    try:
        models = partial(opening.browser_models, dataset)
        return _sent(request, "application/octet-stream", models, partial(_packed_models, dataset))
    except LabError as error:
        return _refused(request, error, 404)


def _send_lesson(request: Request) -> Response:
    """What a browser needs to distill a data set: of those that come with KD Lab, digits."""
    lesson = partial(browser_lesson.browser_lesson, "digits")
    try:
        return _sent(request, "application/octet-stream", lesson, _packed_lesson)
    except LabError as error:
        return _refused(request, error, 404)


@cache
def _packed_lesson() -> bytes:
    return gzip.compress(browser_lesson.browser_lesson("digits"), compresslevel=6, mtime=0)


@cache
def _packed_models(dataset: str) -> bytes:
    return gzip.compress(opening.browser_models(dataset), compresslevel=1, mtime=0)


def _tell(request: Request) -> JSONResponse:
    """How the runs named in the address stand, and their records since the step that the browser has seen."""
    from pages.shared.session import services

    browser = request.cookies.get(keys.BROWSER_COOKIE, "")
    try:
        store, lineup = services.store(), services.jobs().lineup()
        updates = progress.updates(store, *_watched(request, store))
        queue = store.some([run_id for run_id, _ in lineup[:QUEUE_SHOWN]])
        spans = services.queue_forecast() if any(update["status"] == "queued" for update in updates) else {}
    except LabError as error:
        return _refused(request, error, 503)
    places = dict(lineup)
    begins_in = {run_id: span.begins for run_id, span in spans.items() if math.isfinite(span.begins)}
    starting = any(update["status"] in ACTIVE and not update["step"] for update in updates)
    with spoken(language_of(request.scope)):
        trouble = services.jobs().trouble
        answer = {
            "runs": [
                {
                    **update,
                    "message": update["message"] and _(update["message"]),
                    "position": places.get(update["id"]),
                    "begins_in": begins_in.get(update["id"]),
                }
                for update in updates
            ],
            "queue": [
                {
                    "id": run.id,
                    "label": in_language(run.label),
                    "place": places[run.id],
                    "colour": services.owner_colour(run.browser),
                    "yours": bool(browser) and browser in run.browsers,
                }
                for run in queue
            ],
            "queue_more": max(0, len(lineup) - QUEUE_SHOWN),
            "trouble": trouble and _(trouble),
            "poll_ms": _WATCHERS.poll_ms(request.query_params.get("watcher", "")[:40], starting),
        }
    return JSONResponse(answer)


def _tell_probes(request: Request) -> JSONResponse:
    """Logits of one probe image as the runs named in the address learned: epochs after the ones the browser has."""
    from pages.shared.session import services

    image = request.query_params.get("image", "0")[:6]
    try:
        store = services.store()
        runs, seen = _watched(request, store)
        probes = progress.probe_updates(store, runs, int(image) if image.isdecimal() else 0, seen)
    except LabError as error:
        return _refused(request, error, 503)
    return JSONResponse({"runs": probes})


def _watched(request: Request, store: Store) -> tuple[list[Run], dict[str, progress.Seen]]:
    """The runs that an address names, and what its browser has seen of them. Raises StoreError."""
    ids = [run_id for run_id in request.query_params.get("runs", "").split(",") if run_id][:MAX_WATCHED]
    return store.some(ids), progress.parse_seen(request.query_params.get("seen", ""))


class _Watchers:
    """How many live views are open, and how often each may ask so that together they cost the training little."""

    def __init__(self) -> None:
        self._asked_at: dict[str, float] = {}

    def poll_ms(self, watcher: str, starting: bool) -> int:
        """When this one should ask again: soon while its first point is awaited, at the latest in SLOWEST_POLL_MS."""
        now = time.monotonic()
        oldest = now - 3 * SLOWEST_POLL_MS / 1000
        self._asked_at = {name: at for name, at in list(self._asked_at.items()) if at > oldest} | {watcher: now}
        fastest = FIRST_POINT_POLL_MS if starting else POLL_MS
        return min(SLOWEST_POLL_MS, max(fastest, POLL_MS_A_WATCHER * len(self._asked_at)))


_WATCHERS = _Watchers()

ROUTES: list[BaseRoute] = [
    Route(absolute("/assets/plotly.min.js"), _send_plotly),
    Route(absolute("/assets/frame.css"), _send_style),
    Route(absolute("/assets/frame.js"), _send_script),
    Route(absolute("/assets/pen.js"), _send_pen),
    Route(absolute("/assets/models/{dataset}"), _send_models),
    Route(absolute("/assets/lesson/digits"), _send_lesson),
    Route(absolute("/live"), _tell),
    Route(absolute("/probes"), _tell_probes),
    Route(absolute("/qr"), send_qr),
    *class_routes.ROUTES,
]
