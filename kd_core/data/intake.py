"""Data sets come in, each in a process of its own: `python -m kd_core data ... --json` does the work and tells of it.

So that a hostile or huge source takes neither the app's memory nor its time, can be stopped at any moment, and dies
with nothing left behind. What was uploaded lies in home/incoming until it is a data set or is given up.
"""

import contextlib
import logging
import secrets
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from kd_core.base.config import LabError
from kd_core.base.process import Child
from kd_core.base.templates import said
from kd_core.data.own.library import Naming, Preparation

log = logging.getLogger(__name__)

INCOMING, GROUPS = "incoming", "groups.csv"
AT_ONCE, KEPT = 2, 20
"""Processes at work, and uploads that lie here, at once."""
MIN_FREE_BYTES = 1_000_000_000
KEPT_SECONDS = 6 * 3600.0
MAX_MEMORY_BYTES = 4_000_000_000
"""Of each process. An image of 50 million pixels, the largest that is read, takes less than half of it."""
COMMAND = [sys.executable, "-m", "kd_core", "data"]


class IntakeError(LabError):
    """A data set that cannot be taken in now; its text says why."""


@dataclass
class Work(Child):
    """One data set that is coming in: the process that works on it, and on whose behalf."""

    browser: str = ""
    ended: threading.Event = field(default_factory=threading.Event)


class Intake:
    """The uploads of a server and the processes that look at them. home: where uploads lie meanwhile."""

    def __init__(self, home: Path) -> None:
        self._folder = home / INCOMING
        self._works: dict[str, Work] = {}
        self._lock = threading.Lock()
        shutil.rmtree(self._folder, ignore_errors=True)  # of a server that was killed: nobody goes on with them

    def keep(self, file_name: str, content: memoryview | bytes) -> Path:
        """Lay an upload down, and return where. Raises IntakeError where there is no room."""
        self._forget_old()
        if sum(1 for _ in self._folder.glob("*")) >= KEPT:
            raise IntakeError(said("{count} uploads lie here already: prepare or discard some first.", count=KEPT))
        folder = self._folder / secrets.token_hex(8)
        try:
            folder.mkdir(parents=True)
            if shutil.disk_usage(folder).free < MIN_FREE_BYTES + len(content):
                raise IntakeError(said("The disk of this server has no room for this upload: free some space."))
            path = folder / (Path(file_name).name[-80:].lstrip(".") or "upload.zip")
            path.write_bytes(content)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            why = error.strerror or str(error)
            raise IntakeError(said("The upload cannot be saved: {why}.", why=why)) from error
        except IntakeError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return path

    def discard(self, path: Path) -> None:
        """Remove an upload that keep laid down."""
        shutil.rmtree(path.parent, ignore_errors=True)

    def look(self, path: Path, browser: str, naming: Naming | None = None) -> str:
        """Have a source looked at; returns the work's id. Its result holds the fields of Look."""
        settings = (naming or Naming()).model_dump_json()
        return self._begin(["look", str(path), "--settings", settings], browser)

    def prepare(self, path: Path, preparation: Preparation, browser: str, groups: bytes | None = None) -> str:
        """Have a data set made of a source; its result holds {name}. groups: a CSV of which image is of which group."""
        arguments = ["add", str(path), "--settings", preparation.model_dump_json()]
        if groups is not None:
            try:
                path.with_name(GROUPS).write_bytes(groups)
            except OSError as error:
                why = error.strerror or str(error)
                raise IntakeError(said("The table of groups cannot be saved: {why}.", why=why)) from error
            arguments += ["--groups", str(path.with_name(GROUPS))]
        return self._begin(arguments, browser)

    def fetch(self, dataset: str, browser: str) -> str:
        """Have a data set downloaded that is known by name; its result holds {name}."""
        return self._begin(["fetch", dataset], browser)

    def work(self, work_id: str | None) -> Work | None:
        """What was begun under an id, or None where this server knows of none."""
        return self._works.get(work_id or "")

    def stop(self, work_id: str) -> None:
        """Cancel a work. Nothing of it is kept."""
        self._works[work_id].stop()

    def close(self) -> None:
        """Cancel all works."""
        for work_id in list(self._works):
            self.stop(work_id)

    def _begin(self, arguments: list[str], browser: str) -> str:
        with self._lock:
            if sum(not work.ended.is_set() for work in self._works.values()) >= AT_ONCE:
                raise IntakeError(
                    said("{count} data sets are being worked on already: wait until one is done.", count=AT_ONCE)
                )
            work_id, work = secrets.token_hex(8), Work(browser=browser)
            self._works[work_id] = work
            for old in [key for key, other in self._works.items() if other.ended.is_set()][:-KEPT]:
                del self._works[old]
        threading.Thread(target=self._follow, args=(work, arguments), daemon=True, name="intake").start()
        return work_id

    def _follow(self, work: Work, arguments: list[str]) -> None:
        with tempfile.TemporaryDirectory(prefix="kd-lab-intake-", ignore_cleanup_errors=True) as scratch:
            # what a killed process leaves goes with its scratch folder
            try:
                command = [*COMMAND, *arguments, "--json"]
                complaints = work.run(command, {"TMPDIR": scratch}, max_bytes=MAX_MEMORY_BYTES)
            except OSError as error:
                complaints = ""
                why = error.strerror or str(error)
                work.error = said("The process that takes data in cannot start: {why}.", why=why)
            if work.result is None and work.error is None:
                log.warning("the process that takes data in ended early: %s", complaints)
                work.error = (
                    said("Stopped; nothing was kept.")
                    if work.stopped
                    else said("The process that takes data in broke off, perhaps for want of memory; nothing was kept.")
                )
        work.ended.set()

    def _forget_old(self) -> None:
        for folder in self._folder.glob("*"):
            with contextlib.suppress(OSError):
                if folder.stat().st_mtime < time.time() - KEPT_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
