"""The Playground as static files, for a lecturer's own web page: no server, no account, no request to anywhere.

It is the app's own JavaScript and CSS, read from the pages beside the engine in a checkout; nothing of theirs is
imported. static_site.html has what these lack without Streamlit: colours, a frame, and the address, of which it writes
the part after #.
"""

import base64
import gzip
import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

from kd_core.base.config import LabError
from kd_core.base.files import write_atomic
from kd_core.base.templates import filled, prose
from kd_core.exchange.browser_lesson import browser_lesson
from kd_core.exchange.javascript.scripts import functions, scripts

PAGES = Path(__file__).resolve().parents[2] / "pages"
PLAYGROUND = PAGES / "playground"
_SHARED = PAGES / "shared"
_COMMON = _SHARED / "components" / "common" / "common.js"
_BARS = _SHARED / "components" / "temperature_bars" / "temperature_bars"
_SLIDER = _BARS.with_name("temperature_slider")
LESSON = "lesson/digits"
_MANIFEST = {
    "name": "KD Lab: Playground",
    "short_name": "KD Lab",
    "start_url": "index.html",
    "display": "standalone",
    "icons": [{"src": "icon.svg", "sizes": "any", "type": "image/svg+xml"}],
}


def write_site(folder: Path) -> dict[str, int]:
    """Write the site into a folder; returns the bytes of each file.

    Raises LabError where the pages do not lie beside the engine, or no teacher of digits ships, and SaveError.
    """
    if not PLAYGROUND.is_dir():
        raise LabError("The site is made of the app's pages, which an installed engine lacks: run this in a checkout.")
    lesson = base64.b64encode(gzip.compress(browser_lesson("digits"), mtime=0)).decode()
    files = {
        "index.html": _index().encode(),
        "lesson.js": f'(window.kdLabContent ??= {{}})["{LESSON}"] = "{lesson}";\n'.encode(),
        "icon.svg": (_SHARED / "icon.svg").read_bytes(),
        "manifest.webmanifest": json.dumps(_MANIFEST).encode(),
    }
    files["offline.js"] = _offline(files).encode()
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_atomic(folder / name, content)
    return {name: len(content) for name, content in files.items()}


def _index() -> str:
    texts = prose(str(PLAYGROUND / "page.py"))
    parts = {
        "playground": {"element": "kd-playground", "css": playground_css(), "js": playground_js()},
        "digits": {"element": "kd-digits", "css": digits_css(), "js": digits_js()},
    }
    return filled(
        Path(__file__).with_suffix(".html"),
        tokens=_tokens(),
        parts=parts,
        situations=prose(str(PLAYGROUND / "playground.py"))["situations"],
        digits=texts["digits"],
        files={LESSON: "lesson.js"},
    )


def playground_js() -> str:
    """The script of the page's Playground."""
    trainer = scripts("maths", "perceptron", "points", "pair") + _of("trainer.js")
    before = f"{_common()}{scripts('points', 'pair')}{functions(_SLIDER)}{_parts()}{_constant(trainer)}"
    return before + _of("playground.js")


def digits_js() -> str:
    """The script of the page's digits."""
    trainer = scripts("maths", "as_mnist", "interpreter", "perceptron") + _of("digits_trainer.js")
    return f"{_common()}{scripts('sheet', 'points')}{functions(_BARS)}{_parts()}{_constant(trainer)}" + _of("digits.js")


def playground_css() -> str:
    """The style of the page's Playground."""
    return _style(_SLIDER) + _of("playground.css")


def digits_css() -> str:
    """The style of the page's digits."""
    return _style(_SLIDER) + _style(_BARS) + _of("playground.css") + _of("digits.css")


def _of(name: str) -> str:
    return (PLAYGROUND / name).read_text(encoding="utf-8")


def _common() -> str:
    return scripts("maths") + _COMMON.read_text(encoding="utf-8")


def _parts() -> str:
    return _of("fields.js") + _of("charts.js")


def _constant(trainer: str) -> str:
    return f"const TRAINER = {json.dumps(trainer)};\n"


def _style(path: Path) -> str:
    return path.with_suffix(".css").read_text(encoding="utf-8")


def _tokens() -> str:
    """Declare the colours, spaces and sizes of the app's pages as custom properties."""
    tokens: dict[str, Any] = tomllib.loads((_SHARED / "tokens.toml").read_text(encoding="utf-8"))
    lines = [f"--kd-{name}: light-dark({light}, {dark});" for name, (light, dark) in tokens["colours"].items()]
    lines += [f"--kd-space-{pixels}: {pixels / 16:g}rem;" for pixels in tokens["spaces"]["steps"]]
    lines += [f"--kd-{name}: {pixels / 16:g}rem;" for name, pixels in tokens["sizes"].items()]
    return " ".join(lines)


def _offline(files: dict[str, bytes]) -> str:
    """A service worker that keeps the files, so that an installed site opens without a network."""
    version = hashlib.sha256(b"".join(files.values())).hexdigest()[:12]
    return f"""// Keeps this version of the site for when there is no network.
const VERSION = "{version}", FILES = {json.dumps(["./", *files])};
oninstall = (event) => event.waitUntil(caches.open(VERSION).then((cache) => cache.addAll(FILES)));
onactivate = (event) => event.waitUntil(caches.keys().then((names) =>
  Promise.all(names.filter((name) => name !== VERSION).map((name) => caches.delete(name)))));
onfetch = (event) => event.respondWith(caches.match(event.request).then((kept) => kept ?? fetch(event.request)));
"""
