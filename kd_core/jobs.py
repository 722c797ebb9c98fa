"""From a queued run to weights: perform() does one run wherever it is called; Jobs queues runs for Dask workers.

The page never waits for torch: training happens in a worker process, progress comes back as worker events, and the
process that owns the queue is the only writer of its runs. A worker that dies is replaced, and the run goes on from its
last checkpoint. torch is imported by perform, not by this module.
"""

import atexit
import contextlib
import logging
import math
import os
import queue
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kd_core.config import DATASETS, ConfigError, LabError, RunConfig
from kd_core.runs import ACTIVE, Run, Store, StoreError, folder_of

if TYPE_CHECKING:
    from distributed import Client, Future

    Task = Future[Any]

log = logging.getLogger(__name__)

Event = dict[str, Any]
Request = Literal["stop", "pause"]
"""What a user asks of a run. The queue asks one at work to 'yield': to leave its worker for a while, and wait again."""
Finding = Literal["speed", "export", "inside", "bias"]
"""What can be found out of trained runs, in a worker, once nothing trains: their speed side by side; one's exported
files; what one has inside; the bias that gives the classes missing from one's transfer set their prior."""

TOPIC = "kd-lab"
_PROGRESS = ("step", "epoch", "probe")
CHECKPOINT_SECONDS = 5.0
TRAINING_PER_CHECKPOINT = 30
"""Training goes on for this many times what the last checkpoint took before the next: they cost about 3% of a run."""
NICENESS = 5
"""Training yields the processor to the page."""
WORKER_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}
"""torch's threads wait for each other asleep. Spinning, they lose a factor of five as soon as another program wants one
of their cores, and a page is such a program (MNIST epoch 6.4 to 7.3 s against 1.4 s; two cores, torch 2.13)."""
DASK_SETTINGS = {
    "distributed.worker.daemon": True,
    "distributed.nanny.pre-spawn-environ": {},
    "distributed.worker.profile.enabled": False,
}
"""Of the workers on this machine. Dask would have them return freed memory at every step (MALLOC_TRIM_THRESHOLD_) and
sample their stacks: an epoch of the MNIST baseline took 1.85 s so, 1.0 s without."""
MIN_FREE_BYTES = 200_000_000
"""Of the store's disk, below which no run is queued: those at work need room for what they learn."""
TRAINING_PER_BACKUP = 30
"""The list of runs is backed up once one was queued or has ended, and not before this many times what the last backup
took."""
FEWEST_TOGETHER = 4
"""Of one batch, from which on runs train as one; of fewer one can watch every step."""
SECONDS_BETWEEN_PURGES = 3600.0
"""Of what was deleted, and of checkpoints that nobody is likely to go on from (Store.prune)."""
DAMAGED_CHECKPOINT = "Its checkpoint was damaged, so it started anew, towards the same weights."
WORKERS_LOST = (
    "The process that trained it was lost, and so were those that took its place."
    " Resume goes on from the last checkpoint."
)
TICK_SECONDS = 1.0
"""How often to look for what other processes asked."""
SECONDS_BETWEEN_MESSAGES = 0.1
SLICE_SECONDS = 30.0
"""How long a run keeps its worker while runs of browsers that have none at work wait for one."""


# ------------------------------------------------------------------------------------------------------ one run


def perform(home: Path, run_id: str, emit: Callable[[Event], None], requested: Callable[[], str | None]) -> None:
    """Do one run, from its config or its last checkpoint, and save what it leaves in its folder under home.

    emit hears: started {step, total_steps, environment}, message {text}, step and epoch {a record's fields}, probe
    {epoch, step, logits} before the first step and after each epoch, and last one of finished or stopped {results},
    paused, queued (it yielded), failed {text}. requested is asked after every record for 'stop', 'pause', 'yield' or
    None. Raises only what emit and requested raise.
    """
    outcome: Event
    try:
        outcome = _perform(home, run_id, emit, requested)
    except _DownloadCancelledError as cancelled:
        outcome = {"kind": cancelled.outcome, "text": "Its data set was being downloaded; whole files are kept."}
    except Exception as error:
        if not isinstance(error, LabError):
            log.exception("run %s failed", run_id)
        outcome = {"kind": "failed", "text": _sentence(error)}
    emit(outcome)


def _sentence(error: Exception) -> str:
    if isinstance(error, LabError):
        return str(error)
    if isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error):
        return "The memory of this machine is full: choose a smaller batch size or model."
    return f"Something unexpected went wrong ({type(error).__name__}: {error}). The app's log has the details."


def _perform(home: Path, run_id: str, emit: Callable[[Event], None], requested: Callable[[], str | None]) -> Event:
    import torch

    from kd_core import artifacts, datasets, speed, training

    folder = folder_of(home, run_id)
    config = RunConfig.from_json(folder.config.read_text(encoding="utf-8"))
    left = artifacts.all_left(home, run_id)
    if left:
        return {"kind": "finished", "results": left}
    dataset = datasets.load(config.dataset, progress=_reporter(emit, requested))
    teachers, teacher_logits = [], None
    if config.distillation is not None:
        teachers = [artifacts.load_model(home, teacher, dataset) for teacher in config.distillation.teachers]
        teacher_logits = artifacts.training_logits(home, config.distillation.teachers, config.dataset)

    def begin() -> training.Training:
        start = None
        if config.continues is not None and not folder.checkpoint.exists():
            start = artifacts.load_model(home, config.continues, dataset)
        return training.Training(config, dataset, teachers=teachers, teacher_logits=teacher_logits, start=start)

    run, lost = begin(), None
    if folder.checkpoint.exists():
        try:
            run.restore(folder.checkpoint)
        except LabError as error:  # the same config leads to the same weights from the start
            log.warning("run %s starts anew: %s", run_id, error)
            lost = DAMAGED_CHECKPOINT
            with contextlib.suppress(OSError):  # the next checkpoint replaces it
                folder.checkpoint.unlink(missing_ok=True)
            run = begin()
    environment = {
        "device": str(run.device),
        "precision": run.precision,
        "processor": speed.processor(),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }
    emit({"kind": "started", "step": run.step, "total_steps": run.total_steps, "environment": environment})
    if lost:
        emit({"kind": "message", "text": lost})

    def probe(epoch: int) -> Event:
        logits = [[round(value, 4) for value in row] for row in run.probe_logits().tolist()]
        return {"kind": "probe", "epoch": epoch, "step": run.step, "logits": logits}

    if run.step == 0:
        emit(probe(0))
    saved_at, wait = time.monotonic(), CHECKPOINT_SECONDS
    for record in training.train(run):
        emit(training.as_dict(record))
        if isinstance(record, training.EpochRecord):
            emit(probe(record.epoch))
        request = requested()
        if request:
            run.save(folder.checkpoint)
        if request == "pause":
            return {"kind": "paused"}
        if request == "yield":
            return {"kind": "queued"}
        if request == "stop":
            if run.epochs_done < 1:
                return {"kind": "stopped", "text": "Stopped before its first epoch ended, so it left no weights."}
            emit({"kind": "message", "text": "Stopped; saving what it learned"})
            return {"kind": "stopped", "results": artifacts.leave(home, run_id, run)}
        if time.monotonic() - saved_at > wait:
            before = time.monotonic()
            run.save(folder.checkpoint)
            saved_at = time.monotonic()
            wait = max(CHECKPOINT_SECONDS, TRAINING_PER_CHECKPOINT * (saved_at - before))
    results = artifacts.leave(home, run_id, run)
    with contextlib.suppress(OSError):  # the weights are safe; a checkpoint left over harms nobody
        folder.checkpoint.unlink(missing_ok=True)
    return {"kind": "finished", "results": results}


def perform_together(
    home: Path,
    run_ids: Sequence[str],
    emit: Callable[[str, Event], None],
    requested: Callable[[str], str | None],
) -> None:
    """Do several runs that train as one (see sweep.groups), from their configs or their common checkpoint.

    emit and requested are perform's, with the run's id before the rest. A run that is stopped or paused leaves after
    the epoch, and the others go on; one that was paused starts anew when it is resumed, towards the same weights. Where
    one is asked to yield, all do.
    """
    left: set[str] = set()

    def tell(run_id: str, event: Event) -> None:
        if event["kind"] in ("finished", "stopped", "paused", "queued", "failed"):
            left.add(run_id)
        emit(run_id, event)

    try:
        _perform_together(home, run_ids, tell, requested, left)
    except Exception as error:
        if not isinstance(error, LabError):
            log.exception("runs %s failed", ", ".join(run_ids))
        for run_id in run_ids:
            if run_id not in left:
                tell(run_id, {"kind": "failed", "text": _sentence(error)})


def _perform_together(
    home: Path,
    run_ids: Sequence[str],
    tell: Callable[[str, Event], None],
    requested: Callable[[str], str | None],
    left: set[str],
) -> None:
    import torch

    from kd_core import artifacts, datasets, models, speed, sweep, training

    learned = {run_id: artifacts.all_left(home, run_id) for run_id in run_ids}
    if all(learned.values()):
        for run_id, results in learned.items():
            tell(run_id, {"kind": "finished", "results": results})
        return
    configs = [RunConfig.from_json(folder_of(home, run_id).config.read_text(encoding="utf-8")) for run_id in run_ids]
    dataset = datasets.load(configs[0].dataset)
    teachers = next((config.distillation.teachers for config in configs if config.distillation), ())
    teacher_logits = artifacts.training_logits(home, teachers, configs[0].dataset) if teachers else None
    if teachers and teacher_logits is None:
        trained = [artifacts.load_model(home, teacher, dataset) for teacher in teachers]
        teacher_logits = torch.stack(
            [models.logits_of(teacher, dataset.train_images, dataset.normalise) for teacher in trained]
        )
    together, lost = sweep.Together(configs, dataset, teacher_logits), None
    checkpoint = folder_of(home, run_ids[0]).together
    if checkpoint.exists():
        try:
            together.restore(checkpoint)
        except LabError as error:
            log.warning("runs %s start anew: %s", ", ".join(run_ids), error)
            lost = None if isinstance(error, ConfigError) else DAMAGED_CHECKPOINT  # of another group: as it should be
            together = sweep.Together(configs, dataset, teacher_logits)
    environment = {
        "device": str(together.device),
        "precision": together.precision,
        "processor": speed.processor(),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "trained_together": len(run_ids),
    }
    steps = together.steps_per_epoch
    for run_id, config in zip(run_ids, configs, strict=True):
        started = {"step": together.epochs_done * steps, "total_steps": config.training.epochs * steps}
        tell(run_id, {"kind": "started", "environment": environment, **started})
        if lost:
            tell(run_id, {"kind": "message", "text": lost})
    saved_at = time.monotonic()
    for records in sweep.train_together(together):
        for i, (run_id, record) in enumerate(zip(run_ids, records, strict=True)):
            if run_id in left:
                continue
            tell(run_id, training.as_dict(record))
            request = requested(run_id)
            if request == "pause":
                tell(run_id, {"kind": "paused"})
            elif request == "stop":
                tell(run_id, {"kind": "stopped", "results": artifacts.leave(home, run_id, together.student(i))})
        staying = [run_id for run_id in run_ids if run_id not in left]
        if any(requested(run_id) == "yield" for run_id in staying):
            together.save(checkpoint)
            for run_id in staying:
                tell(run_id, {"kind": "queued"})
            return
        if not staying:
            return
        if time.monotonic() - saved_at > CHECKPOINT_SECONDS:
            together.save(checkpoint)
            saved_at = time.monotonic()
    # All are saved before one is told of: those left over by a crash between could not train together as they did.
    for i, run_id in enumerate(run_ids):
        if run_id not in left and not learned[run_id]:
            learned[run_id] = artifacts.leave(home, run_id, together.student(i))
    for run_id in run_ids:
        if run_id not in left:
            tell(run_id, {"kind": "finished", "results": learned[run_id]})
    with contextlib.suppress(OSError):
        checkpoint.unlink(missing_ok=True)


class _DownloadCancelledError(Exception):
    """Stop or pause was asked for during a download."""

    def __init__(self, request: str) -> None:
        self.outcome = {"stop": "stopped", "pause": "paused", "yield": "queued"}[request]


def _reporter(emit: Callable[[Event], None], requested: Callable[[], str | None]) -> Callable[[str, float], None]:
    """Passes a download's progress on, ten times a second at most, and breaks it off where the user asks."""
    told_at = 0.0

    def report(text: str, share: float) -> None:
        nonlocal told_at
        if time.monotonic() - told_at > 0.1:
            told_at = time.monotonic()
            emit({"kind": "message", "text": f"{text}: {share:.0%}"})
            request = requested()
            if request:
                raise _DownloadCancelledError(request)

    return report


def run_here(store: Store, run_id: str, on_event: Callable[[Event], None], requested: Callable[[], str | None]) -> None:
    """Do one run in this process, entering it in the store as it goes. requested adds to what the store is asked."""

    def emit(event: Event) -> None:
        store.apply(run_id, event)
        on_event(event)

    perform(store.home, run_id, emit, lambda: requested() or store.request(run_id))


def check(store: Store, configs: dict[str, RunConfig]) -> None:
    """Raise ConfigError where a run could not start.

    That is a teacher that does not exist, failed, or knows other classes, or a run to continue that left no weights or
    is another network.
    """
    for config in configs.values():
        if config.continues is not None:
            _check_continued(store, config, config.continues)
        for teacher_id in config.distillation.teachers if config.distillation else ():
            if teacher_id in configs:
                continue
            try:
                teacher = store.get(teacher_id)
            except StoreError:
                raise ConfigError(f"there is no teacher run '{teacher_id}': choose one from the list of runs") from None
            if teacher.status not in ACTIVE and not teacher.usable:
                raise ConfigError(f"teacher run {teacher_id} is {teacher.status} and left no weights: choose another")
            classes = teacher.results.get("classes", DATASETS[teacher.config.dataset].classes)
            if classes != DATASETS[config.dataset].classes:
                raise ConfigError(
                    f"teacher run {teacher_id} knows {classes} classes, but {config.dataset} has"
                    f" {DATASETS[config.dataset].classes}: choose a teacher trained on the same classes"
                )


def _check_continued(store: Store, config: RunConfig, run_id: str) -> None:
    try:
        continued = store.get(run_id)
    except StoreError:
        raise ConfigError(f"there is no run '{run_id}' to continue: choose one from the list of runs") from None
    if not continued.usable:
        raise ConfigError(f"run {run_id} is {continued.status} and left no weights to continue from")
    if (continued.config.model, continued.config.dataset) != (config.model, config.dataset):
        raise ConfigError(
            f"run {run_id} is a {continued.config.model.label} on {continued.config.dataset}: what continues it must be"
            " the same network on the same data set"
        )


# ------------------------------------------------------------------------------------------- in a worker process

_requests: dict[str, Request | Literal["yield"]] = {}
"""What each run on this worker was asked; set by the queue's process through Client.run."""


def _note_request(run_id: str, request: Request | Literal["yield"]) -> None:
    if request != "yield" or run_id not in _requests:  # what its user asked comes first
        _requests[run_id] = request


def _settle_in(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    if hasattr(os, "nice") and os.nice(0) < NICENESS:
        os.nice(NICENESS - os.nice(0))


def _warm_up(threads: int, configs: list[str]) -> None:
    """Import, load and measure what the first run of each config would wait for, by its first step."""
    _settle_in(threads)
    from kd_core import datasets, training

    for text in configs:
        config = RunConfig.from_json(text)
        with contextlib.suppress(LabError):
            next(training.train(training.Training(config, datasets.load(config.dataset))))


def _perform_together_on_worker(home: str, run_ids: list[str], threads: int) -> None:
    from distributed import get_worker

    _settle_in(threads)
    worker = get_worker()
    for run_id in run_ids:
        _requests.pop(run_id, None)

    def emit(run_id: str, event: Event) -> None:
        worker.log_event(TOPIC, {"run_id": run_id, "events": [event]})

    perform_together(Path(home), run_ids, emit, _requests.get)


def _perform_on_worker(home: str, run_id: str, threads: int) -> None:
    from distributed import get_worker

    _settle_in(threads)
    worker = get_worker()
    _requests.pop(run_id, None)
    kept: list[Event] = []
    sent_at = 0.0

    def emit(event: Event) -> None:
        """Send at once what changes a run's state, and its records a few times a second: each message costs a step."""
        nonlocal sent_at
        kept.append(event)
        if event["kind"] not in _PROGRESS or time.monotonic() - sent_at > SECONDS_BETWEEN_MESSAGES:
            worker.log_event(TOPIC, {"run_id": run_id, "events": list(kept)})
            kept.clear()
            sent_at = time.monotonic()

    perform(Path(home), run_id, emit, lambda: _requests.get(run_id))


def _find_on_worker(home: str, kind: Finding, runs: list[Run], threads: int) -> dict[str, Any]:
    _settle_in(threads)
    match kind:
        case "speed":
            return _measured_speed(Path(home), runs, threads)
        case "export":
            from kd_core import export

            return export.export_run(Path(home), runs[0])
        case "inside":
            return _inside(Path(home), runs[0])
        case "bias":
            return _prior_bias(Path(home), runs[0])


def _measured_speed(home: Path, runs: list[Run], threads: int) -> dict[str, Any]:
    from kd_core import artifacts, datasets, exported, speed

    dataset = datasets.load(runs[0].config.dataset)
    candidates = {run.id: artifacts.load_model(home, run.id, dataset) for run in runs}
    exports = {run.id: exported.for_runtime(home, run.id) for run in runs}
    pixels = dataset.test_images[:512]
    return speed.measure(candidates, pixels, mean=dataset.mean, std=dataset.std, exports=exports, threads=threads)


def _inside(home: Path, run: Run) -> dict[str, Any]:
    """What a model sees before it decides, in a plane, and the loss around its weights."""
    from kd_core import datasets, features, landscape

    dataset = datasets.load(run.config.dataset)
    seen, labels = features.penultimate(home, run.id, dataset)
    valley = landscape.loss_landscape(home, run.id, dataset)
    return {
        "features": features.projected(seen).round(3).tolist(),
        "width": seen.shape[1],
        "labels": labels.tolist(),
        "steps": valley.steps.round(4).tolist(),
        "losses": [[float(f"{loss:.4g}") for loss in row] for row in valley.losses],
        "images": valley.images,
    }


def _prior_bias(home: Path, run: Run) -> dict[str, Any]:
    """The bias with which a model calls as many training images one of the missing classes as there are."""
    import numpy as np

    from kd_core import artifacts, datasets, evaluation, models

    dataset = datasets.load(run.config.dataset)
    missing = run.config.transfer_set.missing(len(dataset.class_names))
    share = float(np.isin(dataset.train_labels.numpy(), missing).mean())
    model = artifacts.load_model(home, run.id, dataset)
    logits = models.logits_of(model, dataset.train_images, dataset.normalise).numpy()
    return {"classes": list(missing), "share": share, "bias": evaluation.bias_for_share(logits, missing, share)}


# ---------------------------------------------------------------------------------------------------- the queue


def turns(waiting: Mapping[str, str], at_work: Mapping[str, int], served: Mapping[str, float]) -> list[str]:
    """The order in which waiting runs (id -> browser, by their coming) get workers, as Jobs says.

    at_work: browser -> how many of its runs are running. served: browser -> when it last got a worker.
    """
    queues: dict[str, list[str]] = {}
    for run_id, browser in waiting.items():
        queues.setdefault(browser, []).append(run_id)
    load = Counter(at_work)
    turn: dict[str, int] = {}
    order: list[str] = []
    while queues:
        browser = min(queues, key=lambda one: (load[one], turn.get(one, -1), served.get(one, -math.inf)))
        turn[browser] = len(order)
        order.append(queues[browser].pop(0))
        load[browser] += 1
        if not queues[browser]:
            del queues[browser]
    return order


class Limits(NamedTuple):
    """How many runs may wait or be at work: in all, and of one guest's browser; and how many train here at once.

    at_once: 0 stands for one for every four cores. A cluster has as many as it has workers.
    """

    queue: int = 500
    browser: int = 50
    at_once: int = 0

    @classmethod
    def from_environment(cls) -> "Limits":
        """As the variables below say. Raises ConfigError where one is no whole number above 0."""
        values = {}
        names = {"queue": "KD_MAX_QUEUED", "browser": "KD_MAX_PER_BROWSER", "at_once": "KD_RUNS_AT_ONCE"}
        for field, name in names.items():
            text = os.environ.get(name, "").strip()
            if text:
                if not (text.isascii() and text.isdecimal() and int(text) > 0):
                    raise ConfigError(f"{name} is '{text}': give a whole number of runs above 0")
                values[field] = int(text)
        return cls(**values)


class Jobs:
    """The queue of one process: runs wait here for a worker.

    Browsers take turns: the next run is of the browser that has the fewest at work, among equals of the one that was
    served longest ago; a browser's own runs keep their order. A run that has been at work for SLICE_SECONDS while a
    browser without any waits leaves it its worker, and goes on from its checkpoint when its turn comes again.
    From FEWEST_TOGETHER on, the small students of one batch go to one worker and train there as one model
    (kd_core.sweep).

    scheduler: address of an existing Dask cluster, such as tcp://host:8786, whose workers can import kd_core and see
    the store's folder; without one, workers are started on this machine when they are first needed.
    limits: what submit refuses beyond.
    trouble holds a sentence while the store or the cluster cannot be used, else None.
    """

    def __init__(self, store: Store, scheduler: str | None = None, limits: Limits = Limits()) -> None:  # noqa: B008
        self.store = store
        self.limits = limits
        self.trouble: str | None = None
        self._scheduler = scheduler
        self._inbox: queue.Queue[tuple[Any, ...]] = queue.Queue()
        self._waiting: dict[str, str] = {}  # run id -> browser, in the order of their coming
        self._running: dict[str, Task] = {}
        self._browsers: dict[str, str] = {}  # of the running
        self._began: dict[str, float] = {}  # when each of the running got its worker
        self._served: dict[str, float] = {}  # browser -> when it last got a worker
        self._lineup: tuple[tuple[str, int], ...] = ()
        self._admission = threading.Lock()
        self._ticked_at = self._purged_at = time.monotonic()
        self._back_up_at: float | None = None  # when the list is next to be backed up, if anything has ended
        self._back_up_pause = 0.0
        self._to_find: list[tuple[Finding, tuple[str, ...]]] = []
        self._finding: Task | None = None
        self._finding_now: tuple[Finding, tuple[str, ...]] | None = None
        self._client: Client | None = None
        self._warm: list[Task] = []
        self._slots = self._threads = 1
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

        browser: on whose behalf, for taking turns and limits; privileged: its own limit does not hold.
        Raises ConfigError where one could not run, the queue or the disk is full; none is queued then.
        """
        check(self.store, configs)
        with self._admission:
            self._check_room(len(configs), None if privileged else browser)
            self.store.create(configs, browser=browser)
        self._inbox.put(("queue", dict.fromkeys(configs, browser)))
        return list(configs)

    def _check_room(self, count: int, browser: str | None) -> None:
        """Raise ConfigError where so many more runs are more than the queue, the browser or the disk may hold."""
        browsers = self.store.active_browsers()
        if sum(browsers.values()) + count > self.limits.queue:
            room = max(0, self.limits.queue - sum(browsers.values()))
            raise ConfigError(
                f"the queue of this server is full: it holds {self.limits.queue} runs at most and has room for {room},"
                f" not {count}; wait until some have ended"
            )
        own, most = 0 if browser is None else browsers.get(browser, 0), self.limits.browser
        if browser is not None and own + count > most:
            raise ConfigError(
                f"{own} of your runs wait or are at work, and this server takes {most} at most from one browser: with"
                f" {count} more it would be {own + count}; wait until some have ended, or stop some"
            )
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(self.store.home).free
            if free < MIN_FREE_BYTES:
                raise ConfigError(
                    f"the disk of {self.store.home} has only {free / 1e6:.0f} MB left, and a run needs room to save"
                    f" what it learns: free at least {MIN_FREE_BYTES / 1e6:.0f} MB"
                )

    def ask(self, run_id: str, request: Request) -> None:
        """Stop or pause a run. It ends at its next record, with what it learned saved."""
        self.store.ask(run_id, request)
        self._inbox.put(("ask", run_id))

    def resume(self, *run_ids: str) -> None:
        """Go on with paused, stopped, failed or interrupted runs from their last checkpoint. Raises StoreError."""
        taken: list[str] = []
        try:
            for run_id in run_ids:
                self.store.take_up(run_id)
                taken.append(run_id)
        finally:
            self._inbox.put(("queue", {run.id: run.browser for run in self.store.some(taken)}))

    def lineup(self) -> tuple[tuple[str, int], ...]:
        """(run id, place): the runs at work, place 0, then the waiting from place 1, in the order of their turn."""
        return self._lineup

    def find_out(self, kind: Finding, run_ids: Iterable[str]) -> None:
        """Find something out of runs of one data set, once no run is training; Store.finding has the result."""
        self._inbox.put(("find", kind, tuple(sorted(run_ids))))

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
                except OSError as error:
                    log.warning("no workers: %s", error)
                    where = (
                        f"The Dask scheduler at {self._scheduler} does" if self._scheduler else "The workers here do"
                    )
                    self.trouble = f"{where} not answer. The queue goes on trying; the app's log has the details."
                    self._client = None
                    break
                except Exception:
                    log.exception("the queue could not handle %s", message[0])
                    self.trouble = "The queue met a problem and goes on trying; the app's log has the details."
                    break
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.close()
                if self._client.cluster is not None:
                    self._client.cluster.close()

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
                client = self._connect()
                self._warm = [
                    client.submit(_warm_up, self._threads, likely, workers=[worker], pure=False)
                    for worker in client.scheduler_info(n_workers=-1)["workers"]
                ]
            case ("tick",):
                for run_id in self._running:  # another process, a shell say, may have asked
                    self._pass_on_request(run_id)
                self._share()
                if time.monotonic() - self._purged_at > SECONDS_BETWEEN_PURGES:
                    self._purged_at = time.monotonic()
                    self.store.purge()
                    self.store.prune()
                if self._back_up_at is not None and time.monotonic() > self._back_up_at:
                    self._back_up()
            case ("queue", browsers):
                self._waiting |= browsers
                self._plan_back_up()
            case ("ask", run_id):
                self._pass_on_request(run_id)
            case ("find", kind, run_ids):
                if (kind, run_ids) not in (*self._to_find, self._finding_now):
                    self._to_find.append((kind, run_ids))
            case ("events", run_id, events) if self.store.status(run_id) not in ACTIVE:
                # Of a member of a group that had left it: its worker was replaced, and the new one began with all.
                if events[0]["kind"] == "started" and self._client is not None:
                    self._client.run(_note_request, run_id, "pause")
            case ("events", run_id, events):
                self.store.apply(run_id, *events)
                if (
                    events[-1]["kind"] == "queued" and run_id not in self._running
                ):  # it yielded, and left before saying so
                    self._waiting.setdefault(run_id, self.store.get(run_id).browser)
                if events[-1]["kind"] == "started":  # a replaced worker has forgotten what it was asked
                    self._pass_on_request(run_id)
            case ("done", run_ids):
                for run_id in run_ids:
                    self._after(run_id)
                self._plan_back_up()
            case ("found", kind, run_ids):
                self._after_finding(kind, run_ids)

    def _share(self) -> None:
        """Have the run that was at work longest yield, where all workers are busy and a browser without any waits."""
        if self._client is None or self._finding is not None or self._busy() < self._slots:
            return
        at_work = Counter(self._browsers.values())
        waiting = [run_id for run_id, browser in self._waiting.items() if not at_work[browser]]
        if not any(self._teachers_ready(run_id) for run_id in waiting):
            return
        longest = min(self._began, key=self._began.__getitem__)
        if time.monotonic() - self._began[longest] > SLICE_SECONDS:
            self._client.run(_note_request, longest, "yield")

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
        if request and run_id in self._running and self._client is not None:
            self._client.run(_note_request, run_id, request)

    def _dispatch(self) -> None:
        at_work = Counter(self._browsers.values())
        for run_id in turns(self._waiting, at_work, self._served):
            if run_id not in self._waiting:  # it went with one before it
                continue
            request = self.store.request(run_id)
            if request:
                self.store.apply(run_id, {"kind": "stopped" if request == "stop" else "paused"})
                del self._waiting[run_id]  # not before: on a full disk it is asked again
                continue
            lost = self._lost_teacher(run_id)
            if lost:
                self.store.apply(run_id, {"kind": "stopped", "text": lost})
                del self._waiting[run_id]
                continue
            if self._busy() < self._slots and self._finding is None and self._teachers_ready(run_id):
                client = self._connect()
                if self._busy() >= self._slots:
                    continue
                members = self._together(run_id)
                work: tuple[Any, ...] = (_perform_together_on_worker, str(self.store.home), members)
                if len(members) == 1:
                    work = (_perform_on_worker, str(self.store.home), run_id)
                future = client.submit(*work, self._threads, key=f"{run_id}-{time.time_ns()}")
                for member in members:
                    self._browsers[member] = browser = self._waiting.pop(member)
                    self._served[browser] = time.monotonic()
                    self._running[member] = future
                    self._began[member] = time.monotonic()
                future.add_done_callback(lambda _, members=members: self._inbox.put(("done", members)))
        order = turns(self._waiting, Counter(self._browsers.values()), self._served)
        self._lineup = (*((run_id, 0) for run_id in self._running), *((one, i) for i, one in enumerate(order, start=1)))
        if self._to_find and not self._running and self._finding is None:
            kind, run_ids = self._to_find.pop(0)
            client = self._connect()
            runs = self.store.some(run_ids)
            self._finding = client.submit(_find_on_worker, str(self.store.home), kind, runs, self._threads, pure=False)
            self._finding_now = kind, run_ids
            self._finding.add_done_callback(lambda _: self._inbox.put(("found", kind, run_ids)))

    def _busy(self) -> int:
        """How many workers have work; runs that train together have one."""
        return len(set(map(id, self._running.values())))

    def _together(self, run_id: str) -> list[str]:
        """The waiting runs of its batch that train with it as one, itself included; itself alone where they are few."""
        run = self.store.get(run_id)
        waiting = {one.id: one for one in self.store.runs(batch=run.batch) if one.id in self._waiting}
        fresh = {
            one.id: one.config
            for one in waiting.values()
            if one.config.role != "teacher" and not one.request and not self.store.folder(one.id).checkpoint.exists()
        }
        if len(fresh) < FEWEST_TOGETHER or run_id not in fresh:
            return [run_id]
        from kd_core import sweep

        ids = {config: one for one, config in fresh.items()}
        group = next(group for group in sweep.groups([*ids]) if run.config in group)
        return [ids[config] for config in group] if len(group) >= FEWEST_TOGETHER else [run_id]

    def _teachers(self, run_id: str) -> dict[str, Run | None]:
        """The teachers that a run names, by id; None where one was deleted since."""
        distillation = self.store.get(run_id).config.distillation
        named = distillation.teachers if distillation else ()
        found = {teacher.id: teacher for teacher in self.store.some(named)}
        return {teacher_id: found.get(teacher_id) for teacher_id in named}

    def _teachers_ready(self, run_id: str) -> bool:
        teachers = self._teachers(run_id).values()
        return all(teacher and teacher.usable and teacher.status not in ACTIVE for teacher in teachers)

    def _lost_teacher(self, run_id: str) -> str | None:
        for teacher_id, teacher in self._teachers(run_id).items():
            if teacher is None:
                return f"Not started: its teacher, run {teacher_id}, was deleted."
            if teacher.status in ("stopped", "failed", "interrupted") and not teacher.usable:
                return f"Not started: its teacher, run {teacher_id}, is {teacher.status} and left no weights."
        return None

    def _after(self, run_id: str) -> None:
        """Enter how a run left its worker, then forget that it had one: what the store cannot take is tried again."""
        if run_id not in self._running:
            return
        future = self._running[run_id]
        if future.status == "finished":
            if self.store.status(run_id) == "queued":  # it yielded
                self._waiting[run_id] = self._browsers[run_id]
        else:
            error = future.exception() if future.status == "error" else None
            log.warning("run %s lost its worker: %s", run_id, error or future.status)
            self.store.apply(run_id, {"kind": "interrupted", "text": WORKERS_LOST})
        del self._running[run_id]
        self._browsers.pop(run_id, None)
        self._began.pop(run_id, None)

    def _after_finding(self, kind: Finding, run_ids: tuple[str, ...]) -> None:
        future = self._finding
        if future is not None and future.status == "finished":
            self.store.save_finding(kind, run_ids, future.result())
        else:
            reason = _sentence(future.exception()) if future is not None and future.status == "error" else "no worker"
            self.store.save_finding(kind, run_ids, {"problem": f"The {kind} could not be found out: {reason}"})
        self._finding = self._finding_now = None

    def _connect(self) -> "Client":
        if self._client is not None:
            return self._client
        import dask
        from distributed import Client, LocalCluster

        cores = os.cpu_count() or 1
        if self._scheduler:
            client = Client(self._scheduler, timeout="5s", set_as_default=False)
            self._slots, self._threads = max(1, len(client.nthreads())), cores
        else:
            self._slots = self.limits.at_once or max(1, cores // 4)
            self._threads = max(1, cores // self._slots)
            dask.config.set(DASK_SETTINGS)
            cluster = LocalCluster(
                n_workers=self._slots,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                memory_limit=0,
                env=WORKER_ENVIRONMENT,
                silence_logs=logging.ERROR,
            )
            client = Client(cluster, set_as_default=False)
        client.subscribe_topic(TOPIC, self._hear)
        self._client = client
        return client

    def _hear(self, event: tuple[float, Any]) -> None:
        _, message = event
        self._inbox.put(("events", message["run_id"], message["events"]))


def _is_mere_progress(message: tuple[Any, ...]) -> bool:
    """Whether a message cannot let another run start."""
    return message[0] == "events" and message[2][-1]["kind"] in (*_PROGRESS, "message")
