"""What somebody who watches runs needs to be told: how they stand, and what they recorded since the last time.

Plain values, so that one answer serves a browser, a test or a shell. Nothing is kept between two questions: the watcher
says how far it has seen.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kd_core.runs.run import PARTS, Run
from kd_core.runs.store import Store


class Seen(NamedTuple):
    """How far a watcher has seen a run: its attempt, and the step of the last record."""

    attempt: int
    step: int


NOTHING = Seen(-1, -1)


def parse_seen(text: str) -> dict[str, Seen]:
    """Read 'id:attempt:step,id:attempt:step'; whatever is not of this form is left out."""
    matches = re.finditer(r"(?:^|,)([0-9a-zA-Z]{1,40}):(\d{1,15}):(\d{1,15})(?=,|$)", text)
    return {match[1]: Seen(int(match[2]), int(match[3])) for match in matches}


def told(store: Store, runs: Iterable[Run], seen: Mapping[str, Seen]) -> list[dict[str, Any]]:
    """For each run its state, and its records since it was seen; all of them, thinned, where it was not or began anew.

    A state has id, role, status, request, message, waits_for_teacher, attempt, step, progress (0 to 1), epochs_done,
    epochs_total, seconds_left, samples_per_second, learning_rate, test_errors, test_examples; None where unknown.
    Records come as steps {part: ([epoch, …], [value, …])} and epochs {epoch, loss, soft_loss, hard_loss,
    validation_accuracy: […]}; where whole is true they replace what the watcher had, else they go on from it.
    """
    runs = [*runs]
    blocked = store.blocked(run for run in runs if run.status == "queued")
    return [_told(store, run, seen.get(run.id, NOTHING)) | {"waits_for_teacher": run.id in blocked} for run in runs]


def _told(store: Store, run: Run, seen: Seen) -> dict[str, Any]:
    whole = seen.attempt != run.attempt or seen.step > run.step
    since = -1 if whole else seen.step
    epochs = store.records(run.id, "epoch", since, run.step) if since < run.step else []
    if whole:
        steps = {part: _columns(store.curve(run.id, part)) for part in PARTS}
    else:
        records = store.records(run.id, "step", since, run.step) if since < run.step else []
        steps = {part: _columns((r["epoch"], r[part]) for r in records if r[part] is not None) for part in PARTS}
    newest = store.last_record(run.id)
    total = run.config.training.epochs
    return {
        "id": run.id,
        "role": run.config.role,
        "status": run.status,
        "request": run.request,
        "message": run.message,
        "attempt": run.attempt,
        "step": run.step,
        "progress": 1.0 if run.status == "finished" else run.progress,
        "epochs_done": run.progress * total,
        "epochs_total": total,
        "seconds_left": seconds_left(run, newest) if run.status == "running" else None,
        "samples_per_second": newest["samples_per_second"] if newest else None,
        "learning_rate": newest["learning_rate"] if newest else None,
        "test_errors": run.results.get("test_errors"),
        "test_examples": run.results.get("test_examples"),
        "whole": whole,
        "steps": steps,
        "epochs": {name: [_finite(r[name]) for r in epochs] for name in ("epoch", *PARTS, "validation_accuracy")},
    }


PROBE_EPOCHS = 300
"""Epochs of one run that are told at most, evenly spread, with the last."""
PROBE_LOGITS = 60_000
"""Logits of one run that are told at most: of a thousand classes, these are 60 epochs."""


def probes_told(store: Store, runs: Iterable[Run], image: int, seen: Mapping[str, Seen]) -> list[dict[str, Any]]:
    """For each run the logits of one probe image after each epoch that was not seen yet.

    A Seen's step is an epoch here. Each has id, attempt, whole (as in told), epochs [e, …] and logits [[K values], …].
    An epoch after which they are not finite, of weights that ran away, is left out.
    """
    answers = []
    for run in runs:
        last = seen.get(run.id, NOTHING)
        whole = last.attempt != run.attempt
        found = store.probe(run.id, image, -1 if whole else last.step)
        most = PROBE_EPOCHS if not found else max(2, min(PROBE_EPOCHS, PROBE_LOGITS // len(found[0][1])))
        stride = -(-(len(found) - 1) // (most - 1))
        kept = found if stride < 2 else [*found[:-1:stride], found[-1]]
        answers.append(
            {
                "id": run.id,
                "attempt": run.attempt,
                "whole": whole,
                "epochs": [epoch for epoch, _ in kept],
                "logits": [logits for _, logits in kept],
            }
        )
    return answers


def _columns(points: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Points as two columns, rounded to what a screen can show."""
    pairs = [(round(epoch, 4), float(f"{value:.5g}")) for epoch, value in points if math.isfinite(value)]
    return [epoch for epoch, _ in pairs], [value for _, value in pairs]


def _finite(value: float | None) -> float | None:
    """JSON knows no infinity, which a loss that ran away may be."""
    return value if value is not None and math.isfinite(value) else None


def seconds_left(run: Run, newest: Mapping[str, Any] | None) -> float | None:
    """What the rest of a run takes at the pace of its newest record; None without a pace."""
    if newest is None or not newest["samples_per_second"]:
        return None
    examples = (1 - run.progress) * run.config.training.epochs * run.config.examples
    return float(examples / newest["samples_per_second"])
