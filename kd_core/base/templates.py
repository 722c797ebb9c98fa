"""Files to fill in: Markdown, HTML and programs, kept as Jinja templates beside the code that gives the values."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape


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
