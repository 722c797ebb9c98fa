"""The run store: what every run is, how it stands and what it recorded, in SQLite; its files in a folder beside.

    KD_HOME/lab.sqlite            configs, status, names and tags, records, findings such as speeds
    KD_HOME/lab.backup.sqlite     the same as it was when runs last were queued or ended, for kd_core.runs.recovery
    KD_STORAGE/runs/<id>/         config.json, origin.json (batch and browser), group.json (whom it trains with as one),
                                  checkpoint.pt, weights.safetensors, logits.safetensors, card.json, export/

A run is a row before it is a job. One process owns a run while it is queued or running, and only the owner writes its
row; any process may read, may ask the owner to stop or pause it, and may name, tag or delete it once it has ended.
No torch here: a page reads runs at once.

Step records are kept whole. Beside them stand, for each of PARTS, the lowest and the highest value in each stretch of
BUCKET_STEPS steps, so that a curve of millions of points is read from thousands, its spikes kept (min-max decimation,
as in Jugel et al., "M4", VLDB 2014).
"""

import json
import logging
import os
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import psutil

from kd_core.base.config import LabError
from kd_core.base.files import AnyPath, Found, found, is_file, remove, remove_folder, replaced_whole, write_atomic
from kd_core.runs.curves import CURVE_STRETCHES, EXTREMES, MANY_RECORDS, extremes_of
from kd_core.runs.events import Event, enter
from kd_core.runs.run import (
    ACTIVE,
    MAX_NAME,
    MAX_NOTE,
    MAX_TAG,
    MAX_TAGS,
    PARTS,
    RECORD_COLUMNS,
    RESUMABLE,
    Results,
    Run,
    RunFolder,
    Status,
    StoreError,
    folder_of,
    new_id,
)
from kd_core.training.config import RunConfig
from kd_core.training.records import RecordRow

log = logging.getLogger(__name__)


DATABASE, BACKUP = "lab.sqlite", "lab.backup.sqlite"

MAX_STEP = 2**62
DAYS_UNTIL_PURGED = 1.0
SECONDS_UNTIL_GONE = 180.0
"""Without a sign of life, after which the owner of runs on another host is taken for gone."""
DAYS_CHECKPOINTS_ARE_KEPT = 14.0
MOST_CHECKPOINT_BYTES = 5_000_000_000
SECONDS_FOR_A_LOCK = 10
LEAST_ROOM_BYTES = 65_536


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
"""


def readiness(run: Run) -> int:
    """How soon a run serves who asks for its config: 0 finished, 1 waits or is at work, 2 may go on, 3 never."""
    if run.status == "finished" and run.usable:
        return 0
    return 1 if run.status in ACTIVE else 2 if run.status in RESUMABLE else 3


def serving(known: Iterable[Run]) -> dict[RunConfig, Run]:
    """Of each config the run that serves soonest: the same config gives the same weights."""
    by_config: dict[RunConfig, Run] = {}
    for run in sorted(known, key=readiness):
        if readiness(run) < 3:
            by_config.setdefault(run.settled, run)
    return by_config


def shared(configs: Mapping[str, RunConfig], known: Iterable[Run]) -> tuple[dict[str, RunConfig], dict[str, str]]:
    """Which of these runs (id -> config, teachers first) are to be trained, and which are known: id -> the known one's.

    A student whose teacher is known learns from that one.
    """
    there = serving(known)
    new: dict[str, RunConfig] = {}
    same: dict[str, str] = {}
    for run_id, config in configs.items():
        told = config.distillation
        if told is not None and same.keys() & {*told.teachers}:
            teachers = tuple(same.get(teacher, teacher) for teacher in told.teachers)
            config = config.replace(distillation=told.replace(teachers=teachers))
        if config in there:
            same[run_id] = there[config].id
        else:
            new[run_id] = config
    return new, same


class Store:
    """All runs of one KD_HOME. Safe to share between threads; other processes may use the same home.

    storage: where the files of the runs lie, home itself by default; workers on other hosts see no more than that.
    Every method raises StoreError where the database cannot be read or written.
    """

    def __init__(self, home: Path, storage: AnyPath | None = None) -> None:
        self.home = home
        self.storage: AnyPath = storage or home
        self._lock = threading.RLock()
        self._me = _this_process()
        self._heard: dict[str, tuple[float, float]] = {}  # owner -> its last sign, and when it came on our own clock
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{home} cannot be used: {error.strerror}. Set KD_HOME to another folder.") from error
        with self._database_errors():
            self._connect()
            self._database.executescript(_SCHEMA)
            with suppress(sqlite3.OperationalError):  # it is there, or the disk is read-only: older stores had none
                self._database.execute("ALTER TABLE runs ADD COLUMN joined TEXT NOT NULL DEFAULT ''")

    def _connect(self) -> None:
        path = self.home / DATABASE
        self._may_write = os.access(path, os.W_OK) or not path.exists()
        self._database = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=SECONDS_FOR_A_LOCK
        )
        self._database.row_factory = sqlite3.Row
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")

    def close(self) -> None:
        """Release the database."""
        with self._lock:
            self._database.close()

    def folder(self, run_id: str) -> RunFolder:
        """Where the files of a run lie."""
        return folder_of(self.storage, run_id)

    # ------------------------------------------------------------------------------------------------- writing

    def create(self, configs: dict[str, RunConfig], batch: str | None = None, browser: str = "") -> None:
        """Enter runs as queued and owned by this process, all or none. configs: id -> config, in running order.

        browser: on whose behalf. Raises SaveError where a run's folder cannot be written; none is entered then.
        """
        batch = batch or new_id()
        now = time.time()
        new = [run_id for run_id in configs if not is_file(self.folder(run_id).config)]
        try:
            origin = json.dumps({"batch": batch, "browser": browser, "created_at": now}).encode()
            for run_id, config in configs.items():
                write_atomic(self.folder(run_id).origin, origin)
                write_atomic(self.folder(run_id).config, config.model_dump_json(indent=2).encode())
            with self._transaction() as database:
                for run_id, config in configs.items():
                    database.execute(
                        "INSERT INTO runs (id, created_at, config, batch, status, owner, browser)"
                        " VALUES (?, ?, ?, ?, 'queued', ?, ?)",
                        (run_id, now, config.model_dump_json(), batch, self._me, browser),
                    )
        except LabError:
            for run_id in new:  # a folder without a row would be taken for a run that the list has lost
                remove_folder(self.folder(run_id).path)
            raise

    def apply(self, run_id: str, *events: Event) -> None:
        """Enter what a run's execution reports, in one transaction."""
        with self._transaction() as database:
            for event in events:
                enter(database, run_id, event)

    def adopt(self, run: Run, records: Iterable[RecordRow], probes: Iterable[tuple[int, list[list[float]]]]) -> None:
        """Enter a run that ended elsewhere, owned by this process, with its records and probes; all or nothing.

        records: in order of step, as records() gives them, of both kinds; probes: as probes() gives them. The run's
        files are its caller's to write. Raises StoreError where its id is taken or it is still at work.
        """
        if run.status in ACTIVE:
            raise StoreError(f"run {run.id} is {run.status}: only one that has ended can be taken in")
        row = {
            **vars(run),
            "owner": self._me,
            "config": run.config.model_dump_json(),
            "environment": json.dumps(run.environment),
            "results": json.dumps(run.results),
            "tags": json.dumps(run.tags),
            "joined": ",".join(run.joined),
        }
        marks = ", ".join("?" * len(row))
        ends: dict[float, int] = {0: 0}  # epoch -> its last step
        with self._transaction() as database:
            database.execute(f"INSERT INTO runs ({', '.join(row)}) VALUES ({marks})", list(row.values()))
            for record in records:
                enter(database, run.id, record)
                if record["kind"] == "epoch":
                    ends[record["epoch"]] = record["step"]
            for epoch, logits in probes:
                step = ends.get(epoch, run.step)
                enter(database, run.id, {"kind": "probe", "epoch": epoch, "step": step, "logits": logits})
            database.execute("UPDATE runs SET step = ? WHERE id = ?", (run.step, run.id))

    def correct(self, run_id: str, config: RunConfig, results: Results, *, finished: bool) -> None:
        """Enter what a run is and has learned as its folder has it, for a row that tells otherwise."""
        with self._transaction() as database:
            database.execute(
                "UPDATE runs SET config = ?, results = ? WHERE id = ?",
                (config.model_dump_json(), json.dumps(results) if results else None, run_id),
            )
            if finished:
                text = "It had ended before the list of runs heard of it; its last records may be missing."
                database.execute(
                    "UPDATE runs SET status = 'finished', request = NULL, message = ?, ended_at = COALESCE(ended_at, ?)"
                    " WHERE id = ?",
                    (text, time.time(), run_id),
                )

    def take_up(self, run_id: str) -> None:
        """Queue a run again, now owned by this process."""
        with self._transaction() as database:
            changed = database.execute(
                "UPDATE runs SET status = 'queued', request = NULL, message = NULL, owner = ?"
                f" WHERE id = ? AND deleted_at IS NULL AND status IN ({_quoted(RESUMABLE)})",
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

    def join(self, run_id: str, browser: str) -> None:
        """Enter a browser beside those that asked for a run."""
        with self._transaction() as database:
            run = self.get(run_id)
            if browser and browser not in run.browsers:
                joined = ",".join((*run.joined, browser))
                database.execute("UPDATE runs SET joined = ? WHERE id = ?", (joined, run_id))

    def leave(self, run_id: str, browser: str) -> bool:
        """Take a browser from those that asked for a run, whose it then is; False where no other asked for it."""
        with self._transaction() as database:
            run = self.get(run_id)
            others = [other for other in run.browsers if other != browser]
            if not others or browser not in run.browsers:
                return False
            first, *others = others
            database.execute("UPDATE runs SET browser = ?, joined = ? WHERE id = ?", (first, ",".join(others), run_id))
            return True

    def describe(self, run_id: str, *, name: str, note: str, tags: Iterable[str]) -> None:
        """Set what people say of a run: a name instead of the made one, a note, and tags."""
        cleaned = list(dict.fromkeys(tag.strip()[:MAX_TAG] for tag in tags if tag.strip()))
        with self._transaction() as database:
            database.execute(
                "UPDATE runs SET name = ?, note = ?, tags = ? WHERE id = ?",
                (name.strip()[:MAX_NAME], note.strip()[:MAX_NOTE], json.dumps(cleaned[:MAX_TAGS]), run_id),
            )

    def delete(self, run_id: str) -> None:
        """Take a run out of all lists. restore brings it back until purge; its students keep what they learned.

        Raises StoreError while it is queued or running, or while a run that needs its weights is.
        """
        run = self.get(run_id)
        if run.status in ACTIVE:
            raise StoreError(f"{run.label} is {run.status}: stop it first, then delete it")
        for other in self.runs(statuses=ACTIVE):
            distillation = other.config.distillation
            if other.config.continues == run_id or (distillation and run_id in distillation.teachers):
                raise StoreError(f"{other.label} is {other.status} and needs {run.label}: wait for it, or stop it")
        with self._transaction() as database:
            database.execute("UPDATE runs SET deleted_at = ? WHERE id = ?", (time.time(), run_id))

    def restore(self, run_id: str) -> None:
        """Undo delete."""
        with self._transaction() as database:
            database.execute("UPDATE runs SET deleted_at = NULL WHERE id = ?", (run_id,))

    def purge(self, days: float = DAYS_UNTIL_PURGED) -> list[str]:
        """Remove for good what was deleted this many days ago or more, with its files. Returns ids."""
        rows = self._rows("SELECT id FROM runs WHERE deleted_at <= ?", time.time() - 86_400 * days)
        gone = [row["id"] for row in rows]
        for run_id in gone:
            remove_folder(self.folder(run_id).path)
            with self._transaction() as database:
                for table in ("records", "extremes", "probes"):
                    database.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))
                database.execute("DELETE FROM findings WHERE instr(run_ids, ?)", (run_id,))
                database.execute("DELETE FROM runs WHERE id = ?", (run_id,))
        return gone

    def prune(self, days: float = DAYS_CHECKPOINTS_ARE_KEPT, most_bytes: int = MOST_CHECKPOINT_BYTES) -> list[str]:
        """Remove training states that nobody is likely to go on from; never what a run has learned so far.

        These are the checkpoints of runs that are finished or gone, those of runs that have rested for this many days,
        and of the others the oldest beyond most_bytes in all. A run without its checkpoint starts anew when it is
        resumed, towards the same weights. Returns the ids of the runs whose checkpoint went.
        """
        status = {row["id"]: row["status"] for row in self.statuses()}
        checkpoints: list[Found] = []
        partials: list[Found] = []
        with suppress(OSError):  # where storage does not answer: another time
            for name in ("checkpoint.pt", "together.pt"):
                checkpoints += found(self.storage / "runs", f"*/{name}")
            partials = found(self.storage / "runs", "*/.*.partial")
        oldest_kept, kept_bytes, pruned = time.time() - 86_400 * days, 0, []
        for file, written_at, size in sorted(checkpoints, key=lambda one: one.written_at, reverse=True):
            run_id = file.parent.name
            if status.get(run_id) in ACTIVE:
                continue
            kept_bytes += size
            if status.get(run_id) not in RESUMABLE or written_at < oldest_kept or kept_bytes > most_bytes:
                kept_bytes -= size
                with suppress(OSError):
                    remove(file)
                    pruned.append(run_id)
        for partial in partials:
            if partial.written_at < time.time() - 86_400:
                with suppress(OSError):
                    remove(partial.path)
        return pruned

    def back_up(self) -> None:
        """Put a whole copy of the database beside it. Raises StoreError; what was there before is then kept."""
        with (
            suppress(OSError),
            self._database_errors(),
            replaced_whole(self.home / BACKUP) as partial,
            closing(sqlite3.connect(self.home / DATABASE, timeout=SECONDS_FOR_A_LOCK)) as reader,
        ):
            reader.execute("VACUUM INTO ?", (str(partial),))

    def give_sign(self) -> None:
        """Show other hosts that this process, which may own runs, lives."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO owners VALUES (?, ?)", (self._me, time.time()))
            database.execute("DELETE FROM owners WHERE seen_at < ?", (time.time() - 86_400,))

    def interrupt_orphans(self) -> list[str]:
        """Mark as interrupted what is queued or running in name only, its owner gone. Returns ids.

        The owner is gone from this machine where its process is. On another host, which may be this machine's last
        container, it is gone once it has given no sign of life for SECONDS_UNTIL_GONE.
        """
        silent = self._silence()
        rows = self._rows(f"SELECT id, owner, created_at FROM runs WHERE status IN ({_quoted(ACTIVE)})")
        orphans = [row["id"] for row in map(dict, rows) if not self._owned(row, silent)]
        for run_id in orphans:
            text = "The program that ran it ended. Resume goes on from the last checkpoint."
            self.apply(run_id, {"kind": "interrupted", "text": text})
        return orphans

    def save_finding(self, kind: str, run_ids: Iterable[str], result: dict[str, Any]) -> None:
        """Keep what was found out of some runs together, such as their speed measured side by side."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?)",
                (kind, _key(run_ids), time.time(), json.dumps(result)),
            )

    def forget_finding(self, kind: str, run_ids: Iterable[str]) -> None:
        """Let it be found out again."""
        with self._transaction() as database:
            database.execute("DELETE FROM findings WHERE kind = ? AND run_ids = ?", (kind, _key(run_ids)))

    # ------------------------------------------------------------------------------------------------- reading

    def statuses(self) -> list[sqlite3.Row]:
        """The id and status of every run, of the deleted too."""
        return self._rows("SELECT id, status FROM runs")

    def accounts(self) -> list[dict[str, Any]]:
        """id, status, config and results (JSON) of every run, of the deleted too; at_work: by a living process."""
        rows = self._rows("SELECT id, status, config, results, owner, created_at FROM runs")
        silent = self._silence()
        return [{**row, "at_work": row["status"] in ACTIVE and self._owned(row, silent)} for row in map(dict, rows)]

    def _silence(self) -> dict[str, float]:
        """For how many seconds each owner of runs has given no sign of life.

        Its first sign that is seen here is dated by the clock on the wall, which both hosts share; from then on our own
        clock counts, which nobody sets.
        """
        now = time.monotonic()
        for row in self._rows("SELECT owner, seen_at FROM owners"):
            owner, seen_at = row["owner"], row["seen_at"]
            if owner not in self._heard:
                self._heard[owner] = seen_at, now - max(0.0, time.time() - seen_at)
            elif self._heard[owner][0] != seen_at:
                self._heard[owner] = seen_at, now
        return {owner: now - heard_at for owner, (_, heard_at) in self._heard.items()}

    def _owned(self, row: Mapping[str, Any], silent: Mapping[str, float]) -> bool:
        """Whether the owner of a run still lives; one on another host does that has not been silent for too long."""
        if row["owner"] == self._me:
            return True
        owner: dict[str, Any] = json.loads(row["owner"])
        if owner["host"] != socket.gethostname():
            return bool(silent.get(row["owner"], time.time() - row["created_at"]) < SECONDS_UNTIL_GONE)
        return _lives(owner)

    def active_browsers(self) -> list[tuple[str, ...]]:
        """Who asked for each of the runs that wait or are at work."""
        return [run.browsers for run in self.runs(statuses=ACTIVE)]

    def joinable(self) -> list[Run]:
        """The runs that wait or are at work in this process, and that nobody has asked to end."""
        query = f"SELECT * FROM runs WHERE owner = ? AND request IS NULL AND status IN ({_quoted(ACTIVE)})"
        return [run for run in map(_run_or_none, self._rows(query, self._me)) if run is not None]

    def blocked(self, runs: Iterable[Run]) -> set[str]:
        """The ids of those of these runs that wait for a teacher, which is not there yet or has left no weights."""
        taught = {run.id: run.config.distillation.teachers for run in runs if run.config.distillation}
        named = {teacher for teachers in taught.values() for teacher in teachers}
        ready = {run.id for run in self.some([*named]) if run.usable and run.status not in ACTIVE}
        return {run_id for run_id, teachers in taught.items() if not ready.issuperset(teachers)}

    def get(self, run_id: str) -> Run:
        """The run with this id. Raises StoreError where there is none."""
        for row in self._rows("SELECT * FROM runs WHERE id = ? AND deleted_at IS NULL", run_id):
            return _run(row)
        raise StoreError(f"there is no run '{run_id}': see the list of runs")

    def find(self, text: str) -> Run:
        """The run whose id starts with text. Raises StoreError unless there is just one."""
        rows = self._rows("SELECT * FROM runs WHERE deleted_at IS NULL AND substr(id, 1, ?) = ?", len(text), text)
        if len(rows) == 1:
            return _run(rows[0])
        problem = "there is no run" if not rows else "several runs have an id that starts with"
        raise StoreError(f"{problem} '{text}': see the list of runs")

    def runs(self, *, batch: str | None = None, statuses: Iterable[Status] | None = None) -> list[Run]:
        """Runs, newest first, of one batch and in some states where these are named."""
        clauses, values = ["deleted_at IS NULL"], []
        if batch is not None:
            clauses.append("batch = ?")
            values.append(batch)
        if statuses is not None:
            clauses.append(f"status IN ({_quoted(statuses)})")
        where = " AND ".join(clauses)
        rows = self._rows(f"SELECT * FROM runs WHERE {where} ORDER BY created_at DESC, rowid DESC", *values)
        return [run for run in map(_run_or_none, rows) if run is not None]

    def some(self, run_ids: Sequence[str]) -> list[Run]:
        """The runs with these ids, in this order; an id that nobody has is left out."""
        marks = ", ".join("?" * len(run_ids))
        rows = self._rows(f"SELECT * FROM runs WHERE deleted_at IS NULL AND id IN ({marks})", *run_ids)
        found = {run.id: run for run in map(_run_or_none, rows) if run is not None}
        return [found[run_id] for run_id in dict.fromkeys(run_ids) if run_id in found]

    def status(self, run_id: str) -> Status | None:
        """How a run stands, or None where there is none or it was deleted."""
        rows = self._rows("SELECT status FROM runs WHERE id = ? AND deleted_at IS NULL", run_id)
        return rows[0]["status"] if rows else None

    def request(self, run_id: str) -> str | None:
        """What the owner of this run was asked: 'stop', 'pause' or nothing."""
        rows = self._rows("SELECT request FROM runs WHERE id = ?", run_id)
        return rows[0]["request"] if rows else None

    def records(
        self, run_id: str, kind: Literal["step", "epoch"], after: int = -1, until: int = MAX_STEP
    ) -> list[RecordRow]:
        """The records of one kind after a step and up to another, in order; what a record has not is None."""
        rows = self._rows(
            "SELECT * FROM records WHERE run_id = ? AND kind = ? AND step > ? AND step <= ? ORDER BY step",
            run_id, kind, after, until,
        )  # fmt: skip
        return [_record(row) for row in rows]

    def last_record(self, run_id: str) -> RecordRow | None:
        """The newest step or epoch record of a run."""
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
        """What each run of a batch got wrong of its validation split after its newest epoch, as far as they count it.

        run id -> errors; runs without an epoch or without a split are left out.
        """
        query = (
            "SELECT run_id, validation_errors, max(step) FROM records"
            " WHERE kind = 'epoch' AND run_id IN (SELECT id FROM runs WHERE batch = ?) GROUP BY run_id"
        )  # SQLite takes the errors from the row of the maximum
        newest = {row["run_id"]: row["validation_errors"] for row in self._rows(query, batch)}
        return {run_id: errors for run_id, errors in newest.items() if errors is not None}

    def curve(self, run_id: str, part: str) -> list[tuple[float, float]]:
        """(epoch, value) of one of PARTS over a run's steps, in order.

        Every record of a short run; of a long one the lowest and the highest of each of CURVE_STRETCHES stretches.
        """
        if part not in PARTS:
            raise ValueError(f"a curve is one of {', '.join(PARTS)}, got {part}")
        of_run = "WHERE run_id = ? AND kind = 'step'"
        many = self._rows(f"SELECT 1 FROM records {of_run} LIMIT 1 OFFSET ?", run_id, MANY_RECORDS)
        if not many:
            query = f"SELECT epoch, {part} FROM records {of_run} AND {part} NOT NULL ORDER BY step"
            points = [tuple(row) for row in self._rows(query, run_id)]
            stretch = -(-len(points) // CURVE_STRETCHES)
            return points if stretch <= 2 else extremes_of(points, stretch)
        last = self._rows("SELECT max(bucket) FROM extremes WHERE run_id = ?", run_id)[0][0]
        stretch = 1 + last // CURVE_STRETCHES
        found = set()
        for end, function in (("low", "min"), ("high", "max")):  # SQLite takes the epoch from the row of the extreme
            query = (
                f"SELECT {part}_{end}_epoch, {function}({part}_{end}) FROM extremes"
                f" WHERE run_id = ? AND {part}_{end} NOT NULL GROUP BY bucket / ?"
            )
            found |= {tuple(row) for row in self._rows(query, run_id, stretch)}
        return sorted(found)

    def probes(self, run_id: str, after: int = -1) -> list[tuple[int, list[list[float]]]]:
        """(epoch, logits of the probe images) as the run learned, after an epoch: 0 is before the first step."""
        rows = self._rows(
            "SELECT epoch, logits FROM probes WHERE run_id = ? AND epoch > ? ORDER BY epoch", run_id, after
        )
        return [(row["epoch"], json.loads(row["logits"])) for row in rows]

    def probe(self, run_id: str, image: int, after: int = -1) -> list[tuple[int, list[float]]]:
        """The same of one probe image: (epoch, its logits). An epoch whose logits are not all finite is left out.

        SQLite takes them out of the rest: to read all of a long run's for one image takes a hundred times the memory.
        """
        query = (
            "SELECT epoch, CASE WHEN json_valid(logits) THEN json_extract(logits, ?) END AS logits FROM probes"
            " WHERE run_id = ? AND epoch > ? ORDER BY epoch"
        )
        rows = self._rows(query, f"$[{image:d}]", run_id, after)
        return [(row["epoch"], json.loads(row["logits"])) for row in rows if row["logits"] is not None]

    def epoch_seconds(self, run_id: str) -> list[float]:
        """What each epoch of a run took."""
        query = "SELECT seconds FROM records WHERE run_id = ? AND kind = 'epoch' ORDER BY step"
        return [row["seconds"] for row in self._rows(query, run_id)]

    def finding(self, kind: str, run_ids: Iterable[str]) -> dict[str, Any] | None:
        """What was found out of just these runs, in any order, or None."""
        for row in self._rows("SELECT result FROM findings WHERE kind = ? AND run_ids = ?", kind, _key(run_ids)):
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
            raise StoreError("what was asked for holds what is no text in UTF-8, so there is nothing of it") from None
        except sqlite3.IntegrityError as error:
            raise StoreError(f"The run store cannot take this entry ({error}).") from error
        except sqlite3.OperationalError as error:
            raise StoreError(database_problem(error, self.home)) from error
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"{self.home / DATABASE} is damaged ({error}): start KD Lab again. It then puts the list together from"
                " its backup and the runs' own folders, which stay as they are."
            ) from error


def errorname(error: sqlite3.Error) -> str:
    """SQLite's own name of an error, such as SQLITE_IOERR_SHMSIZE; empty for one that Python itself raised."""
    return getattr(error, "sqlite_errorname", "")


def database_problem(error: sqlite3.OperationalError, home: Path) -> str:
    """The sentence for a database that cannot be read or written though it is not damaged."""
    name = errorname(error)
    disk = name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN"))  # which of the disk's troubles, SQLite does not say
    if name == "SQLITE_FULL" or (disk and _is_full(home)):
        reason = "its disk is full: free some space"
    elif name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        reason = "it cannot be written: give it write permission or set KD_HOME to another folder"
    elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        reason = f"another program has kept it locked for {SECONDS_FOR_A_LOCK} seconds: close that program"
    elif disk:
        reason = "its disk reports errors: see whether it is still there and well"
    else:
        reason = str(error)
    return f"The run store in {home} cannot be used: {reason}."


def _is_full(folder: Path) -> bool:
    """Whether a disk has no room for what SQLite needs to open a database."""
    try:
        return shutil.disk_usage(folder).free < LEAST_ROOM_BYTES
    except OSError:
        return False


_read: dict[str, tuple[tuple[Any, ...], Run]] = {}
"""Of each run the newest row that was read, and what was made of it."""
MOST_READ = 5000


def _run(row: sqlite3.Row) -> Run:
    """A run, shared by all who read the same row: each page lists all runs, most of them as they were before."""
    cells = tuple(row)
    known = _read.get(row["id"])
    if known is not None and known[0] == cells:
        return known[1]
    values = dict(row)
    del values["owner"]
    values["config"] = _config(values["config"])
    values["environment"] = json.loads(values["environment"] or "{}")
    values["results"] = json.loads(values["results"] or "{}")
    values["tags"] = tuple(json.loads(values["tags"]))
    values["joined"] = tuple(filter(None, str(values.get("joined", "")).split(",")))
    run = Run(**values)
    if len(_read) >= MOST_READ:
        _read.clear()
    _read[run.id] = cells, run
    return run


@lru_cache(maxsize=1024)
def _config(text: str) -> RunConfig:
    """A run's config never changes; reading it anew for every page that lists runs was a tenth of a class's time."""
    return RunConfig.from_json(text)


def _run_or_none(row: sqlite3.Row) -> Run | None:
    """A row that another version wrote and this one cannot read is left out, not allowed to hide all others."""
    try:
        return _run(row)
    except (LabError, ValueError) as error:
        log.warning("run %s cannot be read: %s", row["id"], error)
        return None


def _record(row: sqlite3.Row) -> RecordRow:
    return cast(RecordRow, {column: row[column] for column in RECORD_COLUMNS})


def _key(run_ids: Iterable[str]) -> str:
    return ",".join(sorted(run_ids))


def _quoted(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _this_process() -> str:
    """What tells this process from every other, now and later: JSON, always the same."""
    return json.dumps({"host": socket.gethostname(), **_birth(os.getpid())})


@cache
def _birth(pid: int) -> dict[str, Any]:
    return {"pid": pid, "started": psutil.Process(pid).create_time(), "life": _life(pid)}


def _life(pid: int) -> str:
    """What only one process with this id has, and no clock moves: Linux's boot and the tick of it that it began at.

    Empty where the system does not say. psutil's time of the start moves with the clock on the wall.
    """
    with suppress(OSError, IndexError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # a name may hold what it likes
        return f"{boot} {facts[19]}"
    return ""


def _lives(owner: Mapping[str, Any]) -> bool:
    """Whether a process of this machine is there. Owners that earlier versions entered tell the time of their start."""
    try:
        process = psutil.Process(owner["pid"])
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if owner.get("life"):
            return bool(owner["life"] == _life(owner["pid"]))
        return bool(abs(process.create_time() - owner["started"]) < 1)
    except psutil.NoSuchProcess:
        return False
