"""The bar at the top of every page: share a view, put it on a stage, be followed by a class, read another language."""

import contextlib
import ipaddress
import socket
from pathlib import Path

import streamlit as st

from pages.shared import language
from pages.shared.access.auth import passwords
from pages.shared.components.common.browser import COMMON_JS, Component
from pages.shared.language import _
from pages.shared.room import prepared, stage
from pages.shared.room.qr import MOST_CHARACTERS

_PARTS = ("prepare.js", "share.js", "stage.js", "votes.js", "class.js")
_JS = COMMON_JS + "".join(Path(__file__).with_name(part).read_text(encoding="utf-8") for part in _PARTS)
_CSS = Path(__file__).with_name("votes.css").read_text(encoding="utf-8")
EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104  what server.address says where others are let in

KEY = "room"
MARKS = {"en": "EN", "ko": "한"}
"""What a language is called where there is no room for its name."""
NO_CONTROLS = (KEY, "lesson", "uploads", "mended", "menu_")
"""What the keys begin with of that which is no control of a page's view."""


def room(page: str, view: prepared.Prepared) -> None:
    """Draw the bar over a page that is prepared like this.

    The address is the browser's own, so that what is shared is what is seen.
    """
    prepared.apply(view)
    _bar(page, view)


@st.fragment  # so that a step on the stage runs the page no second time
def _bar(page: str, view: prepared.Prepared) -> None:
    Component(__file__, "kd-room", css=_CSS, js=_JS, isolated=False)(
        key=KEY,
        data={
            "network": _network(),
            "password": bool(passwords()[0]),
            "most": MOST_CHARACTERS,
            "hidden": prepared.selector(view.hidden),
            "locked": prepared.selector(view.locked),
            "names": {key: name for name, keys in prepared.KEYS.items() for key in keys},
            "called": {name: _(called) for name, called in prepared.IN_COMPONENTS.items()},
            "not": NO_CONTROLS,
            "stage": stage.part_on_stage(page),
            "languages": [_switch(code) for code in language.LANGUAGES if code != language.current()],
        },
        on_stage_change=lambda: stage.heard(st.session_state[KEY]),
    )


def _switch(code: str) -> dict[str, str]:
    """The button that a language is chosen by, in that language's own words."""
    name = language.LANGUAGES[code]
    with language.spoken(code):
        return {"code": code, "name": name, "mark": MARKS[code], "title": _("Read in {language}", language=name)}


def _network() -> str:
    """Name this machine as others on its network do; empty where it lets nobody else in, or has no network."""
    if (st.get_option("server.address") or "") not in EVERYWHERE:
        return ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking, contextlib.suppress(OSError):
        asking.connect(("192.0.2.1", 9))  # an address of documents: nothing is sent, but the way there is chosen
        address: str = asking.getsockname()[0]
        return "" if ipaddress.ip_address(address).is_loopback else address
    return ""
