"""What all configs share: frozen, validated, JSON both ways; errors as sentences."""

from collections.abc import Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

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
            raise ConfigError("a setting holds what is no text in UTF-8") from None

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
    shown = [*names[: NAMED - 1], f"{len(names) - NAMED + 1:,} others"] if len(names) > NAMED else list(names)
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


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
    clauses = []
    for problem in error.errors():
        message = problem["msg"]
        if problem["type"] == "value_error":
            clauses.append(message.removeprefix("Value error, "))
            continue
        names = [part for part in problem["loc"] if isinstance(part, str)]
        field = names[-1] if names else "the config"
        if problem["type"] == "json_invalid":
            clauses.append(f"this is not a config: {message}")
        elif problem["type"] == "missing":
            clauses.append(f"{field} is missing")
        elif problem["type"] == "extra_forbidden":
            clauses.append(f"there is no setting called {field if field.isidentifier() else in_a_sentence(field)}")
        else:
            for theirs, ours in _PLAIN_WORDS:
                message = message.replace(theirs, ours)
            given = problem["input"]
            clauses.append(f"{field} {message}, got {in_a_sentence(given)}")
    return "; ".join(clauses)


def in_a_sentence(given: object) -> str:
    """Quote a value for an error, cut where it is long."""
    try:
        return (repr(given) if isinstance(given, str) else str(given))[:80]
    except ValueError:
        return "a number of thousands of digits"


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
