"""A report is one file that works offline and shows what it is given, whatever that says."""

import html
import json
import re

import pandas as pd

from pages.compare.report import Section, report
from pages.shared.figures import softness

HOSTILE = '</script><script>alert(1)</script><img src=x onerror=alert(2)> & "quotes"'


def made():
    curve = softness.gradients([0.1, -0.1], [0.2, -0.2], [HOSTILE, "1"])
    table = pd.DataFrame([{"model": HOSTILE, "test errors": 7}, {"model": "plain", "test errors": None}])
    return report(HOSTILE, [Section("In short", [HOSTILE], table, [curve]), Section("Nothing else")]).decode()


def without_plotly(page):
    """The page without the library that stands in its head."""
    return re.sub(r"<script>/\*.*?</script>\s*</head>", "</head>", page, count=1, flags=re.DOTALL)


def test_nothing_in_a_report_comes_from_the_network():
    page = without_plotly(made())
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:)?//""", page)
    assert "drawn(box, figure" in page
    assert "Plotly.react(box" in page


def test_names_and_notes_cannot_become_markup():
    page = without_plotly(made())
    assert "alert(1)" in page  # it is shown
    assert "<script>alert" not in page
    assert "<img src=x" not in page


def test_tables_and_figures_are_in_the_file_to_their_last_number():
    page = made()
    assert ">7" in page.replace("7.0", "7")
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', page, flags=re.DOTALL)
    figure = json.loads(data)
    shown, second = (figure["layout"]["xaxis"]["labelalias"][place] for place in ("0", "1"))
    assert html.escape(HOSTILE, quote=False).startswith(shown.removesuffix("…"))  # plotly would take it for HTML
    assert second == "1"
    assert page.count("<h2>") == 2
