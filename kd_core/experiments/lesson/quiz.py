"""A quiz of eight items, for before a lesson and after it, and the gain between the two."""

from collections.abc import Sequence
from typing import NamedTuple

from kd_core.base.config import ConfigError
from kd_core.base.templates import prose, said


class Item(NamedTuple):
    """A question, its answers, the index of the true one, and why."""

    prompt: str
    answers: tuple[str, ...]
    answer: int
    why: str


ITEMS = tuple(
    Item(item["prompt"], tuple(item["answers"]), item["answer"] - 1, item["why"]) for item in prose(__file__)["items"]
)


def score(given: Sequence[int | None]) -> float:
    """Share of the items answered correctly; None is no answer. Raises ConfigError for another number of items."""
    if len(given) != len(ITEMS):
        raise ConfigError(said("the quiz has {items} items, got {given} answers", items=len(ITEMS), given=len(given)))
    return sum(answer == item.answer for answer, item in zip(given, ITEMS, strict=True)) / len(ITEMS)


def normalised_gain(before: float, after: float) -> float:
    """(after - before) / (1 - before): the share that was learned of what could be (Hake 1998, Am. J. Phys. 66, 64).

    before, after: a class's mean scores, 0 to 1. Raises ConfigError where these are none, and where before is 1.
    """
    if not (0 <= before <= 1 and 0 <= after <= 1):
        raise ConfigError(
            said("mean scores lie between 0 and 1, got {before:g} and {after:g}", before=before, after=after)
        )
    if before == 1:
        raise ConfigError(said("everybody knew everything before the lesson: there is nothing to gain"))
    return (after - before) / (1 - before)
