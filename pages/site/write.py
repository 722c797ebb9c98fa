"""What of the app needs no server, as static files: for a course page, any web host, or the folder itself.

First screen, Temperature, Playground and the lesson's questions, in every language. They are made of the very
components that the app's pages have. page.js does for them what Streamlit does in the app, temperature.js and
questions.js what Python does; files that a page needs later are scripts, as a page from a folder may fetch nothing.
"""

import base64
import gzip
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markupsafe import Markup

from kd_core.base.files import write_atomic
from kd_core.base.templates import filled, prose
from kd_core.exchange.browser_lesson import browser_lesson
from kd_core.exchange.javascript.scripts import scripts
from kd_core.experiments.lesson.catalogue import say
from pages.overview.opening import OPENING
from pages.playground import playground
from pages.playground.digits import DIGITS
from pages.playground.playground import PLAYGROUND
from pages.shared.components.common.browser import COMMON_JS, PEN_JS, Component, with_words
from pages.shared.components.images.images import GRID_CSS
from pages.shared.components.temperature_bars.temperature_bars import BARS, SLIDER, SLIDER_CSS
from pages.shared.language import ENGLISH, LANGUAGES, _, spoken
from pages.shared.tokens import css
from pages.site import content
from pages.site.content import Story
from pages.temperature import gradient
from pages.temperature.dark_knowledge import KNOWLEDGE

HERE = Path(__file__).parent
_MARKDOWN = MarkdownIt("commonmark", {"html": False})
WORDS = ("skip", "again", "predicted", "true")
"""Of the lesson, that its questions say here too."""
LESSON, PEN, STORY = "lesson/digits", "pen.js", "story"
"""What pages fetch by these names: the digits to distill, the worker that runs models, and what Temperature shows."""


class Page(NamedTuple):
    """A page: its components in the order in which they mount, its own script, and what its template fills in.

    short: what links call it.
    """

    short: str
    title: str
    components: tuple[Component, ...]
    script: str
    data: Mapping[str, Any]
    values: Mapping[str, object]


def write_site(folder: Path, batch: str | None = None) -> dict[str, int]:
    """Write the site into a folder; returns the bytes of each file.

    batch: the story that Temperature shows and the questions ask about; else that of the digits that ship, whose
    networks are small and whose test set is everywhere.
    Raises LabError where there is none, and SaveError.
    """
    for name in ("cache_data_api", "cache_resource_api", "cached_message_replay"):  # they miss a running server
        logging.getLogger(f"streamlit.runtime.caching.{name}").setLevel(logging.ERROR)
    story = content.story_of(batch)
    kept = _kept(story)
    files = {f"files/{_file(name)}": _script_of(name, content) for name, content in kept.items()}
    for language in LANGUAGES:
        with spoken(language):
            files |= _pages(language, story, kept)
    files["icon.svg"] = (HERE.parent / "shared" / "icon.svg").read_bytes()
    files["manifest.webmanifest"] = json.dumps(_manifest()).encode()
    files["offline.js"] = _offline(files).encode()
    for name, file in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / name, file)
    return {name: len(file) for name, file in files.items()}


def _kept(story: Story) -> dict[str, bytes]:
    """What pages fetch, by the name that they ask for."""
    models = {f"models/{name}": file for name, file in content.model_files(story).items()}
    pen = scripts("as_mnist", "interpreter", "worker").encode()
    return {LESSON: browser_lesson("digits"), PEN: pen, STORY: content.of_story(story), **models}


def _file(name: str) -> str:
    return name.removesuffix(".js").replace("/", "-") + ".js"


def _script_of(name: str, file: bytes) -> bytes:
    packed = base64.b64encode(gzip.compress(file, mtime=0)).decode()
    return f'(window.kdLabContent ??= {{}})["{name}"] = "{packed}";\n'.encode()


def _pages(language: str, story: Story, kept: dict[str, bytes]) -> dict[str, bytes]:
    """All pages in a language, each by its file."""
    root, folder = ("", "") if language == ENGLISH else ("../", f"{language}/")
    pages = {"index": _first(story), "temperature": _temperature(story), "playground": _playground()}
    pages["questions"] = _questions(story)
    shared = {
        "language": language,
        "languages": {
            name: f"{root}{'' if code == ENGLISH else f'{code}/'}"
            for code, name in LANGUAGES.items()
            if code != language
        },
        "root": root,
        "tokens": _trusted(css()),
        "style": _trusted((HERE / "page.css").read_text(encoding="utf-8")),
        "pages": {name: page.short for name, page in pages.items()},
        "files": {name: f"{root}files/{_file(name)}" for name in kept},
        "settings": [*playground.SETTINGS],
        "server": html_of(prose(__file__)["server"]),
        "_": _,
    }
    written = {}
    for name, page in pages.items():
        values = {
            **shared,
            "name": name,
            "title": page.title,
            "data": page.data,
            "script": _module(COMMON_JS + (HERE / "page.js").read_text(encoding="utf-8"), language),
            "parts": [
                {"name": part.name, "element": part.element, "css": part.style, "js": _mounted(part, language)}
                for part in page.components
            ],
            "own": page.script and _module(page.script, language),
            **page.values,
        }
        written[f"{folder}{name}.html"] = filled(HERE / f"{name}.html", **values).encode()
    return written


def _module(script: str, language: str) -> Markup:
    return _trusted(with_words(script, language).replace("</script", "<\\/script"))


def _mounted(part: Component, language: str) -> Markup:
    """A component's script that hands what mounts it to page.js."""
    script = part.script(language).replace("export default function", "const mount = function", 1)
    return _trusted(script.replace("</script", "<\\/script"))


def html_of(text: str, **values: object) -> Markup:
    """Markdown of the app's prose, in the language that is read, as HTML."""
    return _trusted(_MARKDOWN.render(_(text, **values)))


def _trusted(text: str) -> Markup:
    """Text of our own that a template does not escape."""
    return Markup(text)  # noqa: S704


def _inline(text: str) -> Markup:
    """The same of a line, which is no paragraph."""
    return _trusted(_MARKDOWN.renderInline(text))


def mathml_of(formula: str) -> Markup:
    """LaTeX as MathML, which browsers draw by themselves."""
    return _trusted(convert(formula, display="block").replace("<math", '<math tabindex="0"', 1))  # phones scroll it


def _first(story: Story) -> Page:
    shown = content.opening_in_words(story)
    if shown is None:
        return Page(_("Start"), _("See what a teacher knows"), (), "", {}, {"carried": ["T"]})
    carried = ["T", "image"] if shown["dataset"] == story.shown.dataset else ["T"]
    return Page(_("Start"), _("See what a teacher knows"), (OPENING,), "", {OPENING.name: shown}, {"carried": carried})


def _temperature(story: Story) -> Page:
    with_student = any(run.config.role != "teacher" for run in story.runs)
    components = (SLIDER, BARS, KNOWLEDGE, *([gradient.FELT] if with_student else []))
    own = COMMON_JS + PEN_JS + (HERE / "temperature.js").read_text(encoding="utf-8")
    values = {
        "texts": {
            name: html_of(text, **own_values) for name, (text, own_values) in content.temperature_texts(story).items()
        },
        "formula": mathml_of(content.SOFTMAX),
        "style_of_subject": _trusted(GRID_CSS + SLIDER_CSS + (HERE / "temperature.css").read_text(encoding="utf-8")),
        "with_student": with_student,
        "limit": mathml_of(gradient.LIMIT),
    }
    return Page(_("Temperature"), _("Feel temperature"), components, own, content.temperature_data(story), values)


def _playground() -> Page:
    texts = prose(str(Path(playground.__file__).with_name("page.py")))
    data = {PLAYGROUND.name: {"situations": playground.situations()}, DIGITS.name: {}}
    values = {"about": html_of(texts["about"]), "digits": html_of(texts["digits"])}
    return Page(_("Playground"), _("Playground"), (PLAYGROUND, DIGITS), "", data, values)


def _questions(story: Story) -> Page:
    items = [
        {
            **each._asdict(),
            **{part: html_of(text) for part, text in each.markdown.items()},
            "prompt": _inline(each.prompt),
            "answers": [*map(_inline, each.answers)],
            "formula": each.formula and mathml_of(each.formula),
        }
        for each in content.questions(story)
    ]
    end = {name: [title, [*map(_inline, texts)]] for name, (title, *texts) in content.end_of_lesson().items()}
    values = {
        "items": items,
        "words": {name: _(say(f"words.{name}")) for name in WORDS},
        "models": html_of(story.shown.sentence),
        **end,
    }
    own = COMMON_JS + (HERE / "questions.js").read_text(encoding="utf-8")
    return Page(_("Questions"), _("Questions of the lesson"), (), own, {}, values)


def _manifest() -> dict[str, Any]:
    icon = {"src": "icon.svg", "sizes": "any", "type": "image/svg+xml"}
    return {
        "name": "KD Lab",
        "short_name": "KD Lab",
        "start_url": "index.html",
        "display": "standalone",
        "icons": [icon],
    }


def _offline(files: dict[str, bytes]) -> str:
    """A service worker that keeps the files, so that an installed site opens without a network."""
    version = hashlib.sha256(b"".join(files.values())).hexdigest()[:12]
    constants = f'const VERSION = "{version}", FILES = {json.dumps(["./", *files])};\n'
    return constants + (HERE / "offline.js").read_text(encoding="utf-8")
