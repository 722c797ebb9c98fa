"""Whose run gets the next worker."""

import math
import os
from collections import Counter
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from kd_core.base.config import ConfigError

Item = TypeVar("Item")


def turns(
    waiting: Mapping[Item, str],
    at_work: Mapping[str, int],
    served: Mapping[str, float],
    blocked: Collection[Item] = (),
    joined: Mapping[Item, Collection[str]] = MappingProxyType({}),
) -> list[Item]:
    """The order in which what waits (run id, say -> browser, by their coming) gets workers, as Jobs says.

    at_work: browser -> how many of its own are at work. served: browser -> when it last got a worker. blocked: what
    cannot begin yet, which takes no turn and is left out. joined: other browsers that asked for an item; it comes with
    the first turn of any of them, and is a turn of each.
    """
    queues: dict[str, list[Item]] = {}
    whose = {item: {browser, *joined.get(item, ())} for item, browser in waiting.items() if item not in blocked}
    for item, browsers in whose.items():
        for browser in sorted(browsers):
            queues.setdefault(browser, []).append(item)
    load = Counter(at_work)
    turn: dict[str, int] = {}
    order: list[Item] = []
    while queues:
        item = queues[min(queues, key=lambda one: (load[one], turn.get(one, -1), served.get(one, -math.inf)))][0]
        for browser in whose[item]:
            turn[browser] = len(order)
            load[browser] += 1
            queues[browser].remove(item)
            if not queues[browser]:
                del queues[browser]
        order.append(item)
    return order


class Limits(NamedTuple):
    """How many runs may wait or be at work: in all, and of one guest's browser; and how many train here at once.

    at_once: 0 stands for one for every four cores. A cluster has as many as it has workers.
    """

    queue: int = 500
    browser: int = 50
    at_once: int = 0

    @classmethod
    def from_environment(cls) -> "Limits":
        """As the variables below say. Raises ConfigError where one is no whole number above 0."""
        values = {}
        names = {"queue": "KD_MAX_QUEUED", "browser": "KD_MAX_PER_BROWSER", "at_once": "KD_RUNS_AT_ONCE"}
        for field, name in names.items():
            text = os.environ.get(name, "").strip()
            if text:
                if not (text.isascii() and text.isdecimal() and int(text) > 0):
                    raise ConfigError(f"{name} is '{text}': give a whole number of runs above 0")
                values[field] = int(text)
        return cls(**values)
