"""What somebody who watches runs has not seen yet: how they stand, and their records since the last time.

Plain values, so that one answer serves a browser, a test or a shell. Nothing is kept between two answers: the watcher
says how far it has seen.
"""

import math
import re
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Literal, NamedTuple, TypedDict

from kd_core.runs.run import PARTS, Part, Run, Status
from kd_core.runs.store import Store

EpochColumn = Literal[Part, "epoch", "validation_accuracy"]
EPOCH_COLUMNS: tuple[EpochColumn, ...] = ("epoch", *PARTS, "validation_accuracy")


class Seen(NamedTuple):
    """How far a watcher has seen a run: its attempt, and the step of the last record."""

    attempt: int
    step: int


NOTHING = Seen(-1, -1)


class RunUpdate(TypedDict):
    """How a run stands, None where unknown, and its records since it was seen, as JSON for a watcher.

    progress runs from 0 to 1. Where whole is true the records are all of the run's, thinned, and replace what the
    watcher had. steps: part -> (epochs, values). epochs: a column for each of EPOCH_COLUMNS.
    """

    id: str
    role: str
    status: Status
    request: str | None
    message: str | None
    waits_for_teacher: bool
    ended_at: float | None
    attempt: int
    step: int
    progress: float
    epochs_done: float
    epochs_total: int
    seconds_left: float | None
    samples_per_second: float | None
    learning_rate: float | None
    test_errors: int | None
    test_examples: int | None
    whole: bool
    steps: dict[Part, tuple[list[float], list[float]]]
    epochs: dict[EpochColumn, list[float | None]]


class ProbeUpdate(TypedDict):
    """The logits of one probe image after epochs that were not seen yet: K a row. whole: as in RunUpdate."""

    id: str
    attempt: int
    whole: bool
    epochs: list[int]
    logits: list[list[float]]


def parse_seen(text: str) -> dict[str, Seen]:
    """Read 'id:attempt:step,id:attempt:step'; whatever is not of this form is left out."""
    matches = re.finditer(r"(?:^|,)([0-9a-zA-Z]{1,40}):(\d{1,15}):(\d{1,15})(?=,|$)", text)
    return {match[1]: Seen(int(match[2]), int(match[3])) for match in matches}


def updates(store: Store, runs: Iterable[Run], seen: Mapping[str, Seen]) -> list[RunUpdate]:
    """Make an update for each run: its state, and its records since it was seen."""
    runs = [*runs]
    blocked = store.blocked(run for run in runs if run.status == "queued")
    return [_update(store, run, seen.get(run.id, NOTHING), run.id in blocked) for run in runs]


def _update(store: Store, run: Run, seen: Seen, blocked: bool) -> RunUpdate:
    whole = seen.attempt != run.attempt or seen.step > run.step
    since = -1 if whole else seen.step
    epochs = store.records(run.id, "epoch", since, run.step) if since < run.step else []
    if whole:
        steps = {part: _columns(store.curve(run.id, part)) for part in PARTS}
    else:
        records = store.records(run.id, "step", since, run.step) if since < run.step else []
        steps = {part: _columns((r["epoch"], v) for r in records if (v := r[part]) is not None) for part in PARTS}
    newest = store.last_record(run.id)
    total = run.config.training.epochs
    return {
        "id": run.id,
        "role": run.config.role,
        "status": run.status,
        "request": run.request,
        "message": run.message,
        "waits_for_teacher": blocked,
        "ended_at": run.ended_at,
        "attempt": run.attempt,
        "step": run.step,
        "progress": 1.0 if run.status == "finished" else run.progress,
        "epochs_done": run.progress * total,
        "epochs_total": total,
        "seconds_left": seconds_left(store, run) if run.status == "running" else None,
        "samples_per_second": newest["samples_per_second"] if newest else None,
        "learning_rate": newest["learning_rate"] if newest else None,
        "test_errors": run.results.get("test_errors"),
        "test_examples": run.results.get("test_examples"),
        "whole": whole,
        "steps": steps,
        "epochs": {column: [_finite(record[column]) for record in epochs] for column in EPOCH_COLUMNS},
    }


EPOCHS_OF_A_PACE, RECORDS_OF_A_PACE = 3, 60
"""By whose records, about twenty an epoch, the time left is estimated; and how many are read each time it is asked."""
PROBE_EPOCHS = 300
"""Of one run in an update, evenly spread, with the last."""
PROBE_LOGITS = 60_000
"""Of one run in an update: of a thousand classes, these are 60 epochs."""


def probe_updates(store: Store, runs: Iterable[Run], image: int, seen: Mapping[str, Seen]) -> list[ProbeUpdate]:
    """Give for each run the logits of one probe image after each epoch not seen yet; a Seen's step is an epoch.

    An epoch after which they are not finite, because the weights diverged, is left out.
    """
    answers: list[ProbeUpdate] = []
    for run in runs:
        last = seen.get(run.id, NOTHING)
        whole = last.attempt != run.attempt
        probes = store.probe(run.id, image, -1 if whole else last.step)
        most = PROBE_EPOCHS
        if probes:
            most = max(2, min(most, PROBE_LOGITS // len(probes[0][1])))
        stride = -(-(len(probes) - 1) // (most - 1))
        kept = probes if stride < 2 else [*probes[:-1:stride], probes[-1]]
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
    """Turn points into two columns, rounded to what a screen can show."""
    pairs = [(round(epoch, 4), float(f"{value:.5g}")) for epoch, value in points if math.isfinite(value)]
    return [epoch for epoch, _ in pairs], [value for _, value in pairs]


def _finite(value: float | None) -> float | None:
    """Replace what JSON cannot hold, such as the infinite loss of a run that diverged, by None."""
    return value if value is not None and math.isfinite(value) else None


def seconds_left(store: Store, run: Run) -> float | None:
    """Estimate the rest of a run at the median pace of its last epochs; None without a pace.

    A record may have waited for a page, another program or a sleeping laptop; and the first pays for the start.
    """
    since = run.step - EPOCHS_OF_A_PACE * (run.total_steps or 0) // run.config.training.epochs
    newest = store.paces(run.id, "step", max(since, 1), RECORDS_OF_A_PACE)
    paces = [pace for pace in newest or store.paces(run.id, "epoch", since, RECORDS_OF_A_PACE) if pace]
    if not paces:
        return None
    examples = (1 - run.progress) * run.config.training.epochs * run.config.examples
    return float(examples / median(paces))
