"""Take the student away: as files that were loaded again and checked against the original before they are offered."""

import streamlit as st

from pages.widgets import pickers
from pages.widgets.exports import checked_files, checks_of, ready_made

st.title("Take it away")
st.markdown(
    "A trained student as files for other programs. Each file is loaded again and run over the whole test set, and is"
    " offered only if it says what the original says."
)

run = pickers.usable_run("Model to take away")
checks = checks_of(run)
if checks is not None:
    checked_files(run, checks)
    ready_made(run, checks)
