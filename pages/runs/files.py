"""Runs leave as files and come back: metrics as tables, a whole run as a bundle."""

import io
import zipfile
from collections.abc import Callable
from functools import partial

import streamlit as st

from kd_core.base.config import LabError
from kd_core.exchange import bundle
from kd_core.runs.run import Run
from pages.shared.access import rights
from pages.shared.language import _, of_error
from pages.shared.parts.button import in_turn
from pages.shared.session import services
from pages.shared.words import in_language, literal

MAX_MB = 20


def downloads(runs: list[Run]) -> None:
    """Offer the metrics of runs, and those with weights as bundles; files are made on the press."""
    store = services.store()
    kinds: tuple[tuple[str, str, Callable[[str], bytes]], ...] = (
        ("CSV", "csv", partial(bundle.metrics_csv, store)),
        ("Parquet", "parquet", partial(bundle.metrics_parquet, store)),
    )
    for title, ending, make in kinds:
        _button(_("Metrics, {kind}", kind=title), "metrics", ending, make, runs)
    usable = [run for run in runs if run.usable]
    if usable:
        _button(_("Bundle"), "bundle", "zip", partial(bundle.pack, store), usable)


def _button(title: str, name: str, ending: str, make: Callable[[str], bytes], runs: list[Run]) -> None:
    """Offer one file for one run, a zip of files for several."""
    ids = [run.id for run in runs]
    several = len(ids) > 1
    st.download_button(
        title,
        in_turn(lambda: _zipped({f"{name}-{run}.{ending}": make(run) for run in ids}) if several else make(ids[0])),
        file_name=f"kd-lab-{name}s.zip" if several else f"kd-lab-{name}-{ids[0]}.{ending}",
        key=f"download_{name}_{ending}",
        icon=":material/download:",
        on_click="ignore",
        help=_("Config, metrics, weights and a model card, to go on with on another machine.")
        if name == "bundle"
        else None,
    )


def _zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for file_name, content in files.items():
            archive.writestr(zipfile.ZipInfo(file_name), content)
    return buffer.getvalue()


def upload() -> None:
    """Take in a bundle from another machine, once a file."""
    with st.expander(_("Bring a run from another machine")):
        uploaded = st.file_uploader(
            _("A bundle that KD Lab made"), type=["zip"], max_upload_size=MAX_MB, key="bundle_upload"
        )
        if uploaded is None:
            return
        done: dict[str, str] = st.session_state.setdefault("bundles_taken", {})
        if uploaded.file_id not in done:
            try:
                with st.spinner(_("Checking the bundle …")):
                    run_id = rights.unpack(uploaded.getvalue())
            except LabError as error:
                st.error(literal(of_error(error)), icon=":material/error:")
                return
            done[uploaded.file_id] = run_id
            st.query_params["runs"] = run_id
            st.rerun()
        for run in services.store().some([done[uploaded.file_id]]):
            st.success(_("{run} is here now.", run=literal(in_language(run.label))), icon=":material/check_circle:")
