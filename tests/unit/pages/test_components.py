"""What somebody sends by hand in a component's name ends in a line of the log."""

import numpy as np
import plotly.graph_objects as go
import pytest
import streamlit as st
from PIL import Image

from pages.shared.components.chart import chart
from pages.shared.components.images import images
from pages.shared.live import live
from pages.shared.session import address
from pages.temperature import crop


@pytest.fixture
def sends(monkeypatch):
    """sends(state): every component has this state from now on."""

    def send(**state):
        monkeypatch.setattr(st.components.v2, "component", lambda *_, **__: lambda **_: state)
        monkeypatch.setattr(st, "session_state", {"part": state})
        monkeypatch.setattr(st, "query_params", {})

    return send


def clicked():
    return chart.chart(go.Figure(), key="part", text="", clickable=True)


def picked():
    return images.image_grid(np.zeros((1, 1, 8, 8), np.uint8), [7], ["seven"], selected=None, key="part")


def requested(**state):
    return address.event_of(state, "asked", live._requests)


def cropped():
    return crop.crop(Image.new("RGB", (8, 8)), key="part")


def written():
    address._write("part", "smoothing")
    return st.query_params.get("smoothing")


@pytest.mark.parametrize("odd", [[1, 2], "x", [[]], [], {}, {"x": 1}, True, [{"run": 1}], float("inf"), 10**400])
def test_an_event_that_no_component_sends_ends_in_the_log_without_a_traceback(sends, caplog, odd):
    sends(clicked=odd, picked=odd, smoothing=odd, box=odd)
    assert cropped() == crop.WHOLE
    assert clicked() is None
    assert picked() is None
    assert requested(asked=odd) in (None, [])
    assert written() in (None, "x", "1", "inf")
    assert all("was ignored, because no component of ours sends that" in record.message for record in caplog.records)
    assert all(record.exc_info is None for record in caplog.records)
    assert caplog.records


def test_what_components_send_arrives(sends, caplog):
    sends(clicked={"x": "3", "y": 5}, picked=7, smoothing=0.25, box=[0, 0.25, 0.5, 1])
    assert cropped() == (0, 0.25, 0.5, 1)
    assert (clicked(), picked(), written()) == (("3", "5"), 7, "0.25")
    requests = [{"run": "a", "what": "stop", "mine": True}, {"run": "b", "what": "pause"}]
    assert requested(asked=requests) == [("a", "stop", True), ("b", "pause", False)]
    sends()
    assert (clicked(), picked(), written(), requested()) == (None, None, None, None)
    assert not caplog.records
