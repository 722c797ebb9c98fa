"""Words and pages in files beside the code that gives the values: prose in TOML, whole documents as Jinja templates."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape


def prose(module: str) -> dict[str, Any]:
    """Read the texts of a module, its __file__, from the TOML file beside it."""
    return tomllib.loads(Path(module).with_suffix(".toml").read_text(encoding="utf-8"))


def filled(template: Path, **values: object) -> str:
    """Fill a template in; one that ends in .html escapes what is not marked safe. Raises jinja2.UndefinedError."""
    return _environment(template.parent).get_template(template.name).render(values)


@cache
def _environment(folder: Path) -> Environment:
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
