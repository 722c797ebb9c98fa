"""Strangers stay out, guests stay guests, and what was given for a password cannot be made without it."""

import re
import time
from urllib.parse import urljoin

import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from kd_core.base.config import ConfigError, LabError
from pages.shared.access import auth, base_path
from pages.shared.access.auth import (
    ATTACK,
    COOKIE,
    HOURS,
    MAX_FAILURES,
    MAX_FAILURES_OF_ALL,
    MAX_FAILURES_UNDER_ATTACK,
    PER_SECONDS,
    Auth,
)
from pages.shared.tokens import css

HERE, THERE = "127.0.0.1", "192.168.0.7"


def make(password=None, presenter=None, key=b"k" * 32):
    return Auth(password, presenter, key)


@pytest.mark.parametrize(
    ("password", "presenter", "here", "there"),
    [
        (None, None, "presenter", "guest"),
        (None, "boss", "guest", "guest"),
        ("class", None, None, None),
        ("class", "boss", None, None),
    ],
)
def test_without_a_cookie_one_is_what_the_place_and_the_passwords_say(password, presenter, here, there):
    closed = make(password, presenter)
    assert (closed.role_of(None, HERE), closed.role_of(None, THERE)) == (here, there)
    assert closed.role_of(None, "::1") == here
    assert closed.role_of(None, "nonsense") == there


def test_a_password_is_worth_its_role_from_everywhere_and_after_a_restart():
    closed = make("class", "boss")
    guest, presenter = closed.sign_in("class", THERE), closed.sign_in("boss", THERE)
    assert [make("class", "boss").role_of(cookie, THERE) for cookie in (guest, presenter)] == ["guest", "presenter"]
    assert closed.sign_in("Class", THERE) is None
    assert closed.sign_in("", THERE) is None


def test_with_a_class_password_alone_who_signs_in_at_the_machine_presents():
    closed = make("class")
    cookie = closed.sign_in("class", THERE)
    assert (closed.role_of(cookie, THERE), closed.role_of(cookie, HERE)) == ("guest", "presenter")


def test_a_cookie_is_void_after_its_time_and_with_another_key_or_password(monkeypatch):
    closed = make("class", "boss")
    cookie = closed.sign_in("boss", THERE)
    assert make("class", "boss", key=b"x" * 32).role_of(cookie, THERE) is None
    assert make("class", "new boss").role_of(cookie, THERE) is None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600 * HOURS + 1)
    assert closed.role_of(cookie, THERE) is None


@pytest.mark.parametrize("change", ["role", "given", "mac", "cut", "empty", "long", "dots", "letters"])
def test_a_cookie_that_was_changed_is_worth_nothing(change):
    closed = make("class", "boss")
    role, given, mac = closed.sign_in("class", THERE).split(".")
    forged = {
        "role": f"presenter.{given}.{mac}",
        "given": f"{role}.{given[:-1]}{'B' if given[-1] == 'A' else 'A'}.{mac}",
        "mac": f"{role}.{given}.{'0' if mac[0] != '0' else '1'}{mac[1:]}",
        "cut": f"{role}.{given}.{mac[:-1]}",
        "empty": "",
        "long": "x" * 100_000,
        "dots": "..",
        "letters": f"{role}.soon.{mac}\u0130",
    }[change]
    assert closed.role_of(forged, THERE) is None


def test_what_a_proxy_hands_on_does_not_come_from_here():
    assert auth.address_of(HERE, {}) == HERE
    for header in ("Forwarded", "X-Forwarded-For"):
        address = auth.address_of(HERE, Headers({header: HERE}))
        assert make().role_of(None, address) == "guest"


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8501", "LOCALHOST:1", "127.0.0.1:8501", "127.0.1.1", "[::1]:8501"]
)
def test_who_asks_this_machine_by_its_own_name_is_here(host):
    assert make().role_of(None, auth.address_of(HERE, Headers({"Host": host}))) == "presenter"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8501", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.0.7", "x y"],
)
def test_a_page_elsewhere_that_gives_its_own_name_our_address_is_a_guest(host):
    """DNS rebinding: the presenter's own browser asks, from this machine, by the name of somebody else's page."""
    assert make().role_of(None, auth.address_of(HERE, Headers({"Host": host}))) == "guest"


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.168.0.7", "192.168.0.7"),
        ("127.0.0.9", HERE),
        ("::1", HERE),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::ffff:192.168.0.7", "192.168.0.7"),
        ("testclient", "testclient"),
    ],
)
def test_a_house_counts_as_one_however_many_addresses_it_has(address, counted):
    assert auth.source_of({"client": (address, 5000)}) == counted
    assert auth.source_of({"client": None}) == ""


def guess(closed, source, times):
    for _ in range(times):
        closed.sign_in("wrong", source)


def test_guessing_is_held_up_for_one_address_for_a_minute(monkeypatch):
    closed, now = make("class"), time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    guess(closed, THERE, MAX_FAILURES)
    with pytest.raises(LabError, match="Too many wrong passwords: wait a minute"):
        closed.sign_in("class", THERE)
    assert closed.sign_in("class", "192.168.0.8")
    monkeypatch.setattr(time, "time", lambda: now + PER_SECONDS + 1)
    assert closed.sign_in("class", THERE)


def test_a_class_behind_one_address_does_not_share_ten_mistakes():
    closed = make("class")
    guess(closed, THERE, 3 * 30)
    assert closed.sign_in("class", THERE)


def test_twenty_addresses_that_guess_keep_nobody_else_out():
    closed = make("class", "boss")
    assert closed.sign_in("class", THERE)  # the first of a class
    for number in range(ATTACK // MAX_FAILURES_UNDER_ATTACK):
        guess(closed, f"10.0.0.{number}", MAX_FAILURES_UNDER_ATTACK)
    for number in range(ATTACK // MAX_FAILURES_UNDER_ATTACK):
        with pytest.raises(LabError, match="Too many"):
            closed.sign_in("class", f"10.0.0.{number}")
    guess(closed, THERE, 30)
    assert closed.sign_in("class", THERE)
    assert closed.sign_in("class", "192.168.0.8")


def test_however_many_addresses_guess_the_presenter_at_this_machine_comes_in():
    closed = make("class", "boss")
    assert closed.sign_in("class", THERE)
    for number in range(MAX_FAILURES_OF_ALL):
        closed.sign_in("wrong", f"10.0.{number // 250}.{number % 250}")
    with pytest.raises(LabError, match="Too many"):
        closed.sign_in("class", "10.9.9.9")
    assert len(closed._failures) == MAX_FAILURES_OF_ALL
    guess(closed, None, 2 * MAX_FAILURES)
    assert closed.sign_in("boss", None)
    assert closed.sign_in("class", THERE)


def test_a_class_and_a_presenter_of_one_password_are_refused(monkeypatch):
    for password, presenter in (("a", "a"), ("a", "b"), ("", ""), ("a", "")):
        monkeypatch.setenv("KD_PASSWORD", password)
        monkeypatch.setenv("KD_PRESENTER_PASSWORD", presenter)
        if password == presenter == "a":
            with pytest.raises(ConfigError, match="are the same, and whoever gives it would be the presenter: set two"):
                auth.passwords()
        else:
            assert auth.passwords() == (password, presenter)


# --------------------------------------------------------------------------------------------- in front of an app


@pytest.fixture
def visit(home, monkeypatch):
    """visit(password=…, presenter=…) -> a client of an app behind the password, from another machine."""
    reached = []

    async def page(request):
        reached.append(request.url.path)
        return PlainTextResponse("the lab")

    async def socket(websocket):
        await websocket.accept()
        await websocket.send_text("the lab")
        await websocket.close()

    def open_it(password="", presenter="", address=THERE):
        monkeypatch.setenv("KD_PASSWORD", password)
        monkeypatch.setenv("KD_PRESENTER_PASSWORD", presenter)
        auth.auth_of.cache_clear()
        routes = [Route("/{path:path}", page, methods=["GET", "POST", "PUT"]), WebSocketRoute("/{path:path}", socket)]
        inside = Starlette(routes=routes, middleware=[Middleware(auth.RequirePassword)])
        client = TestClient(inside, client=(address, 5000), follow_redirects=False)
        client.reached = reached
        return client

    return open_it


@pytest.mark.parametrize("path", ["/", "/train?T=3", "/live?runs=a", "/assets/plotly.min.js", "/_stcore/host-config"])
def test_without_the_password_nothing_of_the_app_is_reached(visit, path):
    client = visit(password="class")
    answer = client.get(path)
    assert answer.status_code == 401
    assert 'type="password"' in answer.text
    assert client.post(path, content=b"x").status_code == 401
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/_stcore/stream"):
        pass
    assert client.reached == []


def test_the_password_opens_pages_and_sockets_and_leads_to_where_one_was_going(visit):
    client = visit(password="class")
    response = client.get("/temperature?T=20&image=test-3")
    target = re.search(r'name="to" type="hidden" value="([^"]*)"', response.text)[1].replace("&amp;", "&")
    answer = client.post("/enter", data={"password": "class", "to": target})
    assert (answer.status_code, answer.headers["location"]) == (303, "./temperature?T=20&image=test-3")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert client.get("/temperature").text == "the lab"
    with client.websocket_connect("/_stcore/stream") as socket:
        assert socket.receive_text() == "the lab"


def test_a_wrong_password_is_said_in_words_and_opens_nothing(visit):
    client = visit(password="class")
    answer = client.post("/enter", data={"password": "guess", "to": "/"})
    assert answer.status_code == 403
    assert "This is not the password" in answer.text
    assert COOKIE not in answer.cookies
    assert client.get("/").status_code == 401
    for _ in range(MAX_FAILURES):
        answer = client.post("/enter", data={"password": "guess"})
    assert answer.status_code == 429
    assert "wait a minute" in answer.text


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "",
        "/a\r\nX: y",
        "é",
        "/../x",
    ],
)
def test_the_password_leads_nowhere_else(visit, to):
    answer = visit(password="class").post("/enter", data={"password": "class", "to": to})
    assert answer.headers["location"] == "./"


def test_the_password_leads_to_a_path_that_reads_like_a_scheme(visit):
    answer = visit(password="class").post("/enter", data={"password": "class", "to": "/javascript:alert(1)"})
    assert answer.headers["location"] == "./javascript:alert(1)"


@pytest.mark.parametrize("odd", ['prefs={"a":1}', "name=é", 'quote="open', "=; ;;", "a b=c"])
def test_another_programs_odd_cookie_keeps_nobody_out(visit, odd):
    """Cookies know no port: any program on the same host leaves its own beside ours."""
    client = visit(password="class")
    cookie = client.post("/enter", data={"password": "class", "to": "/"}).cookies[COOKIE]
    client.cookies.clear()
    for header in (f"{odd}; {COOKIE}={cookie}", f"{COOKIE}={cookie}; {odd}"):
        assert client.get("/", headers={"Cookie": header.encode("latin-1")}).text == "the lab"


# ------------------------------------------------------------------------------------------------- below a base path


@pytest.fixture
def visit_below(visit, monkeypatch):
    """visit_below(password=…) -> a client of an app behind the password that is served below /kd."""
    monkeypatch.setattr(base_path.st, "get_option", lambda name: {"server.baseUrlPath": "kd"}[name])

    def open_it(**passwords):
        client = visit(**passwords)
        below = TestClient(base_path.AddBasePath(client.app), client=(THERE, 5000), follow_redirects=False)
        below.reached = client.reached
        return below

    return open_it


@pytest.mark.parametrize("prefix", ["/kd", ""])
@pytest.mark.parametrize("path", ["/", "/temperature?T=20", "/a/b"])
def test_signing_in_leads_back_below_a_base_path_kept_or_stripped(visit_below, prefix, path):
    """The browser is below /kd; the proxy before us hands that prefix on or not."""
    seen = f"https://uni.example/kd{path}"
    client = visit_below(password="class")
    page = client.get(prefix + path).text
    action, to = (re.search(rf'{name}="([^"]*)"', page)[1] for name in ("action", 'name="to" type="hidden" value'))
    enter = urljoin(seen, action)
    assert enter == "https://uni.example/kd/enter"
    answer = client.post(f"{prefix}/enter", data={"password": "class", "to": to})
    assert urljoin(enter, answer.headers["location"]) == seen
    assert "path=" not in answer.headers["set-cookie"].lower()


def test_the_form_posts_below_a_base_path_that_was_typed_without_its_last_slash(visit_below):
    action = re.search('action="([^"]*)"', visit_below(password="class").get("/kd").text)[1]
    assert urljoin("https://uni.example/kd", action) == "https://uni.example/kd/enter"


@pytest.mark.parametrize("prefix", ["/kd", ""])
def test_health_below_a_base_path_is_never_asked_for_a_password(visit_below, prefix):
    assert visit_below(password="class").get(f"{prefix}/_stcore/health").text == "the lab"
    assert visit_below(password="class").get(f"{prefix}/_stcore/host-config").status_code == 401


def test_an_address_that_begins_like_the_base_path_lies_below_it_all_the_same(visit_below):
    client, paths = visit_below(), {"/kd/live": "/kd/live", "/kd": "/kd", "/kdx": "/kd/kdx", "/": "/kd/"}
    for path in paths:
        client.get(path)
    assert client.reached == [*paths.values()]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://testserver.evil.example", "http://localhost:3000", ""]
)
def test_a_page_of_another_server_opens_no_socket_and_signs_nobody_in(visit, origin):
    client = visit()
    with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect("/x", headers={"Origin": origin}):
        pass
    assert refused.value.code == 4403
    guarded = visit(password="class")
    answer = guarded.post("/enter", data={"password": "class"}, headers={"Origin": origin})
    assert (answer.status_code, dict(answer.cookies)) == (403, {})
    assert (
        "KD Lab was asked for testserver. Where a proxy stands between them, it has to pass on the Host" in answer.text
    )


def test_a_page_behind_a_proxy_that_makes_up_a_host_says_what_is_missing(visit):
    """The page asks for this before its socket, and shows what a refusal says."""
    client = visit()
    for referer, status in (("https://uni.example/kd/train", 421), ("https://testserver/kd/", 200)):
        answer = client.get("/_stcore/host-config", headers={"Referer": referer})
        assert answer.status_code == status
        assert answer.text.startswith('"Your browser is at uni.example') == (status == 421)
    assert client.get("/_stcore/host-config").status_code == 200
    assert client.get("/_stcore/health", headers={"Referer": "https://uni.example/"}).status_code == 200


def test_guesses_at_this_machine_hold_up_nobody_there_and_count_behind_a_proxy(visit):
    client = visit(password="class", address=HERE)
    client.base_url = "http://localhost"
    for _ in range(MAX_FAILURES + 1):
        assert client.post("/enter", data={"password": "guess"}).status_code == 403
    assert client.post("/enter", data={"password": "class"}).status_code == 303
    forwarded = {"X-Forwarded-For": "10.0.0.1"}
    statuses = [
        client.post("/enter", data={"password": "guess"}, headers=forwarded).status_code
        for _ in range(MAX_FAILURES + 1)
    ]
    assert statuses == [403] * MAX_FAILURES + [429]


def test_a_page_of_this_server_opens_sockets(visit):
    client = visit()
    for origin in ("http://testserver", "https://testserver"):
        with client.websocket_connect("/x", headers={"Origin": origin}) as socket:
            assert socket.receive_text() == "the lab"


def test_no_other_site_shows_ours_in_a_frame(visit):
    for client in (visit(), visit(password="class")):
        headers = client.get("/").headers
        assert "frame-ancestors 'self'" in headers["content-security-policy"]
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
    assert "default-src 'none'" in headers["content-security-policy"]


def test_the_cookie_goes_over_https_alone_where_there_is_https(visit):
    for scheme, secure in (("http", False), ("https", True)):
        client = visit(password="class")
        client.base_url = f"{scheme}://testserver"
        assert ("secure" in client.post("/enter", data={"password": "class"}).headers["set-cookie"].lower()) == secure


def test_guesses_of_one_visitor_hold_up_no_other_behind_the_same_proxy(visit):
    """uvicorn gives the address that a proxy on this machine adds; what a visitor makes up counts for nothing."""
    guessing = visit(password="class", address="10.0.0.1")
    for number in range(MAX_FAILURES):
        guessing.post("/enter", data={"password": "guess"}, headers={"X-Forwarded-For": f"10.9.9.{number}"})
    assert (
        guessing.post("/enter", data={"password": "class"}, headers={"X-Forwarded-For": "1.1.1.1"}).status_code == 429
    )
    other = TestClient(guessing.app, client=("10.0.0.2", 1), follow_redirects=False)
    assert other.post("/enter", data={"password": "class"}).status_code == 303


def test_what_an_address_says_is_text_on_the_page_that_asks(visit):
    answer = visit(password="class").get('/x"><script>alert(1)</script>')
    assert "<script" not in answer.text


def test_a_form_without_end_is_not_read_to_its_end(visit):
    assert visit(password="class").post("/enter", content=b"password=" + b"x" * 1_000_000).status_code == 413


def test_without_passwords_all_is_open_and_health_is_never_asked_for_one(visit):
    assert visit().get("/").text == "the lab"
    assert visit(presenter="boss").get("/").text == "the lab"
    assert visit(password="class").get("/_stcore/health").text == "the lab"


def test_the_key_is_kept_for_the_next_start_and_for_nobody_else(home):
    home.mkdir()
    first = auth._key(home)
    assert auth._key(home) == first
    assert (home / "door.key").stat().st_mode & 0o077 == 0
    (home / "door.key").write_bytes(b"short")
    assert len(auth._key(home)) == 32


def test_what_is_no_request_passes(home):
    heard = []

    async def inside(scope, receive, send):
        heard.append(scope["type"])

    with pytest.raises(StopIteration):  # done at its first step: it needs no event loop of its own
        auth.RequirePassword(inside)({"type": "lifespan"}, None, None).send(None)
    assert heard == ["lifespan"]


def test_the_password_page_has_its_colours_from_the_tokens_alone():
    page = auth._login_page({"path": "/"}, "/", "Wrong.").body.decode()
    assert css() in page
    assert "{{" not in page
    assert not re.findall(r"#[0-9a-f]{3,8}\b|rgb\(", page.replace(css(), ""))
    assert {*re.findall(r"var\((--kd-[\w-]+)\)", page)} <= {*re.findall(r"(--kd-[\w-]+):", css())}
