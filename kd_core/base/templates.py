"""Words apart from their values: sentences that can be translated, prose in TOML, documents as Jinja templates."""

import json
import re
import tomllib
from functools import cache
from numbers import Integral, Real
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

    def __new__(cls, template: str, many: str | None = None, /, **values: object) -> Self:
        """Fill in a template. Raises KeyError or ValueError where values and template do not fit."""
        used = template if many is None or values["count"] == 1 else many
        text = super().__new__(cls, used.format(**values) if values else used)
        text.template, text.many, text.values = template, many, values
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        return _said_again, (self.template, self.many, self.values)


def _said_again(template: str, many: str | None, values: dict[str, object]) -> Said:
    return Said(template, many, **values)


def said(template: str, /, **values: object) -> Said:
    """Say a sentence with its values. The template is a literal string.

    >>> said("{name} has no weights", name="mlp 30")
    'mlp 30 has no weights'
    """
    return Said(template, **values)


def counted(one: str, many: str, count: float, /, **values: object) -> Said:
    """Say a sentence that counts.

    >>> counted("{count} run trains", "{count} runs train", 3)
    '3 runs train'
    """
    return Said(one, many, count=count, **values)


def said_by(error: BaseException) -> str:
    """What an error was raised with, Said where it was; str() of it has no template."""
    only = error.args[0] if len(error.args) == 1 else None
    return only if isinstance(only, str) else str(error)


_KEPT, _MOST_CHARACTERS = '{"said": ', 1_000_000
_PLACE = re.compile(r"\{\w+(?::[+]?,?(?:\.\d)?[a-z%]?)?\}")


def kept(text: str) -> str:
    """A text as a file, a column or another process takes it; read_back gives what was Said its template again.

    What is Said without values needs no more than its text, which is its template.
    """
    return json.dumps(_fields(text)) if isinstance(text, Said) and text.values else str(text)


def read_back(text: str) -> str:
    """What kept was given; any other text as it is."""
    if not text.startswith(_KEPT):
        return text
    try:
        return _of_fields(json.loads(text))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return text


def _fields(text: Said) -> dict[str, Any]:
    return {"said": text.template, "many": text.many, "values": {name: _plain(v) for name, v in text.values.items()}}


def _plain(value: object) -> object:
    """A value as JSON has it."""
    if isinstance(value, Said):
        return _fields(value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    return int(value) if isinstance(value, Integral) else float(value) if isinstance(value, Real) else str(value)


def _of_fields(fields: dict[str, Any]) -> Said:
    """Raises ValueError for a template with more than plain places, or too large a text: it may be anybody's."""
    template, many = str(fields["said"]), None if fields["many"] is None else str(fields["many"])
    values = {name: _of_fields(v) if isinstance(v, dict) else v for name, v in fields["values"].items()}
    for form in (template, many or ""):
        places, other = len(_PLACE.findall(form)), _PLACE.sub("", re.sub(r"{{|}}", "", form))
        if re.search("[{}]", other) or places * max(map(len, map(str, values.values())), default=0) > _MOST_CHARACTERS:
            raise ValueError("not as _fields writes it")
    return Said(template, many, **values)


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
