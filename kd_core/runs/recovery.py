"""A run store that opens even where its database is damaged: put together again from its backup and the runs' folders.

A run's folder says by itself what it is (config.json), how it is called (description.json) and, once it has ended, how
well it did (card.json) and how it learned (history.jsonl), so a run can be lost from the list but not from the disk.
What a folder does not hold, as curves of runs that have not ended, is in the backup (Store.back_up).
"""

import atexit
import contextlib
import errno
import json
import logging
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, cast

from kd_core.base.config import LabError
from kd_core.base.files import (
    AnyPath,
    SaveError,
    disk_problem,
    is_file,
    paths_below,
    read_text,
    sha256,
    stat,
    write_atomic,
)
from kd_core.base.templates import said
from kd_core.runs.events import Probe
from kd_core.runs.reading import BACKUP, DATABASE, SECONDS_FOR_A_LOCK, connected, database_problem, errorname
from kd_core.runs.run import Results, Run, RunFolder, Status, StoreError, folder_of, new_id
from kd_core.runs.store import Account, Store
from kd_core.training.config import RunConfig
from kd_core.training.records import RecordRow

try:
    import fcntl
except ImportError:  # pragma: no cover  (Windows: each process then looks at the database)
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

LOCK, LEFT, DAMAGE = "lab.lock", "lab.left.json", "lab.damaged"
"""Held by all that have the database open; how the last of them left it; there once part of it was found damaged."""
UNFINISHED: tuple[Status, ...] = ("queued", "running", "paused", "failed", "interrupted")
ASIDE = "damaged"
"""How the folder begins that a damaged database is moved to."""
SECONDS_WITHIN_A_BATCH = 1.0
"""Runs without a row are taken for one batch where each folder was made so soon after the last: a sweep's, say."""
SECONDS_TO_ENTER = 5.0
"""A run is a folder before it is a row: one without a row is lost from the list where it is older than this."""


class Opened(NamedTuple):
    """A store, and a sentence about what was recovered, or None."""

    store: Store
    notice: str | None


def open_store(home: Path, storage: AnyPath | None = None, *, behind: bool = False) -> Opened:
    """Open the store of home, whose runs' files lie in storage, home itself by default.

    A list of runs that is damaged, or that knows less than the runs' folders, is recovered. A damaged database, and one
    that its own backup is ahead of, is moved aside and put together again. One that merely lacks what happened last, as
    when its server was killed, is completed from the folders. None of this is looked for where the database is as KD
    Lab left it, or where another process has it open. behind: after an unclean end look at the list now, and at the
    curves in a thread; damage_notice then tells. Raises StoreError or SaveError where home cannot be used.
    """
    use = _Use(home)
    try:
        return _open(home, storage or home, use, behind=behind)
    except BaseException:
        use.end()
        raise


def _open(home: Path, files: AnyPath, use: "_Use", *, behind: bool) -> Opened:
    try:
        rebuild = not use.healthy and (_damaged(home, files, behind=behind) or _behind(home, files))
    except OSError as error:
        raise SaveError(disk_problem(error, files)) from error
    if not rebuild:
        store = Store(home, files)
        use.begin(store, whole=not behind)
        try:
            count = follow_folders(store, SECONDS_TO_ENTER, ended=not use.healthy)
        except (OSError, StoreError) as error:  # storage that does not answer, a full disk: the list itself is whole
            log.warning("the list of runs was not compared with %s: %s", files, error)
            count = 0
        if not count:
            return Opened(store, None)
        notice = said(
            "The list of runs lacked what happened last to {count} of {total} runs. Their own folders told it: what"
            " they learned is whole, the end of a curve may be missing.",
            count=count,
            total=len(store.statuses()),
        )
        return _logged(store, notice)
    aside, backup = home / f"{ASIDE}-{time.strftime('%Y%m%d-%H%M%S')}-{new_id()[:4]}", home / BACKUP
    try:
        aside.mkdir()
        for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
            if (home / name).exists():
                (home / name).rename(aside / name)
        backed_up = backup.is_file() and _is_of_our_format(backup) and _sound(backup)
        made_at = time.strftime("%d %b, %H:%M:%S", time.localtime(backup.stat().st_mtime)) if backed_up else ""
        if backed_up:
            shutil.copy(backup, home / DATABASE)
    except OSError as error:
        raise SaveError(disk_problem(error, home)) from error
    store = Store(home, files)
    use.begin(store)
    try:
        _restore_curves(store)
        count = follow_folders(store)
    except OSError as error:
        raise SaveError(disk_problem(error, files)) from error
    facts = {"count": count, "total": len(store.statuses()), "folder": aside}
    return _logged(
        store,
        said(
            "The list of runs was damaged. It is whole again, from its backup of {made_at} and the runs' folders;"
            " {count} of {total} runs came from their folders alone. The damaged file lies in {folder}.",
            made_at=made_at,
            **facts,
        )
        if backed_up
        else said(
            "The list of runs was damaged. It is whole again, from the runs' folders; {count} of {total} runs came from"
            " their folders alone. The damaged file lies in {folder}.",
            **facts,
        ),
    )


def _logged(store: Store, notice: str) -> Opened:
    log.warning(notice)
    return Opened(store, notice)


class _Use:
    """Who has a home's database open, and whether it is as KD Lab left it: then nothing is at risk.

    A lock, which ends with its process, is shared by all that have it open. Who closes it as the last, after it was
    found to be whole, notes the size and time of the file. healthy: it is so, or in another process's hands.
    """

    def __init__(self, home: Path) -> None:
        self._home, self._lock, self._whole = home, -1, False
        alone = True
        with contextlib.suppress(OSError):  # where it cannot be written
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(home / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            alone = self._locked(exclusive=True)
        self._others = not alone and self._wait_for_check()
        self.healthy = self._others or (not (home / DAMAGE).exists() and self._as_it_was_left())

    def _locked(self, *, exclusive: bool) -> bool:
        if fcntl is None or self._lock < 0:
            return True
        try:
            fcntl.flock(self._lock, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN)  # or storage without locks
        return True

    def _wait_for_check(self) -> bool:
        """Wait while another process looks at the database, then share it."""
        until = time.monotonic() + SECONDS_FOR_A_LOCK
        while not self._locked(exclusive=False) and time.monotonic() < until:
            time.sleep(0.02)
        return True

    def _as_it_was_left(self) -> bool:
        try:
            left: object = json.loads((self._home / LEFT).read_text(encoding="utf-8"))
            return left == _size_and_time(self._home / DATABASE) and not (self._home / f"{DATABASE}-wal").exists()
        except (OSError, ValueError):
            return False

    def begin(self, store: Store, *, whole: bool = True) -> None:
        """Take the database over as healthy. whole: else a thread looks at what was not looked at yet."""
        if not self._others:
            with contextlib.suppress(OSError):
                (self._home / DAMAGE).unlink(missing_ok=True)
        self._locked(exclusive=False)
        self._whole = whole or self.healthy
        store.when_closed = self.end
        atexit.register(store.close)
        if not self._whole:
            threading.Thread(target=self._check, name="kd-lab-check", daemon=True).start()

    def _check(self) -> None:
        with contextlib.suppress(LabError, OSError):
            self._whole = _sound(self._home / DATABASE)
            if not self._whole:
                log.warning("the list of runs is damaged: it is put together again at the next start")
                (self._home / DAMAGE).touch()

    def end(self) -> None:
        """Note how the database was left, where this was the last to have it open and nothing is wrong with it."""
        with contextlib.suppress(OSError, LabError):
            path, last = self._home / DATABASE, self._lock >= 0 and self._locked(exclusive=True)
            if last and self._whole and not path.with_name(f"{DATABASE}-wal").exists():
                write_atomic(self._home / LEFT, json.dumps(_size_and_time(path)).encode())
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _size_and_time(path: Path) -> list[int]:
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns]


def damage_notice(home: Path) -> str | None:
    """Say what a look at the database in a thread has found wrong; None where nothing is."""
    if not (home / DAMAGE).exists():
        return None
    return said(
        "Part of the list of runs is damaged, their curves most likely. Stop KD Lab and start it again: it then puts"
        " the list together from its backup and the runs' own folders."
    )


def _damaged(home: Path, storage: AnyPath, *, behind: bool = False) -> bool:
    """Tell whether the database is damaged; a missing or empty one is, where there are runs.

    behind: leave curves and findings for later where it was not closed, and nobody but SQLite has touched it.
    """
    path = home / DATABASE
    if path.exists() and not path.is_file():
        return False  # Store says what is wrong with that
    if not path.exists() or not path.stat().st_size or _is_new(path):
        return bool(paths_below(storage / "runs", "*/config.json"))
    later = behind and not (home / DAMAGE).exists() and path.with_name(f"{DATABASE}-wal").exists()
    return not _is_of_our_format(path) or not _sound(path, ("runs",) if later else tuple(_WHOLE))


def _is_new(path: Path) -> bool:
    """Tell whether a database has no table yet."""
    try:
        return _query(path, "SELECT 1 FROM sqlite_master LIMIT 1") == []
    except (sqlite3.DatabaseError, ValueError):
        return False


def _behind(home: Path, storage: AnyPath) -> bool:
    """Tell whether the backup knows a run or an end that the database lacks, as when its write-ahead log is gone."""
    if not (home / DATABASE).is_file() or not (home / BACKUP).is_file():
        return False
    try:
        now, before = (
            dict(_query(home / name, "SELECT id, status = 'finished' FROM runs")) for name in (DATABASE, BACKUP)
        )
    except (sqlite3.DatabaseError, ValueError):  # of a damaged backup; the database was found to be sound
        return False
    return any(
        (finished and not now[run_id]) if run_id in now else is_file(folder_of(storage, run_id).config)
        for run_id, finished in before.items()
    )


def _query(path: Path, query: str) -> list[Any]:
    with closing(connected(path)[0]) as database:
        return [tuple(row) for row in database.execute(query)]


def _is_json(field: str) -> str:
    """Write a condition in SQL. Python writes NaN and Infinity, which JSON lacks and a diverged run may hold."""
    for word in ("-Infinity", "Infinity", "NaN"):
        field = f"replace({field}, '{word}', '0')"
    return f"json_valid({field})"


_JSON_OF_RUNS = ("owner", "config", "tags", "coalesce(environment, '{}')", "coalesce(results, '{}')")
_WHOLE = {
    "runs": " AND ".join(["typeof(created_at) = 'real'", "typeof(step) = 'integer'", *map(_is_json, _JSON_OF_RUNS)]),
    "records": "typeof(step) = 'integer' AND typeof(epoch) IN ('integer', 'real', 'null')"
    " AND typeof(loss) IN ('integer', 'real', 'null')"
    " AND (kind = 'step' OR (kind = 'epoch' AND typeof(seconds) IN ('integer', 'real')))",
    "probes": f"typeof(epoch) = 'integer' AND {_is_json('logits')}",
    "findings": _is_json("result"),
}
"""What holds of each row of a table as Store writes it: SQLite's own check does not look into the fields."""
_VERSIONS = (1, 2)
"""Of the file format, by the header; SQLite opens a file of a later one for reading alone, and takes it for whole."""
_NOT_DAMAGE = tuple(f"SQLITE_{name}" for name in ("BUSY", "LOCKED", "FULL", "IOERR", "CANTOPEN", "READONLY", "PERM"))


def _is_of_our_format(path: Path) -> bool:
    """Tell by its header whether a file is a database that SQLite can write.

    Not of one that this process has open: closing the file would end SQLite's locks on it, and who next closes the
    database in another process would take the write-ahead log away (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise SaveError(disk_problem(error, path.parent)) from error
    return len(header) == 100 and header[18] in _VERSIONS


def _sound(path: Path, tables: Sequence[str] = ("runs", "records", "probes", "findings")) -> bool:
    """Tell whether a database is whole and one of ours. Raises where anything but damage keeps it from being read.

    tables: that are looked at; the others of less than all may be damaged.
    """
    try:
        # quick_check does not look into the index that finds a run by its id
        checks = ["PRAGMA integrity_check(1)" if len(tables) == len(_WHOLE) else "PRAGMA integrity_check(runs)"]
        checks += [f"SELECT 'no' FROM {table} WHERE ({_WHOLE[table]}) IS NOT TRUE LIMIT 1" for table in tables]
        return all(_query(path, check) in ([("ok",)], []) for check in checks)
    except sqlite3.OperationalError as error:
        if errorname(error).startswith(_NOT_DAMAGE):
            raise StoreError(database_problem(error, path.parent)) from error
        return False
    except (sqlite3.DatabaseError, ValueError):
        return False


def follow_folders(store: Store, seconds_to_enter: float = 0.0, *, ended: bool = True) -> int:
    """Correct the list by the runs' folders: enter runs without a row, and ends and results that rows do not know.

    A run without whole results is entered as interrupted, to be resumed. Runs that a living process has at work are
    left to it, and so are folders of the last seconds_to_enter. ended: look at the folders of runs that have ended too.
    Returns the number of runs whose row differed.
    """
    statuses = {row["id"]: row["status"] for row in store.statuses()}
    known = {account.id: account for account in store.accounts(None if ended else UNFINISHED)}
    paths = _configs(store.storage, {} if ended else statuses.keys() - known.keys())
    written_at = {run_id: stat(path).st_mtime for run_id, path in paths.items() if run_id not in known}
    count, batch, entered_at = 0, "", 0.0
    for run_id in sorted(paths, key=lambda run_id: written_at.get(run_id, 0.0)):
        folder = RunFolder(paths[run_id].parent)
        if not (run_id.isascii() and run_id.isalnum()):
            continue
        try:
            if run_id in known:
                count += _corrected(store, folder, known[run_id])
            elif time.time() - written_at[run_id] >= seconds_to_enter:
                if written_at[run_id] - entered_at > SECONDS_WITHIN_A_BATCH:
                    batch = new_id()
                entered_at = written_at[run_id]
                _enter(store, folder, batch)
                count += 1
        except StoreError:
            raise
        except (LabError, OSError, ValueError, KeyError, TypeError) as error:
            log.warning("the folder of run %s cannot be read: %s", run_id, error)
    return count


def _configs(storage: AnyPath, without: Collection[str]) -> dict[str, AnyPath]:
    """List the config of each run's folder by the run's id. without: ids of runs whose folders need no look."""
    folder = storage / "runs"
    if not (without and isinstance(folder, Path) and folder.is_dir()):
        paths = {path.parent.name: path for path in paths_below(folder, "*/config.json")}
        return {run_id: path for run_id, path in paths.items() if run_id not in without}
    with os.scandir(folder) as entries:
        paths = {entry.name: folder / entry.name / "config.json" for entry in entries if entry.name not in without}
    return {run_id: path for run_id, path in paths.items() if path.is_file()}


def _corrected(store: Store, folder: RunFolder, account: Account) -> bool:
    """Correct the row of a run that differs from its folder; False where it does not."""
    if account.at_work:
        return False
    ended = account.status in ("finished", "stopped")
    if ended and not isinstance(folder.path, Path):  # a look at each of thousands would take minutes
        return False
    text = read_text(folder.config)
    alike = json.loads(text) == json.loads(account.config)
    known = json.loads(account.results or "{}")
    stopped_before_it_began = account.status == "stopped" and not known and not is_file(folder.card)
    if alike and ended and (stopped_before_it_began or json.loads(read_text(folder.card))["results"] == known):
        return False
    results, config = _results(folder), RunConfig.from_json(text)
    finished = bool(results) and config.complete_after(results["epochs"], recorded(folder))
    if alike and not finished and results in ({}, known):
        return False
    if finished:
        last = store.last_record(account.id)
        store.apply(account.id, *(event for event in recorded(folder) if not last or event["step"] >= last["step"]))
    store.correct(account.id, config, results or known, finished=finished)
    return True


def _results(folder: RunFolder) -> Results:
    """Read the results in the card; empty where the weights beside it are not those it was written for."""
    try:
        card = json.loads(read_text(folder.card))
        whole = sha256(folder.weights) == card["weights_sha256"]
        results: Results = card["results"] if whole else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return results


def recorded(folder: RunFolder) -> list[RecordRow | Probe]:
    """Read what a run that saved its results had recorded; nothing where that is missing or damaged."""
    try:
        events: list[RecordRow | Probe] = [json.loads(line) for line in read_text(folder.history).splitlines()]
        return [event for event in events if event["step"] >= 0]
    except (OSError, ValueError, KeyError, TypeError):
        return []


class _Origin(TypedDict, total=False):
    """Of origin.json: with what a run was queued."""

    batch: str
    browser: str
    created_at: float


def _origin(folder: RunFolder) -> _Origin:
    """Read origin.json; empty where it is missing or of another form."""
    try:
        origin = json.loads(read_text(folder.origin))
        whole = isinstance(origin["batch"], str) and isinstance(origin["browser"], str)
        return cast(_Origin, origin) if whole and isinstance(origin["created_at"], float) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


class _Description(TypedDict):
    """Of description.json, as Store.describe writes it."""

    name: str
    note: str
    tags: list[str]


def _description(folder: RunFolder) -> _Description:
    """Read description.json; nothing where it is missing or of another form."""
    try:
        description = json.loads(read_text(folder.description))
        return {
            "name": str(description["name"]),
            "note": str(description["note"]),
            "tags": [str(tag) for tag in description["tags"]],
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {"name": "", "note": "", "tags": []}


def _restore_curves(store: Store) -> None:
    """Enter the curves that a backup left to the runs' folders."""
    for run in store.newest():
        if run.results and store.last_record(run.id) is None:
            store.apply(run.id, *recorded(store.folder(run.id)))


def _enter(store: Store, folder: RunFolder, batch: str) -> None:
    """Enter a run that has no row."""
    config, results = RunConfig.from_json(read_text(folder.config)), _results(folder)
    made_at = stat(folder.config).st_mtime
    origin, events = _origin(folder), recorded(folder) if results else []
    description = _description(folder)
    run = Run(
        id=folder.run_id,
        created_at=origin.get("created_at", made_at),
        config=config,
        batch=origin.get("batch", batch),
        status="finished" if results and config.complete_after(results["epochs"], events) else "interrupted",
        message=said("The list of runs was damaged; its folder has told what this run recorded and learned.")
        if events
        else said("The list of runs was damaged; what this one recorded is lost, what it learned is not.")
        if results
        else said("The list of runs was damaged. {resume}", resume=folder.resume_in_words()),
        ended_at=stat(folder.card).st_mtime if results else None,
        results=results,
        step=events[-1]["step"] if events else 0,
        browser=origin.get("browser", ""),
        name=description["name"],
        note=description["note"],
        tags=tuple(description["tags"]),
    )
    store.adopt(
        run,
        [event for event in events if event["kind"] != "probe"],
        [(event["epoch"], event["logits"]) for event in events if event["kind"] == "probe"],
    )
