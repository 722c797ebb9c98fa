"""What an upload that was refused says: Streamlit alone would show "Request failed with status code 413"."""

from pathlib import Path

import streamlit as st

from kd_core.base.templates import said
from pages.shared.access.bounds import MAX_PRESENTERS_FILE_BYTES, NO_ROOM
from pages.shared.language import _

REASONS = {
    413: said(
        "The proxy before KD Lab takes no file of this size: whoever runs it raises its limit to {size} MB (nginx:"
        " client_max_body_size).",
        size=MAX_PRESENTERS_FILE_BYTES // 1_000_000,
    ),
    NO_ROOM: said("KD Lab holds as many files as it has room for: close other pages, then try again."),
}
"""By status. A file that is too large for KD Lab itself is refused before it is sent."""
_SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


def explain_refused_uploads() -> None:
    """Put what is wrong, and what to do, in place of a status, wherever on the page a file is uploaded."""
    component = st.components.v2.component("kd_lab_uploads", js=_SCRIPT, isolate_styles=False)
    component(key="uploads", data={status: _(reason) for status, reason in REASONS.items()})
