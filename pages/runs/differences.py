"""The table of settings in which runs differ."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from kd_core.base import config as base_config
from kd_core.runs.run import Run
from pages.shared.language import _
from pages.shared.words import cell, in_language


def difference_table(runs: Sequence[Run]) -> None:
    """Show the settings in which runs differ, one column a run."""
    differing = base_config.differences([run.config for run in runs])
    if not differing:
        st.markdown(_("In nothing: their settings are the same."))
        return
    names = [cell(f"{in_language(run.named) or _(run.config.role)} {run.id[:4]}") for run in runs]
    rows = [
        {"setting": setting, **{name: _in_words(value) for name, value in zip(names, values, strict=True)}}
        for setting, values in differing.items()
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config={"setting": _("setting")})


def _in_words(value: object) -> str:
    return "–" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
