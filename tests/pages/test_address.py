"""A page's view stands in its address, and what is no value there reads as the default."""

import pytest
from streamlit.testing.v1 import AppTest

from pages.shared.session import address


def page():
    import streamlit as st

    from pages.shared.session.address import chosen

    fruit = chosen(
        st.selectbox, "Fruit", ["apple", "pear", "plum"], name="fruit", key="fruit_here", default="pear",
        format_func=str.title,
    )  # fmt: skip
    count = chosen(st.segmented_control, "Count", [1, 3, 5], name="count", key="count_here", default=1, required=True)
    st.write(f"{count} of {fruit}")


def opened(**query) -> AppTest:
    app = AppTest.from_function(page)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def test_every_choice_stands_and_is_in_the_address():
    app = opened()
    for fruit in ("apple", "plum", "pear", "plum"):
        app.selectbox[0].set_value(fruit).run()
        assert app.selectbox[0].value == fruit
        assert app.query_params["fruit"] in (fruit, [fruit])
        app.run()  # as another control of the page does it
        assert app.markdown[0].value == f"1 of {fruit}"


def test_an_address_brings_its_view_back():
    assert opened(fruit="plum", count="5").markdown[0].value == "5 of plum"


@pytest.mark.parametrize("nonsense", ["", "melon", "1e999", "\x00", "Pear", "a" * 5000])
def test_what_is_no_option_reads_as_the_default(nonsense):
    app = opened(fruit=nonsense, count=nonsense)
    assert not app.exception
    assert app.markdown[0].value == "1 of pear"


@pytest.mark.parametrize("named", ["pear", "plum"])
def test_a_link_to_the_page_wins_over_what_was_chosen(named):
    app = opened(fruit="plum")
    app.selectbox[0].set_value("apple").run()
    app.query_params["fruit"] = named
    assert app.run().markdown[0].value == f"1 of {named}"


@pytest.mark.parametrize("text", ["", "warm", "nan", "inf", "-inf", "0x10", "1,5"])
def test_what_is_no_number_reads_as_the_default(monkeypatch, text):
    monkeypatch.setattr(address.st, "query_params", {"smoothing": text})
    assert address.number("smoothing", 0.5, 0, 0.98) == 0.5


@pytest.mark.parametrize(("text", "value"), [("-3", 0), ("0.4", 0.4), ("1e9", 0.98)])
def test_a_number_of_the_address_is_brought_within_its_range(monkeypatch, text, value):
    monkeypatch.setattr(address.st, "query_params", {"smoothing": text})
    assert address.number("smoothing", 0.5, 0, 0.98) == value
