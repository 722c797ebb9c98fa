"""What a button started is remembered, and a press is acted on once, though other clicks end the page's runs."""

import pytest
from streamlit.runtime.state.session_state import SessionState
from streamlit.testing.v1 import AppTest

from pages.shared.server.streamlit_patches import run_callbacks_whole


def page():
    import streamlit as st
    from streamlit.runtime.scriptrunner import RerunData, get_script_run_ctx

    from pages.shared.parts import button
    from pages.shared.words import refusals

    def another_click(place):
        """As if somebody clicked while the script stands here."""
        if st.session_state["clicks"].get(place):
            st.session_state["clicks"][place] -= 1
            get_script_run_ctx().script_requests.request_rerun(RerunData())

    button.empty()
    st.session_state.setdefault("clicks", {})
    st.session_state.setdefault("begun", [])
    if button.pressed("Go", key="go"):
        another_click("before")
        st.write("on its way")
        with refusals():
            begun = st.session_state["begun"]
            another_click("within")
            st.session_state["remembered"] = len(begun) + 1
            begun.append("a run")
            st.rerun()
    st.write("the end")
    button.forget()


@pytest.mark.parametrize("clicks", [{}, {"within": 1}, {"before": 1}, {"before": 2, "within": 1}], ids=str)
def test_what_was_started_is_remembered_though_another_click_comes(clicks):
    app = AppTest.from_function(page).run()
    app.session_state["clicks"] = dict(clicks)
    app.button(key="go").click().run()
    assert app.session_state["begun"] == ["a run"]
    assert app.session_state["remembered"] == 1
    assert app.session_state["clicks"] == dict.fromkeys(clicks, 0)
    assert app.markdown[-1].value == "the end"
    app.run()
    assert app.session_state["begun"] == ["a run"]


def page_with_a_callback():
    import streamlit as st
    from streamlit.runtime.scriptrunner import RerunData, get_script_run_ctx

    def remember():
        get_script_run_ctx().script_requests.request_rerun(RerunData())  # as if somebody clicked now
        st.session_state["fruit"] = st.session_state["fruit_here"]

    st.selectbox("Fruit", ["apple", "pear"], key="fruit_here", on_change=remember)
    st.write(st.session_state.get("fruit"))


def test_a_callback_runs_whole_though_another_click_comes(monkeypatch):
    name = "_run_callback_and_record_rerun"
    monkeypatch.setattr(SessionState, name, run_callbacks_whole(getattr(SessionState, name)))
    app = AppTest.from_function(page_with_a_callback).run()
    app.selectbox[0].set_value("pear").run()
    assert app.markdown[0].value == "pear"
