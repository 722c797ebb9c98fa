"""Design tokens: what colours must keep apart, and that Streamlit's theme and the first style say the same."""

import itertools
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from pages.shared.figures import style
from pages.shared.figures.experiments import sweep_map
from pages.shared.server.streamlit_patches import FRAME
from pages.shared.tokens import COLOURS, SIZES, css

ROOT = Path(__file__).resolve().parents[3]
ROLES = ("teacher", "baseline", "distilled", "mistake")
CLASSES = ("class-a", "class-b", "class-c", "class-d")
TEXTS = ("ink", "muted", "primary", "soft")
VISIONS = {
    "all cones": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.01182, 0.04294, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.3039]]),
}  # fmt: skip
"""How linear sRGB is seen: Machado, Oliveira and Fernandes 2009, table 1, severity 1."""
XYZ_OF_RGB = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
"""Linear sRGB to CIE XYZ, IEC 61966-2-1; white is D65."""


def linear(hexadecimal):
    shares = np.array([int(hexadecimal[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def contrast(first, second):
    """WCAG 2.2's contrast ratio of two '#rrggbb'."""
    darker, lighter = sorted(float(linear(shade) @ [0.2126, 0.7152, 0.0722]) for shade in (first, second))
    return (lighter + 0.05) / (darker + 0.05)


def seen(hexadecimal, vision):
    """CIE Lab of a colour as somebody with this vision sees it."""
    xyz = XYZ_OF_RGB @ np.clip(vision @ linear(hexadecimal), 0, 1) / XYZ_OF_RGB.sum(axis=1)
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def ciede2000(first, second):
    """Difference of two colours in CIE Lab: Sharma, Wu and Dalal 2005, equations 2 to 22."""
    (l1, a1, b1), (l2, a2, b2) = first, second
    c = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    g = 0.5 * (1 - np.sqrt(c**7 / (c**7 + 25**7)))
    c1, c2 = np.hypot((1 + g) * a1, b1), np.hypot((1 + g) * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, (1 + g) * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = 0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    dl, dc, dh = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    l, c, h = (l1 + l2) / 2, (c1 + c2) / 2, h1 + turn / 2  # noqa: E741
    t = (1 - 0.17 * np.cos(np.radians(h - 30)) + 0.24 * np.cos(np.radians(2 * h))
         + 0.32 * np.cos(np.radians(3 * h + 6)) - 0.2 * np.cos(np.radians(4 * h - 63)))  # fmt: skip
    rotation = -np.sin(np.radians(60 * np.exp(-(((h % 360 - 275) / 25) ** 2)))) * 2 * np.sqrt(c**7 / (c**7 + 25**7))
    of_l = dl / (1 + 0.015 * (l - 50) ** 2 / np.sqrt(20 + (l - 50) ** 2))
    of_c, of_h = dc / (1 + 0.045 * c), dh / (1 + 0.015 * c * t)
    return np.sqrt(of_l**2 + of_c**2 + of_h**2 + rotation * of_c * of_h)


def test_ciede2000_gives_the_differences_that_its_authors_published():
    published = [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -1, 2), (50, 0, 0), 2.3669),
        ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ]
    for first, second, difference in published:
        assert ciede2000(first, second) == pytest.approx(difference, abs=1e-4)


def shade(name, theme):
    return COLOURS[name][theme]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("vision", VISIONS)
def test_roles_and_classes_are_told_apart_by_every_eye(theme, vision):
    for first, second in [*itertools.combinations(ROLES, 2), *itertools.combinations(CLASSES, 2)]:
        places = [seen(shade(role, theme), VISIONS[vision]) for role in (first, second)]
        assert ciede2000(*places) >= 15, (first, second)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_and_marks_stand_out_from_what_they_lie_on(theme):
    for ground in ("surface", "raised"):
        for name in TEXTS:
            assert contrast(shade(name, theme), shade(ground, theme)) >= 4.5, (name, ground)
        for name in (*ROLES, "hard"):
            assert contrast(shade(name, theme), shade(ground, theme)) >= 3, (name, ground)
    assert contrast(shade("on-primary", theme), shade("primary", theme)) >= 4.5
    for end in ("scale", "fewer", "more"):  # numbers stand on both ends of a scale
        assert contrast(shade("ink", theme), shade(end, theme)) >= 4.5, end


def test_the_sweeps_map_begins_in_the_surfaces_colour_and_marks_its_best_cells():
    figure = sweep_map([1, 2], [0.5], [[3.0, 4.0]], "30 units")
    (cells,) = figure.data
    assert [tone for _, tone in cells.colorscale] == [style.SCALE, style.SURFACE]
    assert [(shape.x0, shape.x1) for shape in figure.layout.shapes] == [(-0.48, 0.48)]


def test_streamlits_theme_and_the_first_style_repeat_the_tokens():
    theme = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"]
    options = {"primaryColor": "primary", "backgroundColor": "surface", "secondaryBackgroundColor": "raised",
               "textColor": "ink", "borderColor": "line"}  # fmt: skip
    for place, name in enumerate(("light", "dark")):
        assert theme[name] == {option: shade(token, place) for option, token in options.items()}
    assert theme["baseFontSize"] == SIZES["body"]
    assert [float(size.removesuffix("rem")) * 16 for size in theme["headingFontSizes"][:3]] == [
        SIZES[name] for name in ("h1", "h2", "h3")
    ]
    assert f"max-width: {SIZES['page'] / 16:g}rem" in FRAME
    assert f"padding-top: {SIZES['top'] / 16:g}rem" in FRAME


def test_every_colour_of_a_figure_is_a_token_that_the_page_declares():
    declared = css()
    for name in ("muted", "ink", "surface", "raised", "line", *ROLES, *style.GRADIENT_COLOURS):
        assert f"--kd-{name}: light-dark(" in declared


SPACING = re.compile(r"(?<![\w-])(?:padding|margin|(?:row-|column-)?gap)(?:-\w+)*:\s*([^;}]*)")
LENGTH = re.compile(r"(?<![\w.])-?(\d*\.?\d+)(px|rem|em)\b")
HAIRLINE, ROOM = 2, 48
"""Pixels: up to HAIRLINE a border is drawn, and above ROOM room is kept for something."""
PAPER = ("sheet.html",)
"""What is printed has the sizes of paper."""
STYLES = sorted(
    path for path in (ROOT / "pages").rglob("*") if path.suffix in (".css", ".html") and path.name not in PAPER
)


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.name)
def test_a_style_takes_its_spaces_from_the_tokens(path):
    text = path.read_text(encoding="utf-8")
    for value in SPACING.findall(text):
        pixels = [float(number) * (1 if unit == "px" else 16) for number, unit in LENGTH.findall(value)]
        assert all(size <= HAIRLINE or size > ROOM for size in pixels), value
    known = {*re.findall(r"(--kd-[\w-]+):", css() + text)}
    spaces = set(re.findall(r"var\((--kd-space-\w+)", text))
    assert spaces <= known, spaces - known


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.name)
def test_a_style_takes_its_type_from_the_tokens(path):
    for size in re.findall(r"(?<![\w-])font(?:-size)?:\s*([^;}]*)", path.read_text(encoding="utf-8")):
        assert size.startswith(("inherit", "var(--kd-", "max(", "min(")), size  # the stage's is as large as the room


def test_a_space_that_is_no_token_is_noticed():
    (value,) = SPACING.findall("a { margin-top: calc(1px + 0.6rem); }")
    assert LENGTH.findall(value) == [("1", "px"), ("0.6", "rem")]
