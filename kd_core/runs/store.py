"""The run store: what every run is, how it stands and what it recorded, in SQLite; its files in a folder beside.

    KD_HOME/lab.sqlite            configs, status, names and tags, records, findings such as speeds
    KD_HOME/lab.backup.sqlite     the same as it was when runs last were queued or ended, for kd_core.runs.recovery
    KD_STORAGE/runs/<id>/         config.json, origin.json (batch and browser), group.json (whom it trains with as one),
                                  checkpoint.pt, weights.safetensors, logits.safetensors, history.jsonl (its records),
                                  card.json, export/

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
import socket
import sqlite3
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import psutil

from kd_core.base.config import LabError
from kd_core.base.files import (
    AnyPath,
    StoredFile,
    files_below,
    is_file,
    remove,
    remove_folder,
    replaced_whole,
    write_atomic,
)
from kd_core.base.templates import kept, said
from kd_core.runs.events import Event, enter
from kd_core.runs.reading import (
    BACKUP,
    DATABASE,
    ROWS,
    SECONDS_FOR_A_LOCK,
    Reader,
    check_code,
    key_of,
    quoted,
    readable,
)
from kd_core.runs.run import (
    ACTIVE,
    MAX_NAME,
    MAX_NOTE,
    MAX_TAG,
    MAX_TAGS,
    RESUMABLE,
    STATES,
    Listing,
    Results,
    Run,
    Status,
    StoreError,
    new_id,
)
from kd_core.training.config import RunConfig
from kd_core.training.records import RecordRow

log = logging.getLogger(__name__)


AT_ONCE = 8
"""Files of new runs that are written beside each other."""
DAYS_UNTIL_PURGED = 1.0
SECONDS_UNTIL_GONE = 180.0
"""Without a sign of life, after which the owner of runs on another host is taken for gone."""
DAYS_CHECKPOINTS_ARE_KEPT = 14.0
MOST_CHECKPOINT_BYTES = 5_000_000_000


def shared(configs: Mapping[str, RunConfig], known: Iterable[Run]) -> tuple[dict[str, RunConfig], dict[str, str]]:
    """Split runs (id -> config, teachers first) into those to train and those known (id -> the known run's id).

    A student whose teacher is known learns from that one.
    """
    there = Listing.of(known).serving()
    new: dict[str, RunConfig] = {}
    same: dict[str, str] = {}
    for run_id, config in configs.items():
        distillation = config.distillation
        if distillation is not None and same.keys() & {*distillation.teachers}:
            teachers = tuple(same.get(teacher, teacher) for teacher in distillation.teachers)
            config = config.replace(distillation=distillation.replace(teachers=teachers))
        if config in there:
            same[run_id] = there[config].id
        else:
            new[run_id] = config
    return new, same


class Account(NamedTuple):
    """What the list says of a run. config and results are JSON; at_work: queued or running, by a living process."""

    id: str
    status: Status
    config: str
    results: str | None
    at_work: bool


class Store(Reader):
    """All runs of one KD_HOME. Safe to share between threads; other processes may use the same home.

    storage: where the files of the runs lie, home itself by default; workers on other hosts see no more than that.
    Every method raises StoreError where the database cannot be read or written.
    """

    def __init__(self, home: Path, storage: AnyPath | None = None) -> None:
        super().__init__(home, storage)
        self._me = _this_process()
        self._left_out: dict[str, float] = {}  # of backups: runs whose folders hold their curves, and when they ended
        self._heard: dict[str, tuple[float, float]] = {}  # owner -> its last sign, and when it came on our own clock

    def create(self, configs: dict[str, RunConfig], batch: str | None = None, browser: str = "") -> None:
        """Enter runs as queued and owned by this process, all or none. configs: id -> config, in running order.

        browser: on whose behalf. Raises SaveError where a run's folder cannot be written; none is entered then.
        """
        batch = batch or new_id()
        now = time.time()
        new = [run_id for run_id in configs if not is_file(self.folder(run_id).config)]
        try:
            origin = json.dumps({"batch": batch, "browser": browser, "created_at": now}).encode()
            files = {self.folder(run_id).origin: origin for run_id in configs}
            files |= {
                self.folder(run_id).config: config.model_dump_json(indent=2).encode()
                for run_id, config in configs.items()
            }
            with ThreadPoolExecutor(AT_ONCE) as pool:  # a disk that syncs one file syncs others with it
                list(pool.map(write_atomic, files.keys(), files.values()))
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
            state = {"run_id": run.id, "status": STATES[run.status]}
            raise StoreError(said("run {run_id} is {status}: only one that has ended can be taken in", **state))
        row = {
            **{cell.name: getattr(run, cell.name) for cell in fields(run) if cell.init},
            "owner": self._me,
            "config": run.config.model_dump_json(),
            "message": run.message and kept(run.message),
            "environment": json.dumps(run.environment),
            "results": json.dumps(run.results),
            "tags": json.dumps(run.tags),
            "joined": ",".join(run.joined),
        }
        marks = ", ".join("?" * len(row))
        with self._transaction() as database:
            database.execute(f"INSERT INTO runs ({', '.join(row)}) VALUES ({marks})", list(row.values()))
            ends: dict[float, int] = {0: 0}  # epoch -> its last step
            for record in records:
                enter(database, run.id, record)
                if record["kind"] == "epoch":
                    ends[record["epoch"]] = record["step"]
            for epoch, logits in probes:
                step = ends.get(epoch, run.step)
                enter(database, run.id, {"kind": "probe", "epoch": epoch, "step": step, "logits": logits})
            database.execute("UPDATE runs SET step = ? WHERE id = ?", (run.step, run.id))

    def correct(self, run_id: str, config: RunConfig, results: Results, *, finished: bool) -> None:
        """Enter a run's config and results as its folder has them, for a row that differs."""
        with self._transaction() as database:
            database.execute(
                "UPDATE runs SET config = ?, results = ? WHERE id = ?",
                (config.model_dump_json(), json.dumps(results) if results else None, run_id),
            )
            if finished:
                text = said("It had ended before the list of runs heard of it; its last records may be missing.")
                database.execute(
                    "UPDATE runs SET status = 'finished', request = NULL, message = ?, ended_at = COALESCE(ended_at, ?)"
                    " WHERE id = ?",
                    (kept(text), time.time(), run_id),
                )

    def take_up(self, run_id: str) -> None:
        """Queue a run again, now owned by this process. Raises ConfigError where check_code does."""
        check_code(self, {run_id: self.get(run_id).config})
        query = (
            "UPDATE runs SET status = 'queued', request = NULL, message = NULL, owner = ?"
            f" WHERE id = ? AND deleted_at IS NULL AND status IN ({quoted(RESUMABLE)})"
        )
        if self._write(query, self._me, run_id) != 1:
            state = {"run_id": run_id, "status": STATES[self.get(run_id).status]}
            raise StoreError(said("run {run_id} is {status} and cannot be resumed", **state))

    def ask(self, run_id: str, request: Literal["stop", "pause"]) -> None:
        """Ask the owner of a queued or running run to stop or pause it."""
        self._write(f"UPDATE runs SET request = ? WHERE id = ? AND status IN ({quoted(ACTIVE)})", request, run_id)

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
        """Set the name, note and tags of a run."""
        cleaned = list(dict.fromkeys(tag.strip()[:MAX_TAG] for tag in tags if tag.strip()))
        name, note = name.strip()[:MAX_NAME], note.strip()[:MAX_NOTE]
        query, tags = "UPDATE runs SET name = ?, note = ?, tags = ? WHERE id = ?", cleaned[:MAX_TAGS]
        if self._write(query, name, note, json.dumps(tags), run_id):
            with suppress(LabError):  # the list has it; where it is lost, so is what could not be written here
                kept = json.dumps({"name": name, "note": note, "tags": tags}).encode()
                write_atomic(self.folder(run_id).description, kept)

    def delete(self, run_id: str) -> None:
        """Take a run out of all lists. restore brings it back until purge; its students keep what they learned.

        Raises StoreError while it is queued or running, or while a run that needs its weights is.
        """
        run = self.get(run_id)
        if run.status in ACTIVE:
            state = {"run": run.label, "status": STATES[run.status]}
            raise StoreError(said("{run} is {status}: stop it first, then delete it", **state))
        for other in self.runs(statuses=ACTIVE):
            distillation = other.config.distillation
            if other.config.continues == run_id or (distillation and run_id in distillation.teachers):
                raise StoreError(
                    said(
                        "{other} is {status} and needs {run}: wait for it, or stop it",
                        other=other.label,
                        status=STATES[other.status],
                        run=run.label,
                    )
                )
        self._write("UPDATE runs SET deleted_at = ? WHERE id = ?", time.time(), run_id)

    def restore(self, run_id: str) -> None:
        """Undo delete."""
        self._write("UPDATE runs SET deleted_at = NULL WHERE id = ?", run_id)

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
        checkpoints: list[StoredFile] = []
        partials: list[StoredFile] = []
        with suppress(OSError):  # where storage does not answer: another time
            for name in ("checkpoint.pt", "together.pt"):
                checkpoints += files_below(self.storage / "runs", f"*/{name}")
            partials = files_below(self.storage / "runs", "*/.*.partial")
        oldest_kept, kept_bytes, pruned = time.time() - 86_400 * days, 0, []
        for file, written_at, size in sorted(checkpoints, key=lambda file: file.written_at, reverse=True):
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
        """Put a copy of the database beside it, without the curves that lie in their runs' folders as well.

        Raises StoreError; what was there before is then kept.
        """
        path = self.home / DATABASE
        with suppress(OSError), self._database_errors(), replaced_whole(self.home / BACKUP) as partial:
            partial.touch(mode=path.stat().st_mode & 0o777)
            with closing(sqlite3.connect(partial, isolation_level=None, timeout=SECONDS_FOR_A_LOCK)) as copy:
                copy.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")  # it is synced as a whole
                copy.execute("ATTACH ? AS lab", (str(path),))
                copy.execute("BEGIN")
                copy.execute("CREATE TEMP TABLE kept (run_id PRIMARY KEY)")
                ended = "SELECT id, ended_at FROM lab.runs WHERE status = 'finished' AND ended_at NOT NULL"
                kept = [run[0] for run in copy.execute(ended).fetchall() if self._holds_its_curves(*run)]
                copy.executemany("INSERT INTO kept VALUES (?)", zip(kept))
                tables = "SELECT name, sql FROM lab.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
                for name, sql in copy.execute(tables).fetchall():
                    part = " WHERE run_id NOT IN kept" if name in ("records", "extremes", "probes") else ""
                    copy.execute(sql)
                    copy.execute(f"INSERT INTO main.{name} SELECT * FROM lab.{name}{part}")
                copy.execute("COMMIT")

    def _holds_its_curves(self, run_id: str, ended_at: float) -> bool:
        """Tell whether a run's folder holds its curves; that is looked up once for each run that has ended."""
        if self._left_out.get(run_id) != ended_at:
            if not is_file(self.folder(run_id).history):
                return False
            self._left_out[run_id] = ended_at
        return True

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
        rows = self._rows(f"SELECT id, owner, created_at FROM runs WHERE status IN ({quoted(ACTIVE)})")
        orphans = [row["id"] for row in rows if not self._owned(row, silent)]
        for run_id in orphans:
            resume = self.folder(run_id).resume_in_words()
            text = said("The program that ran it ended. {resume}", resume=resume)
            self.apply(run_id, {"kind": "interrupted", "text": text})
        return orphans

    def save_finding(self, kind: str, run_ids: Iterable[str], result: Mapping[str, Any]) -> None:
        """Keep what was found out of some runs together, such as their speed measured side by side."""
        values = kind, key_of(run_ids), time.time(), json.dumps(result)
        self._write("INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?)", *values)

    def forget_finding(self, kind: str, run_ids: Iterable[str]) -> None:
        """Remove a finding, so that it can be found out again."""
        self._write("DELETE FROM findings WHERE kind = ? AND run_ids = ?", kind, key_of(run_ids))

    def accounts(self, statuses: Iterable[Status] | None = None) -> list[Account]:
        """Read an account of every run, or of those in some states, the deleted included."""
        where = "" if statuses is None else f" WHERE status IN ({quoted(statuses)})"
        rows = self._rows(f"SELECT id, status, config, results, owner, created_at FROM runs{where}")
        silent = self._silence()
        at_work = {row["id"]: row["status"] in ACTIVE and self._owned(row, silent) for row in rows}
        return [Account(row["id"], row["status"], row["config"], row["results"], at_work[row["id"]]) for row in rows]

    def _silence(self) -> dict[str, float]:
        """Compute for how many seconds each owner of runs has given no sign of life.

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

    def _owned(self, row: sqlite3.Row, silent: Mapping[str, float]) -> bool:
        """Tell whether the owner of a run lives; on another host it does unless it has been silent for too long."""
        if row["owner"] == self._me:
            return True
        owner: dict[str, Any] = json.loads(row["owner"])
        if owner["host"] != socket.gethostname():
            return bool(silent.get(row["owner"], time.time() - row["created_at"]) < SECONDS_UNTIL_GONE)
        return _lives(owner)

    def joinable(self) -> list[Run]:
        """Read the runs that wait or are at work in this process and that nobody has asked to end."""
        query = f"{ROWS} AND owner = ? AND request IS NULL AND status IN ({quoted(ACTIVE)})"
        return readable(self._rows(query, self._me))


def _this_process() -> str:
    """Identify this process among all, now and later, in JSON that is always the same."""
    return json.dumps({"host": socket.gethostname(), **_birth(os.getpid())})


@cache
def _birth(pid: int) -> dict[str, Any]:
    return {"pid": pid, "started": psutil.Process(pid).create_time(), "life": _life(pid)}


def _life(pid: int) -> str:
    """Identify a process among all with its id by Linux's boot and the tick it began at, which no clock moves.

    Empty where the system does not say. psutil's time of the start moves with the clock on the wall.
    """
    with suppress(OSError, IndexError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # a name may hold what it likes
        return f"{boot} {facts[19]}"
    return ""


def _lives(owner: Mapping[str, Any]) -> bool:
    """Tell whether a process of this machine lives. Owners of earlier versions have the time of their start."""
    try:
        process = psutil.Process(owner["pid"])
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if owner.get("life"):
            return bool(owner["life"] == _life(owner["pid"]))
        return bool(abs(process.create_time() - owner["started"]) < 1)
    except psutil.NoSuchProcess:
        return False
