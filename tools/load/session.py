"""One browser tab as the server sees it: cookies, HTTP connections, a websocket of Streamlit's own protocol, a page.

What a browser asks for, this asks for: assets once, a page's pictures, messages that it has by their hash alone, reruns
of fragments by their timer, and the /live and /probes of the page's components, as live.js and replay.js
do. It draws nothing.
"""

import asyncio
import contextlib
import gzip
import json
import re
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlencode

import websockets
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.NumberInput_pb2 import NumberInput
from streamlit.proto.WidgetStates_pb2 import WidgetState

CONNECTIONS = 6  # at once to one host, as browsers hold it
ANSWER_SECONDS = 60.0
POINTS_KEPT, RETRY_MS, IDLE_MS, ASK_AGAIN_MS = 4000, 1500, 5000, 1500  # of live.js
FOLLOW_MS = 1500  # of replay.js
RUNS_A_MESSAGE_IS_SAID_TO_BE_KEPT, RUNS_A_MESSAGE_IS_KEPT = 2, 20  # the server may answer an older request
LIVE, REPLAY = "kd_lab_live", "kd_lab_replay"
STATE_FIELDS = {
    "selectbox": "string_value",
    "text_input": "string_value",
    "dataframe": "string_value",
    "checkbox": "bool_value",
    "bidi_component": "json_value",
}
LIST_FIELDS = {"button_group": "string_array_value", "multiselect": "string_array_value"}


class Answer(NamedTuple):
    """What came of one message to the server: the seconds until its run was done, and the page's sentences in red."""

    seconds: float
    errors: tuple[str, ...]


class Widget(NamedTuple):
    """An element of the page that has a state: its kind, and its protobuf message."""

    kind: str
    proto: Any


class Listener:
    """What a session tells of what it sees. Each of these is called as it happens; this one does nothing."""

    def ran(self, kind: str, seconds: float) -> None:
        """A run of the page, or of a part of it, is done."""

    def asked(self, path: str, seconds: float) -> None:
        """An HTTP request was answered."""

    def wrong(self, what: str) -> None:
        """An exception on a page, a 5xx, a websocket that the server closed."""

    def unanswered(self, kind: str) -> None:
        """ANSWER_SECONDS went by without the end of a run that was asked for."""

    def said(self, sentence: str) -> None:
        """A sentence in red on the page."""

    def heard(self, answer: dict[str, Any]) -> None:
        """An answer of /live."""


class Connections:
    """What a browser holds of one host: its cookies, a few connections, and what it need not fetch again."""

    def __init__(self, address: str, listener: Listener) -> None:
        self.listener = listener
        self.cookies: dict[str, str] = {}
        self._host, port = address.removeprefix("http://").split(":")
        self._port = int(port)
        self._free: asyncio.Queue[Any] = asyncio.Queue()
        for _ in range(CONNECTIONS):
            self._free.put_nowait(None)
        self._fetched: set[str] = set()  # assets and pictures that a browser would have kept

    async def get(self, path: str) -> bytes:
        """The body of a page, an asset, an answer to a component."""
        _, body = await self.request("GET", path)
        return body

    async def ask(self, path: str) -> Any:
        """GET, as the components do."""
        return json.loads(await self.get(path))

    async def request(self, method: str, path: str, form: str = "") -> tuple[int, bytes]:
        """Send a request over a free connection, and keep the cookies of its answer. Returns its status and body."""
        start = time.perf_counter()
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}:{self._port}", "Accept-Encoding: gzip"]
        lines += [f"Cookie: {self.cookie_header()}"] * bool(self.cookies)
        if form:
            lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form)}"]
        request = ("\r\n".join(lines) + "\r\n\r\n" + form).encode()
        connection = await self._free.get()
        try:
            answer = None
            if connection is not None:
                try:
                    answer = await _exchange(connection, request)
                except (ConnectionError, asyncio.IncompleteReadError):  # closed while at rest: browsers ask again too
                    connection[1].close()
            if answer is None:
                connection = await asyncio.open_connection(self._host, self._port)
                answer = await _exchange(connection, request)
            status, headers, body = answer
            if headers["connection"] == ["close"]:
                connection[1].close()
                connection = None
        except BaseException:
            if connection is not None:
                connection[1].close()
            connection = None
            raise
        finally:
            self._free.put_nowait(connection)
        for cookie in headers["set-cookie"]:
            name, _, value = cookie.split(";")[0].partition("=")
            self.cookies[name] = value
        if status >= 500:
            self.listener.wrong(f"HTTP {status} for {path.split('?')[0]}")
        self.listener.asked(path, time.perf_counter() - start)
        return status, body

    async def fetch_once(self, *paths: str) -> None:
        """GET what was not fetched before, all at once."""
        new = [path for path in dict.fromkeys(paths) if path not in self._fetched]
        self._fetched.update(new)
        await asyncio.gather(*map(self.get, new))

    def cookie_header(self) -> str:
        """The cookies as a request bears them."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def close(self) -> None:
        """Close the connections that rest."""
        while not self._free.empty():
            connection = self._free.get_nowait()
            if connection is not None:
                connection[1].close()


class Session:
    """One tab. Open it, then press, change and go; close it in the end."""

    def __init__(self, address: str, listener: Listener | None = None) -> None:
        self.address = address
        self.listener = listener or Listener()
        self.http = Connections(address, self.listener)
        self.query = ""
        self.page_hash = ""
        self.pages: dict[str, str] = {}  # name in the address -> hash
        self._socket: websockets.ClientConnection | None = None
        self._session_id = ""
        self._reader: asyncio.Task[None] | None = None
        self._forget()

    def _forget(self) -> None:
        """Become an empty tab."""
        self._elements: dict[tuple[int, ...], tuple[Any, int, str]] = {}  # path -> element, run, fragment
        self._states: dict[str, WidgetState] = {}
        self._run = self._whole_runs = 0
        self._run_id = ""
        self._fragments_now: tuple[str, ...] = ()
        self._kept: dict[str, tuple[ForwardMsg, int]] = {}
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._fragments: dict[str, asyncio.Task[None]] = {}
        self._fragment_began: dict[str, float] = {}
        self._views: dict[str, _View] = {}
        self._red: list[str] = []

    async def enter(self, password: str) -> None:
        """Give the password of a served app."""
        await self.http.request("POST", "/enter", urlencode({"password": password, "to": "/"}))

    # ------------------------------------------------------------------------------------------------- websocket

    async def open(self, page: str = "", query: str = "") -> Answer:
        """Load a page of the app from its address in this tab, as a first visit or a reload does."""
        start = time.perf_counter()
        await self._leave()
        self._forget()
        self._session_id = ""
        html = (await self.http.get(f"/{page}" + (f"?{query}" if query else ""))).decode()
        # The cookies come with the page, and its websocket only then.
        await self.http.fetch_once(*(f"/{asset}" for asset in re.findall(r'(?:src|href)="\./(static/[^"]+)"', html)))
        await self.http.get("/_stcore/health")
        await self._connect()
        self.query, self.page_hash = query, ""
        answer = await self._rerun("open", page_name=page)
        return answer._replace(seconds=time.perf_counter() - start)

    async def reconnect(self, seconds_away: float) -> Answer:
        """Lose the connection without a word, and come back to the same session some seconds later."""
        await self._leave(abruptly=True)
        await asyncio.sleep(seconds_away)
        await self._connect()
        return await self._rerun("reconnect")

    async def close(self) -> None:
        """Close the tab."""
        await self._leave()
        self.http.close()

    async def __aenter__(self) -> "Session":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _connect(self) -> None:
        wanted = ["streamlit", "PLACEHOLDER_AUTH_TOKEN", *([self._session_id] if self._session_id else [])]
        self._socket = await websockets.connect(
            f"{self.address.replace('http', 'ws')}/_stcore/stream",
            subprotocols=[websockets.Subprotocol(name) for name in wanted],
            additional_headers={"Cookie": self.http.cookie_header()},
            max_size=None,
            open_timeout=ANSWER_SECONDS,
        )
        self._reader = asyncio.create_task(self._read(self._socket))

    async def _leave(self, *, abruptly: bool = False) -> None:
        socket, self._socket = self._socket, None
        for task in [*self._fragments.values()]:
            task.cancel()
        self._fragments.clear()
        for view in self._views.values():
            view.leave()
        self._views.clear()
        for _, future in self._waiting:
            future.cancel()
        self._waiting.clear()
        if socket is not None:
            if abruptly:
                socket.transport.abort()
            else:
                await socket.close()
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
            self._reader = None

    async def _read(self, socket: websockets.ClientConnection) -> None:
        try:
            async for data in socket:
                message = ForwardMsg()
                message.ParseFromString(data)
                self._take(message)
        except websockets.ConnectionClosed:
            pass
        except Exception as error:
            self.listener.wrong(f"a message that no browser understands: {error!r}")
            raise
        if self._socket is socket:
            self.listener.wrong(f"websocket closed by the server ({socket.close_code} {socket.close_reason})")
            for _, future in self._waiting:
                future.cancel()

    # --------------------------------------------------------------------------------------------- what a user does

    def find(self, key: str) -> Widget | None:
        """The widget of the page with this key."""
        for element, _, _ in self._elements.values():
            kind = element.WhichOneof("type") if isinstance(element, Element) else "block"
            proto = getattr(element, kind) if isinstance(element, Element) else element
            if getattr(proto, "id", "").endswith(f"-{key}"):
                return Widget(kind, proto)
        return None

    def keys(self, kind: str) -> list[str]:
        """The keys of the page's widgets of a kind that starts so, after the part that Streamlit makes of them."""
        ids = [getattr(getattr(element, kind), "id", "") for element in self.elements() if element.HasField(kind)]
        return [widget_id.split("-", 2)[2] for widget_id in ids if widget_id.count("-") >= 2]

    def elements(self) -> list[Element]:
        """What stands on the page, in order."""
        return [element for _, (element, _, _) in sorted(self._elements.items()) if isinstance(element, Element)]

    def component(self, name: str) -> dict[str, Any] | None:
        """The data of the page's component of this name."""
        for element in self.elements():
            if element.bidi_component.component_name == name:
                data: dict[str, Any] = json.loads(element.bidi_component.json)
                return data
        return None

    def text(self) -> str:
        """The page's prose."""
        return "\n".join(element.markdown.body or element.progress.text for element in self.elements())

    async def go(self, page: str) -> Answer:
        """Choose a page in the navigation."""
        self._states.clear()
        self.query, self.page_hash = "", self.pages[page]
        return await self._rerun(f"page: {page or 'overview'}")

    async def press(self, key: str, kind: str = "press") -> Answer:
        """Press a button."""
        return await self._send_state(kind, self._state(self._found(key).proto.id, trigger_value=True))

    async def change(self, key: str, value: Any, kind: str) -> Answer:
        """Give a widget another value; of a component, parts of its state."""
        widget = self._found(key)
        proto = widget.proto
        if widget.kind == "bidi_component":
            known = self._states.get(proto.id)
            value = json.dumps({**json.loads(known.json_value if known else "{}"), **value})
        if widget.kind == "number_input":
            field = "int_value" if proto.data_type == NumberInput.DataType.INT else "double_value"
            state = self._state(proto.id, **{field: value})
        elif widget.kind == "slider" and not proto.options:
            state = WidgetState(id=proto.id)
            state.double_array_value.data.append(value)
        elif widget.kind in LIST_FIELDS or widget.kind == "slider":
            state = WidgetState(id=proto.id)
            state.string_array_value.data.extend(value if isinstance(value, list) else [value])
        else:
            state = self._state(proto.id, **{STATE_FIELDS[widget.kind]: value})
        self._states[proto.id] = state
        return await self._send_state(kind)

    async def trigger(self, key: str, event: str, value: Any, kind: str) -> Answer:
        """Have a component tell Python of something that happened once."""
        return await self._send_state(kind, _triggered(self._found(key).proto.id, event, value))

    def view(self, key: str) -> "_LiveView":
        """The live view of this key."""
        live_view = self._views[self._found(key).proto.id]
        assert isinstance(live_view, _LiveView)
        return live_view

    def choose_probe(self, image: int) -> None:
        """Click an image of the replay."""
        for view in self._views.values():
            if isinstance(view, _ReplayView):
                view.choose(image)

    def _found(self, key: str) -> Widget:
        widget = self.find(key)
        assert widget is not None, f"no widget {key} on this page"
        return widget

    def _state(self, widget_id: str, **value: Any) -> WidgetState:
        return WidgetState(id=widget_id, **value)

    async def _send_state(self, kind: str, *once: WidgetState) -> Answer:
        return await self._rerun(kind, once=once)

    async def _rerun(self, kind: str, *, page_name: str = "", once: tuple[WidgetState, ...] = ()) -> Answer:
        """Send what a browser sends to have the page run, and wait until it is done."""
        start = time.perf_counter()
        self._red = []
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._whole_runs, done))
        await self.send(page_name=page_name, once=once)
        try:
            await asyncio.wait_for(done, ANSWER_SECONDS)
        except TimeoutError:
            self.listener.unanswered(kind)
        seconds = time.perf_counter() - start
        self.listener.ran(kind, seconds)
        return Answer(seconds, tuple(self._red))

    async def send(self, *, page_name: str = "", once: tuple[WidgetState, ...] = (), fragment: str = "") -> None:
        """Send a request for a run, without waiting for it."""
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.page_script_hash, state.page_name = self.query, self.page_hash, page_name
        state.widget_states.widgets.extend([*self._states.values(), *once])
        state.cached_message_hashes.extend(
            key for key, (_, run) in self._kept.items() if self._run - run <= RUNS_A_MESSAGE_IS_SAID_TO_BE_KEPT
        )
        state.context_info.timezone, state.context_info.locale = "UTC", "en-US"
        if fragment:
            state.fragment_id, state.is_auto_rerun = fragment, True
            self._fragment_began.setdefault(fragment, time.perf_counter())
        if self._socket is not None:
            with contextlib.suppress(websockets.ConnectionClosed):  # the reader says so
                await self._socket.send(message.SerializeToString())

    # ------------------------------------------------------------------------------------------ what the server says

    def _take(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "ref_hash":
            known, _ = self._kept[message.ref_hash]
            self._kept[message.ref_hash] = known, self._run
            message = ForwardMsg(metadata=message.metadata, delta=known.delta)
            kind = "delta"
        elif message.metadata.cacheable:
            self._kept[message.hash] = message, self._run
        match kind:
            case "delta":
                self._take_delta(tuple(message.metadata.delta_path), message.delta)
            case "new_session":
                self._begin(message)
            case "navigation":
                self.page_hash = message.navigation.page_script_hash
                pages = message.navigation.app_pages
                self.pages = {"" if page.is_default else page.url_pathname: page.page_script_hash for page in pages}
            case "page_info_changed":
                self.query = message.page_info_changed.query_string
            case "script_finished":
                self._end(message)
            case "auto_rerun":
                fragment = message.auto_rerun.fragment_id
                if fragment not in self._fragments:
                    self._fragments[fragment] = asyncio.create_task(self._repeat(message.auto_rerun.interval, fragment))
            case "stop_auto_rerun":
                self._stop_fragments()
            case "page_not_found":
                self.listener.wrong("page not found")
            case "session_event":
                if message.session_event.HasField("script_compilation_exception"):
                    self.listener.wrong(f"uncaught: {message.session_event.script_compilation_exception.message[:200]}")

    def _take_delta(self, path: tuple[int, ...], delta: Any) -> None:
        if delta.WhichOneof("type") == "add_block":
            self._elements[path] = delta.add_block, self._run, delta.fragment_id
            return
        if delta.WhichOneof("type") != "new_element":
            return
        element = delta.new_element
        self._elements[path] = element, self._run, delta.fragment_id
        match element.WhichOneof("type"):
            case "exception":
                self.listener.wrong(f"exception on a page: {element.exception.type} {element.exception.message[:200]}")
            case "alert":
                if element.alert.format == Alert.ERROR:
                    self._red.append(element.alert.body)
                    self.listener.said(element.alert.body)
            case "imgs":
                pictures = [picture.url for picture in element.imgs.imgs if picture.url.startswith("/media/")]
                _in_background(self.http.fetch_once(*pictures))
            case "bidi_component":
                self._mount(element.bidi_component)
            case kind:
                proto = getattr(element, str(kind))
                if getattr(proto, "set_value", False):  # Python has set it: what the browser had is void
                    self._states.pop(proto.id, None)

    def _mount(self, component: Any) -> None:
        """Do what a component's script does when it gets data."""
        if '"assets/plotly.min.js"' in component.js_content:
            _in_background(self.http.fetch_once("/assets/plotly.min.js"))
        views = {LIVE: _LiveView, REPLAY: _ReplayView}
        if component.component_name in views:
            if component.id not in self._views:
                self._views[component.id] = views[component.component_name](self, component.id)
            self._views[component.id].get(json.loads(component.json))

    def _begin(self, message: ForwardMsg) -> None:
        self._session_id = message.new_session.initialize.session_id
        self._run_id = message.metadata.run.script_run_id
        self._fragments_now = tuple(message.metadata.run.fragment_ids)
        self._run += 1
        if not self._fragments_now:
            self._whole_runs += 1
            self._stop_fragments()
            self._kept = {
                key: (kept, run) for key, (kept, run) in self._kept.items() if self._run - run <= RUNS_A_MESSAGE_IS_KEPT
            }

    def _end(self, message: ForwardMsg) -> None:
        run = message.metadata.run
        if run.script_run_id != self._run_id and not run.fragment_ids:
            # Its beginning went to the connection that this tab had lost; a browser shows the page all the same.
            self._whole_runs += 1
        if message.script_finished == ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY:
            now = time.perf_counter()
            for fragment in self._fragments_now:
                if fragment in self._fragment_began:
                    self.listener.ran("a part by its timer", now - self._fragment_began.pop(fragment))
            self._sweep(lambda run, fragment: run < self._run and fragment in self._fragments_now)
        elif message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
            self._sweep(lambda run, _: run < self._run)
        else:  # it was broken off, and another run follows
            return
        # Of a whole run that a part's run follows at once, Streamlit may lose the end; the part's end is after it.
        for sent_in, future in self._waiting:
            if sent_in < self._whole_runs and not future.done():
                future.set_result(None)
        self._waiting = [(sent_in, future) for sent_in, future in self._waiting if not future.done()]

    def _sweep(self, stale: Callable[[int, str], bool]) -> None:
        """Take what is stale off the page."""
        self._elements = {
            path: (element, run, fragment)
            for path, (element, run, fragment) in self._elements.items()
            if not stale(run, fragment)
        }
        there = set()
        for element, _, _ in self._elements.values():
            kind = element.WhichOneof("type") if isinstance(element, Element) else ""
            there.add(getattr(getattr(element, kind) if kind else element, "id", ""))
        self._states = {widget_id: state for widget_id, state in self._states.items() if widget_id in there}
        for view_id in [view_id for view_id in self._views if view_id not in there]:
            self._views.pop(view_id).leave()

    async def _repeat(self, seconds: float, fragment: str) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self.send(fragment=fragment)

    def _stop_fragments(self) -> None:
        for task in self._fragments.values():
            task.cancel()
        self._fragments.clear()
        self._fragment_began.clear()


class _View:
    """A component that asks the server by itself for as long as it is on the page."""

    def __init__(self, session: Session, component_id: str) -> None:
        self.session = session
        self.id = component_id
        self.data: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None

    def get(self, data: dict[str, Any]) -> None:
        """Take new data from Python, and ask at once."""
        if data != self.data:
            self.take(data)
            self.data = data
            self.wake()

    def take(self, data: dict[str, Any]) -> None:
        """Note what changes with new data."""

    def wake(self) -> None:
        """Ask now."""
        self.leave()
        self._task = asyncio.create_task(self._ask_on())

    def leave(self) -> None:
        """Ask no more."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._task = None

    async def _ask_on(self) -> None:
        while True:
            wait_ms = await self.ask()
            if wait_ms is None:
                return
            await asyncio.sleep(wait_ms / 1000)

    async def ask(self) -> float | None:
        """Ask once; the milliseconds to wait before asking again, None where there is nothing to follow."""
        raise NotImplementedError


class _LiveView(_View):
    """live.js."""

    def __init__(self, session: Session, component_id: str) -> None:
        super().__init__(session, component_id)
        self.runs: dict[str, dict[str, Any]] = {}
        self._points: dict[str, int] = {}
        self._watcher = str(id(self))
        self._statuses: str | None = None
        self._asked: dict[str, str] = {}
        self._asked_at = 0.0

    def take(self, data: dict[str, Any]) -> None:
        if [run["id"] for run in data["runs"]] != [run["id"] for run in self.data.get("runs", [])]:
            self.runs.clear()
            self._points.clear()
            self._statuses = None

    async def ask(self) -> float | None:
        ids = ",".join(run["id"] for run in self.data["runs"])
        seen = ",".join(
            f"{state['id']}:{state['attempt']}:{state['step']}"
            for state in self.runs.values()
            if self._points[state["id"]] < POINTS_KEPT
        )
        try:
            answer = await self.session.http.ask(
                "/live?" + urlencode({"runs": ids, "seen": seen, "watcher": self._watcher})
            )
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            self.session.listener.wrong(f"/live: {type(error).__name__}")
            return RETRY_MS
        self.session.listener.heard(answer)
        for run in answer["runs"]:
            known = 0 if run["whole"] else self._points.get(run["id"], 0)
            self._points[run["id"]] = known + len(run["steps"]["loss"][0])
            self.runs[run["id"]] = run
            if run["request"] or run["status"] not in ("queued", "running"):
                self._asked.pop(run["id"], None)
        if self._asked and time.monotonic() - self._asked_at > ASK_AGAIN_MS / 1000:
            await self.request(self._asked)  # it was lost on the way
        statuses = ",".join(f"{run['id']}:{run['status']}" for run in answer["runs"])
        if statuses != self._statuses:
            first = self._statuses is None
            self._statuses = statuses
            if not first or statuses != self.data["statuses"]:
                await self.session.send(once=(_triggered(self.id, "changed", statuses),))
        if any(run["status"] in ("queued", "running") for run in answer["runs"]):
            return float(answer["poll_ms"])
        return max(2000.0, answer["poll_ms"]) if answer["queue"] else IDLE_MS

    async def request(self, presses: dict[str, str]) -> None:
        """Press stop, pause or resume of runs: id -> which."""
        self._asked |= presses
        self._asked_at = time.monotonic()
        mine = {run["id"]: run["mine"] for run in self.data["runs"]}
        requests = [{"run": run_id, "what": what, "mine": mine.get(run_id)} for run_id, what in self._asked.items()]
        await self.session.send(once=(_triggered(self.id, "asked", requests),))


class _ReplayView(_View):
    """replay.js."""

    def __init__(self, session: Session, component_id: str) -> None:
        super().__init__(session, component_id)
        self.image = 0
        self._told: dict[str, tuple[int, int]] = {}

    def take(self, data: dict[str, Any]) -> None:
        if [run["id"] for run in data["runs"]] != [run["id"] for run in self.data.get("runs", [])]:
            self.image = data["start"]
            self._told.clear()

    def choose(self, image: int) -> None:
        """Click another of the images."""
        self.image = image
        self._told.clear()
        self.wake()

    async def ask(self) -> float | None:
        ids = ",".join(run["id"] for run in self.data["runs"])
        seen = ",".join(f"{run_id}:{attempt}:{epoch}" for run_id, (attempt, epoch) in self._told.items())
        with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
            answer = await self.session.http.ask(
                "/probes?" + urlencode({"runs": ids, "image": self.image, "seen": seen})
            )
            for run in answer["runs"]:
                epoch = run["epochs"][-1] if run["epochs"] else self._told.get(run["id"], (0, 0))[1]
                self._told[run["id"]] = run["attempt"], epoch
        return FOLLOW_MS if self.data["active"] else None


def _triggered(component_id: str, event: str, value: Any) -> WidgetState:
    """The state with which a component tells of an event."""
    aggregator = f"$$STREAMLIT_INTERNAL_KEY_{component_id}__events"
    return WidgetState(id=aggregator, json_trigger_value=json.dumps([{"event": event, "value": value}]))


_background: set[asyncio.Task[None]] = set()


def _in_background(work: Any) -> None:
    task = asyncio.ensure_future(work)
    _background.add(task)
    task.add_done_callback(_background.discard)


async def _exchange(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes
) -> tuple[int, dict[str, list[str]], bytes]:
    """Status, headers by their name in small letters, and body of the answer to an HTTP request."""
    reader, writer = connection
    writer.write(request)
    head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
    headers: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()].append(value.strip())
    status = int(head.split()[1])
    if headers["transfer-encoding"] == ["chunked"]:
        parts = []
        while size := int(await reader.readline(), 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
        await reader.readline()
        body = b"".join(parts)
    else:
        body = await reader.readexactly(int((headers["content-length"] or ["0"])[0]))
    return status, headers, gzip.decompress(body) if headers["content-encoding"] == ["gzip"] else body
