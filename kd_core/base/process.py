"""KD Lab's processes: how they use threads and memory, and child processes that report in lines of JSON. No torch."""

import contextlib
import ctypes
import json
import math
import os
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from kd_core.base.paths import ROOT
from kd_core.base.templates import kept, read_back, said

_M_ARENA_MAX = -8  # of glibc's malloc.h
WORKER_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}
"""torch's threads wait for each other asleep. Spinning, they lose a factor of five as soon as another program wants one
of their cores, and a page is such a program (MNIST epoch 6.4 to 7.3 s against 1.4 s; two cores, torch 2.13). The other
way round, the page's prediction for one image took 10 ms of the processor beside training, and 1 ms so."""
SECONDS_BETWEEN_LOOKS = 0.05
"""At a child process, whether it has run out of time."""
MAX_LINE = 10_000_000
"""Characters of a line of a child process that are read as one."""
REPORTS = "KD_REPORTS"
"""The variable that says to a child process that its Child reads what it reports."""


def let_threads_sleep() -> None:
    """Have this process wait as its workers do (WORKER_ENVIRONMENT). Call it before torch is imported."""
    for name, value in WORKER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def keep_heaps_few() -> None:
    """Have the threads of this process share two heaps, where glibc would give each its own, up to eight a core.

    What many short-lived threads leave in heaps of their own is not given back: a class of 30 let the app's process
    grow by 79 MB a minute, and by 32 with two heaps (three minutes each, on two cores).
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library, which has no such setting
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def waited_for_processor(pid: int) -> float:
    """Sum the seconds that a process's threads were ready to run and got no processor; 0 where Linux does not say.

    Linux counts a wait once it is over: beside six busy loops that took a worker of idle priority up to 18 seconds.
    """
    waited = 0
    for statistics in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, ValueError, IndexError):  # a thread that has just ended
            waited += int(statistics.read_text().split()[1])
    return waited / 1e9


def memory_kills() -> int:
    """Count the processes that this machine's kernel has killed for want of memory; 0 where it does not say."""
    try:
        counts = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
        return int(counts["oom_kill"])
    except (OSError, ValueError, KeyError):
        return 0


def _bound_memory(pid: int, most_bytes: int) -> None:
    with contextlib.suppress(ImportError, AttributeError, OSError, ValueError):  # it ended already, or another system
        import resource

        resource.prlimit(pid, resource.RLIMIT_DATA, (most_bytes, most_bytes))


@cache
def memory_here() -> int:
    """Return the bytes of memory that this machine, or its container, has for its processes."""
    most = int(psutil.virtual_memory().total)
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # of the second and the first version of cgroups
        with contextlib.suppress(OSError, ValueError):  # there is none, or it is "max"
            most = min(most, int(Path("/sys/fs/cgroup", limit).read_text()))
    return most


def lacks_memory(error: BaseException) -> bool:
    """Tell whether an error is the system's, Python's, torch's or oneDNN's way to say that memory ran out."""
    words = ("out of memory", "allocate memory", "not enough memory", "bad_alloc", "can't start new thread",
             "could not create a primitive", "could not create a memory")  # fmt: skip
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def reported(text: str) -> str:
    """A text as this process reports it in JSON: with its template to a Child that reads it, plain to anybody else."""
    return kept(text) if os.environ.get(REPORTS) else str(text)


@dataclass
class Child:
    """A program of KD Lab in a process of its own, so that what it reads can harm that process alone.

    The program reports in lines of JSON: {"text", "share"} is progress, share from 0 to 1; {"result"}, an object, or
    {"error"}, a sentence, is its outcome; `reported` writes its sentences. text and share hold the newest progress.
    result and error are both None until there is an outcome, and stay so where the process breaks down. late: whether
    it was killed for taking too long.
    """

    text: str = said("Starting")
    share: float = 0.0
    result: dict[str, Any] | None = None
    error: str | None = None
    stopped: bool = False
    late: bool = False
    _process: "subprocess.Popen[str] | None" = field(default=None, repr=False)
    _heard_at: float = 0.0

    def run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        max_seconds: float = math.inf,
        max_silent_seconds: float = math.inf,
        max_bytes: int | None = None,
    ) -> str:
        """Run a command until it ends, and return the last lines of what else it wrote, for the log.

        environment: variables that it gets beside those of this process. max_silent_seconds: without new progress.
        max_bytes: of memory of its own, files that it maps aside, where the system (Linux) can bound that.
        Raises OSError where the process cannot start.
        """
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        other_lines: deque[str] = deque(maxlen=50)
        with subprocess.Popen(  # noqa: S603  a command of ours, never through a shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONPATH": paths, REPORTS: "1", **(environment or {})},
        ) as process:
            self._process = process
            if max_bytes is not None:
                _bound_memory(process.pid, max_bytes)
            if self.stopped:
                process.kill()
            lines = iter(lambda: process.stdout.readline(MAX_LINE) if process.stdout else "", "")
            reader = threading.Thread(target=self._read, args=(lines, other_lines), daemon=True)
            began = self._heard_at = time.monotonic()
            reader.start()
            while process.poll() is None:
                time.sleep(SECONDS_BETWEEN_LOOKS)
                now = time.monotonic()
                if now - began > max_seconds or now - self._heard_at > max_silent_seconds:
                    self.late = True
                    process.kill()
            reader.join()
        return "".join(other_lines)

    def stop(self) -> None:
        """Kill the process, whatever it is at, or keep it from starting."""
        self.stopped = True
        if self._process is not None:
            self._process.kill()

    def _read(self, lines: Iterable[str], other_lines: deque[str]) -> None:
        for line in lines:
            if not self._take_in(line) and line.strip():
                other_lines.append(line[:1000])

    def _take_in(self, line: str) -> bool:
        """Take in what a line reports; False for a line that is no report."""
        try:
            report = json.loads(line)
            if "error" in report:
                self.error = read_back(str(report["error"]))
            elif "result" in report:
                self.result = dict(report["result"])
            else:
                progress = read_back(str(report["text"])), float(report["share"])
                if progress != (self.text, self.share):
                    self._heard_at = time.monotonic()
                self.text, self.share = progress
        except (ValueError, TypeError, KeyError):
            return False
        return True
