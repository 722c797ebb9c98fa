"""What the execution of a run reports, as JSON between processes, and how the store enters it."""

import json
import sqlite3
import time
from typing import Any, Literal, Required, TypedDict

from kd_core.runs.curves import forget_extremes, widen
from kd_core.runs.run import LOST_WORKER, RECORD_COLUMNS, Results
from kd_core.training.records import RecordRow


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
    """A run leaves its worker. queued: it waits for another turn. text: a sentence for people."""

    kind: Required[Literal["finished", "stopped", "paused", "failed", "interrupted", "queued"]]
    text: str | None
    results: Results | None


Event = Started | Message | RecordRow | Probe | Ended

ENDS = frozenset({"finished", "stopped", "paused", "failed", "interrupted", "queued"})


def enter(database: sqlite3.Connection, run_id: str, event: Event) -> None:
    """Enter an event of a run, in the transaction of its caller."""
    if event["kind"] == "step" or event["kind"] == "epoch":
        values = [event.get(column) for column in RECORD_COLUMNS]
        marks = ", ".join("?" * (len(values) + 1))
        database.execute(
            f"INSERT OR REPLACE INTO records (run_id, {', '.join(RECORD_COLUMNS)}) VALUES ({marks})",
            (run_id, *values),
        )
        database.execute("UPDATE runs SET step = ? WHERE id = ?", (event["step"], run_id))
        if event["kind"] == "step":
            widen(database, run_id, event)
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
        forget_extremes(database, run_id, event["step"])
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
