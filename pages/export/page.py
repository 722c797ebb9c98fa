"""Take the student away: as files that were loaded again and checked against the original before they are offered."""

import streamlit as st

from pages.export.files import checked_files, checks_of, ready_made, written_otherwise
from pages.shared.language import _
from pages.shared.session import pickers

st.title(_("Take it away"), anchor=False)
st.markdown(
    _(
        "A trained student as files for other programs. Each file is loaded again, run over the whole test set and"
        " offered only if it passes: float32 has to give every image the original's class; float16 and int8 round, so"
        " they may lose as much as is tolerated, or as can be chance."
    )
)

run = pickers.usable_run(_("Model to take away"))
checks = checks_of(run)
if checks is not None:
    checked_files(run, checks)
    written_otherwise(run, checks)
    ready_made(run, checks)
