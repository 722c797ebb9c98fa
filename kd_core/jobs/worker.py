"""What a worker process does with a run or a finding that the queue gives it."""

import contextlib
import os
import time
from typing import Literal

from kd_core.base.config import LabError
from kd_core.base.files import path_at
from kd_core.base.process import keep_heaps_few
from kd_core.jobs.cluster import TOPIC
from kd_core.jobs.execute import Request, Supervisor, execute_run
from kd_core.jobs.execute_group import execute_group
from kd_core.runs.events import Event, portable
from kd_core.runs.run import folder_of
from kd_core.training.config import RunConfig

NICENESS = 5
"""Training yields the processor to the page."""

SECONDS_BETWEEN_MESSAGES = 0.1
PROGRESS = ("step", "epoch", "probe")
"""The kinds of events that change nothing but how far a run is."""

_requests: dict[str, Request | Literal["yield"]] = {}
"""What each run on this worker was asked; set by the queue's process through Client.run."""


def note_request(run_id: str, request: Request | Literal["yield"]) -> None:
    """Remember what a run on this worker is asked; it looks after every record."""
    if request != "yield" or run_id not in _requests:  # what its user asked comes first
        _requests[run_id] = request


def settle_in(threads: int) -> None:
    """Prepare this worker process for its first work. threads: 0 leaves torch's."""
    import torch

    keep_heaps_few()
    if threads:
        torch.set_num_threads(threads)
    if hasattr(os, "nice") and os.nice(0) < NICENESS:
        os.nice(NICENESS - os.nice(0))


def warm_up(configs: list[str], threads: int) -> None:
    """Import, load and measure what the first run of each config would wait for, by its first step."""
    settle_in(threads)
    from kd_core.data import load
    from kd_core.training import loop

    for text in configs:
        config = RunConfig.from_json(text)
        with contextlib.suppress(LabError):
            next(loop.train(loop.Training(config, load.load(config.dataset))))


def execute_on_worker(
    key: str, storage: str, run_ids: list[str], absent: list[str], reached: dict[str, int], threads: int
) -> None:
    """Execute a run, or several together.

    key: of this piece of work, by which the queue tells it from one it gave up. absent: as execute_group has them.
    reached: run id -> as Supervisor has it. threads: 0 leaves torch's.
    """
    settle_in(threads)
    folders = [folder_of(path_at(storage), run_id) for run_id in run_ids]
    supervisors = {run_id: _supervisor(key, run_id, reached.get(run_id, -1)) for run_id in run_ids}
    if len(folders) == 1:
        execute_run(folders[0], supervisors[run_ids[0]])
    else:
        execute_group(folders, supervisors, absent)


def _supervisor(key: str, run_id: str, reached: int) -> Supervisor:
    """Make the queue's process the supervisor of a run on this worker."""
    from distributed import Status, get_worker

    worker = get_worker()
    leaving = (Status.closing, Status.closing_gracefully, Status.closed, Status.failed)
    unsent: list[Event] = []
    sent_at = 0.0
    _requests.pop(run_id, None)

    def emit(event: Event) -> None:
        """Send at once what changes a run's state, and its records a few times a second: each message costs a step."""
        nonlocal sent_at
        unsent.append(portable(event))
        if event["kind"] not in PROGRESS or time.monotonic() - sent_at > SECONDS_BETWEEN_MESSAGES:
            worker.log_event(TOPIC, {"key": key, "run_id": run_id, "events": [*unsent]})
            unsent.clear()
            sent_at = time.monotonic()

    def requested() -> str | None:
        """Return its request, or 'yield' where this process is about to end: another one then goes on from there."""
        return _requests.get(run_id) or ("yield" if worker.status in leaving else None)

    return Supervisor(emit, requested, reached)
