"""A page comes whole, whatever was drawn, clicked or sent a moment ago, by Streamlit's script runner as we patch it."""

from unittest.mock import MagicMock

import pytest
from streamlit.runtime import Runtime
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import RerunData, ScriptRunner, ScriptRunnerEvent
from streamlit.runtime.scriptrunner_utils.script_run_context import ScriptRunContext
from streamlit.runtime.state import SafeSessionState, SessionState
from streamlit.testing.v1.local_script_runner import LocalScriptRunner

from pages.shared.server.streamlit_patches import draw_pages_at_the_top, refer_to_what_browsers_keep

PAGE = """
import streamlit as st

@st.fragment
def part():
    st.markdown("part")

with st.container():
    part()
st.markdown("page")
"""


@pytest.fixture
def runner_of(tmp_path, monkeypatch):
    """runner_of(page) -> what runs this script for a session."""
    monkeypatch.setattr(Runtime, "_instance", MagicMock())

    def made(page):
        script = tmp_path / "page.py"
        script.write_text(page)
        state = SafeSessionState(SessionState(), lambda: None)
        return LocalScriptRunner(str(script), state, PagesManager(str(script)))

    return made


def test_a_page_after_a_fragment_is_drawn_at_the_top(runner_of, monkeypatch):
    """A click that came while a fragment's run ended had the page drawn inside the fragment's place."""
    monkeypatch.setattr(ScriptRunner, "_run_script", draw_pages_at_the_top(ScriptRunner._run_script))
    runner = runner_of(PAGE)
    drawn, fragments = [[]], set()

    def ask_for_more(sender, event, forward_msg=None, **facts):
        """The fragment after the page, and the page once more, each before the runner has stopped."""
        if event == ScriptRunnerEvent.ENQUEUE_FORWARD_MSG and forward_msg.HasField("delta"):
            drawn[-1].append(list(forward_msg.metadata.delta_path))
            fragments.update({forward_msg.delta.fragment_id} - {""})
        elif event == ScriptRunnerEvent.SCRIPT_STOPPED_WITH_SUCCESS and len(drawn) == 1:
            drawn.append([])
            assert runner.request_rerun(RerunData(fragment_id=min(fragments)))
        elif event == ScriptRunnerEvent.FRAGMENT_STOPPED_WITH_SUCCESS:
            drawn.append([])
            assert runner.request_rerun(RerunData())

    runner.on_event.connect(ask_for_more, weak=False)
    runner.request_rerun(RerunData())
    runner.start()
    runner.join()
    assert drawn[1] == [[0, 0, 0], [0, 0, 0, 0]]
    assert drawn[2] == drawn[0] == [[0, 0], [0, 0, 0], [0, 0, 0, 0], [0, 1]]


LARGE = """
import streamlit as st

st.session_state.turn = st.session_state.get("turn", -1) + 1
st.markdown("ABAA"[st.session_state.turn] * 20_000)
"""


def test_a_browser_is_not_referred_to_what_it_may_have_dropped(runner_of, monkeypatch):
    """A click that was sent before the last run was over named what the browser drops at its end."""
    monkeypatch.setattr(ScriptRunContext, "enqueue", refer_to_what_browsers_keep(ScriptRunContext.enqueue))
    runner = runner_of(LARGE)
    hashes, drawn = [], []

    def click(sender, event, forward_msg=None, **facts):
        """Ask for the page again, four times in all, the browser naming the first A from the second time on."""
        if event == ScriptRunnerEvent.ENQUEUE_FORWARD_MSG and forward_msg.metadata.cacheable:
            hashes.append(forward_msg.hash)
        if event == ScriptRunnerEvent.ENQUEUE_FORWARD_MSG and forward_msg.WhichOneof("type") in ("delta", "ref_hash"):
            drawn.append(forward_msg.delta.new_element.markdown.body[:1] or forward_msg.ref_hash)
        elif event == ScriptRunnerEvent.SCRIPT_STOPPED_WITH_SUCCESS and len(drawn) < 4:
            assert runner.request_rerun(RerunData(cached_message_hashes=frozenset(hashes[:1])))

    runner.on_event.connect(click, weak=False)
    runner.request_rerun(RerunData())
    runner.start()
    runner.join()
    assert drawn == ["A", "B", "A", hashes[0]]
