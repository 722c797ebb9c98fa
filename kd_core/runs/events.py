"""What the execution of a run reports, as JSON between processes, and how the store enters it."""

import json
import sqlite3
import time
from collections.abc import Mapping
from typing import Any, Literal, Required, TypedDict, cast

from kd_core.base.templates import kept
from kd_core.runs.run import LOST_WORKER, PARTS, RECORD_COLUMNS, Results
from kd_core.training.records import RecordRow

BUCKET_STEPS = 128
EXTREMES = [f"{part}_{end}" for part in PARTS for end in ("low", "low_epoch", "high", "high_epoch")]


class Started(TypedDict):
    """A run begins, or goes on from a checkpoint, at a step. environment: what it is trained on."""

    kind: Literal["started"]
    step: int
    total_steps: int
    environment: dict[str, Any]


class Message(TypedDict):
    """A sentence for people, about a run at work."""

    kind: Literal["message"]
    text: str


class Probe(TypedDict):
    """The logits of the probe images, before the first step (epoch 0) or after an epoch."""

    kind: Literal["probe"]
    epoch: int
    step: int
    logits: list[list[float]]


class Ended(TypedDict, total=False):
    """A run leaves its worker. queued: it waits for another turn. text: a sentence for people.

    unexpected: whether an error that no code expected ended it; its process may keep what caused that.
    """

    kind: Required[Literal["finished", "stopped", "paused", "failed", "interrupted", "queued"]]
    text: str | None
    results: Results | None
    unexpected: bool


Event = Started | Message | RecordRow | Probe | Ended

ENDS = frozenset({"finished", "stopped", "paused", "failed", "interrupted", "queued"})


def portable(event: Event) -> Event:
    """Return an event as other processes take it, whose text keeps what was Said."""
    text = event.get("text")
    return cast(Event, {**event, "text": kept(text)}) if isinstance(text, str) else event


def enter(database: sqlite3.Connection, run_id: str, event: Event) -> None:
    """Enter an event of a run, in the transaction of its caller."""
    event = portable(event)
    if event["kind"] == "step" or event["kind"] == "epoch":
        values = [event.get(column) for column in RECORD_COLUMNS]
        marks = ", ".join("?" * (len(values) + 1))
        database.execute(
            f"INSERT OR REPLACE INTO records (run_id, {', '.join(RECORD_COLUMNS)}) VALUES ({marks})",
            (run_id, *values),
        )
        database.execute("UPDATE runs SET step = ? WHERE id = ?", (event["step"], run_id))
        if event["kind"] == "step":
            _widen(database, run_id, event)
    elif event["kind"] == "probe":
        database.execute(
            "INSERT OR REPLACE INTO probes VALUES (?, ?, ?, ?)",
            (run_id, event["epoch"], event["step"], json.dumps(event["logits"])),
        )
    elif event["kind"] == "message":
        database.execute("UPDATE runs SET message = ? WHERE id = ?", (event["text"], run_id))
    elif event["kind"] == "queued":  # a request of its user stays
        database.execute("UPDATE runs SET status = 'queued', message = NULL WHERE id = ?", (run_id,))
    elif event["kind"] == "started":
        for table in ("records", "probes"):
            database.execute(f"DELETE FROM {table} WHERE run_id = ? AND step > ?", (run_id, event["step"]))
        _forget_extremes(database, run_id, event["step"])
        database.execute(
            "UPDATE runs SET status = 'running', message = CASE message WHEN ? THEN message END,"
            " started_at = COALESCE(started_at, ?), ended_at = NULL, attempt = attempt + 1, step = ?, total_steps = ?,"
            " environment = ? WHERE id = ?",
            (LOST_WORKER, time.time(), event["step"], event["total_steps"], json.dumps(event["environment"]), run_id),
        )
    else:
        results = event.get("results")
        database.execute(
            "UPDATE runs SET status = ?, message = ?, request = NULL, ended_at = ?,"
            " results = COALESCE(?, results) WHERE id = ?",
            (event["kind"], event.get("text"), time.time(), json.dumps(results) if results else None, run_id),
        )


def _widen(database: sqlite3.Connection, run_id: str, record: Mapping[str, Any]) -> None:
    """Update the minimum and maximum of a step record's bucket with this record."""
    values = [record.get(part) for part in PARTS]
    stated = [item for value in values for item in (value, record.get("epoch")) * 2]
    updates = []
    for part in PARTS:
        for end, beyond in (("low", "<"), ("high", ">")):
            column = f"{part}_{end}"
            further = f"{column} IS NULL OR excluded.{column} {beyond} {column}"
            updates += [
                f"{column}_epoch = CASE WHEN {further} THEN excluded.{column}_epoch ELSE {column}_epoch END",
                f"{column} = CASE WHEN {further} THEN excluded.{column} ELSE {column} END",
            ]
    database.execute(
        f"INSERT INTO extremes (run_id, bucket, {', '.join(EXTREMES)}) VALUES (?, ?{', ?' * len(EXTREMES)})"
        f" ON CONFLICT DO UPDATE SET {', '.join(updates)}",
        (run_id, record["step"] // BUCKET_STEPS, *stated),
    )


def _forget_extremes(database: sqlite3.Connection, run_id: str, step: int) -> None:
    """Compute the minima and maxima anew from the records up to a step."""
    bucket = step // BUCKET_STEPS
    database.execute("DELETE FROM extremes WHERE run_id = ? AND bucket >= ?", (run_id, bucket))
    kept = database.execute(
        "SELECT * FROM records WHERE run_id = ? AND kind = 'step' AND step >= ?", (run_id, bucket * BUCKET_STEPS)
    )
    for row in kept.fetchall():
        _widen(database, run_id, dict(row))
