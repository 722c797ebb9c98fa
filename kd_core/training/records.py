"""What training yields: a record a step, and a record an epoch."""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class StepRecord:
    """Means over the steps since the last record, in nats per example where the objective is in nats.

    A part that the run has not is None.
    """

    step: int
    epoch: float
    loss: float
    soft_loss: float | None
    hard_loss: float | None
    learning_rate: float
    samples_per_second: float


@dataclass(frozen=True)
class EpochRecord:
    """Means over one epoch, and what the validation split says at its end. seconds leaves the caller's time out."""

    step: int
    epoch: int
    loss: float
    soft_loss: float | None
    hard_loss: float | None
    learning_rate: float
    samples_per_second: float
    validation_errors: int | None
    validation_accuracy: float | None
    best: bool
    seconds: float


Record = StepRecord | EpochRecord


def as_dict(record: Record) -> dict[str, Any]:
    """A record as plain values, with its kind: 'step' or 'epoch'."""
    kind = "epoch" if isinstance(record, EpochRecord) else "step"
    return {"kind": kind, **vars(replace(record))}
