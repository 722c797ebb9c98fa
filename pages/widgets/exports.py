"""The files of an export, with what each did on the test set, and what to do with them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from kd_core import exported, places
from kd_core.runs import Run, folder_of
from pages.widgets import lab
from pages.widgets.findings import found

MEANINGS = {
    exported.WEIGHTS: "Weights for PyTorch, as safetensors: nothing in it can run",
    exported.ONNX: "ONNX, float32, any number of images at once",
    exported.ONNX_INT8: "ONNX, weights and activations in 8 bits: a quarter of the size",
    exported.PROGRAM: "A program of torch.export: PyTorch without this project's code",
}


def checks_of(run: Run) -> dict[str, Any] | None:
    """The checks of a run's export, which is made first where there is none; None until then."""
    checks = exported.read_checks(places.home(), run.id)
    if checks is None:
        kept = lab.store().finding("export", [run.id])
        if kept is not None and "problem" not in kept:  # made once, but its files are gone or were changed
            lab.store().forget_finding("export", [run.id])
        found("export", [run], "Writing the files and checking each on the whole test set")
    return checks


def checked_files(run: Run, checks: Mapping[str, Any]) -> None:
    """A table of what was found, and a download for every file that passed."""
    rows = [
        {
            "file": file["name"],
            "what it is": MEANINGS[file["name"]],
            "size, MB": (file["size_bytes"] or 0) / 1e6,
            "largest logit difference": file["max_logit_difference"],
            "classes that changed": file["classes_changed"],
            "test errors": file["test_errors"],
            "original": file["original_test_errors"],
            "passed": file["passed"],
        }
        for file in checks["files"]
    ]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        column_config={
            "size, MB": st.column_config.NumberColumn(format="%.2f"),
            "largest logit difference": st.column_config.NumberColumn(format="%.2g"),
        },
    )
    for file in checks["files"]:
        if not file["passed"]:
            st.warning(file["sentence"], icon=":material/block:")
    folder = folder_of(places.home(), run.id).export
    with st.container(horizontal=True, gap="small"):
        for name in [file["name"] for file in checks["files"] if file["passed"]] + [exported.CARD]:
            _download(folder / name, f"{run.id}-{name}", f"export_{name}")


def _download(path: Path, file_name: str, key: str) -> None:
    st.download_button(
        path.name, path.read_bytes, file_name=file_name, key=key, icon=":material/download:", on_click="ignore"
    )
