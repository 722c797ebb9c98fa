"""What the server tells a live view: bounded, and nothing kept for the one who asks."""

import gc
import gzip
import json
import re
import threading
import time
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlencode

import loops
import pytest
import streamlit
from plotly import graph_objects
from plotly.basedatatypes import BaseTraceType
from plotly.offline import get_plotlyjs_version
from starlette.requests import Request
from starlette.websockets import WebSocket
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.media_file_manager import MediaFileManager
from streamlit.runtime.media_file_storage import MediaFileStorageError
from streamlit.runtime.memory_media_file_storage import MemoryMediaFileStorage
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequestType
from streamlit.web.server.starlette.starlette_websocket import StarletteClientContext
from tiny import tiny_config

from kd_core.jobs.turns import Span
from kd_core.runs.run import new_id
from pages.shared.access import bounds
from pages.shared.server import ready as server_ready
from pages.shared.server import routes, server, streamlit_patches
from pages.shared.session import keys, services

ROOT = Path(__file__).parents[3]


def ask(route, query, cookie=""):
    headers = [(b"cookie", f"{keys.BROWSER_COOKIE}={cookie}".encode())] if cookie else []
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "query_string": query.encode()}
    answer = route(Request(scope))
    return answer.status_code, json.loads(answer.body)


ODD_COOKIES = ['prefs={"a":1}', "name=é", 'quote="open', "=; ;;", "a b=c"]


@pytest.mark.parametrize("odd", ODD_COOKIES)
def test_a_browser_is_known_beside_another_programs_odd_cookies(watched, odd):
    """By the bounds, the live view, the pages' own context, and whoever gives it its name."""
    for header in (f"{odd}; {keys.BROWSER_COOKIE}=me", f"{keys.BROWSER_COOKIE}=me; {odd}"):
        scope = {"type": "websocket", "path": "/", "headers": [(b"cookie", header.encode("latin-1"))], "client": None}
        assert bounds._Visitor.of(scope).browser == "me"
        assert StarletteClientContext(WebSocket(scope, None, None)).cookies[keys.BROWSER_COOKIE] == "me"
        request = Request({**scope, "type": "http", "method": "GET", "query_string": b""})
        assert [entry["yours"] for entry in json.loads(routes._tell(request).body)["queue"]] == [True]
        sent = []

        async def inside(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})

        async def send(message, sent=sent):
            sent.extend(message["headers"])

        loops.run(server._NameBrowsers(inside)(request.scope, None, send))
        assert len(sent) == 1


class Queue:
    """What the server asks of Jobs, without workers."""

    trouble = "No worker is free."

    def __init__(self, *ids):
        self.ids = ids

    def forecast(self, seconds):
        return {run_id: Span(60.0 * place, 70.0 * place) for run_id, place in self.lineup() if place}

    def lineup(self):
        return tuple((run_id, place) for place, run_id in enumerate(self.ids))


@pytest.fixture
def watched(store, monkeypatch):
    """The lab's store with one run that trains."""
    run_id = new_id()
    store.create({run_id: tiny_config("baseline", epochs=10_000)}, browser="me")
    store.apply(run_id, {"kind": "started", "step": 0, "total_steps": 10_000_000, "environment": {}})
    monkeypatch.setattr(services, "store", lambda: store)
    monkeypatch.setattr(services, "jobs", lambda: Queue(run_id))
    return store, run_id


def test_watchers_who_left_are_forgotten_and_many_ask_less_often(monkeypatch):
    now = 0.0
    monkeypatch.setattr(routes.time, "monotonic", lambda: now)
    watchers = routes._Watchers()
    assert watchers.poll_ms("one", False) == routes.POLL_MS
    assert watchers.poll_ms("one", True) == routes.FIRST_POINT_POLL_MS
    for number in range(1000):
        slowest = watchers.poll_ms(str(number), True)
    assert slowest == routes.SLOWEST_POLL_MS < 2000
    now = 60.0
    assert watchers.poll_ms("one", False) == routes.POLL_MS
    assert len(watchers._asked_at) == 1


@pytest.mark.parametrize(
    "query",
    ["", "runs=", "runs=../../etc", "runs=%00", "runs=" + ",".join("x" * 10 for _ in range(5000)), "seen=::::&runs=a"],
)
def test_whatever_the_address_says_is_answered_without_runs(watched, query):
    for route in (routes._tell, routes._tell_probes):
        status, answer = ask(route, query + "&image=-1")
        assert (status, answer["runs"]) == (200, [])
        status, answer = ask(route, query + "&image=" + "9" * 5000)
        assert (status, answer["runs"]) == (200, [])


def test_a_store_that_cannot_be_read_is_said_in_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "home").write_text("no folder")
    monkeypatch.setenv("KD_HOME", str(tmp_path / "home"))
    status, text = ask(routes._tell, "runs=abc")
    assert status == 503
    assert "Set KD_HOME to another folder" in text


def test_the_queue_is_told_with_whose_runs_are_whose(store, monkeypatch):
    ids = [new_id() for _ in range(3)]
    for run_id, browser in zip(ids, ("me", "you", ""), strict=True):
        store.create({run_id: tiny_config("baseline")}, browser=browser)

    monkeypatch.setattr(services, "store", lambda: store)
    monkeypatch.setattr(services, "jobs", lambda: Queue(*ids))
    _, answer = ask(routes._tell, f"runs={ids[1]}", cookie="me")
    assert [entry["yours"] for entry in answer["queue"]] == [True, False, False]
    assert [entry["place"] for entry in answer["queue"]] == [0, 1, 2]
    assert len({entry["colour"] for entry in answer["queue"]}) == 3
    assert (answer["runs"][0]["position"], answer["runs"][0]["begins_in"]) == (1, 60.0)
    assert answer["trouble"] == "No worker is free."


def test_a_lost_connection_is_said_in_our_words():
    """A pupil read "Connection error ... streamlit run yourscript.py" once the server was gone."""
    (name, content), sent, paths = streamlit_patches.frontend(), [], []
    scope = {"type": "http", "method": "GET", "headers": [(b"accept-encoding", b"gzip")]}

    async def app(scope, receive, send):
        paths.append(scope["path"])

    async def send(message):
        sent.append(message)

    for file in (name, "other.js"):
        loops.run(server._SayOurWords(app)({**scope, "path": f"/lab/static/js/{file}"}, None, send))
    assert paths == ["/lab/static/js/other.js"]
    assert gzip.decompress(sent[1]["body"]) == content
    own = (Path(streamlit.__file__).parent / "static/static/js" / name).read_bytes()
    assert b"yourscript" in own
    assert b"yourscript" not in content
    assert content.count(streamlit_patches.WE_ARE_LOST.encode()) == 2


def test_plotly_is_compressed_once_and_whole_for_browsers_without_gzip():
    def fetch(encoding):
        headers = [(b"accept-encoding", encoding)]
        request = Request({"type": "http", "method": "GET", "path": "/", "headers": headers, "query_string": b""})
        return loops.run(routes._send_plotly(request))

    first, second = fetch(b"gzip, deflate, br"), fetch(b"gzip")
    assert first.body is second.body
    assert first.headers["content-encoding"] == "gzip"
    assert gzip.decompress(first.body) == routes.PLOTLY_JS.read_bytes()
    plain = fetch(b"identity")
    assert "content-encoding" not in plain.headers
    assert plain.path == routes.PLOTLY_JS


def test_browsers_load_pythons_plotly_and_it_draws_all_that_pages_plot():
    """Bring another with `npm pack plotly.js-cartesian-dist-min@VERSION`; of what it draws its README has the list."""
    header = routes.PLOTLY_JS.read_text(encoding="utf-8")[:200]
    assert f"(cartesian - minified) v{get_plotlyjs_version()}" in header
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "pages").rglob("*.py"))
    plotted = {name.capitalize() for names in re.findall(r"\bgo\.(\w+)|\.add_(\w+)\(", code) for name in names}
    plots = {name for name in plotted if issubclass(getattr(graph_objects, name, object), BaseTraceType)}
    assert plots == {"Scatter", "Bar", "Heatmap", "Contour"}


def keep_streamlit(monkeypatch):
    """Put back at the end of a test what it patches."""
    for target in streamlit_patches.PATCHES:
        monkeypatch.setattr(target.replace(":", "."), resolve_name(target))


def test_the_patches_are_written_for_the_streamlit_that_is_required():
    required = re.search(r"^streamlit==(\d+\.\d+)\.", (ROOT / "requirements.txt").read_text(), re.M)[1]
    assert required == streamlit_patches.WRITTEN_FOR
    assert streamlit_patches.st.__version__.startswith(f"{required}.")


def test_the_streamlit_that_is_required_is_patched_in_silence_and_once(monkeypatch, caplog):
    keep_streamlit(monkeypatch)
    for _ in range(2):
        streamlit_patches.apply()
        patched = [resolve_name(target) for target in streamlit_patches.PATCHES]
        assert patched[0] is False
        assert {each.__module__ for each in patched[1:]} == {streamlit_patches.__name__}
    assert patched == [resolve_name(target) for target in streamlit_patches.PATCHES]
    assert caplog.text == ""


def test_another_streamlit_is_named_in_the_log_and_ends_nothing(monkeypatch, caplog):
    patches = {
        "streamlit.runtime.no_module:AppSession.request_rerun": streamlit_patches.draw_no_fragment_meanwhile,
        "streamlit.runtime.app_session:AppSession.no_method": streamlit_patches.watch_no_files,
    }
    monkeypatch.setattr(streamlit_patches, "PATCHES", patches)
    monkeypatch.setattr(streamlit_patches.st, "__version__", "9.1.0")
    streamlit_patches.apply()
    assert f"patches Streamlit {streamlit_patches.WRITTEN_FOR}, and this is 9.1.0" in caplog.text
    assert all(f"Streamlit's {target} cannot be patched" in caplog.text for target in patches)


def query(**address):
    return urlencode(address)


@pytest.mark.parametrize(
    ("shown", "written", "newest"),
    [
        ({"batch": "a"}, [], {"batch": "a"}),
        ({"batch": "a"}, [{"batch": "a"}, {"batch": "b"}], {"batch": "b"}),
        ({"batch": "b"}, [{"batch": "a"}, {"batch": "b"}], {"batch": "b"}),
        ({"batch": "c"}, [{"batch": "a"}, {"batch": "b"}], {"batch": "c"}),
        ({"batch": "a", "T": "9"}, [{"batch": "a", "T": "4"}, {"batch": "b", "T": "4"}], {"batch": "b", "T": "9"}),
        ({}, [{}, {"batch": "a"}], {"batch": "a"}),
        ({"batch": "a"}, [{"batch": "a"}, {}], {}),
        ({"batch": "b"}, [{"batch": "a"}, {"batch": "b"}, {"batch": "a"}], {"batch": "a"}),
        ({"batch": ""}, [{"batch": ""}, {"batch": "가 & b"}], {"batch": "가 & b"}),
        ({}, [{}, {"bound": "true"}], {}),
    ],
)
def test_of_a_browsers_address_what_was_replaced_reads_as_the_newest(shown, written, newest):
    address = streamlit_patches.newest(
        query(**shown), [query(**each) for each in written], lambda name: name == "bound"
    )
    assert dict(parse_qsl(address, keep_blank_values=True)) == newest


def test_a_session_that_comes_back_does_not_look_for_changed_source_files(monkeypatch):
    keep_streamlit(monkeypatch)
    monkeypatch.setattr(server, "GETTING_READY", threading.Thread(target=lambda: None))

    async def live():
        async with server.lifespan(None):
            session = SimpleNamespace(_local_sources_watcher=None)
            AppSession.register_file_watchers(session)  # as Streamlit does when a connection is back
            return session._local_sources_watcher

    assert loops.run(live()) is None


TIMER, CLICK = ClientState(fragment_id="f", is_auto_rerun=True), ClientState(fragment_id="f")


def heard_of(state, *client_states):
    """What a session with a runner in this state hears at once, the session, and its looks at whether that is done."""
    requests, looks = [], []
    request_rerun = streamlit_patches.draw_no_fragment_meanwhile(lambda session, state: requests.append(state))
    session = SimpleNamespace(
        _scriptrunner=state and SimpleNamespace(_requests=SimpleNamespace(_state=state)),
        _event_loop=SimpleNamespace(call_later=lambda seconds, *call: looks.append(partial(*call))),
    )
    for client_state in client_states:
        request_rerun(session, client_state)
    return requests, session, looks


@pytest.mark.parametrize(
    ("state", "heard"),
    [
        (ScriptRequestType.CONTINUE, [CLICK, None]),
        (ScriptRequestType.RERUN, [CLICK, None]),
        (ScriptRequestType.STOP, [None]),
        (None, [TIMER, CLICK, None]),
    ],
)
def test_a_fragment_waits_for_a_scripts_last_messages(state, heard):
    """Those of a script that has ended (STOP) were dropped on a busy machine: parts of pages were missing."""
    assert heard_of(state, TIMER, CLICK, None)[0] == heard


def test_a_click_in_a_fragment_runs_once_a_scripts_messages_are_sent():
    requests, session, looks = heard_of(ScriptRequestType.STOP, CLICK)
    looks.pop()()
    assert requests == []
    session._scriptrunner = None
    looks.pop()()
    assert (requests, looks) == ([CLICK], [])


def test_a_page_waits_for_the_imports_of_a_server_that_has_just_started(monkeypatch):
    """scipy, called while another thread was half through importing torch, ended pages in an error."""
    ready = []

    def get_ready():
        assert wanted.wait(timeout=60)  # a page that waits has it begin at once
        ready.append(True)

    wanted = threading.Event()
    monkeypatch.setattr(server_ready, "_wanted", wanted)
    monkeypatch.setattr(server_ready, "GETTING_READY", threading.Thread(target=get_ready))
    server_ready.GETTING_READY.start()
    server_ready.wait_until_ready()
    assert ready


def test_a_page_does_not_wait_for_a_server_that_is_not_there(monkeypatch):
    monkeypatch.setattr(server_ready, "GETTING_READY", threading.Thread(target=lambda: None))
    assert not server_ready.GETTING_READY.is_alive()
    server_ready.wait_until_ready()


def test_a_file_made_for_a_download_outlives_the_runs_of_polling_pages(monkeypatch):
    """Streamlit forgets it at the second end of any run of any page."""
    patched = streamlit_patches.keep_downloads(MediaFileManager.remove_orphaned_files)
    monkeypatch.setattr(MediaFileManager, "remove_orphaned_files", patched)
    storage = MemoryMediaFileStorage("/media")
    manager = MediaFileManager(storage)
    button = manager.add_deferred(lambda: b"report", "text/html", "1.2", file_name="report.html")
    file = manager.execute_deferred(button).removeprefix("/media/")
    manager.clear_session_refs()  # the page runs anew, with another button in the old one's place
    for _ in range(20):
        manager.remove_orphaned_files()
    assert storage.get_file(file).content == b"report"
    assert manager.execute_deferred(button)
    monkeypatch.setattr(streamlit_patches, "SECONDS_A_DOWNLOAD_WAITS", 0.0)
    for _ in range(2):
        manager.remove_orphaned_files()
    with pytest.raises(MediaFileStorageError):
        storage.get_file(file)


def test_garbage_is_collected_now_and_then_until_the_server_ends(monkeypatch):
    collected, ended = [], threading.Event()
    monkeypatch.setattr(server_ready, "SECONDS_BETWEEN_COLLECTIONS", 0.01)
    monkeypatch.setattr(gc, "collect", lambda: collected.append(1))
    thread = threading.Thread(target=server_ready.collect_garbage, args=(ended,))
    thread.start()
    while len(collected) < 3:
        time.sleep(0.01)
    ended.set()
    thread.join(timeout=10)
    assert not thread.is_alive()
