"""The queue: runs wait here for a worker, take turns at them, and go on elsewhere where a worker is lost.

The page never waits for torch: kd_core.jobs.execute does a run in a worker process, its progress comes back as events,
and the process that owns the queue is the only writer of its runs.
"""

import atexit
import bisect
import contextlib
import itertools
import json
import logging
import math
import queue
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from kd_core.base.config import ConfigError, LabError
from kd_core.base.files import is_file, read_text
from kd_core.jobs.cluster import CONNECT_SECONDS, Cluster, SchedulerError, Worker
from kd_core.jobs.execute import Request, sentence_of
from kd_core.jobs.findings import Finding, find_on_worker
from kd_core.jobs.turns import Limits, turns
from kd_core.jobs.worker import PROGRESS, note_request, perform_on_worker, warm_up
from kd_core.runs import progress
from kd_core.runs.checks import check
from kd_core.runs.run import LOST_WORKER, Run, StoreError
from kd_core.runs.store import Store, shared
from kd_core.training.config import RunConfig
from kd_core.training.precision import settled

if TYPE_CHECKING:
    from distributed import Future

    Task = Future[Any]

log = logging.getLogger(__name__)

MIN_FREE_BYTES = 200_000_000
"""Of the store's disk, below which no run is queued: those at work need room for what they learn."""
TRAINING_PER_BACKUP = 30
"""The list of runs is backed up once one was queued or has ended, and not before this many times what the last backup
took."""
FEWEST_TOGETHER = 4
"""Of one batch, from which on runs train as one; of fewer one can watch every step."""
MAX_FINDINGS, MAX_FINDINGS_PER_BROWSER = 200, 12
"""That may wait: an export or a measurement takes a worker for up to a minute, in which nothing trains."""
SECONDS_BETWEEN_PURGES = 3600.0
"""Of what was deleted, and of checkpoints that nobody is likely to go on from (Store.prune)."""
TICK_SECONDS = 1.0
"""How often to look for what other processes asked."""
SLICE_SECONDS = 30.0
"""How long a run keeps its worker while runs of browsers that have none at work, or a finding, wait for one."""
MOST_LOSSES = 3
"""How many workers a run may lose before it is given up."""
SECONDS_BETWEEN_SIGNS = 20.0
"""Of life, that the owner of runs gives, so that other hosts know when it is gone."""
RESUME = "Resume goes on from the last checkpoint."
BROKEN_OFF = f"The process that trained it broke off. {RESUME}"
GIVEN_UP = f"The process that trained it was lost, and so were those that took its place. {RESUME}"


def check_devices(configs: Iterable[RunConfig]) -> None:
    """Raise ConfigError where a run names a device that this machine, which is to do it, has not."""
    for device in {config.training.device for config in configs} - {"auto", "cpu"}:
        from kd_core.models.arithmetic import pick_device  # it takes torch

        pick_device(device)


# ---------------------------------------------------------------------------------------------------- the queue


class Span(NamedTuple):
    """When a run is expected to begin and to end, in seconds from now."""

    begins: float
    ends: float


def forecast(
    order: Iterable[str],
    seconds: Mapping[str, float],
    teachers: Mapping[str, Collection[str]],
    workers: Iterable[float],
    at_work: Mapping[str, Span] = MappingProxyType({}),
) -> dict[str, Span]:
    """When each run begins and ends if each in turn goes to the first free worker once its teachers are done.

    order: run ids, in turn order. seconds: what each trains. workers: in how many seconds each is free. at_work: what
    has begun, teachers among them.
    """
    left, free, spans = [*order], sorted(workers) or [0.0], dict(at_work)

    def taught_at(run_id: str) -> float:
        known = [teacher for teacher in teachers.get(run_id, ()) if teacher in spans or teacher in left]
        return max((spans[teacher].ends if teacher in spans else math.inf for teacher in known), default=0.0)

    while left:
        at = free.pop(0)
        run_id = next((one for one in left if taught_at(one) <= at), None) or min(left, key=taught_at)
        begins = max(at, taught_at(run_id))
        spans[run_id] = Span(begins, begins + seconds[run_id])
        bisect.insort(free, spans[run_id].ends)
        left.remove(run_id)
    return spans


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
    limits: what submit refuses beyond.
    trouble holds a sentence while the store or the cluster cannot be used, else None.
    """

    def __init__(self, store: Store, scheduler: str | None = None, limits: Limits = Limits()) -> None:  # noqa: B008
        self.store = store
        self.limits = limits
        self.trouble: str | None = None
        self._scheduler = scheduler
        self._inbox: queue.Queue[tuple[Any, ...]] = queue.Queue()
        self._waiting: dict[str, Run] = {}  # by id, in the order of their coming
        self._came: dict[str, int] = {}  # run id -> its number by their coming
        self._works: dict[str, _Work] = {}  # key -> what a worker has
        self._given: dict[str, str] = {}  # run id -> key of the work it is part of, until it has ended
        self._losses: Counter[str] = Counter()  # workers that a run has lost
        self._served: dict[str, float] = {}  # browser -> when it last got a worker
        self._lineup: tuple[tuple[str, int | None], ...] = ()
        self._crew: dict[str, list[bool]] = {}
        self._numbers = itertools.count(1)
        self._admission = threading.Lock()
        self._ticked_at = self._purged_at = time.monotonic()
        self._back_up_at: float | None = None  # when the list is next to be backed up, if anything has ended
        self._back_up_pause = 0.0
        self._sign_at = -math.inf
        self._to_find: dict[tuple[Finding, tuple[str, ...]], _Wish] = {}  # in the order of their coming
        self._found_for: dict[str, float] = {}  # browser -> when something was last looked for on its behalf
        self._cluster: Cluster | None = None
        self._connect_at = -math.inf  # not before
        self._warm: list[Task] = []
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="kd-lab-jobs", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    # Called by pages, from any thread. None of these waits for a worker.

    def start(self, likely: Iterable[RunConfig] = ()) -> None:
        """Bring the workers up now, ready for runs of these configs (teachers and baselines), so that none waits."""
        self._inbox.put(("start", [config.model_dump_json() for config in likely]))

    def submit(self, configs: dict[str, RunConfig], browser: str = "", *, privileged: bool = False) -> list[str]:
        """Queue runs as one batch and return their ids, in order. A distilled run waits for its teacher.

        What waits or is at work with the same config is joined, not repeated: its id stands in the place of the one
        given. browser: on whose behalf, for taking turns and limits; privileged: its own limit does not hold.
        Raises ConfigError where one could not run, the queue or the disk is full; none is queued then.
        """
        check(self.store, configs)
        if self._scheduler is None:
            check_devices(configs.values())
        with self._admission:
            new, same = self._shared(configs)
            self._check_room(len(new), None if privileged else browser)
            self.store.create(new, browser=browser)
            for run_id in same.values():
                self.store.join(run_id, browser)
        self._inbox.put(("queue", list(new)))
        return [same.get(run_id, run_id) for run_id in configs]

    def _shared(self, configs: Mapping[str, RunConfig]) -> tuple[dict[str, RunConfig], dict[str, str]]:
        """Which of these are to be trained, and which are to be joined, as kd_core.runs.store.shared says it.

        A grid of students, which trains as one model and is looked at as one batch, is joined whole or not at all.
        """
        configs = {run_id: settled(config) for run_id, config in configs.items()}
        new, same = shared(configs, self.store.joinable())
        grid = sum(config.role != "teacher" for config in configs.values()) >= FEWEST_TOGETHER
        return (configs, {}) if grid and new else (new, same)

    def join(self, run_ids: Iterable[str], browser: str) -> None:
        """Ask for runs that wait or are at work: who asked for them before no longer ends them alone."""
        with self._admission:
            for run_id in run_ids:
                self.store.join(run_id, browser)

    def _check_room(self, count: int, browser: str | None) -> None:
        """Raise ConfigError where so many more runs are more than the queue, the browser or the disk may hold."""
        active = self.store.active_browsers()
        if len(active) + count > self.limits.queue:
            room = max(0, self.limits.queue - len(active))
            raise ConfigError(
                f"the queue of this server is full: it holds {self.limits.queue} runs at most and has room for {room},"
                f" not {count}; wait until some have ended"
            )
        own, most = sum(browser in browsers for browsers in active), self.limits.browser
        if count and browser is not None and own + count > most:
            raise ConfigError(
                f"{own} of your runs wait or are at work, and this server takes {most} at most from one browser: with"
                f" {count} more it would be {own + count}; wait until some have ended, or stop some"
            )
        with contextlib.suppress(OSError):
            for folder in {self.store.home, self.store.storage}:
                free = shutil.disk_usage(folder).free if isinstance(folder, Path) else MIN_FREE_BYTES
                if free < MIN_FREE_BYTES:
                    raise ConfigError(
                        f"the disk of {folder} has only {free / 1e6:.0f} MB left, and a run needs room to save what it"
                        f" learns: free at least {MIN_FREE_BYTES / 1e6:.0f} MB"
                    )

    def ask(self, run_id: str, request: Request, browser: str | None = None) -> bool:
        """Stop or pause a run. It ends at its next record, with what it learned saved.

        browser: on whose behalf; one that others asked for too goes on, for them alone. False where it does.
        """
        with self._admission:
            if browser and self.store.leave(run_id, browser):
                return False
            self.store.ask(run_id, request)
        self._inbox.put(("ask", run_id))
        return True

    def resume(self, *run_ids: str, privileged: bool = True) -> None:
        """Go on with paused, stopped, failed or interrupted runs from their last checkpoint.

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
            self._inbox.put(("queue", taken))

    def lineup(self) -> tuple[tuple[str, int | None], ...]:
        """(run id, place): the runs at work, place 0, then the waiting from place 1, in the order of their turn.

        Last, with None for a place, those that wait for their teacher.
        """
        return self._lineup

    def forecast(
        self,
        seconds: Callable[[RunConfig], float | None],
        configs: Mapping[str, RunConfig] = MappingProxyType({}),
        browser: str = "",
    ) -> dict[str, Span]:
        """When the runs of the queue, and a browser's new ones, are expected to begin and to end; by id.

        seconds: what a run of a config trains on this machine, None where nobody knows. A run at work goes by its own
        pace. What hangs on a time that nobody knows ends at math.inf.
        """
        runs = {run.id: run for run in self.store.some([run_id for run_id, _ in self.lineup()])}
        new, same = self._shared(configs)
        left = {run.id: self._seconds_left(run, seconds) for run in runs.values()}
        left |= {run_id: _or_endless(seconds(config)) for run_id, config in new.items()}
        works = [*self._works.values()]
        busy = {run_id for work in works for run_id in work.run_ids}
        waiting = {run.id: run for run in runs.values() if run.id not in busy}
        known = {run_id: run.config for run_id, run in waiting.items()} | dict(new)
        order = turns(
            {run_id: run.browser for run_id, run in waiting.items()} | dict.fromkeys(new, browser),
            self._loads(),
            self._served,
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
        pace = progress.seconds_left(run, self.store.last_record(run.id)) if run.status == "running" else None
        return pace if pace is not None else _or_endless(seconds(run.config)) * max(1 - run.progress, 1e-9)

    def crew(self) -> dict[str, list[bool]]:
        """The workers as of a moment ago: host -> for each of its workers, whether it has something to do."""
        return self._crew

    def find_out(self, kind: Finding, run_ids: Iterable[str], browser: str = "", *, privileged: bool = True) -> None:
        """Find something out of runs of one data set, when a worker is free; Store.finding has the result.

        What waits already is not asked for twice. browser: on whose behalf: browsers take turns. Raises LabError where
        too much waits, of all together or, unless privileged, of this browser.
        """
        what = kind, tuple(sorted(run_ids))
        if what in self._to_find or any(work.finding == what for work in list(self._works.values())):
            return
        own = sum(wish.browser == browser for wish in list(self._to_find.values()))
        if len(self._to_find) >= MAX_FINDINGS or (not privileged and own >= MAX_FINDINGS_PER_BROWSER):
            raise LabError("Enough waits to be measured or written already: look again once some of it is done.")
        self._to_find[what] = _Wish(browser, time.monotonic())
        self._inbox.put(("find",))  # whatever the message, _dispatch follows

    def close(self) -> None:
        """Let go of the workers. Runs that were going read interrupted when the store is next opened."""
        if self._closing:
            return
        self._closing = True
        self._inbox.put(("close",))
        self._thread.join(timeout=10)

    # The queue's own thread: the only one that talks to Dask and enters events.

    def _serve(self) -> None:
        while not self._closing:
            message, handled = self._next_message(), False
            while not self._closing:
                try:
                    if not handled:
                        self._handle(message)
                    handled = True
                    if not _is_mere_progress(message):
                        self._dispatch()
                    self.trouble = None
                    break
                except StoreError as error:  # a full disk, say: what was to be entered is kept and tried again
                    self.trouble = str(error)
                    time.sleep(1.0)
                except SchedulerError as error:  # what waits is tried again with the next tick
                    self.trouble = str(error)
                    break
                except Exception:
                    log.exception("the queue could not handle %s", message[0])
                    self.trouble = "The queue met a problem and goes on trying; the app's log has the details."
                    break
        self._let_go()

    def _next_message(self) -> tuple[Any, ...]:
        """What came in, and a tick every TICK_SECONDS, however much comes in."""
        if time.monotonic() - self._ticked_at < TICK_SECONDS:
            with contextlib.suppress(queue.Empty):
                return self._inbox.get(timeout=TICK_SECONDS)
        self._ticked_at = time.monotonic()
        return ("tick",)

    def _handle(self, message: tuple[Any, ...]) -> None:
        match message:
            case ("start", likely):
                cluster = self._connect()
                self._warm = [
                    cluster.submit(worker, warm_up, likely, cluster.threads, key=f"warm-up-{worker.address}")
                    for worker in cluster.workers()
                ]
            case ("tick",):
                self._give_sign()
                self._look_after_workers()
                self._muster()
                for run_id in self._running():  # another process, a shell say, may have asked
                    self._pass_on_request(run_id)
                self._share()
                if time.monotonic() - self._purged_at > SECONDS_BETWEEN_PURGES:
                    self._purged_at = time.monotonic()
                    self.store.purge()
                    self.store.prune()
                    self._came = {
                        one: came for one, came in self._came.items() if one in {*self._waiting, *self._given}
                    }
                if self._back_up_at is not None and time.monotonic() > self._back_up_at:
                    self._back_up()
            case ("queue", run_ids):
                self._came |= {run_id: next(self._numbers) for run_id in run_ids}
                self._wait(run_ids)
                self._plan_back_up()
            case ("ask", run_id):
                self._pass_on_request(run_id)
            case ("events", key, run_id, events):
                if self._given.get(run_id) != key:  # from a worker that was taken for lost and is not
                    return
                self.store.apply(run_id, *events)
                if events[-1]["kind"] in ("finished", "stopped", "paused", "failed"):
                    self._given.pop(run_id)
                if events[-1]["kind"] == "queued" and key not in self._works:  # it yielded, and left before saying so
                    self._yielded(run_id)
                if events[-1]["kind"] == "started":  # a replaced worker has forgotten what it was asked
                    self._pass_on_request(run_id)
            case ("done", key):
                work = self._works.get(key)
                if work is None:  # it was dropped before
                    return
                if work.task.status == "cancelled":  # with its scheduler, which has forgotten us
                    self._let_go()
                    return
                if work.finding:
                    self._after_finding(work)
                for run_id in work.run_ids:
                    self._after(run_id, work)
                del self._works[key]  # not before: what the store cannot take is tried again
                if work.run_ids:
                    self._plan_back_up()

    def _share(self) -> None:
        """Have runs yield that were at work for long, where all workers are busy and somebody without any waits.

        That is a browser of which none is at work, or a finding.
        """
        if self._cluster is None:
            return
        runs = [work for work in self._works.values() if not work.finding]
        long = [work for work in runs if time.monotonic() - work.began > SLICE_SECONDS]
        held = self._held_host()
        for work in long:
            if work.worker.host == held:
                self._cluster.tell(work.worker, note_request, work.run_ids[0], "yield")
        at_work = self._loads()
        waiting = [run for run in self._waiting.values() if not any(at_work[browser] for browser in run.browsers)]
        if long and not self._free_workers() and len(waiting) > len(self.store.blocked(waiting)):
            longest = min(long, key=lambda work: work.began)
            self._cluster.tell(longest.worker, note_request, longest.run_ids[0], "yield")

    def _give_sign(self) -> None:
        """Show that this owner of runs lives, and see what others left behind."""
        if time.monotonic() - self._sign_at > SECONDS_BETWEEN_SIGNS:
            self._sign_at = time.monotonic()
            self.store.give_sign()
            self.store.interrupt_orphans()

    def _look_after_workers(self) -> None:
        """Drop the work of workers that are gone, and let it go on elsewhere."""
        if self._cluster is None or not self._cluster.reachable:
            self._let_go()
            return
        there = set(self._cluster.workers())
        for key, work in [*self._works.items()]:
            if work.worker not in there:
                for run_id in work.run_ids:  # in case it is only slow
                    self._cluster.tell(work.worker, note_request, run_id, "yield")
                self._lost(key, blamed=True)

    def _muster(self) -> None:
        busy = {work.worker.address for work in self._works.values()}
        crew: dict[str, list[bool]] = {}
        for worker in self._cluster.workers() if self._cluster else ():
            crew.setdefault(worker.host, []).append(worker.address in busy)
        self._crew = crew

    def _let_go(self) -> None:
        """Leave the cluster, and what its workers have, to itself; a new one is looked for when it is needed."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            with contextlib.suppress(Exception):
                cluster.close()
        for key in () if self._closing else [*reversed(self._works)]:
            self._lost(key, blamed=False)

    def _lost(self, key: str, *, blamed: bool) -> None:
        """What was given to a worker that is gone waits for another, in its place.

        blamed: the worker alone is gone, and the work may be what it died of. Work that has lost MOST_LOSSES workers so
        is given up. What the store cannot take is tried again.
        """
        work = self._works[key]
        if work.finding:
            kind, run_ids = work.finding
            self.store.save_finding(kind, run_ids, {"problem": f"The {kind} was not found out: its worker was lost."})
        going = [run_id for run_id in work.run_ids if self._given.get(run_id) == key]  # the others had ended
        given_up = [run_id for run_id in going if self._losses[run_id] + blamed >= MOST_LOSSES]
        for run_id in going:
            if run_id in given_up:
                self.store.apply(run_id, {"kind": "interrupted", "text": GIVEN_UP})
            else:
                self.store.apply(run_id, {"kind": "queued"}, {"kind": "message", "text": LOST_WORKER})
        self._wait([run_id for run_id in going if run_id not in given_up])
        for run_id in going:
            del self._given[run_id]
            self._losses[run_id] += blamed
        del self._works[key]
        with contextlib.suppress(Exception):  # its scheduler may be gone
            work.task.cancel()

    def _plan_back_up(self) -> None:
        if self._back_up_at is None:
            self._back_up_at = time.monotonic() + self._back_up_pause

    def _back_up(self) -> None:
        self._back_up_at, before = None, time.monotonic()
        try:
            self.store.back_up()
        except StoreError as error:  # a backup that cannot be made must not keep runs from being entered
            log.warning("the list of runs was not backed up: %s", error)
        self._back_up_pause = TRAINING_PER_BACKUP * (time.monotonic() - before)

    def _pass_on_request(self, run_id: str) -> None:
        request = self.store.request(run_id)
        work = self._running().get(run_id)
        if request and work and self._cluster is not None:
            self._cluster.tell(work.worker, note_request, run_id, request)

    def _running(self) -> dict[str, "_Work"]:
        """The runs at work: id -> what they are part of."""
        return {run_id: work for work in [*self._works.values()] if not work.finding for run_id in work.run_ids}

    def _wait(self, run_ids: Iterable[str]) -> None:
        """Have runs wait, each in its place by their coming: one that leaves its worker does not lose it."""
        waiting = self._waiting | {run.id: run for run in self.store.some([*run_ids])}
        self._waiting = dict(sorted(waiting.items(), key=lambda item: self._came.get(item[0], 0)))

    def _yielded(self, run_id: str) -> None:
        """Have a run wait that has left its worker to another browser: it has had its turn."""
        self._wait([run_id])
        for run in self.store.some([run_id]):
            self._serve_now(run)

    def _loads(self) -> Counter[str]:
        """How many runs of each browser are at work; one that several asked for counts for each."""
        return Counter(browser for run in self.store.some([*self._running()]) for browser in run.browsers)

    def _turns(self, blocked: Collection[str]) -> list[str]:
        """The order in which what waits gets workers, without what cannot begin."""
        waiting = {run_id: run.browser for run_id, run in self._waiting.items()}
        joined = {run_id: run.joined for run_id, run in self._waiting.items()}
        return turns(waiting, self._loads(), self._served, blocked, joined)

    def _dispatch(self) -> None:
        free, trouble = self._free_workers_or_trouble()
        self._waiting = {run.id: run for run in self.store.some([*self._waiting])}
        for run_id, run in [*self._waiting.items()]:
            lost = None if run.request else self._lost_teacher(run)
            if run.request or lost:
                self.store.apply(run_id, {"kind": "paused" if run.request == "pause" else "stopped", "text": lost})
                del self._waiting[run_id]  # not before: on a full disk it is asked again
        blocked = self.store.blocked(self._waiting.values())
        while free:
            fits = {run_id: self._suited(free, run) for run_id, run in self._waiting.items()}
            order = self._turns({run_id for run_id, worker in fits.items() if worker is None or run_id in blocked})
            if not order:
                break
            worker = fits[order[0]]
            assert worker is not None  # noqa: S101
            self._give(worker, self._together(order[0]))
            free = self._free_workers()
        if not trouble:
            self._dispatch_findings()
        self._lineup = (
            *((run_id, 0) for run_id in self._running()),
            *((run_id, place) for place, run_id in enumerate(self._turns(blocked), start=1)),
            *((run_id, None) for run_id in self._waiting if run_id in blocked),
        )
        if trouble:
            raise trouble

    def _free_workers_or_trouble(self) -> tuple[list[Worker], SchedulerError | None]:
        """The free workers, if any run waits. A scheduler that is away must not keep runs from being stopped."""
        if not self._waiting:
            return [], None
        try:
            if self._scheduler and not self._connect().workers():
                raise SchedulerError(
                    f"The Dask scheduler at {self._scheduler} has no worker: start one with 'python -m kd_core worker"
                    f" {self._scheduler}'. What waits goes on then."
                )
            return self._free_workers(), None
        except SchedulerError as error:
            return [], error

    def _give(self, worker: Worker, run_ids: list[str]) -> None:
        """Give runs to a worker. Those that do not wait train along for the others' sake, and leave nothing."""
        going = [run_id for run_id in run_ids if run_id in self._waiting]
        key = f"{run_ids[0]}-{time.time_ns()}"
        absent = [run_id for run_id in run_ids if run_id not in going]
        self._given |= dict.fromkeys(going, key)
        self._submit(key, worker, perform_on_worker, run_ids, absent, run_ids=tuple(going))
        for run_id in going:
            self._serve_now(self._waiting.pop(run_id))

    def _serve_now(self, run: Run) -> None:
        """Note that the browsers of a run have had a turn."""
        self._served |= dict.fromkeys(run.browsers, time.monotonic())

    def _dispatch_findings(self) -> None:
        wishes = {what: wish.browser for what, wish in list(self._to_find.items())}
        at_work = Counter(work.browser for work in self._works.values() if work.finding)
        for what in turns(wishes, at_work, self._found_for):
            kind, run_ids = what
            worker = self._worker_to_find(kind)
            if worker is not None:
                key, runs = f"{kind}-{time.time_ns()}", self.store.some(run_ids)
                self._submit(key, worker, find_on_worker, kind, runs, browser=wishes[what], finding=what)
                self._found_for[wishes[what]] = time.monotonic()
                del self._to_find[what]

    def _submit(
        self,
        key: str,
        worker: Worker,
        function: Callable[..., Any],
        *args: Any,
        run_ids: tuple[str, ...] = (),
        browser: str = "",
        finding: tuple[Finding, tuple[str, ...]] | None = None,
    ) -> None:
        """Have a worker call function(key, storage, *args, threads)."""
        cluster = self._connect()
        task = cluster.submit(worker, function, key, str(self.store.storage), *args, cluster.threads, key=key)
        self._works[key] = _Work(task, worker, run_ids, browser, finding, time.monotonic())
        task.add_done_callback(lambda _: self._inbox.put(("done", key)))

    # Who gets which worker.

    def _free_workers(self) -> list[Worker]:
        """The workers that may be given runs now, those of the hosts with the least to do first."""
        works = self._works.values()
        busy = {work.worker.address for work in works}
        closed = {work.worker.host for work in works if work.measures} | {self._held_host()}
        load = Counter(work.worker.host for work in works)
        free = [one for one in self._connect().workers() if one.address not in busy and one.host not in closed]
        return sorted(free, key=lambda one: (load[one.host], one.address))

    def _suited(self, free: Sequence[Worker], run: Run) -> Worker | None:
        """The free worker that suits a run best, None where it has to wait.

        Runs that may choose go where a GPU is, unless they began elsewhere: only the same device gives the same
        weights. One that asks for a GPU waits for one where any worker has it.
        """
        device = run.config.training.device
        began_on = str(run.environment.get("device", "")) if run.step else ""
        wants_gpu = device in ("cuda", "mps") or (device == "auto" and not began_on.startswith("cpu"))
        suited = [worker for worker in free if worker.gpu == wants_gpu]
        if device in ("cuda", "mps") and any(worker.gpu for worker in self._connect().workers()):
            free = []
        return next(iter(suited or free), None)

    def _worker_to_find(self, kind: Finding) -> Worker | None:
        """A free worker for a finding; for a measurement of speed, one on whose host nothing else goes on."""
        works = self._works.values()
        busy = {work.worker.address for work in works}
        closed = {work.worker.host for work in works if kind == "speed" or work.measures}
        workers = self._connect().workers()
        return next((one for one in workers if one.address not in busy and one.host not in closed), None)

    def _held_host(self) -> str | None:
        """The host that is given no more runs, because a finding has waited for its turn for long enough."""
        oldest = min((wish.since for wish in list(self._to_find.values())), default=math.inf)
        if self._cluster is None or time.monotonic() - oldest < SLICE_SECONDS:
            return None
        load = Counter(work.worker.host for work in self._works.values())
        hosts = {worker.host for worker in self._cluster.workers()}
        return min(hosts, key=lambda host: (load[host], host), default=None)

    def _together(self, run_id: str) -> list[str]:
        """The waiting runs of its batch that train with it as one, itself included; itself alone where they are few.

        Those that once trained together go on together, with those that have left the group since: the batched model of
        fewer would round otherwise, and their checkpoint is of all.
        """
        before = self._group_of(run_id)
        if len(self.store.some(before)) == len(before) > 1:
            return before
        run = self.store.get(run_id)
        batch = self.store.runs(batch=run.batch)
        if any(one.config.mistake for one in batch):  # whoever looks for a mistake wants to see every step of both
            return [run_id]
        waiting = {one.id: one for one in batch if one.id in self._waiting}
        fresh = {
            one.id: one.config
            for one in waiting.values()
            if one.config.role != "teacher" and not one.request and not is_file(self.store.folder(one.id).checkpoint)
        }
        if len(fresh) < FEWEST_TOGETHER or run_id not in fresh:
            return [run_id]
        from kd_core.training import together

        ids = {config: one for one, config in fresh.items()}
        group = next(group for group in together.groups([*ids]) if run.config in group)
        return [ids[config] for config in group] if len(group) >= FEWEST_TOGETHER else [run_id]

    def _group_of(self, run_id: str) -> list[str]:
        """The runs that one has trained with as one, itself included, as its folder says."""
        try:
            group = json.loads(read_text(self.store.folder(run_id).group))
            return [str(one) for one in group] if run_id in group else []
        except (OSError, ValueError, TypeError):
            return []

    def _lost_teacher(self, run: Run) -> str | None:
        named = run.config.distillation.teachers if run.config.distillation else ()
        teachers = {teacher.id: teacher for teacher in self.store.some(named)}
        for teacher_id in named:
            teacher = teachers.get(teacher_id)
            if teacher is None:
                return f"Not started: its teacher, run {teacher_id}, was deleted."
            if teacher.status in ("stopped", "failed", "interrupted") and not teacher.usable:
                state = f"is {teacher.status} and left no weights"
                return f"Not started: its teacher, run {teacher_id}, {state}: resume that one first, then this."
        return None

    def _after(self, run_id: str, work: "_Work") -> None:
        """Enter how a run left its worker."""
        if work.task.status == "finished":
            if self.store.status(run_id) == "queued":  # it yielded
                self._yielded(run_id)
        elif run_id in self._given:
            error = work.task.exception() if work.task.status == "error" else None
            log.warning("run %s broke off: %s", run_id, error or work.task.status)
            self.store.apply(run_id, {"kind": "interrupted", "text": BROKEN_OFF})
            self._given.pop(run_id)
        self._losses.pop(run_id, None)

    def _after_finding(self, work: "_Work") -> None:
        assert work.finding is not None  # noqa: S101
        kind, run_ids = work.finding
        if work.task.status == "finished":
            self.store.save_finding(kind, run_ids, work.task.result())
        else:
            reason = sentence_of(work.task.exception()) if work.task.status == "error" else "no worker"
            self.store.save_finding(kind, run_ids, {"problem": f"The {kind} could not be found out: {reason}"})

    def _connect(self) -> Cluster:
        """The cluster. Raises SchedulerError, at once where it did so a moment ago."""
        if self._cluster is not None and not self._cluster.reachable:
            self._let_go()
        if self._cluster is None:
            if time.monotonic() < self._connect_at:
                raise SchedulerError(self.trouble or f"The Dask scheduler at {self._scheduler} is not asked yet.")
            try:
                self._cluster = Cluster(self._scheduler, self.limits.at_once, self._hear)
            except SchedulerError:
                self._connect_at = time.monotonic() + CONNECT_SECONDS
                raise
        return self._cluster

    def _hear(self, message: dict[str, Any]) -> None:
        self._inbox.put(("events", message["key"], message["run_id"], message["events"]))


class _Wish(NamedTuple):
    """On whose behalf something is to be found out, and since when, on the monotonic clock."""

    browser: str
    since: float


class _Work(NamedTuple):
    """What a worker was given: runs, or a finding. began: when, on the monotonic clock."""

    task: "Task"
    worker: Worker
    run_ids: tuple[str, ...]
    browser: str
    finding: tuple[Finding, tuple[str, ...]] | None
    began: float

    @property
    def measures(self) -> bool:
        """Whether it wants its host for itself."""
        return self.finding is not None and self.finding[0] == "speed"


def _is_mere_progress(message: tuple[Any, ...]) -> bool:
    """Whether a message cannot let another run start."""
    return message[0] == "events" and message[3][-1]["kind"] in (*PROGRESS, "message")
