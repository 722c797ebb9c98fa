"""Words apart from the values in them: sentences that can be translated, prose in TOML, documents as Jinja templates."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Self

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape


class Said(str):
    """A sentence or name in English that knows the template and the values that it was made of.

    It reads as any other text. A page finds its template in the catalogue of another language, and fills that in; a
    value that is Said itself is translated too. Where it counts something, `many` is the template for all counts but 1.
    """

    template: str
    many: str | None
    values: dict[str, object]

    def __new__(cls, template: str, many: str | None = None, **values: object) -> Self:
        """Fill in a template. Raises KeyError or ValueError where values and template do not fit."""
        used = template if many is None or values["count"] == 1 else many
        text = super().__new__(cls, used.format(**values) if values else used)
        text.template, text.many, text.values = template, many, values
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        return _said_again, (self.template, self.many, self.values)


def _said_again(template: str, many: str | None, values: dict[str, object]) -> Said:
    return Said(template, many, **values)


def said(template: str, **values: object) -> Said:
    """A sentence with its values: said("{name} has no weights", name=run.name). The template is a literal string."""
    return Said(template, **values)


def counted(one: str, many: str, count: float, **values: object) -> Said:
    """A sentence that counts: counted("{count} run trains", "{count} runs train", 3)."""
    return Said(one, many, count=count, **values)


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
