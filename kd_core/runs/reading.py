"""The reading half of the run store: rows of SQLite as runs, records and curves, and its errors as sentences."""

import json
import logging
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

from kd_core.base.config import LabError
from kd_core.base.files import AnyPath, keep_private
from kd_core.base.templates import read_back, said
from kd_core.models.architectures import own
from kd_core.runs.events import EXTREMES
from kd_core.runs.run import (
    ACTIVE,
    PARTS,
    RECORD_COLUMNS,
    Listing,
    Run,
    RunFolder,
    Status,
    StoreError,
    folder_of,
    status_of,
)
from kd_core.training.config import RunConfig
from kd_core.training.records import RecordRow

log = logging.getLogger(__name__)

DATABASE, BACKUP = "lab.sqlite", "lab.backup.sqlite"
SECONDS_FOR_A_LOCK = 10
LEAST_ROOM_BYTES = 65_536
MAX_STEP = 2**62
MANY_RECORDS = 20_000
"""Step records of one run beyond which its curve is read from the extremes."""
CURVE_STRETCHES = 500
"""A curve is read as the lowest and the highest value in each of about this many stretches."""

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, created_at REAL NOT NULL, config TEXT NOT NULL, batch TEXT NOT NULL, status TEXT NOT NULL,
    request TEXT, owner TEXT NOT NULL, message TEXT, step INTEGER NOT NULL DEFAULT 0, total_steps INTEGER,
    started_at REAL, ended_at REAL, environment TEXT, results TEXT, browser TEXT NOT NULL DEFAULT '',
    name TEXT NOT NULL DEFAULT '', note TEXT NOT NULL DEFAULT '', tags TEXT NOT NULL DEFAULT '[]', deleted_at REAL,
    attempt INTEGER NOT NULL DEFAULT 0, joined TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS runs_by_status ON runs (status);
CREATE INDEX IF NOT EXISTS runs_by_batch ON runs (batch);
CREATE INDEX IF NOT EXISTS runs_by_age ON runs (created_at);
CREATE TABLE IF NOT EXISTS records (
    run_id TEXT NOT NULL REFERENCES runs (id), {", ".join(RECORD_COLUMNS)}, PRIMARY KEY (run_id, kind, step)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS extremes (
    run_id TEXT NOT NULL REFERENCES runs (id), bucket INTEGER NOT NULL, {", ".join(EXTREMES)},
    PRIMARY KEY (run_id, bucket)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS probes (
    run_id TEXT NOT NULL REFERENCES runs (id), epoch INTEGER NOT NULL, step INTEGER NOT NULL, logits TEXT NOT NULL,
    PRIMARY KEY (run_id, epoch)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS owners (owner TEXT PRIMARY KEY, seen_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS findings (
    kind TEXT NOT NULL, run_ids TEXT NOT NULL, found_at REAL NOT NULL, result TEXT NOT NULL, PRIMARY KEY (kind, run_ids)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (run_id TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS changes_by_revision ON changes (revision);
"""
_TRIGGERS = "".join(
    f"""
CREATE TRIGGER IF NOT EXISTS runs_note_{event} AFTER {event} ON runs BEGIN
    INSERT OR REPLACE INTO changes VALUES ({row}.id, (SELECT ifnull(max(revision), 0) + 1 FROM changes));
END;
"""
    for event, row in (("insert", "new"), ("update", "new"), ("delete", "old"))
)
"""Which rows of runs changed, in order, whoever wrote them: a listing that is kept reads those again, and no others."""
ROWS = "SELECT rowid AS place, * FROM runs WHERE deleted_at IS NULL"
_NEWEST_FIRST = " ORDER BY created_at DESC, rowid DESC"
MANY = 200
"""Rows that newest reads at once."""


class Reader:
    """What any process may read of the runs of one KD_HOME. Safe to share between threads."""

    def __init__(self, home: Path, storage: AnyPath | None = None) -> None:
        self.home = home
        self.storage: AnyPath = storage or home
        self._lock = threading.RLock()
        self.when_closed: Callable[[], None] = lambda: None
        self._listing: Listing | None = None
        self._seen: tuple[int, ...] = ()  # as of which revision the listing is
        try:
            runs = ["runs"] if self.storage == home else []  # where each says whose it is
            keep_private(home, DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", BACKUP, *runs)
        except OSError as error:
            why = {"folder": home, "why": error.strerror}
            raise StoreError(said("{folder} cannot be used: {why}. Set KD_HOME to another folder.", **why)) from error
        with self._database_errors():
            self._connect()
            self._prepare()

    def close(self) -> None:
        """Release the database."""
        with self._lock:
            self._database.close()
            self.when_closed()

    def folder(self, run_id: str) -> RunFolder:
        """Return the folder of a run."""
        return folder_of(self.storage, run_id)

    def statuses(self) -> list[sqlite3.Row]:
        """Read the id and status of every run, the deleted included."""
        return self._rows("SELECT id, status FROM runs")

    def blocked(self, runs: Iterable[Run]) -> set[str]:
        """Find those of these runs whose teacher has no weights yet, by id."""
        taught = {run.id: run.config.distillation.teachers for run in runs if run.config.distillation}
        named = {teacher for teachers in taught.values() for teacher in teachers}
        ready = {run.id for run in self.some([*named]) if run.usable and run.status not in ACTIVE}
        return {run_id for run_id, teachers in taught.items() if not ready.issuperset(teachers)}

    def get(self, run_id: str) -> Run:
        """Read the run with this id. Raises StoreError where there is none."""
        for row in self._rows(f"{ROWS} AND id = ?", run_id):
            return _run(row)
        raise StoreError(said("there is no run '{run_id}': see the list of runs", run_id=run_id))

    def find(self, text: str) -> Run:
        """Find the run whose id starts with text. Raises StoreError unless there is exactly one."""
        rows = self._rows(f"{ROWS} AND substr(id, 1, ?) = ?", len(text), text)
        if len(rows) == 1:
            return _run(rows[0])
        if rows:
            raise StoreError(said("several runs have an id that starts with '{text}': see the list of runs", text=text))
        raise StoreError(said("there is no run '{run_id}': see the list of runs", run_id=text))

    def listing(self) -> Listing:
        """List all runs. The first call reads them all, and keeps them; each other reads what has changed since."""
        with self._lock:
            revision = self._revision()
            if self._listing is None or (len(revision) > 1 and revision != self._seen):
                rows = self._rows(ROWS)
                self._listing = Listing((_place(row), run) for row, run in _readable(rows))
            elif revision != self._seen:
                changed = "SELECT run_id FROM changes WHERE revision > ?"
                rows = self._rows(f"{ROWS} AND id IN ({changed})", *self._seen)
                runs = {run.id: (_place(row), run) for row, run in _readable(rows)}
                gone = {row["run_id"] for row in self._rows(changed, *self._seen)} - runs.keys()
                self._listing = self._listing.after(runs, gone)
            self._seen = revision
            return self._listing

    def _revision(self) -> tuple[int, ...]:
        """Return what differs once a run has changed. Of a disk that cannot be written it is two numbers, not one."""
        if self._notes_changes:
            return (self._rows("SELECT ifnull(max(revision), 0) FROM changes")[0][0],)
        return self._rows("PRAGMA data_version")[0][0], self._database.total_changes

    def runs(self, *, batch: str | None = None, statuses: Iterable[Status] | None = None) -> list[Run]:
        """Read runs, newest first: all, or those of one batch, or in some states."""
        if self._listing is None and (batch is not None or statuses is not None):  # a few, of whoever has not all yet
            clauses = [ROWS, *(["batch = ?"] if batch is not None else [])]
            clauses += [] if statuses is None else [f"status IN ({quoted(statuses)})"]
            values = [] if batch is None else [batch]
            return readable(self._rows(" AND ".join(clauses) + _NEWEST_FIRST, *values))
        listing = self.listing()
        if batch is not None:
            runs = [*reversed(listing.batches.get(batch, []))]
            return runs if statuses is None else [run for run in runs if run.status in {*statuses}]
        if statuses is None:
            return [*listing.runs]
        groups = listing.grouped(status_of)
        return listing.newest_first(run for status in {*statuses} for run in groups.get(status, {}).values())

    def newest(self) -> Iterator[Run]:
        """Read runs one after another, newest first, for whoever is content with some."""
        last: tuple[Any, ...] = (float("inf"), 0)
        while rows := self._rows(f"{ROWS} AND (created_at, rowid) < (?, ?) {_NEWEST_FIRST} LIMIT {MANY}", *last):
            yield from readable(rows)
            last = _place(rows[-1])

    def some(self, run_ids: Sequence[str]) -> list[Run]:
        """Read the runs with these ids, in this order; unknown ids are left out."""
        if self._listing is not None:
            known = self.listing().by_id
        else:
            marks = ", ".join("?" * len(run_ids))
            known = {run.id: run for run in readable(self._rows(f"{ROWS} AND id IN ({marks})", *run_ids))}
        return [known[run_id] for run_id in dict.fromkeys(run_ids) if run_id in known]

    def status(self, run_id: str) -> Status | None:
        """Read the status of a run; None where there is none or it was deleted."""
        rows = self._rows("SELECT status FROM runs WHERE id = ? AND deleted_at IS NULL", run_id)
        return rows[0]["status"] if rows else None

    def request(self, run_id: str) -> str | None:
        """Read what the owner of a run is to do: 'stop', 'pause' or None."""
        rows = self._rows("SELECT request FROM runs WHERE id = ?", run_id)
        return rows[0]["request"] if rows else None

    def records(
        self, run_id: str, kind: Literal["step", "epoch"], after: int = -1, until: int = MAX_STEP
    ) -> list[RecordRow]:
        """Read the records of one kind after a step and up to another, in order; what a record lacks is None."""
        rows = self._rows(
            "SELECT * FROM records WHERE run_id = ? AND kind = ? AND step > ? AND step <= ? ORDER BY step",
            run_id, kind, after, until,
        )  # fmt: skip
        return [_record(row) for row in rows]

    def paces(self, run_id: str, kind: Literal["step", "epoch"], after: int, most: int) -> list[float | None]:
        """Read the samples per second of the newest records of one kind after a step, at most so many."""
        rows = self._rows(
            "SELECT samples_per_second FROM records WHERE run_id = ? AND kind = ? AND step > ?"
            " ORDER BY step DESC LIMIT ?",
            run_id, kind, after, most,
        )  # fmt: skip
        return [row["samples_per_second"] for row in rows]

    def last_record(self, run_id: str) -> RecordRow | None:
        """Read the newest step or epoch record of a run."""
        newest = [
            row
            for kind in ("step", "epoch")
            for row in self._rows(
                "SELECT * FROM records WHERE run_id = ? AND kind = ? ORDER BY step DESC LIMIT 1", run_id, kind
            )
        ]
        last = max(newest, key=lambda row: row["step"], default=None)
        return None if last is None else _record(last)

    def validation_errors(self, batch: str) -> dict[str, int]:
        """Read the validation errors of each run of a batch after its newest epoch.

        run id -> errors; runs without an epoch or without a split are left out.
        """
        query = (
            "SELECT run_id, validation_errors, max(step) FROM records"
            " WHERE kind = 'epoch' AND run_id IN (SELECT id FROM runs WHERE batch = ?) GROUP BY run_id"
        )  # SQLite takes the errors from the row of the maximum
        newest = {row["run_id"]: row["validation_errors"] for row in self._rows(query, batch)}
        return {run_id: errors for run_id, errors in newest.items() if errors is not None}

    def curve(self, run_id: str, part: str) -> list[tuple[float, float]]:
        """Read (epoch, value) of one of PARTS over a run's steps, in order.

        Every record of a short run; of a long one the lowest and the highest of each of CURVE_STRETCHES stretches.
        """
        if part not in PARTS:
            raise ValueError(f"a curve is one of {', '.join(PARTS)}, got {part}")
        of_run = "WHERE run_id = ? AND kind = 'step'"
        many = self._rows(f"SELECT 1 FROM records {of_run} LIMIT 1 OFFSET ?", run_id, MANY_RECORDS)
        if not many:
            query = f"SELECT epoch, {part} FROM records {of_run} AND {part} NOT NULL ORDER BY step"
            every = [tuple(row) for row in self._rows(query, run_id)]
            stretch = -(-len(every) // CURVE_STRETCHES)
            return every if stretch <= 2 else extremes_of(every, stretch)
        last = self._rows("SELECT max(bucket) FROM extremes WHERE run_id = ?", run_id)[0][0]
        stretch = 1 + last // CURVE_STRETCHES
        points = set()
        for end, function in (("low", "min"), ("high", "max")):  # SQLite takes the epoch from the row of the extreme
            query = (
                f"SELECT {part}_{end}_epoch, {function}({part}_{end}) FROM extremes"
                f" WHERE run_id = ? AND {part}_{end} NOT NULL GROUP BY bucket / ?"
            )
            points |= {tuple(row) for row in self._rows(query, run_id, stretch)}
        return sorted(points)

    def probes(self, run_id: str, after: int = -1) -> list[tuple[int, list[list[float]]]]:
        """Read (epoch, logits of the probe images) after each epoch; epoch 0 is before the first step."""
        rows = self._rows(
            "SELECT epoch, logits FROM probes WHERE run_id = ? AND epoch > ? ORDER BY epoch", run_id, after
        )
        return [(row["epoch"], json.loads(row["logits"])) for row in rows]

    def probe(self, run_id: str, image: int, after: int = -1) -> list[tuple[int, list[float]]]:
        """Read (epoch, logits) of one probe image. An epoch whose logits are not all finite is left out.

        SQLite takes them out of the rest: to read all of a long run's for one image takes a hundred times the memory.
        """
        query = (
            "SELECT epoch, CASE WHEN json_valid(logits) THEN json_extract(logits, ?) END AS logits FROM probes"
            " WHERE run_id = ? AND epoch > ? ORDER BY epoch"
        )
        rows = self._rows(query, f"$[{image:d}]", run_id, after)
        return [(row["epoch"], json.loads(row["logits"])) for row in rows if row["logits"] is not None]

    def epoch_seconds(self, run_id: str) -> list[float]:
        """Read how long each epoch of a run took."""
        query = "SELECT seconds FROM records WHERE run_id = ? AND kind = 'epoch' ORDER BY step"
        return [row["seconds"] for row in self._rows(query, run_id)]

    def finding(self, kind: str, run_ids: Iterable[str]) -> dict[str, Any] | None:
        """Read the finding of exactly these runs, in any order; None where there is none."""
        for row in self._rows("SELECT result FROM findings WHERE kind = ? AND run_ids = ?", kind, key_of(run_ids)):
            result: dict[str, Any] = json.loads(row["result"])
            return result | {"problem": read_back(result["problem"])} if "problem" in result else result
        return None

    # The database.

    def _connect(self) -> None:
        path = self.home / DATABASE
        self._may_write = os.access(path, os.W_OK) or not path.exists()
        self._database, has_room = connected(path, "journal_mode=WAL", "synchronous=NORMAL")
        self._may_write = self._may_write and has_room

    def _prepare(self) -> None:
        """Make what a new store lacks, and an older one; where the disk cannot be written, do without the latter."""
        if not self._has("runs_note_delete"):
            try:
                self._database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {_TRIGGERS} COMMIT;")
            except sqlite3.OperationalError:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                if not self._has("runs"):
                    raise
        with suppress(sqlite3.OperationalError):  # it is there, or the disk is read-only: older stores had none
            self._database.execute("ALTER TABLE runs ADD COLUMN joined TEXT NOT NULL DEFAULT ''")
        self._notes_changes = self._has("runs_note_delete")

    def _has(self, name: str) -> bool:
        return bool(self._database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchall())

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock, self._database_errors():
            return self._database.execute(query, values).fetchall()

    def _write(self, query: str, *values: Any) -> int:
        """Execute a statement in a transaction of its own, and return how many rows it changed."""
        with self._transaction() as database:
            return database.execute(query, values).rowcount

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._database_errors():
            self._begin()
            try:
                yield self._database
            except BaseException:
                if self._database.in_transaction:  # a full disk has rolled it back already
                    self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def _begin(self) -> None:
        if not self._may_write:  # opened while its disk was read-only, it would stay so when the disk no longer is
            self._database.close()
            self._connect()
        self._database.execute("BEGIN IMMEDIATE")

    @contextmanager
    def _database_errors(self) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError:  # a shell hands bytes of another encoding over as half a surrogate pair each
            raise StoreError(
                said("what was asked for holds what is no text in UTF-8, so there is nothing of it")
            ) from None
        except sqlite3.IntegrityError as error:
            known = "UNIQUE" in str(error)
            problem = said("one of its id is there already") if known else said("it lacks a part")
            raise StoreError(said("The run store cannot take this entry: {problem}.", problem=problem)) from error
        except sqlite3.OperationalError as error:
            raise StoreError(database_problem(error, self.home)) from error
        except sqlite3.DatabaseError as error:
            raise StoreError(
                said(
                    "{file} is damaged ({why}): start KD Lab again. It then puts the list together from its backup and"
                    " the runs' own folders, which stay as they are.",
                    file=self.home / DATABASE,
                    why=str(error),
                )
            ) from error


def connected(path: Path, *pragmas: str) -> tuple[sqlite3.Connection, bool]:
    """Open a database, and tell whether there is room to write to it.

    On a full disk SQLite cannot lay out the memory that processes share: it is then opened for this process alone.
    """
    until = time.monotonic() + SECONDS_FOR_A_LOCK
    while True:
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=SECONDS_FOR_A_LOCK)
        database.row_factory = sqlite3.Row
        try:
            for pragma in pragmas:
                database.execute(f"PRAGMA {pragma}")
            database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
            return database, True
        except sqlite3.OperationalError as error:
            if path.exists() and path.stat().st_size and _is_full(path.parent):
                database.close()
                database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                database.row_factory = sqlite3.Row
                database.execute("PRAGMA locking_mode=EXCLUSIVE")
                database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
                return database, False
            database.close()
            # while another process makes a new one SQLite does not wait by itself
            if not errorname(error).startswith("SQLITE_BUSY") or time.monotonic() > until:
                raise
            time.sleep(0.05)


def errorname(error: sqlite3.Error) -> str:
    """Return SQLite's own name of an error, such as SQLITE_IOERR_SHMSIZE; empty for one that Python itself raised."""
    return getattr(error, "sqlite_errorname", "")


def database_problem(error: sqlite3.OperationalError, home: Path) -> str:
    """Say in a sentence why a database that is not damaged cannot be read or written."""
    name = errorname(error)
    disk = name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN"))  # which of the disk's troubles, SQLite does not say
    if name == "SQLITE_FULL" or (disk and _is_full(home)):
        reason: str = said("its disk is full: free some space")
    elif name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        reason = said("it cannot be written: give it write permission or set KD_HOME to another folder")
    elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        reason = said(
            "another program has kept it locked for {seconds} seconds: close that program", seconds=SECONDS_FOR_A_LOCK
        )
    elif disk:
        reason = said("its disk reports errors: see whether it is still there and well")
    else:
        reason = str(error)
    return said("The run store in {folder} cannot be used: {reason}.", folder=home, reason=reason)


def _is_full(folder: Path) -> bool:
    """Tell whether a disk has too little room for SQLite to open a database."""
    try:
        return shutil.disk_usage(folder).free < LEAST_ROOM_BYTES
    except OSError:
        return False


def extremes_of(points: list[tuple[float, float]], stretch: int) -> list[tuple[float, float]]:
    """Keep the lowest and the highest of every `stretch` points, and the last point."""
    kept = {points[-1]}
    for start in range(0, len(points), stretch):
        piece = points[start : start + stretch]
        kept |= {min(piece, key=lambda point: point[1]), max(piece, key=lambda point: point[1])}
    return sorted(kept)


def _run(row: sqlite3.Row) -> Run:
    values = dict(row)
    del values["owner"], values["place"]
    values["config"] = _config(values["config"])
    values["environment"] = json.loads(values["environment"] or "{}")
    values["results"] = json.loads(values["results"] or "{}")
    values["tags"] = tuple(json.loads(values["tags"]))
    values["message"] = values["message"] and read_back(values["message"])
    values["joined"] = tuple(filter(None, str(values.get("joined", "")).split(",")))
    return Run(**values)


def _place(row: sqlite3.Row) -> tuple[float, int]:
    """Where a run stands among all: the newer the larger."""
    return row["created_at"], row["place"]


@lru_cache(maxsize=1024)
def _config(text: str) -> RunConfig:
    """Parse a run's config once: doing so for every page that lists runs was a tenth of a class's time."""
    return RunConfig.from_json(text)


def readable(rows: Iterable[sqlite3.Row]) -> list[Run]:
    """Make runs of rows. One that another version wrote and this one cannot read is logged, and left out."""
    return [run for _, run in _readable(rows)]


def _readable(rows: Iterable[sqlite3.Row]) -> Iterator[tuple[sqlite3.Row, Run]]:
    for row in rows:
        try:
            yield row, _run(row)
        except (LabError, ValueError) as error:
            log.warning("run %s cannot be read: %s", row["id"], error)


def _record(row: sqlite3.Row) -> RecordRow:
    return cast(RecordRow, {column: row[column] for column in RECORD_COLUMNS})


def key_of(run_ids: Iterable[str]) -> str:
    """Make the key of a finding of these runs, in any order."""
    return ",".join(sorted(run_ids))


def quoted(words: Iterable[str]) -> str:
    """Write words of ours, never a user's, as a list in SQL."""
    return ", ".join(f"'{word}'" for word in words)


def check_code(known: Reader, configs: Mapping[str, RunConfig]) -> None:
    """Raise ConfigError where own code cannot be trained here, or cannot teach. Nothing of it is imported.

    configs: the runs, by id; known: has those of their teachers that are not among them. Who is nowhere is passed over.
    """
    for config in configs.values():
        if config.model.own:
            own.check_trainable(config.model.name)
        ids = config.distillation.teachers if config.distillation else ()
        teachers = {run.id: run.config for run in known.some([run_id for run_id in ids if run_id not in configs])}
        for run_id in ids:
            teacher = configs.get(run_id) or teachers.get(run_id)
            if teacher is not None and teacher.model.own:
                own.check_permitted(own.path_of(teacher.model.name))
