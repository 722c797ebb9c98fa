"""A run's records thinned into buckets, so that a curve of any length is drawn at once."""

import sqlite3
from collections.abc import Mapping
from typing import Any

from kd_core.runs.run import PARTS

BUCKET_STEPS = 128
MANY_RECORDS = 20_000
"""Step records of one run beyond which its curve is read from the extremes."""

CURVE_STRETCHES = 500
"""A curve is read as the lowest and the highest value in each of about this many stretches."""

EXTREMES = [f"{part}_{end}" for part in PARTS for end in ("low", "low_epoch", "high", "high_epoch")]


def extremes_of(points: list[tuple[float, float]], stretch: int) -> list[tuple[float, float]]:
    """The lowest and the highest of every `stretch` points, and the last point of all."""
    kept = {points[-1]}
    for start in range(0, len(points), stretch):
        piece = points[start : start + stretch]
        kept |= {min(piece, key=lambda point: point[1]), max(piece, key=lambda point: point[1])}
    return sorted(kept)


def widen(database: sqlite3.Connection, run_id: str, record: Mapping[str, Any]) -> None:
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


def forget_extremes(database: sqlite3.Connection, run_id: str, step: int) -> None:
    """Compute the minima and maxima anew from the records up to a step."""
    bucket = step // BUCKET_STEPS
    database.execute("DELETE FROM extremes WHERE run_id = ? AND bucket >= ?", (run_id, bucket))
    kept = database.execute(
        "SELECT * FROM records WHERE run_id = ? AND kind = 'step' AND step >= ?", (run_id, bucket * BUCKET_STEPS)
    )
    for row in kept.fetchall():
        widen(database, run_id, dict(row))
