"""Lists every module with the sentence that it opens with, where a document has the marker; mkdocs calls it."""

import ast
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MARKER = "<!-- every module -->"


def sentence_of(path: Path) -> str:
    """What a module is for: the first paragraph of its docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split())


def tree() -> str:
    """Every package as a heading, with its modules as a list, in Markdown."""
    lines: list[str] = []
    for package in sorted(path for top in ("kd_core", "pages") for path in (ROOT / top).rglob("__init__.py")):
        folder = package.parent
        lines += [f"\n### `{folder.relative_to(ROOT).as_posix()}`\n\n{sentence_of(package)}\n"]
        modules = sorted(path for path in folder.glob("*.py") if path != package)
        lines += [f"- `{path.name}`: {sentence_of(path)}" for path in modules]
    return "\n".join(lines)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the tree in the marker's place."""
    return markdown.replace(MARKER, tree()) if MARKER in markdown else markdown
