"""The queue: runs wait here for a worker, take turns at them, and go on elsewhere where a worker is lost.

The page never waits for torch: kd_core.jobs.execute executes a run in a worker process, its events come back to
kd_core.jobs.dispatch, and the process that owns the queue is the only writer of its runs.
"""

import atexit
import contextlib
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from kd_core.base.config import ConfigError, LabError
from kd_core.base.process import memory_here
from kd_core.base.templates import said
from kd_core.jobs.cluster import workers_here
from kd_core.jobs.dispatch import Dispatcher, Wish
from kd_core.jobs.execute import Request
from kd_core.jobs.findings import Finding
from kd_core.jobs.turns import Limits, Span, forecast, is_grid, turns
from kd_core.models.architectures import own
from kd_core.runs import progress
from kd_core.runs.checks import check
from kd_core.runs.run import ACTIVE, Run
from kd_core.runs.store import Store, shared
from kd_core.training.config import RunConfig
from kd_core.training.precision import settled

MIN_FREE_BYTES = 200_000_000
"""Of the store's disk, below which no run is queued: those at work need room for what they learn."""
MAX_FINDINGS, MAX_FINDINGS_PER_BROWSER = 200, 12
"""That may wait: an export or a measurement takes a worker for up to a minute, in which nothing trains."""


def check_devices(configs: Iterable[RunConfig]) -> None:
    """Raise ConfigError where a run names a device that this machine, which is to do it, has not."""
    for device in {config.training.device for config in configs} - {"auto", "cpu"}:
        from kd_core.models.arithmetic import pick_device  # it takes torch

        pick_device(device)


def bytes_of_a_run(limits: Limits, runs_at_once: int) -> float:
    """Return how much memory one of so many runs may take that this machine does at once."""
    return 1e9 * limits.gigabytes or memory_here() / runs_at_once


def _or_endless(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds


class Jobs:
    """The queue of one process: runs wait here for a worker.

    Browsers take turns: the next run is of the browser that has the fewest at work, among equals of the one that was
    served longest ago; a browser's own runs keep their order, and those that cannot begin yet take no turn. A run that
    has been at work for SLICE_SECONDS while a browser without any waits leaves it its worker, keeps its place, and goes
    on from its checkpoint when its turn comes again. Of equal configs one is trained, for all browsers that ask for it.
    From FEWEST_TOGETHER on, the small students of one batch go to one worker and train there as one model
    (kd_core.training.together).

    scheduler: address of an existing Dask cluster, such as tcp://host:8786, whose workers can import kd_core and reach
    the store's storage; without one, workers are started on this machine when they are first needed. A run whose worker
    is lost goes on elsewhere from its checkpoint; one whose scheduler is away waits until it is back.
    limits: what submit refuses beyond. Methods may be called from any thread; none waits for a worker.
    """

    def __init__(self, store: Store, scheduler: str | None = None, limits: Limits = Limits()) -> None:  # noqa: B008
        self.store = store
        self.limits = limits
        self._scheduler = scheduler
        self._admission = threading.Lock()
        self._dispatcher = Dispatcher(store, scheduler, limits.at_once)
        atexit.register(self.close)

    @property
    def trouble(self) -> str | None:
        """A sentence while the store or the cluster cannot be used."""
        return self._dispatcher.trouble

    def start(self, likely: Iterable[RunConfig] = ()) -> None:
        """Bring the workers up now, ready for runs of these configs (teachers and baselines), so that none waits."""
        configs = [config.model_dump_json() for config in likely]
        self._dispatcher.send(partial(self._dispatcher.warm_up, configs))

    def submit(self, configs: dict[str, RunConfig], browser: str = "", *, privileged: bool = False) -> list[str]:
        """Queue runs as one batch and return their ids, in order. A distilled run waits for its teacher.

        What waits or is at work with the same config is joined, not repeated: its id stands in the place of the one
        given. browser: on whose behalf, for taking turns and limits; privileged: its own limit does not hold.
        Raises ConfigError where one could not run, or not in the memory of a worker, and where the queue or the disk is
        full; none is queued then.
        """
        if self._scheduler is None:
            check(self.store, configs, bytes_of_a_run(self.limits, workers_here(self.limits.at_once)))
            check_devices(configs.values())
        else:  # whose workers know themselves what they have
            check(self.store, configs, 1e9 * self.limits.gigabytes or math.inf)
        with self._admission:
            new, same = self._shared(configs)
            self._check_room(len(new), None if privileged else browser)
            self.store.create(new, browser=browser)
            for run_id in same.values():
                self.store.join(run_id, browser)
        self._dispatcher.send(partial(self._dispatcher.enqueue, list(new)))
        return [same.get(run_id, run_id) for run_id in configs]

    def _shared(self, configs: Mapping[str, RunConfig]) -> tuple[dict[str, RunConfig], dict[str, str]]:
        """Split runs into those to train and those to join, as kd_core.runs.store.shared does.

        A grid of students, which trains as one model and is looked at as one batch, is joined whole or not at all.
        """
        configs = {run_id: settled(config) for run_id, config in configs.items()}
        new, same = shared(configs, self.store.joinable())
        return (configs, {}) if new and is_grid(configs.values()) else (new, same)

    def join(self, run_ids: Iterable[str], browser: str) -> None:
        """Ask for runs that wait or are at work: who asked for them before no longer ends them alone."""
        with self._admission:
            for run_id in run_ids:
                self.store.join(run_id, browser)

    def _check_room(self, count: int, browser: str | None) -> None:
        """Raise ConfigError where so many more runs are more than the queue, the browser or the disk may hold."""
        active = [run.browsers for run in self.store.runs(statuses=ACTIVE)]
        if len(active) + count > self.limits.queue:
            room = max(0, self.limits.queue - len(active))
            raise ConfigError(
                said(
                    "the queue of this server is full: it holds {most} runs at most and has room for {room}, not"
                    " {wanted}; wait until some have ended",
                    most=self.limits.queue,
                    room=room,
                    wanted=count,
                )
            )
        theirs, most = sum(browser in browsers for browsers in active), self.limits.browser
        if count and browser is not None and theirs + count > most:
            raise ConfigError(
                said(
                    "{own} of your runs wait or are at work, and this server takes {most} at most from one browser:"
                    " with {more} more it would be {total}; wait until some have ended, or stop some",
                    own=theirs,
                    most=most,
                    more=count,
                    total=theirs + count,
                )
            )
        with contextlib.suppress(OSError):
            for folder in {self.store.home, self.store.storage}:
                free = shutil.disk_usage(folder).free if isinstance(folder, Path) else MIN_FREE_BYTES
                if free < MIN_FREE_BYTES:
                    raise ConfigError(
                        said(
                            "the disk of {folder} has only {free:.0f} MB left, and a run needs room to save what it"
                            " learns: free at least {least:.0f} MB",
                            folder=folder,
                            free=free / 1e6,
                            least=MIN_FREE_BYTES / 1e6,
                        )
                    )

    def ask(self, run_id: str, request: Request, browser: str | None = None) -> bool:
        """Stop or pause a run. It ends at its next record, with what it learned saved.

        browser: on whose behalf; one that others asked for too goes on, for them alone. False where it does.
        """
        with self._admission:
            if browser and self.store.leave(run_id, browser):
                return False
            self.store.ask(run_id, request)
        self._dispatcher.send(partial(self._dispatcher.pass_on_request, run_id))
        return True

    def resume(self, *run_ids: str, privileged: bool = True) -> None:
        """Go on with paused, stopped, failed or interrupted runs, from their last checkpoint where they have one.

        privileged: the limit of their browsers does not hold. Raises StoreError, and ConfigError where one would be
        more than the queue, its browser or the disk may hold.
        """
        taken: list[str] = []
        try:
            for run_id in run_ids:
                with self._admission:
                    self._check_room(1, None if privileged else self.store.get(run_id).browser)
                    self.store.take_up(run_id)
                taken.append(run_id)
        finally:
            self._dispatcher.send(partial(self._dispatcher.enqueue, taken))

    def lineup(self) -> tuple[tuple[str, int | None], ...]:
        """List (run id, place): the runs at work, place 0, then the waiting from place 1, in the order of their turn.

        Last, with None for a place, those that wait for their teacher.
        """
        return self._dispatcher.lineup

    def forecast(
        self,
        seconds: Callable[[RunConfig], float | None],
        configs: Mapping[str, RunConfig] = MappingProxyType({}),
        browser: str = "",
    ) -> dict[str, Span]:
        """Estimate when the runs of the queue, and a browser's new ones, begin and end; by id.

        seconds: what a run of a config trains on this machine, None where nobody knows. A run at work goes by its own
        pace. What hangs on a time that nobody knows ends at math.inf.
        """
        runs = {run.id: run for run in self.store.some([run_id for run_id, _ in self.lineup()])}
        new, same = self._shared(configs)
        left = {run.id: self._seconds_left(run, seconds) for run in runs.values()}
        left |= {run_id: _or_endless(seconds(config)) for run_id, config in new.items()}
        works = [*self._dispatcher.roster.works.values()]
        busy = {run_id for work in works for run_id in work.run_ids}
        waiting = {run.id: run for run in runs.values() if run.id not in busy}
        known = {run_id: run.config for run_id, run in waiting.items()} | dict(new)
        order = turns(
            {run_id: run.browser for run_id, run in waiting.items()} | dict.fromkeys(new, browser),
            self._dispatcher.roster.loads(),
            self._dispatcher.roster.served,
            joined={run_id: run.joined for run_id, run in waiting.items()},
        )
        teachers = {run_id: config.distillation.teachers for run_id, config in known.items() if config.distillation}
        taken = [max((left.get(run_id, 0.0) for run_id in work.run_ids), default=0.0) for work in works]
        idle = max(sum(map(len, self.crew().values())), 1) - len(works)
        at_work = {run_id: Span(0.0, left[run_id]) for run_id in busy & left.keys()}
        spans = at_work | forecast(order, left, teachers, taken + [0.0] * idle, at_work)
        unknown = Span(0.0, math.inf)  # of what was queued or has ended since the lineup was made
        return spans | {run_id: spans.get(other, unknown) for run_id, other in same.items()}

    def _seconds_left(self, run: Run, seconds: Callable[[RunConfig], float | None]) -> float:
        pace = progress.seconds_left(self.store, run) if run.status == "running" else None
        return pace if pace is not None else _or_endless(seconds(run.config)) * max(1 - run.progress, 1e-9)

    def crew(self) -> dict[str, list[bool]]:
        """List the workers as of a moment ago: host -> for each of its workers, whether it has something to do."""
        return self._dispatcher.crew

    def find_out(self, kind: Finding, run_ids: Iterable[str], browser: str = "", *, privileged: bool = True) -> None:
        """Find something out of runs of one data set, when a worker is free; Store.finding has the result.

        What waits already is not asked for twice. browser: on whose behalf: browsers take turns. Raises LabError where
        too much waits, of all together or, unless privileged, of this browser, and where own code may not run here:
        that is no finding, which would be kept.
        """
        run_ids = [*run_ids]
        for model in {run.config.model for run in self.store.some(run_ids)}:
            if model.own:
                own.check_permitted(own.path_of(model.name))
        what, wishes = (kind, tuple(sorted(run_ids))), self._dispatcher.roster.wishes
        if what in wishes or any(work.finding == what for work in list(self._dispatcher.roster.works.values())):
            return
        theirs = sum(wish.browser == browser for wish in list(wishes.values()))
        if len(wishes) >= MAX_FINDINGS or (not privileged and theirs >= MAX_FINDINGS_PER_BROWSER):
            raise LabError(said("Enough waits to be measured or written already: look again once some of it is done."))
        wishes[what] = Wish(browser, time.monotonic())
        self._dispatcher.send()

    def close(self) -> None:
        """Let go of the workers. Runs that were going read interrupted when the store is next opened."""
        self._dispatcher.close()
