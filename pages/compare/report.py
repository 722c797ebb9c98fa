"""A comparison as one HTML file for a class hand-out, with plotly inside, so that it works offline and for years."""

import html
import json
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go
from pandas.io.formats.style import Styler
from plotly.offline import get_plotlyjs
from plotly.utils import PlotlyJSONEncoder

from kd_core.evaluation.claims import in_figures
from pages.shared.figures.style import OPTIONS


class Section(NamedTuple):
    """A part of a report under its title. text: plain sentences, a paragraph each."""

    title: str
    text: Sequence[str] = ()
    table: pd.DataFrame | None = None
    figures: Sequence[go.Figure] = ()


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #17211e; --paper: #fff; --line: #d5dedb; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e8efec; --paper: #101614; --line: #33403c; }} }}
@media print {{ :root {{ --ink: #000; --paper: #fff; --line: #bbb; }} }}
body {{ font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; padding: 0.3rem 0.9rem 0.3rem 0; border-bottom: 1px solid var(--line); }}
.figure {{ width: 100%; margin: 1rem 0; }}
footer {{ margin-top: 3rem; opacity: 0.7; font-size: 0.9rem; }}
</style>
<script>{plotly}</script>
</head>
<body>
<h1>{title}</h1>
{sections}
<footer>Made by KD Lab on {date}. Everything in this file was measured on the runs that it names.</footer>
<script>
for (const box of document.querySelectorAll(".figure")) {{
  const figure = JSON.parse(box.querySelector("script").textContent);
  figure.layout.font = {{ color: getComputedStyle(document.body).color, size: 13 }};
  Plotly.newPlot(box, figure.data, figure.layout, {options});
}}
</script>
</body>
</html>
"""


def written(table: pd.DataFrame) -> Styler:
    """Format a table's numbers with in_figures; they still sort as numbers."""
    return table.style.format({name: partial(in_figures, column=str(name)) for name in table})


def report(title: str, sections: Sequence[Section]) -> bytes:
    """Return one HTML page that needs no network. Text and tables are escaped."""
    page = _PAGE.format(
        title=html.escape(title),
        plotly=get_plotlyjs(),
        options=json.dumps(OPTIONS),
        sections="\n".join(_section(section) for section in sections),
        date=time.strftime("%d %B %Y"),
    )
    return page.encode()


def _section(section: Section) -> str:
    parts = [f"<h2>{html.escape(section.title)}</h2>"]
    parts += [f"<p>{html.escape(text)}</p>" for text in section.text]
    if section.table is not None:
        table = section.table.apply(lambda column: [in_figures(value, str(column.name)) for value in column])
        parts.append(table.to_html(index=False, escape=True, border=0))
    parts += [_figure(figure) for figure in section.figures]
    return "\n".join(parts)


def _figure(figure: go.Figure) -> str:
    """Return a figure's element with its data; '<' is escaped, so that no text can end the script."""
    data: Any = json.dumps(figure.to_plotly_json(), cls=PlotlyJSONEncoder).replace("<", "\\u003c")
    height = int(figure.layout.height or 400)
    return f'<div class="figure" style="height:{height}px"><script type="application/json">{data}</script></div>'
