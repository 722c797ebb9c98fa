"""What pages show of what is not on this machine: a data set, which none loads by itself, or a network's code."""

from collections.abc import Iterable

import streamlit as st

from kd_core.data.catalogue import info_of, is_own
from kd_core.data.intake import Work
from kd_core.models.architectures import own
from kd_core.runs.run import Run
from pages.shared.access import rights
from pages.shared.language import _
from pages.shared.session import services
from pages.shared.words import in_language, literal, refusals

FETCHING = "fetching"
PROGRESS_SECONDS = 0.5


def say_missing(dataset: str, why: str) -> None:
    """Say that a data set is not on this machine, and offer to download it. why: what it is needed for, a sentence."""
    label = literal(in_language(info_of(dataset).label))
    if is_own(dataset):
        missing = _("{label} is not on this machine: bring it in on the Data page, from the same images.", label=label)
        st.warning(f"{missing} {_(why)}")
        return
    missing = _("{label} is not on this machine yet.", label=label)
    st.info(f"{missing} {_(why)}")
    if rights.presenter():
        _fetch(dataset)


def say_own_code(runs: Iterable[Run]) -> None:
    """Say of each network of own code among these runs' why it cannot be built here, or that its code has changed."""
    names = {run.config.model.name for run in runs if run.config.model.own}
    for sentence in filter(None, map(own.notice, sorted(names))):
        st.info(literal(_(sentence)), icon=":material/code:")


def _fetch(dataset: str) -> None:
    """The button that downloads a data set, and how far it is."""
    key = f"{FETCHING}_{dataset}"
    work = services.intake().work(st.session_state.get(key))
    if work is not None:
        if not follow(work, key):
            return
        del st.session_state[key]
        if work.error is None:
            st.rerun()
        st.error(literal(_(work.error)), icon=":material/error:")
    if st.button(_("Download it now"), key="fetch", icon=":material/download:"):
        with refusals():
            st.session_state[key] = rights.fetch_data(dataset)
            st.rerun()


def follow(work: Work, key: str) -> bool:
    """Show how far a work is, with a button that stops it; returns whether it has ended."""
    if work.ended.is_set():
        return True

    @st.fragment(run_every=PROGRESS_SECONDS)
    def progress() -> None:
        if work.ended.is_set():
            st.rerun()
        bar, stop = st.columns([5, 1], vertical_alignment="center")
        bar.progress(work.share, literal(_(work.text)))
        if stop.button(_("Stop"), key=f"stop_{key}", icon=":material/stop:"):
            services.intake().stop(st.session_state[key])

    progress()
    return False
