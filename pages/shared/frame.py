"""What surrounds every page: errors as sentences, and a line where the queue is in trouble."""

import streamlit as st

from kd_core.base.config import LabError
from pages.shared.access import rights
from pages.shared.access.auth import ENTER, server_auth
from pages.shared.language import LANG, _, current, of_error
from pages.shared.parts import button
from pages.shared.parts.uploads import explain_refused_uploads
from pages.shared.room import prepared
from pages.shared.room.room import room
from pages.shared.server.ready import wait_until_ready
from pages.shared.server.streamlit_patches import StreamlitPage
from pages.shared.session import services
from pages.shared.tour import guide
from pages.shared.words import literal

DEFAULT_PAGE = "overview"
TROUBLE_SECONDS = 3.0
"""After which the line of trouble looks again, while it stands."""


def run_page(page: StreamlitPage) -> None:
    """Run a page; what its user can cause or meet is shown as one sentence in its place."""
    button.empty()
    view = prepared.of_address()
    room(page.url_path or DEFAULT_PAGE, view)
    try:
        if services.jobs().trouble:
            st.fragment(_say_trouble, run_every=TROUBLE_SECONDS)()
        _say_what_was_mended()
        guide(page.url_path or DEFAULT_PAGE)
        if page.url_path:  # all pages but the first one need torch and scipy
            wait_until_ready()
        page.run()
    except LabError as error:
        st.error(literal(of_error(error)), icon=":material/error:")
    prepared.log_unknown(view)
    button.forget()
    explain_refused_uploads()
    if server_auth().asks_for_presenter and not rights.presenter():
        of_page, of_form = (f"%3F{LANG}%3D{current()}", f"&{LANG}={current()}") if LANG in st.query_params else ("", "")
        address, words = f".{ENTER}?to=/{page.url_path}{of_page}{of_form}", _("You present? Sign in")
        st.markdown(f'<small><a href="{address}" target="_self">{words}</a></small>', unsafe_allow_html=True)


def _say_trouble() -> None:
    trouble = services.jobs().trouble
    if trouble:
        st.error(literal(_(trouble)), icon=":material/warning:")


def _say_what_was_mended() -> None:
    """Each session is told once, until it says that it has read it."""
    notice = services.mended()
    if notice and not st.session_state.get("mended_read"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.warning(literal(_(notice)), icon=":material/healing:")
            st.button(
                _("I have read this"),
                key="mended_seen",
                on_click=st.session_state.update,
                args=({"mended_read": True},),
            )
