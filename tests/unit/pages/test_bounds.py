"""One visitor takes their share of the server and no more: pages, files, and what a tab may ask."""

import asyncio
import contextlib
from types import SimpleNamespace

import loops
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Common_pb2 import DoubleArray
from streamlit.proto.WidgetStates_pb2 import WidgetState

from pages.shared.access import bounds
from pages.shared.session import keys

THERE = "192.168.0.7"
FILE = f"{bounds.UPLOADS}session/file"


@pytest.fixture
def visit(monkeypatch):
    """visit(browser, address) -> a client of an app behind the bounds; held is what its server keeps of files."""
    held, heard = set(), []

    async def page(request):
        if request.method == "PUT":
            await request.body()
            held.add(request.url.path.removeprefix(bounds.UPLOADS))
        return PlainTextResponse("the lab")

    async def socket(websocket):
        await websocket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                heard.append(await websocket.receive_bytes())
                await websocket.send_text("heard")

    monkeypatch.setattr(bounds, "is_uploaded", lambda session, file: f"{session}/{file}" in held)
    routes = [Route("/{path:path}", page, methods=["GET", "PUT"]), WebSocketRoute("/{path:path}", socket)]
    app = Starlette(routes=routes, middleware=[Middleware(bounds.KeepBounds)])

    def open_it(browser="anna", address=THERE):
        client = TestClient(app, client=(address, 5000), cookies={keys.BROWSER_COOKIE: browser} if browser else None)
        client.held, client.heard = held, heard
        return client

    return open_it


def opened(client, count):
    """Sockets that stay open until they are closed."""
    sockets = [client.websocket_connect("/_stcore/stream") for _ in range(count)]
    for socket in sockets:
        socket.__enter__()
    return sockets


def refused(client):
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/_stcore/stream"):
        pass
    return caught.value.code == 4429


def test_a_browser_has_so_many_pages_open_and_is_told_when_it_wants_more(visit, monkeypatch):
    monkeypatch.setattr(bounds, "MAX_PAGES", 3)
    anna = visit("anna")
    sockets = opened(anna, 3)
    assert refused(anna)
    answer = anna.get("/train", headers={"Accept": "text/html"})
    assert answer.status_code == 429
    assert "You have 3 pages of KD Lab open: close one, then reload this." in answer.text
    assert anna.get("/live", headers={"Accept": "application/json"}).status_code == 200
    opened(visit("ben"), 1)[0].__exit__(None, None, None)
    sockets.pop().__exit__(None, None, None)
    opened(anna, 1)[0].__exit__(None, None, None)
    for socket in sockets:
        socket.__exit__(None, None, None)


def test_one_address_has_so_many_pages_whatever_its_browsers_call_themselves(visit, monkeypatch):
    monkeypatch.setattr(bounds, "MAX_PAGES_OF_ADDRESS", 2)
    sockets = [*opened(visit("a"), 1), *opened(visit("b"), 1)]
    assert refused(visit("c"))
    assert "try again when somebody has left" in visit("c").get("/", headers={"Accept": "text/html"}).text
    sockets += opened(visit("c", "192.168.0.8"), 1)
    sockets += opened(visit("d", "127.0.0.1"), 1) + opened(visit("e", "127.0.0.1"), 1) + opened(visit("f", "::1"), 1)
    monkeypatch.setattr(bounds, "MAX_PAGES_OF_ALL", 6)
    assert refused(visit("g", "192.168.0.9"))
    for socket in sockets:
        socket.__exit__(None, None, None)


def test_who_left_is_forgotten(visit):
    kept = {}

    async def leaves(scope, receive, send):
        kept["within"] = dict(keeper._of_browser), dict(keeper._of_address)

    keeper = bounds.KeepBounds(leaves)
    scope = {"type": "websocket", "client": (THERE, 1), "headers": [], "path": "/_stcore/stream"}
    run = keeper(scope, None, None)
    with pytest.raises(StopIteration):
        run.send(None)
    assert kept["within"] == ({THERE: 1}, {THERE: 1})
    assert not keeper._of_browser
    assert not keeper._of_address


def back_message(kind, **values):
    message = BackMsg()
    if kind == "rerun_script":
        message.rerun_script.query_string = values["query"]
    elif kind == "backend_operation_request":
        getattr(message.backend_operation_request, values["payload"]).SetInParent()
    elif kind == "file_urls_request":
        message.file_urls_request.request_id = "1"
    else:
        setattr(message, kind, True)
    return message


@pytest.mark.parametrize(
    "passed",
    [
        back_message("rerun_script", query="T=4"),
        back_message("stop_script"),
        back_message("app_heartbeat"),
        back_message("file_urls_request"),
        back_message("backend_operation_request", payload="deferred_file"),
        back_message("backend_operation_request", payload="dataframe_chunk"),
    ],
    ids=lambda message: message.WhichOneof("type"),
)
def test_what_a_page_needs_is_asked_of_streamlit(visit, passed):
    client = visit()
    with client.websocket_connect("/_stcore/stream") as socket:
        socket.send_bytes(passed.SerializeToString())
        assert socket.receive_text() == "heard"
    assert client.heard == [passed.SerializeToString()]


@pytest.mark.parametrize(
    "dropped",
    [
        back_message("clear_cache"),  # it would empty the caches of all, with the store and the queue in them
        back_message("set_run_on_save"),
        back_message("load_git_info"),
        back_message("debug_shutdown_runtime"),
        back_message("debug_disconnect_websocket"),
        back_message("backend_operation_request", payload="install_skills"),  # which writes files
        back_message("backend_operation_request", payload="dismiss_skills_nudge"),
        BackMsg(),
    ],
    ids=lambda message: message.WhichOneof("type") or "nothing",
)
def test_what_is_for_developers_is_not_asked_of_streamlit(visit, dropped):
    client = visit()
    with client.websocket_connect("/_stcore/stream") as socket:
        socket.send_bytes(dropped.SerializeToString())
        socket.send_bytes(back_message("app_heartbeat").SerializeToString())
        assert socket.receive_text() == "heard"
    assert client.heard == [back_message("app_heartbeat").SerializeToString()]


def test_an_endless_address_opens_the_plain_page_and_rubbish_is_streamlits(visit):
    client = visit()
    with client.websocket_connect("/_stcore/stream") as socket:
        for content in (
            back_message("rerun_script", query="x" * (bounds.MAX_ADDRESS + 1)).SerializeToString(),
            b"\xff\xff",
        ):
            socket.send_bytes(content)
            socket.receive_text()
    assert client.heard == [back_message("rerun_script", query="").SerializeToString(), b"\xff\xff"]


@pytest.mark.parametrize(
    "odd",
    [
        {"json_value": "1" * 5000},  # more digits than Python turns into a number
        {"json_value": '{"box": [' + "1" * 5000 + "]}"},
        {"json_trigger_value": "[" * 900 + "]" * 900},
        {"json_value": '{"box": NaN}'},
        {"json_value": "{"},
        {"double_value": float("nan")},
        {"double_array_value": DoubleArray(data=[1, float("inf")])},
    ],
    ids=lambda odd: str(odd)[:40],
)
def test_values_that_no_browser_sends_end_in_a_line_of_the_log(visit, caplog, odd):
    usual = WidgetState(id="box", json_value='{"box": [0.1, 1]}'), WidgetState(id="T", double_value=4)
    message, rest = back_message("rerun_script", query="T=4"), back_message("rerun_script", query="T=4")
    message.rerun_script.widget_states.widgets.extend([usual[0], WidgetState(id="odd", **odd), usual[1]])
    rest.rerun_script.widget_states.widgets.extend(usual)
    client = visit()
    with client.websocket_connect("/_stcore/stream") as socket:
        socket.send_bytes(message.SerializeToString())
        assert socket.receive_text() == "heard"
    assert client.heard == [rest.SerializeToString()]
    (record,) = [record for record in caplog.records if "no browser sends that" in record.message]
    assert record.exc_info is None
    assert len(record.message) < 400


def test_files_of_one_browser_and_of_all_have_so_much_room(visit, monkeypatch):
    monkeypatch.setattr(bounds, "MAX_UPLOADED_BYTES", 1000)
    monkeypatch.setattr(bounds, "MAX_UPLOADED_BYTES_OF_ALL", 1500)
    anna, ben = visit("anna"), visit("ben")
    assert anna.put(f"{FILE}1", content=bytes(600)).status_code == 200
    answer = anna.put(f"{FILE}2", content=bytes(600))
    assert (answer.status_code, answer.text) == (507, "There is no room for more files: close other pages.")
    assert anna.put(f"{FILE}1", content=bytes(900)).status_code == 200  # in its own place
    assert ben.put(f"{FILE}3", content=bytes(700)).status_code == 507
    anna.held.clear()
    assert ben.put(f"{FILE}3", content=bytes(700)).status_code == 200


def test_one_file_may_be_so_large_and_a_presenters_larger(visit, monkeypatch):
    monkeypatch.setattr(bounds, "MAX_FILE_BYTES", 500)
    monkeypatch.setattr(bounds, "MAX_PRESENTERS_FILE_BYTES", 1000)
    client = visit()
    monkeypatch.setattr(bounds, "presents", lambda scope: False)
    assert client.put(f"{FILE}1", content=bytes(500)).status_code == 200
    assert client.put(f"{FILE}2", content=bytes(501)).status_code == 413
    monkeypatch.setattr(bounds, "presents", lambda scope: True)
    assert client.put(f"{FILE}2", content=bytes(1000)).status_code == 200
    assert client.put(f"{FILE}3", content=bytes(1001)).status_code == 413


def test_a_file_that_does_not_say_how_large_it_is_is_not_let_in(visit):
    client = visit()
    assert client.put(FILE, content=iter([b"x"])).status_code == 411
    assert client.put(FILE, content=b"x", headers={"Content-Length": "1_0"}).status_code == 411
    assert not client.held


def test_files_that_are_still_arriving_count(visit, monkeypatch):
    monkeypatch.setattr(bounds, "MAX_UPLOADED_BYTES", 1000)
    statuses = []

    async def put(keeper, name, arrived):
        async def send(message):
            statuses.append(message.get("status", 200))

        headers = [(b"content-length", b"600"), (b"cookie", f"{keys.BROWSER_COOKIE}=anna".encode())]
        scope = {"type": "http", "method": "PUT", "path": f"{FILE}{name}", "headers": headers, "client": (THERE, 1)}
        await keeper(scope, arrived, send)

    async def slowly(scope, receive, send):
        await receive()

    async def both():
        keeper, gate = bounds.KeepBounds(slowly), asyncio.Event()
        first = asyncio.create_task(put(keeper, "1", gate.wait))
        await asyncio.sleep(0)
        await put(keeper, "2", gate.wait)
        gate.set()
        await first
        await put(keeper, "2", gate.wait)

    visit()
    loops.run(both())
    assert statuses[0] == 507
    assert len(statuses) == 2  # the start and the body of the one refusal


def test_a_page_whose_proxy_passes_on_no_web_socket_says_so(visit, monkeypatch):
    """Its socket comes as a plain request then, and the page goes back to asking."""
    anna, ben, clock = visit("anna"), visit("ben"), SimpleNamespace(monotonic=lambda: 0.0)
    monkeypatch.setattr(bounds, "time", clock)
    assert anna.get("/_stcore/host-config").status_code == 200
    anna.get("/_stcore/stream")
    for _ in range(2):
        answer = anna.get("/_stcore/host-config")
        assert (answer.status_code, "pass on Upgrade" in answer.text.replace("\\n", " ")) == (421, True)
    assert ben.get("/_stcore/host-config").status_code == 200
    clock.monotonic = lambda: bounds.SECONDS_PLAIN + 1
    assert anna.get("/_stcore/host-config").status_code == 200
