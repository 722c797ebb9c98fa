"""What training yields: a record a step, and a record an epoch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Required, TypedDict, cast


@dataclass(frozen=True)
class Record:
    """Means over some steps, in nats per example where the objective is in nats. A part that the run has not is None.

    step: how many were done. epoch: the same in epochs, whole at the end of one.
    """

    step: int
    epoch: float
    loss: float
    soft_loss: float | None
    hard_loss: float | None
    learning_rate: float
    samples_per_second: float


class StepRecord(Record):
    """Means over the steps since the last record."""


@dataclass(frozen=True)
class EpochRecord(Record):
    """Means over one epoch, and validation results at its end. seconds: without the caller's time between records."""

    epoch: int
    validation_errors: int | None
    validation_accuracy: float | None
    best: bool
    seconds: float


class RecordRow(TypedDict, total=False):
    """A record as plain values, in events, in the store and in bundles. A step has none of the last four."""

    step: Required[int]
    kind: Required[Literal["step", "epoch"]]
    epoch: float
    loss: float
    soft_loss: float | None
    hard_loss: float | None
    learning_rate: float
    samples_per_second: float
    validation_errors: int | None
    validation_accuracy: float | None
    best: bool
    seconds: float


def waited(rows: Iterable[Mapping[str, Any]]) -> int:
    """How many epochs a run went on after its best one. rows: what it recorded, as as_dict gives it."""
    since = 0
    for row in rows:
        if row.get("kind") == "epoch":
            since = 0 if row["best"] else since + 1
    return since


def as_dict(record: Record) -> RecordRow:
    """A record as plain values."""
    return cast(RecordRow, {"kind": "epoch" if isinstance(record, EpochRecord) else "step", **vars(record)})
