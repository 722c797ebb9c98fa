"""Design tokens: the colours and sizes that theme, figures and components share. Knows nothing else of this project."""

import tomllib
from pathlib import Path
from typing import Any

_TOKENS: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
COLOURS: dict[str, tuple[str, str]] = {name: (light, dark) for name, (light, dark) in _TOKENS["colours"].items()}
"""Name -> '#rrggbb' in light and in dark."""
SIZES: dict[str, int] = _TOKENS["sizes"]
"""Name -> pixels."""
SPACES: tuple[int, ...] = tuple(_TOKENS["spaces"]["steps"])
"""Pixels of every gap, margin and padding, but for hairlines."""


def colour(name: str) -> str:
    """Name a colour for CSS; for figures components/common/plotly.js resolves the name."""
    return f"var(--kd-{name})"


def mixed(name: str, other: str, share: float) -> str:
    """Name a colour with this share of another one in it."""
    mix = f"color-mix(in srgb, {colour(name)}, {colour(other)} {100 * share:.0f}%)"
    return f"var(--kd-mixed, {mix})"  # no such variable; plotly's validator in Python takes any var(--…) for a colour


def _lengths() -> dict[str, int]:
    return SIZES | {f"space-{pixels}": pixels for pixels in SPACES}


def css() -> str:
    """Declare all of them as custom properties; light-dark() follows the page's own color-scheme."""
    lines = [f"--kd-{name}: light-dark({light}, {dark});" for name, (light, dark) in COLOURS.items()]
    lines += [f"--kd-{name}: {pixels / 16:g}rem;" for name, pixels in _lengths().items()]
    return ":root { " + " ".join(lines) + " }\n"
