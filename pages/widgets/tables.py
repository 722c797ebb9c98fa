"""Tables of results, value and ratio side by side."""

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from kd_core import config, evaluation
from kd_core.evaluation import Logits
from kd_core.runs import Run
from pages.widgets.words import cell


def comparison_table(runs: Sequence[Run], logits: Mapping[str, Logits]) -> None:
    """One row a run: errors, agreement with the first run, and costs as ratios to the first run's."""
    first = runs[0]
    rows = [
        {
            "model": cell(run.label),
            "test errors": run.results["test_errors"],
            f"agreement with the {first.config.role}": (
                100 * evaluation.agreement(logits[run.id], logits[first.id]) if run.id in logits else None
            ),
            "parameters": run.results["parameters"] / first.results["parameters"],
            "multiply-adds": run.results["multiply_adds"] / first.results["multiply_adds"],
            "epochs": run.results["epochs"],
        }
        for run in runs
    ]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        column_config={
            f"agreement with the {first.config.role}": st.column_config.NumberColumn(format="%.2f%%"),
            "parameters": st.column_config.NumberColumn("parameters, ratio", format="%.4f"),
            "multiply-adds": st.column_config.NumberColumn("multiply-adds, ratio", format="%.4f"),
            "epochs": st.column_config.NumberColumn(format="%.0f"),
        },
    )


def difference_table(runs: Sequence[Run]) -> None:
    """The settings in which runs differ, one column a run."""
    differing = config.differences([run.config for run in runs])
    if not differing:
        st.markdown("In nothing: their settings are the same.")
        return
    names = [cell(f"{run.name or run.config.role} {run.id[:4]}") for run in runs]
    rows = [
        {"setting": setting, **{name: _said(value) for name, value in zip(names, values, strict=True)}}
        for setting, values in differing.items()
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)


def _said(value: object) -> str:
    return "–" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
