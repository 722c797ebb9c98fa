"""The lab behind a university's proxy: below a path of its host, which the proxy hands on or strips."""

import contextlib
import socket
import socketserver
import threading

import pytest
import requests
from playwright.sync_api import expect
from proxies import proxied
from serving import TRAINED_MS, serve
from websockets.sync.client import connect

PASSWORD, PRESENTER_PASSWORD = "apples", "pears"


class StrippingProxy(socketserver.ThreadingTCPServer):
    """Serves a server's root below /kd of a port of its own, one request or one socket a connection."""

    daemon_threads = False

    def __init__(self, target):
        super().__init__(("localhost", 0), _Hop)
        self.target = target
        self.address = f"http://localhost:{self.server_address[1]}/kd"
        threading.Thread(target=self.serve_forever).start()

    def close(self):
        self.shutdown()
        self.server_close()


class _Hop(socketserver.StreamRequestHandler):
    def handle(self):
        head = list(iter(self.rfile.readline, b"\r\n"))
        if not head or b"" in head:
            return
        assert head[0].split(b" ")[1].startswith(b"/kd/"), head[0]
        if not any(line.lower().startswith(b"upgrade:") for line in head):
            head = [line for line in head if not line.lower().startswith(b"connection:")] + [b"Connection: close\r\n"]
        with socket.create_connection(("localhost", self.server.target)) as upstream:
            upstream.sendall(b"".join(head).replace(b" /kd/", b" /", 1) + b"\r\n")
            back = threading.Thread(target=_pipe, args=(upstream.recv, self.connection))
            back.start()
            _pipe(self.rfile.read1, upstream)
            back.join()


def _pipe(read, to):
    """Hand on what is read until it ends, then say so."""
    with contextlib.suppress(OSError):
        while part := read(65536):
            to.sendall(part)
    with contextlib.suppress(OSError):
        to.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def below_a_path(tmp_path_factory):
    """A server with passwords below /kd."""
    passwords = {"KD_PASSWORD": PASSWORD, "KD_PRESENTER_PASSWORD": PRESENTER_PASSWORD}
    with serve(tmp_path_factory.mktemp("home"), ships=True, base_path="kd", short_demo=True, **passwords) as server:
        yield server


@pytest.fixture
def stripped(server_as_it_ships):
    """The address of a server that knows of no base path, behind a proxy that has it below /kd."""
    proxy = StrippingProxy(int(server_as_it_ships.rpartition(":")[2]))
    yield proxy.address
    proxy.close()


def watched(page, base):
    """The answers that a page gets from our own routes: path -> its statuses and kinds."""
    heard = {}

    def hear(response):
        path = response.url.partition("?")[0].removeprefix(base)
        if path in ("/live", "/probes", "/assets/plotly.min.js"):
            heard.setdefault(path, set()).add((response.status, response.header_value("content-type")))

    page.on("response", hear)
    return heard


def test_a_class_signs_in_and_distils_below_a_path(below_a_path, new_page):
    base = below_a_path.address
    page = new_page()
    heard = watched(page, base)
    page.goto(base)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Come in").click()
    page.get_by_role("radio", name="Digits").or_(page.get_by_role("button", name="Digits")).first.click()
    page.get_by_role("button", name="Run the quick demo").click()
    expect(page.get_by_text("The distilled student makes").first).to_be_visible(timeout=TRAINED_MS)
    page.get_by_role("link", name="Compare the three").click()
    expect(page.get_by_role("heading", name="Compare honestly")).to_be_visible()
    assert page.url.startswith(f"{base}/compare")
    expect(page.locator(".kd-chart .main-svg").first).to_be_visible(timeout=TRAINED_MS)
    page.goto(f"{base}/train?view=Watch")
    expect(page.locator(".kd-text", has_text="test errors of 445")).to_have_count(3)
    assert heard["/live"] == {(200, "application/json")}
    assert heard["/assets/plotly.min.js"] == {(200, "text/javascript; charset=utf-8")}


def test_a_guest_below_a_path_becomes_the_presenter_and_comes_back(below_a_path, new_page):
    base = below_a_path.address
    page = new_page(accept_downloads=True)
    page.goto(f"{base}/compare?batch=shippeddigits")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Come in").click()
    expect(page.locator(".kd-chart .main-svg").first).to_be_visible(timeout=TRAINED_MS)  # growing, it moves links
    page.get_by_role("link", name="You present? Sign in").click()
    page.get_by_label("Password").fill(PRESENTER_PASSWORD)
    page.get_by_role("button", name="Come in").click()
    expect(page.get_by_role("heading", name="Compare honestly")).to_be_visible()
    assert page.url.startswith(f"{base}/compare")
    expect(page.locator(".kd-chart .main-svg").first).to_be_visible(timeout=TRAINED_MS)
    expect(page.get_by_role("link", name="You present? Sign in")).to_have_count(0)
    with page.expect_download() as download:
        page.get_by_role("button", name="Report for a hand-out").click()
    assert download.value.path().stat().st_size > 100_000


def test_a_proxy_that_strips_its_path_serves_the_lab_whole(stripped, new_page):
    page = new_page()
    heard = watched(page, stripped)
    page.goto(f"{stripped}/compare?batch=shippeddigits")
    expect(page.locator(".kd-chart .main-svg").first).to_be_visible(timeout=TRAINED_MS)
    page.get_by_role("link", name="Train").first.click()
    page.get_by_role("radio", name="Watch").or_(page.get_by_role("button", name="Watch")).first.click()
    expect(page.locator(".kd-text", has_text="test errors of 445").first).to_be_visible()
    assert page.url.startswith(f"{stripped}/train")
    assert heard["/live"] == {(200, "application/json")}


# ------------------------------------------------------------------------------------------ behind nginx and Caddy


def signed_in(address, password=PASSWORD):
    """A visitor of an address who gave the password there, as a browser does, beside another program's odd cookies."""
    host = address.partition("://")[2].partition("/")[0]
    visitor = requests.Session()
    visitor.headers["Origin"] = f"http://{host}"
    visitor.headers["Cookie"] = 'prefs={"a":1}; quote="open; name=\u00e9'.encode()
    assert "This lab asks for a password" in visitor.get(f"{address}/", timeout=30).text
    entered = visitor.post(f"{address}/enter", data={"password": password}, allow_redirects=False, timeout=30)
    cookie = entered.headers.get("Set-Cookie", "").partition(";")[0]
    visitor.headers["Cookie"] += b"; " + cookie.encode()
    return visitor, entered


@pytest.mark.parametrize("how", ["root", "kept", "stripped"])
@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_a_proxy_as_the_documents_configure_it_lets_a_class_in(below_a_path, tmp_path, kind, how):
    with proxied(kind, how, below_a_path.port, tmp_path) as address:
        visitor, entered = signed_in(address)
        assert (entered.status_code, entered.headers["Location"]) == (303, "./")
        assert "<title>Streamlit</title>" in visitor.get(f"{address}/", timeout=30).text
        referer = {"Referer": f"{address}/"}
        assert visitor.get(f"{address}/_stcore/host-config", headers=referer, timeout=30).status_code == 200
        stream = f"{address.replace('http', 'ws')}/_stcore/stream"
        cookie = visitor.headers["Cookie"].decode("latin-1")
        with connect(stream, origin=visitor.headers["Origin"], additional_headers={"Cookie": cookie}) as socket:
            assert socket.protocol.state.name == "OPEN"
        upload = visitor.put(f"{address}/_stcore/upload_file/nobody/1", data=bytes(30_000_000), timeout=60)
        assert upload.text == "A file may have 21 MB at most."  # the lab's own words to a guest


def test_behind_a_proxy_that_makes_up_a_host_the_page_says_what_is_missing(below_a_path, tmp_path, new_page):
    with proxied("nginx", "kept", below_a_path.port, tmp_path, left_out="Host") as address:
        page = new_page()
        page.goto(f"{address}/")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Come in").click()
        expect(page.get_by_role("alert")).to_contain_text("it has to pass on the Host that it was given")
