"""Measurements of speed as a quiet and a busy machine would give them, made up, in the form of evaluation.speed."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kd_core.evaluation import speed


def machine(
    times: Mapping[str, float], noise: float = 0.05, *, stalls: float = 0.0, rounds: int = 200
) -> dict[str, Any]:
    """What speed.measure returns of models that take so many milliseconds an image; the first is the null's.

    Every call varies by a factor (noise: its standard deviation, in logs); a share of them stalls, 21 times as long.
    """
    generator = np.random.default_rng(0)

    def draw(milliseconds: float) -> list[float]:
        stalled = 1 + 20 * (generator.random(rounds) < stalls)
        return list(1e-3 * milliseconds * generator.lognormal(0, noise, rounds) * stalled)

    first = next(iter(times.values()))
    seconds = {
        size: {("", "itself"): draw(size * first)}
        | {(name, "pytorch"): draw(size * milliseconds) for name, milliseconds in times.items()}
        for size in (1, 64)
    }
    return speed.speeds_of(list(times), seconds, threads=1)


def busy(times: Mapping[str, float]) -> dict[str, Any]:
    """The same on a machine that does much else."""
    return machine(times, 2.5, stalls=0.3, rounds=40)
