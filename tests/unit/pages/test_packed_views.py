"""A drawing and logits moved by hand travel in the address, and what strangers write there is ignored in a sentence."""

import base64
import os
import zlib

import numpy as np
import pytest

from kd_core.base.packed import pack, unpack
from kd_core.data import picture
from pages.shared.session import address

NOISE = base64.urlsafe_b64encode(os.urandom(9000)).decode()
ODD = ["x", "not base64 at all!", "é", "\x00", "A" * 10_000, NOISE, pack(b""), pack(b"\x00" * 3), pack(bytes(10**6))]


@pytest.fixture
def query(monkeypatch):
    query = {}
    monkeypatch.setattr(address.st, "query_params", query)
    return query


def test_a_drawing_comes_back_from_its_address(query):
    image = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    query["image"] = address.DRAWN + picture.to_address(image)
    assert (address.drawing_of_address() == image).all()
    assert len(query["image"].removeprefix(address.DRAWN)) < 1100


def test_a_drawing_that_a_browser_packed_is_read(query):
    """CompressionStream("deflate") writes zlib too, of another level and without a final padding."""
    image = np.zeros((28, 28), np.uint8)
    query["image"] = address.DRAWN + base64.urlsafe_b64encode(zlib.compress(image.tobytes(), 6)).decode().rstrip("=")
    assert (address.drawing_of_address() == image).all()


def test_logits_come_back_from_their_address_to_a_hundredth(query):
    logits = np.random.default_rng(0).normal(0, 20, (3, 10))
    query["logits"] = address.logits_to_address(logits)
    assert np.abs(address.logits_of_address(3, 10) - logits).max() <= 0.005 + 1e-9
    assert len(query["logits"]) < 120


def test_logits_that_no_address_can_hold_are_brought_within_its_range(query):
    query["logits"] = address.logits_to_address(np.array([[np.inf, -1e9, np.nan, 300.0]]))
    assert address.logits_of_address(1, 4).tolist() == [[300.0, -300.0, 0.0, 300.0]]


@pytest.mark.parametrize("shape", [(2, 10), (3, 11), (1, 1), (4, 10)])
def test_logits_of_another_story_are_ignored(query, caplog, shape):
    query["logits"] = address.logits_to_address(np.ones((3, 10)))
    assert address.logits_of_address(*shape) is None
    assert "logits= of an address was ignored" in caplog.text


@pytest.mark.parametrize("odd", ODD)
def test_what_no_page_packed_is_ignored_in_a_line_of_the_log(query, caplog, odd):
    query |= {"image": address.DRAWN + odd, "logits": odd}
    assert address.drawing_of_address() is None
    assert address.logits_of_address(3, 10) is None
    assert [record.exc_info for record in caplog.records] == [None, None]
    assert all(len(record.getMessage()) < 200 for record in caplog.records)


def test_without_either_nothing_is_logged(query, caplog):
    assert address.drawing_of_address() is None
    assert address.logits_of_address(3, 10) is None
    assert not caplog.records


def test_what_is_packed_is_unpacked_and_no_more_than_is_allowed():
    assert unpack(pack(b"seven"), 100, 5) == b"seven"
    for characters, size in ((3, 5), (100, 4)):
        with pytest.raises(ValueError, match=r"characters|more than"):
            unpack(pack(b"seven"), characters, size)
