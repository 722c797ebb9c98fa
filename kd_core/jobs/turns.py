"""Who gets the next worker, which worker that is, and when: the rules of the queue as functions of what it knows."""

import bisect
import math
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from kd_core.base.config import ConfigError
from kd_core.base.files import is_file
from kd_core.base.templates import said
from kd_core.jobs.cluster import Worker
from kd_core.jobs.findings import Finding
from kd_core.runs.run import Run
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig

if TYPE_CHECKING:
    from distributed import Future

    Task = Future[Any]

FEWEST_TOGETHER = 4
"""Of one batch, from which on runs train as one; of fewer one can watch every step."""

Item = TypeVar("Item")


def turns(
    waiting: Mapping[Item, str],
    at_work: Mapping[str, int],
    served: Mapping[str, float],
    blocked: Collection[Item] = (),
    joined: Mapping[Item, Collection[str]] = MappingProxyType({}),
) -> list[Item]:
    """Order waiting items (run ids, say) by when they get workers, as Jobs says.

    waiting: item -> browser, by their coming. at_work: browser -> how many of its own are at work. served: browser ->
    when it last got a worker. blocked: what cannot begin yet, which takes no turn and is left out. joined: other
    browsers that asked for an item; it comes with the first turn of any of them, and is a turn of each.
    """
    queues: dict[str, list[Item]] = {}
    whose = {item: {browser, *joined.get(item, ())} for item, browser in waiting.items() if item not in blocked}
    for item, browsers in whose.items():
        for browser in sorted(browsers):
            queues.setdefault(browser, []).append(item)
    load = Counter(at_work)
    turn: dict[str, int] = {}
    order: list[Item] = []
    while queues:
        item = queues[min(queues, key=lambda who: (load[who], turn.get(who, -1), served.get(who, -math.inf)))][0]
        for browser in whose[item]:
            turn[browser] = len(order)
            load[browser] += 1
            queues[browser].remove(item)
            if not queues[browser]:
                del queues[browser]
        order.append(item)
    return order


class Work(NamedTuple):
    """What a worker was given: runs, or a finding. began: when, on the monotonic clock. kills: memory_kills() then."""

    task: "Task"
    worker: Worker
    run_ids: tuple[str, ...]
    browser: str
    finding: tuple[Finding, tuple[str, ...]] | None
    began: float
    kills: float = math.inf

    @property
    def measures(self) -> bool:
        """Whether it wants its host for itself."""
        return self.finding is not None and self.finding[0] == "speed"


def free_workers(
    workers: Iterable[Worker], works: Collection[Work], held_host: str | None = None, *, alone: bool = False
) -> list[Worker]:
    """List the workers that may be given work, first those of hosts with the least to do.

    held_host: gets none. alone: where nothing else goes on, as a measurement of speed wants it.
    """
    busy = {work.worker.address for work in works}
    closed = {work.worker.host for work in works if alone or work.measures} | {held_host}
    load = Counter(work.worker.host for work in works)
    free = [worker for worker in workers if worker.answers and worker.address not in busy and worker.host not in closed]
    return sorted(free, key=lambda worker: (load[worker.host], worker.address))


def suited_worker(free: Sequence[Worker], run: Run, *, gpus: bool) -> Worker | None:
    """Choose the free worker that suits a run best, None where it has to wait. gpus: whether any worker has one.

    Runs that may choose go where a GPU is, unless they began elsewhere: only the same device gives the same weights.
    One that names a GPU waits for one where any worker has it.
    """
    device = run.config.training.device
    began_on = str(run.environment.get("device", "")) if run.step else ""
    wants_gpu = device in ("cuda", "mps") or (device == "auto" and not began_on.startswith("cpu"))
    suited = [worker for worker in free if worker.gpu == wants_gpu]
    if device in ("cuda", "mps") and gpus:
        free = []
    return next(iter(suited or free), None)


def quietest_host(workers: Iterable[Worker], works: Iterable[Work]) -> str | None:
    """Choose the host with the least to do."""
    load = Counter(work.worker.host for work in works)
    return min({worker.host for worker in workers}, key=lambda host: (load[host], host), default=None)


def is_grid(configs: Iterable[RunConfig]) -> bool:
    """Tell whether a batch is a grid of students, which trains as one model."""
    return sum(config.role != "teacher" for config in configs) >= FEWEST_TOGETHER


def training_group(store: Store, run_id: str, waiting: Collection[str]) -> list[str]:
    """Find the waiting runs of a run's batch that train with it as one, itself included; it alone where they are few.

    Those that once trained together go on together, with those that have left the group since: the batched model of
    fewer would round otherwise, and their checkpoint is of all.
    """
    before = store.folder(run_id).trained_with()
    if len(store.some(before)) == len(before) > 1:
        return before
    run = store.get(run_id)
    batch = store.runs(batch=run.batch)
    if any(other.config.mistake for other in batch):  # whoever looks for a mistake wants to see every step of both
        return [run_id]
    blocked = store.blocked(batch)  # a group waits for nobody's teacher
    in_order = {other.id: other for other in batch if other.id in waiting and other.id not in blocked}
    fresh = {
        other.id: other.config
        for other in in_order.values()
        if other.config.role != "teacher" and not other.request and not is_file(store.folder(other.id).checkpoint)
    }
    if run_id not in fresh or not is_grid(fresh.values()):
        return [run_id]
    from kd_core.training import together

    ids = {config: other_id for other_id, config in fresh.items()}
    group = next(group for group in together.groups([*ids]) if run.config in group)
    return [ids[config] for config in group] if len(group) >= FEWEST_TOGETHER else [run_id]


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
    """Estimate when runs begin and end: each in turn goes to the first free worker once its teachers are done.

    order: run ids, in turn order. seconds: what each trains. workers: in how many seconds each is free. at_work: what
    has begun, teachers among them.
    """
    left, free, spans = [*order], sorted(workers) or [0.0], dict(at_work)

    def taught_at(run_id: str) -> float:
        known = [teacher for teacher in teachers.get(run_id, ()) if teacher in spans or teacher in left]
        return max((spans[teacher].ends if teacher in spans else math.inf for teacher in known), default=0.0)

    while left:
        at = free.pop(0)
        run_id = next((run for run in left if taught_at(run) <= at), None) or min(left, key=taught_at)
        begins = max(at, taught_at(run_id))
        spans[run_id] = Span(begins, begins + seconds[run_id])
        bisect.insort(free, spans[run_id].ends)
        left.remove(run_id)
    return spans


class Limits(NamedTuple):
    """How many runs may wait or be at work: in all, and of one guest's browser; how many train at once, and on what.

    at_once: 0 stands for one for every four cores. A cluster has as many as it has workers. gigabytes: the memory that
    a run may take; 0 stands for what this machine has, shared among the runs at once, and for no limit on a cluster.
    """

    queue: int = 500
    browser: int = 50
    at_once: int = 0
    gigabytes: int = 0

    @classmethod
    def from_environment(cls) -> "Limits":
        """Read the variables named below. Raises ConfigError where one is no whole number above 0."""
        values = {}
        names = {"queue": "KD_MAX_QUEUED", "browser": "KD_MAX_PER_BROWSER", "at_once": "KD_RUNS_AT_ONCE"}
        names |= {"gigabytes": "KD_MAX_RUN_GB"}
        for field, name in names.items():
            text = os.environ.get(name, "").strip()
            if text:
                if not (text.isascii() and text.isdecimal() and int(text) > 0):
                    raise ConfigError(
                        said("{name} is '{text}': give a whole number of GB above 0", name=name, text=text)
                        if field == "gigabytes"
                        else said("{name} is '{text}': give a whole number of runs above 0", name=name, text=text)
                    )
                values[field] = int(text)
        return cls(**values)
