"""Streamlit 1.67 where its behaviour has to differ."""

from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequestType


def watch_no_files(self: AppSession) -> None:
    """In place of AppSession.register_file_watchers."""


_streamlits_request_rerun = AppSession.request_rerun


def request_rerun(self: AppSession, client_state: ClientState | None) -> None:
    """In place of AppSession.request_rerun: deaf to a fragment's timer while the session's script runs or waits to.

    The timer asks again. Streamlit (1.67) would draw the fragment afterwards, on the page that the browser showed when
    the timer rang: a page that was opened meanwhile would lose all but what stands above it, and a click on a link that
    waits for its turn would be taken for one on the old page.
    """
    runner = self._scriptrunner
    at_work = runner is not None and runner._requests._state != ScriptRequestType.STOP
    if at_work and client_state is not None and client_state.is_auto_rerun:
        return
    _streamlits_request_rerun(self, client_state)
