"""What a button started is remembered, and a press is acted on once, though other clicks end the page's runs.

So is what a page set in its fields, though a browser misses it.
"""

import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.runtime.state.session_state import SessionState
from streamlit.testing.v1 import AppTest

from pages.shared.server.streamlit_patches import run_callbacks_whole, send_until_shown, take_no_old_value


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


STARTS = {"T": 4.0, "alpha": 0.9, "classes": [1, 2], "epochs": 60, "labels": True, "rate": "0.003", "objective": "kd"}


def page_with_fields():
    import streamlit as st

    from pages.train.fields import field

    def fill():
        st.session_state["form_T"] = 8.0

    st.button("Fill", key="fill", on_click=fill)
    field(st.select_slider, "T", 4.0, "T", [1.0, 4.0, 8.0])
    field(st.slider, "alpha", 0.9, "alpha", 0.0, 1.0)
    field(st.multiselect, "classes", [1, 2], "Classes", [1, 2])
    field(st.number_input, "epochs", 60, "Epochs", 1)
    field(st.toggle, "labels", True, "Labels")
    field(st.text_input, "rate", "0.003", "Rate")
    field(st.selectbox, "objective", "kd", "Objective", ["ce", "kd"])


@pytest.fixture
def fields(monkeypatch):
    """A page with a field of each kind, after its first run."""
    for patch in (send_until_shown, take_no_old_value):
        name = patch.__doc__.split("SessionState.")[1].split(":")[0]
        monkeypatch.setattr(SessionState, name, patch(getattr(SessionState, name)))
    return AppTest.from_function(page_with_fields).run()


def values_of(app):
    return {name: app.session_state[f"form_{name}"] for name in STARTS}


def send(app, **values):
    """Run the page as for a browser that shows what the app did when these values were remembered."""
    app._tree.get_widget_states = lambda: WidgetStates(widgets=values.values())
    return app.run()


def sent_by(app):
    """What a browser that shows this page sends where no button is pressed, by the name of each field."""
    states = app._tree.get_widget_states().widgets
    return {state.id.rpartition("form_")[2]: state for state in states if "form_" in state.id}


def test_a_field_keeps_what_its_page_set_though_the_browser_missed_it(fields):
    app = send(fields)  # a click before any field came
    assert values_of(app) == STARTS
    protos = [element.proto for element in app.main if (element.key or "").startswith("form_")]
    assert [proto.set_value for proto in protos] == [True] * len(STARTS)


def test_a_field_that_a_button_filled_stays_so_at_the_next_click(fields):
    before = sent_by(fields)
    app = fields.button(key="fill").click().run()
    before["epochs"].double_value = 7
    app = send(app, **before)
    assert values_of(app) == {**STARTS, "T": 8.0, "epochs": 7}
    assert app.select_slider(key="form_T").proto.set_value


def test_a_field_that_a_button_filled_can_be_put_back(fields):
    before = sent_by(fields)
    app = fields.button(key="fill").click().run()
    assert values_of(send(app, **before)) == STARTS
