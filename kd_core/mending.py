"""A run store that opens even where its database is damaged: put together again from its backup and the runs' folders.

A run's folder says by itself what it is (config.json) and, once it has ended, how well it did (card.json), so a run can
be lost from the list but not from the disk. What the folders do not hold, learning curves and names, is in the backup
that kd_core.jobs makes whenever a run has ended.
"""

import hashlib
import json
import logging
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from kd_core.config import LabError, RunConfig
from kd_core.files import AnyPath, SaveError, disk_problem, found, read_bytes, read_text
from kd_core.runs import BACKUP, DATABASE, Run, RunFolder, Store, StoreError, new_id

log = logging.getLogger(__name__)

ASIDE = "damaged"
"""How the folder begins that a damaged database is moved to."""


class Opened(NamedTuple):
    """A store, and a sentence about what was mended, or None."""

    store: Store
    notice: str | None


def open_store(home: Path, storage: AnyPath | None = None) -> Opened:
    """Open the store of home, whose runs' files lie in storage, home itself by default.

    Where its database is damaged, move it aside and put the list together again. Raises StoreError or SaveError where
    home cannot be used.
    """
    if not _damaged(home, storage or home):
        return Opened(Store(home, storage), None)
    aside = home / f"{ASIDE}-{time.strftime('%Y%m%d-%H%M%S')}-{new_id()[:4]}"
    try:
        aside.mkdir()
        for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
            if (home / name).exists():
                (home / name).rename(aside / name)
        backed_up = (home / BACKUP).is_file() and "runs" in (_tables(home / BACKUP) or ())
        made_at = time.strftime("%d %b, %H:%M:%S", time.localtime((home / BACKUP).stat().st_mtime)) if backed_up else ""
        if backed_up:
            shutil.copyfile(home / BACKUP, home / DATABASE)
    except OSError as error:
        raise SaveError(disk_problem(error, home)) from error
    store = Store(home, storage)
    count = bring_back(store)
    source = (
        f"its backup of {made_at} and the runs' folders" if backed_up else "the runs' folders, without their curves"
    )
    notice = (
        f"The list of runs was damaged. It is whole again, from {source};"
        f" {count} of {len(store.runs())} runs came from their folders alone. The damaged file lies in {aside}."
    )
    log.warning(notice)
    return Opened(store, notice)


def _damaged(home: Path, storage: AnyPath) -> bool:
    """Whether there is a database that cannot be trusted; an empty one is, where there are runs."""
    path = home / DATABASE
    if not path.is_file():
        return False
    tables = _tables(path)
    if not tables:  # damaged beyond reading, or empty: a new store, or one cut to nothing
        return tables is None or bool(found(storage / "runs", "*/config.json"))
    return "runs" not in tables


def _tables(path: Path) -> set[str] | None:
    """The tables of a database, or None where it is not whole."""
    try:
        with closing(sqlite3.connect(path, timeout=10)) as database:
            if [tuple(row) for row in database.execute("PRAGMA quick_check(1)")] != [("ok",)]:
                return None
            return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.OperationalError as error:
        if "malformed" in str(error):
            return None
        raise StoreError(f"The run store in {path.parent} cannot be used: {error}.") from error
    except sqlite3.DatabaseError:
        return None


def bring_back(store: Store) -> int:
    """Enter the runs that have a folder but no row, and the end of those that ended without their row's knowing.

    Returns how many there were of both. A run without whole results is entered as interrupted, to be resumed.
    """
    known = {row["id"]: row["status"] for row in store.statuses()}
    count = 0
    for config_file in sorted(found(store.storage / "runs", "*/config.json"), key=lambda file: file.written_at):
        folder = RunFolder(config_file.path.parent)
        run_id = folder.path.name
        if not (run_id.isascii() and run_id.isalnum()) or known.get(run_id) in ("finished", "stopped"):
            continue
        try:
            config = RunConfig.from_json(read_text(config_file.path))
            results = _results(folder)
            ended = bool(results) and results["epochs"] >= config.training.epochs
            if run_id not in known:
                _enter(store, run_id, config, results, ended=ended)
                count += 1
            elif ended:
                text = "It ended just before the list of runs was damaged; its last records are lost."
                store.apply(run_id, {"kind": "finished", "results": results, "text": text})
                count += 1
        except StoreError:
            raise
        except (LabError, OSError, ValueError, KeyError, TypeError) as error:
            log.warning("the folder of run %s cannot be read: %s", run_id, error)
    return count


def _results(folder: RunFolder) -> dict[str, Any]:
    """What the card says, where the weights beside it are those it was written for; else nothing."""
    try:
        card = json.loads(read_text(folder.card))
        whole = hashlib.sha256(read_bytes(folder.weights)).hexdigest() == card["weights_sha256"]
        results: dict[str, Any] = card["results"] if whole else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return results


def _enter(store: Store, run_id: str, config: RunConfig, results: dict[str, Any], *, ended: bool) -> None:
    made_at = store.folder(run_id).config.stat().st_mtime
    run = Run(
        id=run_id,
        created_at=made_at,
        config=config,
        batch=new_id(),
        status="finished" if ended else "interrupted",
        request=None,
        message="The list of runs was damaged; what this one recorded is lost, what it learned is not."
        if results
        else "The list of runs was damaged. Resume goes on from the last checkpoint.",
        step=0,
        total_steps=None,
        started_at=None,
        ended_at=store.folder(run_id).card.stat().st_mtime if results else None,
        environment={},
        results=results,
        browser="",
        name="",
        note="",
        tags=(),
        deleted_at=None,
        attempt=0,
    )
    store.adopt(run, [], [])
