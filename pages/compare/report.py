"""A comparison as one HTML file for a class hand-out, with plotly inside, so that it works offline and for years."""

import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go
from pandas.io.formats.style import Styler
from plotly.utils import PlotlyJSONEncoder

from kd_core.base.templates import filled
from kd_core.evaluation.claims import in_figures
from pages.shared.components.chart.chart import LABELS_JS, THEMED_JS
from pages.shared.figures.style import OPTIONS
from pages.shared.language import _, current, when
from pages.shared.server.routes import PLOTLY_JS
from pages.shared.tokens import css


class Section(NamedTuple):
    """A part of a report under its title. text: plain sentences, a paragraph each.

    All is in the language that is read, but for the columns' headings, which whoever shows the table translates.
    """

    title: str
    text: Sequence[str] = ()
    table: pd.DataFrame | None = None
    figures: Sequence[go.Figure] = ()


def written(table: pd.DataFrame) -> Styler:
    """Format a table's numbers with in_figures; they still sort as numbers."""
    return table.style.format({name: partial(in_figures, column=str(name)) for name in table})


def report(title: str, sections: Sequence[Section]) -> bytes:
    """Return one HTML page that needs no network. Text and tables are escaped."""
    page = filled(
        Path(__file__).with_suffix(".html"),
        title=title,
        plotly=PLOTLY_JS.read_text(encoding="utf-8"),
        options=OPTIONS,
        tokens=css(),
        shared=THEMED_JS + LABELS_JS,
        sections=sections,
        as_html=_table,
        language=current(),
        _=_,
        as_json=lambda figure: json.dumps(figure.to_plotly_json(), cls=PlotlyJSONEncoder).replace("<", "\\u003c"),
        date=when(time.time(), "dd MMMM yyyy"),
    )
    return page.encode()


def _table(table: pd.DataFrame) -> str:
    shown = table.apply(lambda column: [in_figures(value, str(column.name)) for value in column])
    html: str = shown.rename(columns=_).to_html(index=False, escape=True, border=0)
    return html
