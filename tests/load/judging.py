"""What a load test's figures are worth: the rules by which it passes or fails. Plain values; no server, no clock."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import theilslopes

RESPONSE_P95_SECONDS = 1.5
WARM_UP_SHARE = 1 / 2
"""Of the load's time: what a process grows by in it is not held against it. In the first three minutes of six each kind
of page is opened, and each cache filled, for the first time."""
LEVEL_SECONDS = 30.0
"""A level is the median of the samples of so many seconds."""
MOST_MB_A_MINUTE = 10.0
"""Of some 750 MB: what a load of six minutes, which leaves three to judge, cannot tell from wavering."""
MOST_GROWTH_SHARE = 0.05
"""What a longer load is held to."""


class Memory(NamedTuple):
    """One process over a load: MB after the warm-up and in the end, and the slope between, in MB a minute."""

    warm_mb: float
    end_mb: float
    slope_mb_a_minute: float
    flat: bool


def memory(samples: Sequence[tuple[float, float]]) -> Memory | None:
    """Whether a process stayed flat after its warm-up, of (seconds, MB); None of one that was there for a moment.

    Flat is: the Theil-Sen line over the time after the warm-up rises by no more than MOST_MB_A_MINUTE, and the level
    in the end is no more than MOST_GROWTH_SHARE above the level after the warm-up.
    """
    if len(samples) < 12:
        return None
    seconds, mb = np.array(samples).T
    began, ended = seconds[0], seconds[-1]
    warm = began + WARM_UP_SHARE * (ended - began)
    span = min(LEVEL_SECONDS, (ended - warm) / 3)
    after = seconds >= warm
    slope = 60 * float(theilslopes(mb[after], seconds[after]).slope)
    warm_mb = float(np.median(mb[after & (seconds <= warm + span)]))
    end_mb = float(np.median(mb[seconds >= ended - span]))
    flat = slope <= MOST_MB_A_MINUTE and end_mb <= (1 + MOST_GROWTH_SHARE) * warm_mb
    return Memory(warm_mb, end_mb, slope, flat)


class Told(NamedTuple):
    """What a client was told of a run, and what it last asked of it: 'stop', 'pause', 'resume', or nothing."""

    client: int
    asked: str = ""


def lost(run_id: str, told: Told, status: Mapping[str, str], teachers: Sequence[str], stopped: set[str]) -> str | None:
    """Why a run counts as lost, in words, or None. status: of every run that the store holds, once the queue is empty.

    teachers: those of the run. stopped: what was stopped when the load had ended, because it would have gone on.
    """
    if run_id not in status:
        return f"run {run_id} is not in the store"
    allowed = {"finished"}
    if told.asked == "stop" or run_id in stopped:
        allowed.add("stopped")
    if told.asked == "pause":
        allowed.add("paused")
    if any(status.get(teacher) == "stopped" for teacher in teachers):
        allowed.add("stopped")  # it cannot learn from a teacher that left no weights, and says so
    if status[run_id] in allowed:
        return None
    return f"run {run_id} is {status[run_id]}, asked for last: {told.asked or 'nothing'}"


def quantiles(seconds: Sequence[float]) -> tuple[float, float, float, float]:
    """p50, p95, p99 and the largest."""
    p50, p95, p99 = np.quantile(seconds, [0.5, 0.95, 0.99])
    return float(p50), float(p95), float(p99), max(seconds)
