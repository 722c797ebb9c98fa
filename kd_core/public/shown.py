"""How a result looks in a notebook: a table as HTML, and a figure by whatever pandas can draw with."""

import html
import importlib.util
from collections.abc import Sequence
from typing import Any

import pandas as pd

from kd_core.base.config import LabError

BACKENDS = ("plotly", "matplotlib")
"""Of pandas' plots; the first that is installed is taken."""


def as_html(table: pd.DataFrame, verdict: str, notes: Sequence[str], details: pd.DataFrame | None = None) -> str:
    """A table, what follows from it, and what else there is to know; details below, folded."""
    parts = [table.to_html(border=0), f"<p><b>{html.escape(verdict)}</b></p>"]
    parts += [f"<p>{html.escape(note)}</p>" for note in notes]
    if details is not None:
        parts.append(f"<details><summary>by seed</summary>{details.to_html(border=0)}</details>")
    return "\n".join(parts)


def drawn(frame: pd.DataFrame, title: str, axis: str, backend: str | None) -> Any:
    """A line for each column over the index. Returns plotly's figure or matplotlib's axes.

    Raises LabError where neither is installed, or the one that was named is not.
    """
    wanted = BACKENDS if backend is None else (backend,)
    there = next((name for name in wanted if name in BACKENDS and importlib.util.find_spec(name)), None)
    if there is None:
        missing = " or ".join(BACKENDS) if backend is None else backend
        raise LabError(f"a plot needs {missing}: pip install {BACKENDS[0]}, or matplotlib")
    if there == "plotly":
        figure: Any = frame.plot(backend=there, kind="line", markers=True, title=title.replace(": ", ":<br>"))
        return figure.update_layout(yaxis_title=axis, xaxis_title="", legend_title_text="", title_font_size=14)
    return frame.plot(backend=there, kind="line", marker="o", title=title.replace(": ", ":\n"), ylabel=axis, xlabel="")
