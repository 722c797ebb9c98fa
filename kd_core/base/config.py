"""What all configs share: frozen, validated, JSON both ways; errors as sentences."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from kd_core.base.templates import said, said_by

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

NAMED = 12
"""Classes that a sentence names at most."""


class LabError(Exception):
    """Base of all errors that a user can cause or meet: its text is a sentence to show as it is."""


class ConfigError(LabError, ValueError):
    """A setting that cannot be used."""


class Config(BaseModel):
    """Frozen base of all configs: unknown fields are refused, and problems read as sentences.

    Raises ConfigError on construction when any value breaks its rule.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(_as_sentences(error)) from None
        except UnicodeEncodeError:  # pydantic cannot quote what a shell handed over as bytes of another encoding
            raise ConfigError(said("a setting holds what is no text in UTF-8")) from None

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what model_dump_json wrote. Raises ConfigError on anything else."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigError(_as_sentences(error)) from None

    def replace(self, **changes: Any) -> Self:
        """Make a validated copy with some fields changed."""
        return type(self)(**{**{name: getattr(self, name) for name in type(self).model_fields}, **changes})


def in_words(names: Sequence[str]) -> str:
    """Join names as prose: '3', '3 and 4', '3, 4 and 9'; beyond NAMED '0, 1, … and 90 others'. names: not empty."""
    others = [said("{count:,} others", count=len(names) - NAMED + 1)] if len(names) > NAMED else []
    *first, last = [*names[: NAMED - 1], *others] if others else names
    return said("{first} and {last}", first=in_a_list(first), last=last) if first else last


def in_a_list(names: Sequence[str]) -> str:
    """Join names as '3, 4, 9'. names: not empty."""
    first, *rest = names
    for name in rest:
        first = said("{first}, {next}", first=first, next=name)
    return first


def in_a_row(clauses: Sequence[str]) -> str:
    """Join clauses as 'this; that'. clauses: not empty."""
    first, *rest = clauses
    for clause in rest:
        first = said("{first}; {next}", first=first, next=clause)
    return first


def differences(configs: Sequence[Config]) -> dict[str, list[Any]]:
    """Find the settings in which configs differ: dotted name -> a value a config, None where it has no such setting."""
    flat = [flattened(config.model_dump(mode="json")) for config in configs]
    names = list(dict.fromkeys(name for values in flat for name in values))
    columns = {name: [values.get(name) for values in flat] for name in names}
    return {name: values for name, values in columns.items() if any(value != values[0] for value in values)}


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings: dotted name -> value."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _as_sentences(error: ValidationError) -> str:
    """Put pydantic's problems into words: a clause for each, with the field, the rule and the given value."""
    return in_a_row([_as_clause(problem) for problem in error.errors()])


def _as_clause(problem: "ErrorDetails") -> str:
    message = problem["msg"]
    if problem["type"] == "value_error":
        return said_by(problem["ctx"]["error"])
    names = [part for part in problem["loc"] if isinstance(part, str)]
    name = names[-1] if names else said("the config")
    field = _SETTINGS.get(name, name)
    if problem["type"] == "json_invalid":
        return said("this is not a config: {message}", message=message)
    if problem["type"] == "missing":
        return said("{field} is missing", field=field)
    if problem["type"] == "extra_forbidden":
        called = name if name.isidentifier() else in_a_sentence(name)
        return said("there is no setting called {name}", name=called)
    for theirs, ours in _PLAIN_WORDS:
        message = message.replace(theirs, ours)
    given = in_a_sentence(problem["input"])
    for rule, clause in _RULES:
        if match := re.fullmatch(rule, message, re.DOTALL):
            values = {key: _either(value) if key == "expected" else value for key, value in match.groupdict().items()}
            return said(clause, field=field, given=given, **values)
    return f"{field} {message}, got {given}"


def _either(options: str) -> str:
    """Pydantic's list of options, such as "'a', 'b' or 'c'"."""
    first, _, last = options.rpartition(" or ")
    return said("{first} or {last}", first=first, last=last) if first else options


def in_a_sentence(given: object) -> str:
    """Quote a value for an error, cut where it is long."""
    try:
        return (repr(given) if isinstance(given, str) else str(given))[:80]
    except ValueError:
        return said("a number of thousands of digits")


_PLAIN_WORDS = (
    ("Input should be", "must be"),
    ("greater than or equal to", "at least"),
    ("less than or equal to", "at most"),
    ("greater than", "above"),
    ("less than", "below"),
    ("a valid integer", "a whole number"),
    ("a valid ", "a "),
    ("Tuple should have", "must have"),
    (" after validation", ""),
)
_RULES = (
    (r"must be at least (?P<limit>\S+)", said("{field} must be at least {limit}, got {given}")),
    (r"must be at most (?P<limit>\S+)", said("{field} must be at most {limit}, got {given}")),
    (r"must be above (?P<limit>\S+)", said("{field} must be above {limit}, got {given}")),
    (r"must be below (?P<limit>\S+)", said("{field} must be below {limit}, got {given}")),
    (r"must be a whole number", said("{field} must be a whole number, got {given}")),
    (
        r"must be a whole number, unable to parse string as an integer",
        said("{field} must be a whole number, unable to parse string as an integer, got {given}"),
    ),
    (
        r"must be a whole number, got a number with a fractional part",
        said("{field} must be a whole number, got a number with a fractional part, got {given}"),
    ),
    (
        r"Unable to parse input string as an integer, exceeded maximum size",
        said("{field} Unable to parse input string as an integer, exceeded maximum size, got {given}"),
    ),
    (r"must be a number", said("{field} must be a number, got {given}")),
    (
        r"must be a number, unable to parse string as a number",
        said("{field} must be a number, unable to parse string as a number, got {given}"),
    ),
    (r"must be a finite number", said("{field} must be a finite number, got {given}")),
    (r"must be a string", said("{field} must be a string, got {given}")),
    (r"must be a boolean", said("{field} must be a boolean, got {given}")),
    (
        r"must be a boolean, unable to interpret input",
        said("{field} must be a boolean, unable to interpret input, got {given}"),
    ),
    (r"must be a (?P<kind>tuple|array|list)", said("{field} must be a {kind}, got {given}")),
    (r"must be a dictionary", said("{field} must be a dictionary, got {given}")),
    (r"must be an object", said("{field} must be an object, got {given}")),
    (
        r"must be a dictionary or instance of (?P<kind>\w+)",
        said("{field} must be a dictionary or instance of {kind}, got {given}"),
    ),
    (r"must be (?P<expected>.+)", said("{field} must be {expected}, got {given}")),
    (
        r"must have at least (?P<limit>1) item, not (?P<length>\w+)",
        said("{field} must have at least {limit} item, not {length}, got {given}"),
    ),
    (
        r"must have at least (?P<limit>\d+) items, not (?P<length>\w+)",
        said("{field} must have at least {limit} items, not {length}, got {given}"),
    ),
    (
        r"must have at most (?P<limit>1) item, not (?P<length>\w+)",
        said("{field} must have at most {limit} item, not {length}, got {given}"),
    ),
    (
        r"must have at most (?P<limit>\d+) items, not (?P<length>\w+)",
        said("{field} must have at most {limit} items, not {length}, got {given}"),
    ),
    (
        r"String should have at least (?P<limit>1) character",
        said("{field} String should have at least {limit} character, got {given}"),
    ),
    (
        r"String should have at least (?P<limit>\d+) characters",
        said("{field} String should have at least {limit} characters, got {given}"),
    ),
    (
        r"String should have at most (?P<limit>\d+) characters",
        said("{field} String should have at most {limit} characters, got {given}"),
    ),
    (
        r"String should match pattern '(?P<pattern>.+)'",
        said("{field} String should match pattern '{pattern}', got {given}"),
    ),
)
"""What pydantic's messages read in plain words -> the clause about a field; the first that matches."""
_SETTINGS: dict[str, str] = {
    name: name
    for name in (
        said("alpha"), said("alphas"), said("batch_size"), said("channels"), said("clip_norm"), said("colour"),
        said("cutmix"), said("dropout_hidden"), said("dropout_input"), said("epochs"), said("final_alpha"),
        said("final_temperature"), said("fraction"), said("jitter_pixels"), said("label_smoothing"),
        said("learning_rate"), said("mixup"), said("patience"), said("randaugment"), said("seed"), said("seeds"),
        said("side"), said("temperature"), said("temperatures"), said("test_fraction"), said("validation_fraction"),
        said("warmup_epochs"), said("weight_decay"), said("widths"),
    )
}  # fmt: skip
"""Fields that visitors type, as sentences name them."""
