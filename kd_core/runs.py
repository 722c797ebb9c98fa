"""The run store: what every run is, how it stands and what it recorded, in SQLite; its files in a folder beside.

    KD_HOME/lab.sqlite            configs, status, records, measured speeds
    KD_HOME/runs/<id>/            config.json, checkpoint.pt, weights.safetensors, logits.safetensors, card.json

A run is a row before it is a job. One process owns a run while it is queued or running, and only the owner writes its
row; any process may read, and may ask the owner to stop or pause it. No torch here: a page reads runs at once.
"""

import json
import logging
import secrets
import socket
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from kd_core.config import LabError, RunConfig
from kd_core.files import write_atomic

log = logging.getLogger(__name__)

Status = Literal["queued", "running", "paused", "finished", "stopped", "failed", "interrupted"]
ACTIVE: tuple[Status, ...] = ("queued", "running")
RESUMABLE: tuple[Status, ...] = ("paused", "stopped", "failed", "interrupted")

RECORD_COLUMNS = (
    "step",
    "kind",
    "epoch",
    "loss",
    "soft_loss",
    "hard_loss",
    "learning_rate",
    "samples_per_second",
    "validation_errors",
    "validation_accuracy",
    "best",
    "seconds",
)

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, created_at REAL NOT NULL, config TEXT NOT NULL, batch TEXT NOT NULL, status TEXT NOT NULL,
    request TEXT, owner TEXT NOT NULL, message TEXT, step INTEGER NOT NULL DEFAULT 0, total_steps INTEGER,
    started_at REAL, ended_at REAL, environment TEXT, results TEXT
);
CREATE INDEX IF NOT EXISTS runs_by_status ON runs (status);
CREATE TABLE IF NOT EXISTS records (
    run_id TEXT NOT NULL REFERENCES runs (id), {", ".join(RECORD_COLUMNS)}, PRIMARY KEY (run_id, kind, step)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS speeds (run_ids TEXT PRIMARY KEY, measured_at REAL NOT NULL, result TEXT NOT NULL);
"""


class StoreError(LabError):
    """The store cannot be used, or has no such run; one sentence says what to do."""


@dataclass(frozen=True)
class Run:
    """One row, as it stood when it was read. Times are seconds since 1970; message is a sentence for people."""

    id: str
    created_at: float
    config: RunConfig
    batch: str
    status: Status
    request: str | None
    message: str | None
    step: int
    total_steps: int | None
    started_at: float | None
    ended_at: float | None
    environment: dict[str, Any]
    results: dict[str, Any]

    @property
    def label(self) -> str:
        """A name for lists: what it is, and the start of its id."""
        return f"{self.config.label} · {self.config.dataset} · {self.id[:4]}"

    @property
    def progress(self) -> float:
        """Share of its steps done, 0 to 1."""
        return min(1.0, self.step / self.total_steps) if self.total_steps else 0.0

    @property
    def usable(self) -> bool:
        """Whether it left weights that can be shown, compared and taught from."""
        return bool(self.results)


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    config = property(lambda self: self.path / "config.json")
    checkpoint = property(lambda self: self.path / "checkpoint.pt")
    weights = property(lambda self: self.path / "weights.safetensors")
    logits = property(lambda self: self.path / "logits.safetensors")
    card = property(lambda self: self.path / "card.json")


def folder_of(home: Path, run_id: str) -> RunFolder:
    """Where the files of a run lie. Raises StoreError for what cannot be an id, so no id leads outside home."""
    if not (run_id.isascii() and run_id.isalnum()):
        raise StoreError(f"there is no run '{run_id}'")
    return RunFolder(home / "runs" / run_id)


def new_id() -> str:
    """An id for a run or a batch that nobody has yet."""
    return secrets.token_hex(5)


class Store:
    """All runs of one KD_HOME. Safe to share between threads; other processes may use the same home.

    Every method raises StoreError where the database cannot be read or written.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._lock = threading.RLock()
        self._me = json.dumps(_this_process())
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{home} cannot be used: {error.strerror}. Set KD_HOME to another folder.") from error
        with self._database_errors():
            self._database = sqlite3.connect(
                home / "lab.sqlite", isolation_level=None, check_same_thread=False, timeout=10
            )
            self._database.row_factory = sqlite3.Row
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Release the database."""
        with self._lock:
            self._database.close()

    def folder(self, run_id: str) -> RunFolder:
        """Where the files of a run lie."""
        return folder_of(self.home, run_id)

    # ------------------------------------------------------------------------------------------------- writing

    def create(self, configs: dict[str, RunConfig], batch: str | None = None) -> None:
        """Enter runs as queued and owned by this process, all or none. configs: id -> config, in running order.

        Raises SaveError where a run's folder cannot be written; the runs are not entered then.
        """
        batch = batch or new_id()
        now = time.time()
        for run_id, config in configs.items():
            write_atomic(self.folder(run_id).config, config.model_dump_json(indent=2).encode())
        with self._transaction() as database:
            for run_id, config in configs.items():
                database.execute(
                    "INSERT INTO runs (id, created_at, config, batch, status, owner) VALUES (?, ?, ?, ?, 'queued', ?)",
                    (run_id, now, config.model_dump_json(), batch, self._me),
                )

    def apply(self, run_id: str, *events: dict[str, Any]) -> None:
        """Enter what the run's execution reports, in one transaction: events as kd_core.jobs.perform emits them."""
        with self._transaction() as database:
            for event in events:
                _apply(database, run_id, event)

    def take_up(self, run_id: str) -> None:
        """Queue a run again, now owned by this process."""
        with self._transaction() as database:
            changed = database.execute(
                "UPDATE runs SET status = 'queued', request = NULL, message = NULL, owner = ?"
                f" WHERE id = ? AND status IN ({_quoted(RESUMABLE)})",
                (self._me, run_id),
            )
            if changed.rowcount != 1:
                raise StoreError(f"run {run_id} is {self.get(run_id).status} and cannot be resumed")

    def ask(self, run_id: str, request: Literal["stop", "pause"]) -> None:
        """Ask the owner of a queued or running run to stop or pause it."""
        with self._transaction() as database:
            database.execute(
                f"UPDATE runs SET request = ? WHERE id = ? AND status IN ({_quoted(ACTIVE)})",
                (request, run_id),
            )

    def interrupt_orphans(self) -> list[str]:
        """Mark as interrupted what is queued or running in name only, its owner gone from this machine. Returns ids."""
        orphans = [
            row["id"]
            for row in self._rows(f"SELECT id, owner FROM runs WHERE status IN ({_quoted(ACTIVE)})")
            if not _alive(json.loads(row["owner"]))
        ]
        for run_id in orphans:
            self.apply(
                run_id,
                {
                    "kind": "interrupted",
                    "text": "The program that ran it ended. Resume goes on from the last checkpoint.",
                },
            )
        return orphans

    def save_speed(self, run_ids: Iterable[str], result: dict[str, Any]) -> None:
        """Keep a speed measurement of several runs, made side by side."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO speeds VALUES (?, ?, ?)", (_key(run_ids), time.time(), json.dumps(result))
            )

    # ------------------------------------------------------------------------------------------------- reading

    def get(self, run_id: str) -> Run:
        """The run with this id. Raises StoreError where there is none."""
        for row in self._rows("SELECT * FROM runs WHERE id = ?", run_id):
            return _run(row)
        raise StoreError(f"there is no run '{run_id}': see the list of runs")

    def find(self, text: str) -> Run:
        """The run whose id starts with text, or for 'last' the newest. Raises StoreError unless there is just one."""
        if text == "last":
            rows = self._rows("SELECT * FROM runs ORDER BY created_at DESC, rowid DESC LIMIT 1")
        else:
            rows = [row for row in self._rows("SELECT * FROM runs") if row["id"].startswith(text)]
        if len(rows) == 1:
            return _run(rows[0])
        problem = "there is no run" if not rows else "several runs have an id that starts with"
        raise StoreError(f"{problem} '{text}': see the list of runs")

    def runs(self, *, batch: str | None = None, statuses: Iterable[Status] | None = None) -> list[Run]:
        """Runs, newest first, of one batch and in some states where these are named."""
        clauses, values = ["1"], []
        if batch is not None:
            clauses.append("batch = ?")
            values.append(batch)
        if statuses is not None:
            clauses.append(f"status IN ({_quoted(statuses)})")
        where = " AND ".join(clauses)
        rows = self._rows(f"SELECT * FROM runs WHERE {where} ORDER BY created_at DESC, rowid DESC", *values)
        return [run for run in map(_run_or_none, rows) if run is not None]

    def request(self, run_id: str) -> str | None:
        """What the owner of this run was asked: 'stop', 'pause' or nothing."""
        rows = self._rows("SELECT request FROM runs WHERE id = ?", run_id)
        return rows[0]["request"] if rows else None

    def records(self, run_id: str, kind: Literal["step", "epoch"]) -> list[dict[str, Any]]:
        """The records of one kind, by step: the fields of kd_core.training's StepRecord or EpochRecord."""
        return [
            {column: row[column] for column in RECORD_COLUMNS}
            for row in self._rows("SELECT * FROM records WHERE run_id = ? AND kind = ? ORDER BY step", run_id, kind)
        ]

    def speed(self, run_ids: Iterable[str]) -> dict[str, Any] | None:
        """The measurement kept for just these runs, or None."""
        for row in self._rows("SELECT result FROM speeds WHERE run_ids = ?", _key(run_ids)):
            result: dict[str, Any] = json.loads(row["result"])
            return result
        return None

    # ------------------------------------------------------------------------------------------------ plumbing

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock, self._database_errors():
            return self._database.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._database_errors():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                if self._database.in_transaction:  # a full disk has rolled it back already
                    self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    @contextmanager
    def _database_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise StoreError(f"The run store cannot take this entry ({error}).") from error
        except sqlite3.OperationalError as error:
            reason = str(error)
            if "full" in reason:
                reason = "its disk is full: free some space"
            elif "readonly" in reason or "unable to open" in reason:
                reason = "it cannot be written: give it write permission or set KD_HOME to another folder"
            raise StoreError(f"The run store in {self.home} cannot be used: {reason}.") from error
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"{self.home / 'lab.sqlite'} is damaged ({error}): move it away to start a new list;"
                " the runs' own folders stay as they are."
            ) from error


def _apply(database: sqlite3.Connection, run_id: str, event: dict[str, Any]) -> None:
    kind = event["kind"]
    if kind in ("step", "epoch"):
        values = [event.get(column) for column in RECORD_COLUMNS]
        marks = ", ".join("?" * (len(values) + 1))
        database.execute(
            f"INSERT OR REPLACE INTO records (run_id, {', '.join(RECORD_COLUMNS)}) VALUES ({marks})",
            (run_id, *values),
        )
        database.execute("UPDATE runs SET step = ? WHERE id = ?", (event["step"], run_id))
    elif kind == "message":
        database.execute("UPDATE runs SET message = ? WHERE id = ?", (event["text"], run_id))
    elif kind == "started":
        database.execute("DELETE FROM records WHERE run_id = ? AND step > ?", (run_id, event["step"]))
        database.execute(
            "UPDATE runs SET status = 'running', message = NULL, started_at = COALESCE(started_at, ?),"
            " ended_at = NULL, step = ?, total_steps = ?, environment = ? WHERE id = ?",
            (time.time(), event["step"], event["total_steps"], json.dumps(event["environment"]), run_id),
        )
    else:
        results = event.get("results")
        database.execute(
            "UPDATE runs SET status = ?, message = ?, request = NULL, ended_at = ?,"
            " results = COALESCE(?, results) WHERE id = ?",
            (kind, event.get("text"), time.time(), json.dumps(results) if results else None, run_id),
        )


def _run(row: sqlite3.Row) -> Run:
    values = dict(row)
    del values["owner"]
    values["config"] = RunConfig.from_json(values["config"])
    values["environment"] = json.loads(values["environment"] or "{}")
    values["results"] = json.loads(values["results"] or "{}")
    return Run(**values)


def _run_or_none(row: sqlite3.Row) -> Run | None:
    """A row that another version wrote and this one cannot read is left out, not allowed to hide all others."""
    try:
        return _run(row)
    except LabError as error:
        log.warning("run %s cannot be read: %s", row["id"], error)
        return None


def _key(run_ids: Iterable[str]) -> str:
    return ",".join(sorted(run_ids))


def _quoted(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _this_process() -> dict[str, Any]:
    process = psutil.Process()
    return {"host": socket.gethostname(), "pid": process.pid, "started": process.create_time()}


def _alive(owner: dict[str, Any]) -> bool:
    """Whether the owner still runs. Of another host nothing is known here, so its runs are left to it."""
    if owner["host"] != socket.gethostname():
        return True
    try:
        process = psutil.Process(owner["pid"])
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - owner["started"]) < 1
    except psutil.NoSuchProcess:
        return False
