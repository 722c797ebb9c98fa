"""What a load test's figures are worth: the rules by which it passes or fails. Plain values; no server, no clock."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import theilslopes

RESPONSE_P95_SECONDS = 1.5
WARM_UP_SHARE = 1 / 2
"""Of the load's time: what a process grows by in it is not held against it. In the first minutes each kind of page is
opened, and each cache filled, for the first time."""
PEAK_SECONDS = 30.0
"""Memory is judged by its peak in each span so long. A worker holds 60 MB more while it trains on MNIST than while it
waits, so that its median says how busy it was."""
LEVEL_SHARE = 1 / 3
"""Of the spans after the warm-up: the median of so many peaks is the level at its beginning, and in its end."""
MOST_MB_A_MINUTE = 10.0
"""Of some 750 MB: what a load of ten minutes, which leaves five to judge, cannot tell from wavering."""
MOST_GROWTH_SHARE = 0.05
"""What a longer load is held to."""
SETTLED_SECONDS = 300.0
"""After which a page's response must not grow: each kind of page has been opened, the class has come in."""
MOST_RESPONSE_GROWTH = 1.25
"""Of the p95 of responses. Those of five minutes are some 2,500, whose p95 wavers by a tenth."""


class Memory(NamedTuple):
    """One process over a load: MB at its peaks after the warm-up and in the end, and their slope, in MB a minute."""

    warm_mb: float
    end_mb: float
    slope_mb_a_minute: float
    flat: bool


def memory(samples: Sequence[tuple[float, float]]) -> Memory | None:
    """Whether a process stayed flat after its warm-up, of (seconds, MB); None of one that was there for a moment.

    Flat is: the Theil-Sen line through the peaks after the warm-up rises by no more than MOST_MB_A_MINUTE, and their
    level in the end is no more than MOST_GROWTH_SHARE above the level after the warm-up.
    """
    if len(samples) < 12:
        return None
    seconds, mb = np.array(samples).T
    began, ended = seconds[0], seconds[-1]
    warm = began + WARM_UP_SHARE * (ended - began)
    count = max(3, int((ended - warm) / PEAK_SECONDS))
    span = (ended - warm) / count
    middles = warm + span * (np.arange(count) + 0.5)
    within = (np.abs(seconds - middle) <= span / 2 for middle in middles)
    peaks = np.array([mb[these].max() for these in within])
    slope = 60 * float(theilslopes(peaks, middles).slope)
    level = max(1, round(LEVEL_SHARE * count))
    warm_mb, end_mb = float(np.median(peaks[:level])), float(np.median(peaks[-level:]))
    flat = slope <= MOST_MB_A_MINUTE and end_mb <= (1 + MOST_GROWTH_SHARE) * warm_mb
    return Memory(warm_mb, end_mb, slope, flat)


class Followed(NamedTuple):
    """A run that a client was told of, and what it last asked of it: 'stop', 'pause', 'resume', or nothing."""

    client: int
    last_request: str = ""


REFUSED = "Not started: its teacher"
"""So begins what a student says that was to start while its teacher was stopped."""


def lost(
    run_id: str, followed: Followed, status: Mapping[str, str], teachers: Sequence[str], stopped: set[str]
) -> str | None:
    """Why a run counts as lost, in words, or None. status: of every run that the store holds, once the queue is empty.

    teachers: those of the run. stopped: what was stopped when the load had ended, because it would have gone on, and
    what was REFUSED: its teacher may have been resumed since.
    """
    if run_id not in status:
        return f"run {run_id} is not in the store"
    allowed = {"finished"}
    if followed.last_request == "stop" or run_id in stopped:
        allowed.add("stopped")
    if followed.last_request == "pause":
        allowed.add("paused")
    if any(status.get(teacher) == "stopped" for teacher in teachers):
        allowed.add("stopped")  # it cannot learn from a teacher that left no weights, and says so
    if status[run_id] in allowed:
        return None
    return f"run {run_id} is {status[run_id]}, asked for last: {followed.last_request or 'nothing'}"


def response_growth(responses: Sequence[tuple[float, float]]) -> float | None:
    """p95 in the last third of the time after SETTLED_SECONDS, as a multiple of its p95 in the first third.

    responses: (seconds since the load began, seconds that it took). None where the load ended before.
    """
    at, took = np.array(responses).T
    if at.max() <= SETTLED_SECONDS:
        return None
    edges = np.quantile([SETTLED_SECONDS, at.max()], [1 / 3, 2 / 3])
    first, last = took[(at >= SETTLED_SECONDS) & (at <= edges[0])], took[at >= edges[1]]
    return float(np.quantile(last, 0.95) / np.quantile(first, 0.95))


def quantiles(seconds: Sequence[float]) -> tuple[float, float, float, float]:
    """p50, p95, p99 and the largest."""
    p50, p95, p99 = np.quantile(seconds, [0.5, 0.95, 0.99])
    return float(p50), float(p95), float(p99), max(seconds)
