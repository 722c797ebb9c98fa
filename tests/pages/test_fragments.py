"""A page is drawn whole, though a part of it that is drawn by itself was drawn a moment ago."""

from unittest.mock import MagicMock

from streamlit.runtime import Runtime
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import RerunData, ScriptRunner, ScriptRunnerEvent
from streamlit.runtime.state import SafeSessionState, SessionState
from streamlit.testing.v1.local_script_runner import LocalScriptRunner

from pages.shared.server.streamlit_patches import draw_pages_at_the_top

PAGE = """
import streamlit as st

@st.fragment
def part():
    st.markdown("part")

with st.container():
    part()
st.markdown("page")
"""


def test_a_page_after_a_fragment_is_drawn_at_the_top(tmp_path, monkeypatch):
    """A click that came while a fragment's run ended had the page drawn inside the fragment's place."""
    monkeypatch.setattr(ScriptRunner, "_run_script", draw_pages_at_the_top(ScriptRunner._run_script))
    monkeypatch.setattr(Runtime, "_instance", MagicMock())
    (tmp_path / "page.py").write_text(PAGE)
    pages = PagesManager(str(tmp_path / "page.py"))
    runner = LocalScriptRunner(str(tmp_path / "page.py"), SafeSessionState(SessionState(), lambda: None), pages)
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
