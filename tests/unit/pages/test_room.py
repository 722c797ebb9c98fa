"""What stands at the top of every page for a class: codes of addresses, and whom an address lets in."""

import pytest
import streamlit as st
from starlette.requests import Request

from pages.shared.room import qr, room, stage


def code_of(text):
    scope = {"type": "http", "method": "GET", "path": "/qr", "headers": []}
    return qr.send_qr(Request({**scope, "query_string": f"of={text}".encode()}))


def test_an_address_has_a_code_dark_on_white():
    answer = code_of("http%3A%2F%2Flab%2Ftemperature%3FT%3D4")
    assert (answer.status_code, answer.media_type) == (200, "image/svg+xml")
    assert answer.body.startswith(b'<svg xmlns="http://www.w3.org/2000/svg"')
    assert b'fill="#fff"' in answer.body


@pytest.mark.parametrize("text", ["", "javascript:alert(1)", "seven", "%00", "http:/lab"])
def test_what_is_no_address_has_no_code(text):
    assert code_of(text).status_code == 400


def test_an_address_too_long_to_be_read_from_a_projector_has_no_code():
    longest = "http://lab/".ljust(qr.MOST_CHARACTERS, "x")
    assert (code_of(longest).status_code, code_of(longest + "x").status_code) == (200, 414)


@pytest.mark.parametrize(("listens", "here"), [("localhost", True), ("192.168.1.5", True), ("0.0.0.0", False)])
def test_the_address_names_the_network_only_where_others_are_let_in(monkeypatch, listens, here):
    monkeypatch.setattr(st, "get_option", {"server.address": listens}.get)
    monkeypatch.setattr(room.socket, "socket", FakeSocket)
    assert room._network() == ("" if here else "192.168.1.5")


@pytest.mark.parametrize("way", ["127.0.0.1", OSError("no network")])
def test_a_machine_without_a_network_names_none(monkeypatch, way):
    monkeypatch.setattr(st, "get_option", {"server.address": "0.0.0.0"}.get)
    monkeypatch.setattr(room.socket, "socket", lambda *_: FakeSocket(way=way))
    assert room._network() == ""


class FakeSocket:
    def __init__(self, *_, way="192.168.1.5"):
        self.way = way

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def connect(self, _):
        if isinstance(self.way, OSError):
            raise self.way

    def getsockname(self):
        return self.way, 40_000


@pytest.fixture
def visit(monkeypatch):
    """visit(page, stage=…) -> the part on stage there, and what the address has then; the session goes on."""
    session = {}

    def visit(page, **query):
        monkeypatch.setattr(stage.st, "query_params", query)
        monkeypatch.setattr(stage.st, "session_state", session)
        return stage.part_on_stage(page), query.get("stage")

    return visit


def test_the_stage_stands_over_reruns_and_a_change_of_page(visit):
    assert visit("temperature", stage="3") == (3, "3")
    assert visit("temperature") == (3, "3")
    assert visit("compare") == (1, "1")
    assert visit("compare", stage="0") == (0, None)
    assert visit("temperature") == (0, None)


def test_a_step_stands_and_a_link_or_going_back_is_followed(visit):
    visit("temperature", stage="1")
    for part in (2, 3, 0):
        stage.heard({"stage": part})
        assert visit("temperature", **({"stage": str(part)} if part else {}))[0] == part
    assert visit("temperature", stage="3") == (3, "3")
    assert visit("temperature", stage="1") == (1, "1")


@pytest.mark.parametrize("odd", ["", "0", "-1", "1.5", "true", "²", "1e3", "9" * 10_000, "\x00"])
def test_what_is_no_part_is_no_stage(visit, odd):
    assert visit("temperature", stage=odd) == (0, None)


@pytest.mark.parametrize(
    ("sent", "part"), [(2, 2), (0, 0), (-1, 1), (10**400, 1), ("x", 1), ([], 1), (float("inf"), 1)]
)
def test_the_part_that_the_browser_shows_is_kept_and_nonsense_is_not(visit, sent, part):
    visit("temperature", stage="1")
    stage.heard({"stage": sent})
    assert stage.st.session_state["stage"] == part
    assert stage.st.query_params.get("stage") == (str(part) if part else None)
