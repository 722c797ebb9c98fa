"""The catalogues of pages/shared/languages: brought up to what the code says, and what they lack.

`python tools/languages/catalogues.py update [PART …]` writes the catalogues of these parts (train, shared.room,
kd_core.data, …; all without any) anew: messages that came are added without translation, ones that went are dropped,
and what is translated stays. `... missing [PART …]` prints the messages that have no translation, as a JSON object
{message: ""}, in which a plural's message is its two forms with a newline between. `... fill FILE [PART …]` takes such
an object back, filled in.
"""

import argparse
import io
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pages.shared.language import said_by_script  # noqa: E402

CATALOGUES = ROOT / "pages" / "shared" / "languages"
KEYWORDS = {"_": None, "said": None, "plural": (1, 2), "counted": (1, 2)}
NOT_READ = ("tokens.toml",)
"""Files beside the code that hold no prose."""
IN_WORDS = re.compile(r"[^\W\d_]{2}.*\s|^[^\W\d_]*[A-Z]|\s.*[^\W\d_]{2}", re.DOTALL)
"""What is prose or a name of a TOML file's values, and no identifier."""

Message = str | tuple[str, str]


def parts() -> dict[str, dict[Message, list[str]]]:
    """What the code says: part -> message -> the files that say it. A part is a page, or a package of the engine."""
    messages: dict[str, dict[Message, list[str]]] = {}
    for path in sorted([ROOT / "app.py", *(ROOT / "pages").rglob("*"), *(ROOT / "kd_core").rglob("*")]):
        for message in said_by(path):
            files = messages.setdefault(part_of(path), {}).setdefault(message, [])
            name = str(path.relative_to(ROOT))
            if name not in files:
                files.append(name)
    return messages


def part_of(path: Path) -> str:
    where = path.relative_to(ROOT).parts
    if where[0] == "app.py":
        return "shared"
    named = where[1:-1] if where[0] == "pages" else where[:-1]
    return ".".join(named[:3] if named[0] == "kd_core" else named[:2])


def said_by(path: Path) -> Iterator[Message]:
    """The messages in a file."""
    if path.suffix == ".toml" and path.name not in NOT_READ:
        yield from of_toml(tomllib.loads(path.read_text(encoding="utf-8")))
    method = {
        ".py": "python",
        ".html": "jinja2.ext:babel_extract",
        ".md": "jinja2.ext:babel_extract",
    }
    if path.suffix == ".js" and ".min." not in path.name:
        yield from said_by_script(path.read_text(encoding="utf-8"))
    if path.suffix not in method or ".min." in path.name:
        return
    with path.open("rb") as source:
        for _line, message, _comments, _context in extract(method[path.suffix], source, KEYWORDS):
            if message:
                yield message


def of_toml(value: object) -> Iterator[str]:
    if isinstance(value, str):
        if IN_WORDS.search(value):
            yield value
        return
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from of_toml(each)


def read(file: Path, language: str) -> Catalog:
    """A catalogue as it lies there; an empty one where none does."""
    if not file.exists():
        return Catalog(locale=language)
    with file.open("rb") as lines:
        return read_po(lines, locale=language)


def updated(language: str, part: str, messages: dict[Message, list[str]]) -> Catalog:
    """A part's catalogue with exactly these messages, and of what is translated what still is said."""
    before = read(CATALOGUES / language / f"{part}.po", language)
    now = Catalog(locale=language, fuzzy=False, header_comment=f"# KD Lab, {part}: see tools/languages/catalogues.py.")
    for message, files in messages.items():
        known = before.get(message[0] if isinstance(message, tuple) else message)
        translated = known.string if known is not None and known.id == message else ""
        now.add(message, translated, locations=[(name, None) for name in files])
    return now


def write(language: str, part: str, catalogue: Catalog) -> None:
    buffer = io.BytesIO()
    write_po(buffer, catalogue, width=0, sort_by_file=True, omit_header=False)
    lines = buffer.getvalue().decode().split("\n")
    dated = (
        '"POT-Creation-Date',
        '"PO-Revision-Date',
        '"Generated-By',
        '"Project-Id',
        '"Report-Msgid',
        '"Last-Translator',
    )
    text = "\n".join(line for line in lines if not line.startswith(dated))
    (CATALOGUES / language / f"{part}.po").write_text(text, encoding="utf-8")


def languages() -> list[str]:
    return sorted(folder.name for folder in CATALOGUES.iterdir() if folder.is_dir())


def update(wanted: list[str], translated: dict[str, str]) -> None:
    """Write the catalogues of these parts anew, all without any; translated: more, one string a message."""
    known = parts()
    for language in languages():
        for file in (CATALOGUES / language).glob("*.po"):
            if file.stem not in known:
                file.unlink()
        for part in wanted or known:
            catalogue = updated(language, part, known[part])
            for message in catalogue:
                new = translated.get(key_of(message.id)) if message.id else None
                if new:
                    message.string = (new,) if isinstance(message.id, tuple) else new
            write(language, part, catalogue)


def key_of(message: Message) -> str:
    return "\n".join(message) if isinstance(message, tuple) else message


def missing(language: str, wanted: list[str]) -> dict[str, str]:
    """The messages without translation of some parts."""
    lacking = {}
    for part, messages in parts().items():
        if wanted and part not in wanted:
            continue
        for message in updated(language, part, messages):
            text = message.string if isinstance(message.string, str) else "".join(message.string or ())
            if message.id and not text:
                lacking[key_of(message.id)] = ""
    return lacking


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("update", "missing", "fill"):
        command = commands.add_parser(name)
        if name == "fill":
            command.add_argument("file", type=Path)
        command.add_argument("parts", nargs="*", metavar="PART")
    arguments = parser.parse_args()
    if arguments.command == "missing":
        for language in languages():
            print(json.dumps(missing(language, arguments.parts), ensure_ascii=False, indent=1))
    else:
        filled = json.loads(arguments.file.read_text(encoding="utf-8")) if arguments.command == "fill" else {}
        update(arguments.parts, filled)


if __name__ == "__main__":
    main()
