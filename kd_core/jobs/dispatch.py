"""The queue's own thread: it gives waiting runs and findings to workers, and enters what they report."""

import contextlib
import itertools
import logging
import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from kd_core.base.config import LabError
from kd_core.base.process import memory_kills
from kd_core.base.templates import kept, said, said_by
from kd_core.jobs.cluster import CONNECT_SECONDS, HERE, Cluster, SchedulerError, Worker
from kd_core.jobs.execute import sentence_of
from kd_core.jobs.findings import CALLED, Finding, find_on_worker
from kd_core.jobs.turns import (
    Work,
    free_workers,
    quietest_host,
    suited_worker,
    training_group,
    turns,
)
from kd_core.jobs.worker import PROGRESS, execute_on_worker, note_request, warm_up
from kd_core.runs.events import Event
from kd_core.runs.run import LOST_WORKER, STATES, Run, StoreError
from kd_core.runs.store import Store

if TYPE_CHECKING:
    from distributed import Future

    Task = Future[Any]

log = logging.getLogger(__name__)

TRAINING_PER_BACKUP = 30
"""The list of runs is backed up once one was queued or has ended, and not before this many times what the last backup
took."""
SECONDS_BETWEEN_PURGES = 3600.0
"""Of what was deleted, and of checkpoints that nobody is likely to go on from (Store.prune)."""
TICK_SECONDS = 1.0
"""How often to look for what other processes asked."""
SLICE_SECONDS = 30.0
"""How long a run keeps its worker while runs of browsers that have none at work, or a finding, wait for one."""
MOST_LOSSES = 3
"""How many workers a run or a finding may lose before it is given up."""
SECONDS_BETWEEN_SIGNS = 20.0
"""Of life, that the owner of runs gives, so that other hosts know when it is gone."""
BROKEN_OFF = said("The process that trained it broke off.")
GIVEN_UP = said("The process that trained it was lost, and so were those that took its place.")
NO_WORKER = said(
    "No worker is free: none answers. One that stays silent is ended and started anew, and what waits then goes on."
)

KILLED = said(
    "The system killed the process that trained it, because memory ran out: resume it when less else trains here, or"
    " choose a smaller batch size or network."
)


class Wish(NamedTuple):
    """On whose behalf a finding waits, and since when, on the monotonic clock."""

    browser: str
    since: float


class Message(NamedTuple):
    """Work for the queue's thread. places: whether a run or a finding may get a worker afterwards."""

    work: Callable[[], None]
    places: bool = True


class Roster:
    """What waits, what is at work, and how it leaves its worker.

    The queue's thread alone changes it, but for wishes, which any thread enters. A change is entered in the store
    before it is made: what the store cannot take, as on a full disk, is tried again.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.waiting: dict[str, Run] = {}  # by id, in the order of their coming
        self.wishes: dict[tuple[Finding, tuple[str, ...]], Wish] = {}  # findings, in the same order
        self.works: dict[str, Work] = {}  # key -> what a worker has
        self.served: dict[str, float] = {}  # browser -> when it last got a worker
        self._came: dict[str, int] = {}  # run id -> its number by their coming
        self._given: dict[str, str] = {}  # run id -> key of the work it is part of, until it has ended
        self._losses: Counter[object] = Counter()  # workers that a run or a finding has lost
        self._numbers = itertools.count(1)

    def running(self) -> dict[str, Work]:
        """List the runs at work: id -> the work they are part of."""
        return {run_id: work for work in [*self.works.values()] if not work.finding for run_id in work.run_ids}

    def loads(self) -> Counter[str]:
        """Count each browser's runs at work; one that several asked for counts for each."""
        return Counter(browser for run in self.store.some([*self.running()]) for browser in run.browsers)

    def turns(self, blocked: Collection[str]) -> list[str]:
        """Order what waits by its turns, without what cannot begin."""
        waiting = {run_id: run.browser for run_id, run in self.waiting.items()}
        joined = {run_id: run.joined for run_id, run in self.waiting.items()}
        return turns(waiting, self.loads(), self.served, blocked, joined)

    def enqueue(self, run_ids: Iterable[str]) -> None:
        """Have runs wait that were queued just now."""
        self._came |= {run_id: next(self._numbers) for run_id in run_ids}
        self._wait(run_ids)

    def give(self, key: str, work: Work) -> None:
        """Note what a worker was given: runs no longer wait then."""
        self.works[key] = work
        self._given |= dict.fromkeys(work.run_ids, key)
        for run_id in work.run_ids:
            self._note_turn(self.waiting.pop(run_id))

    def enter(self, key: str, run_id: str, events: list[Event]) -> bool:
        """Enter what a worker reports of a run; False where it is no longer that worker's.

        key: of the work that the run was part of.
        """
        if self._given.get(run_id) != key:  # from a worker that was taken for lost and is not
            return False
        self.store.apply(run_id, *events)
        last = events[-1]["kind"]
        if last in ("finished", "stopped", "paused", "failed"):
            self._given.pop(run_id)
        if last == "queued" and key not in self.works:  # it yielded, and left before saying so
            self._yielded(run_id)
        return True

    def end(self, key: str) -> None:
        """Enter how the runs or the finding of a work have left its worker."""
        work = self.works[key]
        if work.finding:
            kind, run_ids = work.finding
            self.store.save_finding(kind, run_ids, _result(kind, work.task))
            self._losses.pop(work.finding, None)
        for run_id in work.run_ids:
            self._end_run(run_id, work)
        del self.works[key]

    def _end_run(self, run_id: str, work: Work) -> None:
        if work.task.status == "finished":
            if self.store.status(run_id) == "queued":  # it yielded
                self._yielded(run_id)
        elif run_id in self._given:
            error = work.task.exception() if work.task.status == "error" else None
            log.warning("run %s broke off: %s", run_id, error or work.task.status)
            text = said("{first} {next}", first=BROKEN_OFF, next=self.store.folder(run_id).resume_in_words())
            self.store.apply(run_id, {"kind": "interrupted", "text": text})
            self._given.pop(run_id)
        self._losses.pop(run_id, None)

    def lose(self, key: str, *, blamed: bool) -> None:
        """Have what was given to a worker that is gone wait for another, in its place.

        blamed: the worker alone is gone, and the work may be what it died of. Work that has lost MOST_LOSSES workers so
        is given up, and so is one whose worker this machine killed for want of memory: it would do so again.
        """
        work = self.works[key]
        killed = blamed and work.worker.host == HERE and memory_kills() > work.kills
        if work.finding:
            self._lose_finding(work.finding, work, killed=killed, blamed=blamed)
        going = [run_id for run_id in work.run_ids if self._given.get(run_id) == key]  # the others had ended
        given_up = [run_id for run_id in going if self._is_given_up(run_id, killed=killed, blamed=blamed)]
        for run_id in going:
            if run_id in given_up:
                resume = self.store.folder(run_id).resume_in_words()
                why = KILLED if killed else said("{first} {next}", first=GIVEN_UP, next=resume)
                self.store.apply(run_id, {"kind": "interrupted", "text": why})
            else:
                self.store.apply(run_id, {"kind": "queued"}, {"kind": "message", "text": LOST_WORKER})
        self._wait([run_id for run_id in going if run_id not in given_up])
        for run_id in going:
            del self._given[run_id]
            self._losses[run_id] += blamed
        del self.works[key]
        with contextlib.suppress(Exception):  # its scheduler may be gone
            work.task.cancel()

    def _lose_finding(self, what: tuple[Finding, tuple[str, ...]], work: Work, *, killed: bool, blamed: bool) -> None:
        if self._is_given_up(what, killed=killed, blamed=blamed):
            problem = said("The {kind} was not found out: its worker was lost.", kind=CALLED[what[0]])
            self.store.save_finding(*what, {"problem": kept(problem)})
            self._losses.pop(what, None)
        else:
            self._losses[what] += blamed
            self.wishes.setdefault(what, Wish(work.browser, work.began))

    def _is_given_up(self, what: object, *, killed: bool, blamed: bool) -> bool:
        """Whether a run or a finding that has lost its worker gets no other. killed, blamed: as in lose."""
        return killed or self._losses[what] + blamed >= MOST_LOSSES

    def end_those_that_cannot_start(self) -> None:
        """End waiting runs whose users asked for it, and those that will never have their teacher."""
        self.waiting = {run.id: run for run in self.store.some([*self.waiting])}
        for run_id, run in [*self.waiting.items()]:
            reason = None if run.request else _lost_teacher(self.store, run)
            if run.request or reason:
                self.store.apply(run_id, {"kind": "paused" if run.request == "pause" else "stopped", "text": reason})
                del self.waiting[run_id]

    def forget_ended(self) -> None:
        """Forget the places of runs that are no longer here."""
        known = {*self.waiting, *self._given}
        self._came = {run_id: came for run_id, came in self._came.items() if run_id in known}

    def _wait(self, run_ids: Iterable[str]) -> None:
        """Have runs wait, each in its place by their coming: one that leaves its worker does not lose it."""
        waiting = self.waiting | {run.id: run for run in self.store.some([*run_ids])}
        self.waiting = dict(sorted(waiting.items(), key=lambda item: self._came.get(item[0], 0)))

    def _yielded(self, run_id: str) -> None:
        """Have a run wait that has left its worker to another browser: it has had its turn."""
        self._wait([run_id])
        for run in self.store.some([run_id]):
            self._note_turn(run)

    def _note_turn(self, run: Run) -> None:
        self.served |= dict.fromkeys(run.browsers, time.monotonic())


class Dispatcher:
    """The thread that gives what waits to workers, by the rules that Jobs states.

    It alone talks to Dask and changes the roster; other threads reach it by send.
    """

    def __init__(self, store: Store, scheduler: str | None, at_once: int) -> None:
        self.store = store
        self.trouble = self._enter_orphans()
        self.roster = Roster(store)
        self.lineup: tuple[tuple[str, int | None], ...] = ()
        self.crew: dict[str, list[bool]] = {}
        self._scheduler, self._at_once = scheduler, at_once
        self._inbox: queue.Queue[Message] = queue.Queue()
        self._ticked_at = self._purged_at = time.monotonic()
        self._back_up_at: float | None = None  # when the list is next to be backed up, if anything has ended
        self._back_up_pause = 0.0
        self._backing_up = threading.Thread()
        self._sign_at = -math.inf
        self._found_for: dict[str, float] = {}  # browser -> when a worker last began a finding on its behalf
        self._cluster: Cluster | None = None
        self._connect_at = -math.inf  # not before
        self._warm: list[Task] = []
        self._spoilt: set[str] = set()  # keys of works that an unexpected error ended
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="kd-lab-jobs", daemon=True)
        self._thread.start()

    # Called from any thread.

    def send(self, work: Callable[[], None] = lambda: None, *, places: bool = True) -> None:
        """Have the queue's thread do something, and then place what may be placed."""
        self._inbox.put(Message(work, places))

    def close(self) -> None:
        """End the thread, and let go of the workers."""
        if self._closing:
            return
        self._closing = True
        self.send()
        self._thread.join(timeout=10)

    # The thread, and what it is sent.

    def _enter_orphans(self) -> str | None:
        """Have no run shown as training whose process is gone; where that cannot be entered, the sentence why."""
        try:
            self.store.interrupt_orphans()
        except StoreError as error:
            return said_by(error)
        return None

    def _serve(self) -> None:
        while not self._closing:
            message, handled = self._next_message(), False
            while not self._closing:
                try:
                    if not handled:
                        message.work()
                    handled = True
                    if message.places:
                        self._dispatch()
                    self.trouble = None
                    break
                except StoreError as error:  # a full disk, say: what was to be entered is kept and tried again
                    self.trouble = said_by(error)
                    time.sleep(1.0)
                except SchedulerError as error:  # what waits is tried again with the next tick
                    self.trouble = said_by(error)
                    break
                except Exception:
                    log.exception("the queue could not handle %s", message.work)
                    self.trouble = said("The queue met a problem and goes on trying; the app's log has the details.")
                    break
        self._let_go()

    def _next_message(self) -> Message:
        """Return what came in, and a tick every TICK_SECONDS, however much comes in."""
        if time.monotonic() - self._ticked_at < TICK_SECONDS:
            with contextlib.suppress(queue.Empty):
                return self._inbox.get(timeout=TICK_SECONDS)
        self._ticked_at = time.monotonic()
        return Message(self.tick)

    def warm_up(self, configs: list[str]) -> None:
        """Bring the workers up, ready for runs of these configs (JSON)."""
        cluster = self._connect()
        self._warm = [
            cluster.submit(worker, warm_up, configs, cluster.threads, key=f"warm-up-{worker.address}")
            for worker in cluster.workers()
        ]

    def enqueue(self, run_ids: Sequence[str]) -> None:
        """Take runs that the store holds as queued by this process."""
        self.roster.enqueue(run_ids)
        self._plan_back_up()

    def pass_on_request(self, run_id: str) -> None:
        """Tell the worker of a run what the run's user asked."""
        request = self.store.request(run_id)
        work = self.roster.running().get(run_id)
        if request and work and self._cluster is not None:
            self._cluster.tell(work.worker, note_request, run_id, request)

    def tick(self) -> None:
        """Look after workers, other processes' requests, long runs and the store."""
        if time.monotonic() - self._sign_at > SECONDS_BETWEEN_SIGNS:
            self.store.give_sign()
            self.store.interrupt_orphans()
            self._sign_at = time.monotonic()  # once both are done: what failed is tried again, and stays said
        self._look_after_workers()
        self._note_crew()
        for run_id in self.roster.running():  # another process, a shell say, may have asked
            self.pass_on_request(run_id)
        self._share()
        if time.monotonic() - self._purged_at > SECONDS_BETWEEN_PURGES:
            self.store.purge()
            self.store.prune()
            self._purged_at = time.monotonic()
            self.roster.forget_ended()
        if self._back_up_at is not None and time.monotonic() > self._back_up_at:
            self._back_up()

    def take_events(self, key: str, run_id: str, events: list[Event]) -> None:
        """Enter what a worker reports of a run. key: of the work that the run was part of then."""
        if not self.roster.enter(key, run_id, events):
            return
        if events[-1]["kind"] == "started":
            self.pass_on_request(run_id)  # a replaced worker has forgotten it
        if events[-1].get("unexpected"):
            self._spoilt.add(key)

    def end_work(self, key: str) -> None:
        """Enter how a work has left its worker."""
        work = self.roster.works.get(key)
        if work is None:  # it was dropped before
            return
        if work.task.status == "cancelled":  # with its scheduler, which has forgotten us
            self._let_go()
            return
        self.roster.end(key)
        error = work.task.exception() if work.task.status == "error" else None
        if self._cluster is not None and (key in self._spoilt or (error and not isinstance(error, LabError))):
            self._cluster.replace(work.worker.address)  # a shortage of memory, for one, may outlast it there
        self._spoilt.discard(key)
        if work.run_ids:
            self._plan_back_up()

    def _note_crew(self) -> None:
        busy = {work.worker.address for work in self.roster.works.values()}
        crew: dict[str, list[bool]] = {}
        for worker in self._cluster.workers() if self._cluster else ():
            crew.setdefault(worker.host, []).append(worker.address in busy)
        self.crew = crew

    def _plan_back_up(self) -> None:
        if self._back_up_at is None:
            self._back_up_at = time.monotonic() + self._back_up_pause

    def _back_up(self) -> None:
        """Back up in a thread: it must not keep runs from being entered, however long it takes."""

        def back_up() -> None:
            before = time.monotonic()
            try:
                self.store.back_up()
            except StoreError as error:
                log.warning("the list of runs was not backed up: %s", error)
            self._back_up_pause = TRAINING_PER_BACKUP * (time.monotonic() - before)

        if not self._backing_up.is_alive():
            self._back_up_at, self._backing_up = None, threading.Thread(target=back_up, name="kd-lab-backup")
            self._backing_up.start()

    # Giving what waits to workers.

    def _dispatch(self) -> None:
        free, trouble = self._free_workers_or_trouble()
        self.roster.end_those_that_cannot_start()
        blocked = self.store.blocked(self.roster.waiting.values())
        while free:
            gpus = any(worker.gpu for worker in self._connect().workers())
            fits = {run_id: suited_worker(free, run, gpus=gpus) for run_id, run in self.roster.waiting.items()}
            cannot_begin = {run_id for run_id, worker in fits.items() if worker is None or run_id in blocked}
            order = self.roster.turns(cannot_begin)
            if not order:
                break
            worker = fits[order[0]]
            assert worker is not None  # noqa: S101
            self._give(worker, training_group(self.store, order[0], self.roster.waiting))
            free = self._free_workers()
        if not trouble:
            self._dispatch_findings()
        self.lineup = (
            *((run_id, 0) for run_id in self.roster.running()),
            *((run_id, place) for place, run_id in enumerate(self.roster.turns(blocked), start=1)),
            *((run_id, None) for run_id in self.roster.waiting if run_id in blocked),
        )
        if trouble:
            raise trouble

    def _free_workers(self) -> list[Worker]:
        return free_workers(self._connect().workers(), self.roster.works.values(), self._held_host())

    def _free_workers_or_trouble(self) -> tuple[list[Worker], SchedulerError | None]:
        """List the free workers, if any run waits. A scheduler that is away must not keep runs from being stopped."""
        if not self.roster.waiting:
            return [], None
        try:
            if self._scheduler and not self._connect().workers():
                raise SchedulerError(
                    said(
                        "The Dask scheduler at {scheduler} has no worker: start one with 'python -m kd_core worker"
                        " {scheduler}'. What waits goes on then.",
                        scheduler=self._scheduler,
                    )
                )
            if not any(worker.answers for worker in self._connect().workers()):
                raise SchedulerError(NO_WORKER)
            return self._free_workers(), None
        except SchedulerError as error:
            return [], error

    def _held_host(self) -> str | None:
        """Choose the host that gets no more runs, because a finding has waited for its turn for long enough."""
        oldest = min((wish.since for wish in list(self.roster.wishes.values())), default=math.inf)
        if self._cluster is None or time.monotonic() - oldest < SLICE_SECONDS:
            return None
        return quietest_host(self._cluster.workers(), self.roster.works.values())

    def _give(self, worker: Worker, run_ids: list[str]) -> None:
        """Give runs to a worker. Those that do not wait train along for the others' sake, and save nothing."""
        going = [run_id for run_id in run_ids if run_id in self.roster.waiting]
        key = f"{run_ids[0]}-{time.time_ns()}"
        absent = [run_id for run_id in run_ids if run_id not in going]
        last = {run_id: self.store.last_record(run_id) for run_id in going}
        reached = {run_id: record["step"] for run_id, record in last.items() if record}
        self._submit(key, worker, execute_on_worker, run_ids, absent, reached, run_ids=tuple(going))

    def _dispatch_findings(self) -> None:
        browsers = {what: wish.browser for what, wish in list(self.roster.wishes.items())}
        at_work = Counter(work.browser for work in self.roster.works.values() if work.finding)
        for what in turns(browsers, at_work, self._found_for):
            kind, run_ids = what
            free = free_workers(self._connect().workers(), self.roster.works.values(), alone=kind == "speed")
            for worker in free[:1]:
                key, runs = f"{kind}-{time.time_ns()}", self.store.some(run_ids)
                self._submit(key, worker, find_on_worker, kind, runs, browser=browsers[what], finding=what)
                self._found_for[browsers[what]] = time.monotonic()
                del self.roster.wishes[what]

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
        self.roster.give(key, Work(task, worker, run_ids, browser, finding, time.monotonic(), memory_kills()))
        task.add_done_callback(lambda _: self.send(partial(self.end_work, key)))

    # The cluster, and workers that have to leave their work.

    def _connect(self) -> Cluster:
        """Return the cluster. Raises SchedulerError, at once where it did so a moment ago."""
        if self._cluster is not None and not self._cluster.reachable:
            self._let_go()
        if self._cluster is None:
            if time.monotonic() < self._connect_at:
                raise SchedulerError(
                    self.trouble
                    or said("The Dask scheduler at {scheduler} is not asked yet.", scheduler=self._scheduler)
                )
            try:
                self._cluster = Cluster(self._scheduler, self._at_once, self._hear)
            except SchedulerError:
                self._connect_at = time.monotonic() + CONNECT_SECONDS
                raise
        return self._cluster

    def _hear(self, message: dict[str, Any]) -> None:
        key, run_id, events = message["key"], message["run_id"], message["events"]
        mere_progress = events[-1]["kind"] in (*PROGRESS, "message")
        self.send(partial(self.take_events, key, run_id, events), places=not mere_progress)

    def _share(self) -> None:
        """Have runs yield that were at work for long, where all workers are busy and somebody waits without any.

        That is a browser of which none is at work, or a finding.
        """
        if self._cluster is None:
            return
        runs = [work for work in self.roster.works.values() if not work.finding]
        long = [work for work in runs if time.monotonic() - work.began > SLICE_SECONDS]
        held = self._held_host()
        for work in long:
            if work.worker.host == held:
                self._cluster.tell(work.worker, note_request, work.run_ids[0], "yield")
        at_work = self.roster.loads()
        waiting = [run for run in self.roster.waiting.values() if not any(at_work[browser] for browser in run.browsers)]
        if long and not self._free_workers() and len(waiting) > len(self.store.blocked(waiting)):
            longest = min(long, key=lambda work: work.began)
            self._cluster.tell(longest.worker, note_request, longest.run_ids[0], "yield")

    def _look_after_workers(self) -> None:
        """Drop the work of workers that are gone, and let it go on elsewhere."""
        if self._cluster is None or not self._cluster.reachable:
            self._let_go()
            return
        there = {worker.address for worker in self._cluster.workers()}
        for key, work in [*self.roster.works.items()]:
            if work.worker.address not in there:
                for run_id in work.run_ids:  # in case it is only slow
                    self._cluster.tell(work.worker, note_request, run_id, "yield")
                self.roster.lose(key, blamed=True)

    def _let_go(self) -> None:
        """Leave the cluster, and what its workers have, to itself; a new one is looked for when it is needed."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            with contextlib.suppress(Exception):
                cluster.close()
        for key in () if self._closing else [*reversed(self.roster.works)]:
            self.roster.lose(key, blamed=False)


def _lost_teacher(store: Store, run: Run) -> str | None:
    """Say in a sentence why a run will never have its teacher; None where it may."""
    teacher_ids = run.config.distillation.teachers if run.config.distillation else ()
    teachers = {teacher.id: teacher for teacher in store.some(teacher_ids)}
    for teacher_id in teacher_ids:
        teacher = teachers.get(teacher_id)
        if teacher is None:
            return said("Not started: its teacher, run {run_id}, was deleted.", run_id=teacher_id)
        if teacher.status in ("stopped", "failed", "interrupted") and not teacher.usable:
            return said(
                "Not started: its teacher, run {run_id}, is {status} and left no weights: resume that one first, then"
                " this.",
                run_id=teacher_id,
                status=STATES[teacher.status],
            )
    return None


def _result(kind: Finding, task: "Task") -> Mapping[str, Any]:
    """Return what a task has found, or its problem in a sentence."""
    if task.status == "finished":
        result: Mapping[str, Any] = task.result()
        return result
    reason = sentence_of(task.exception()) if task.status == "error" else said("no worker")
    problem = said("The {kind} could not be found out: {reason}", kind=CALLED[kind], reason=reason)
    return {"problem": kept(problem)}
