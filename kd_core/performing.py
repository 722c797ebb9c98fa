"""One run from its config, or its last checkpoint, to what it leaves; and what is found out of runs that have trained.

perform() does a run wherever it is called. On a Dask worker perform_on_worker calls it, and progress goes back as
worker events. Nothing here knows the queue. torch is imported by what needs it, not by this module.
"""

import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from kd_core.base.config import ConfigError, LabError
from kd_core.base.files import AnyPath, SaveError, is_file, on_this_machine, path_at, read_text, remove, write_atomic
from kd_core.base.process import keep_heaps_few
from kd_core.cluster import TOPIC
from kd_core.models.config import BLACK_BOX
from kd_core.runs.run import Run, folder_of
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig

if TYPE_CHECKING:
    from kd_core.data.dataset import Dataset

log = logging.getLogger(__name__)

Event = dict[str, Any]
Request = Literal["stop", "pause"]
"""What a user asks of a run. The queue asks one at work to 'yield': to leave its worker for a while, and wait again."""
Finding = Literal["speed", "export", "inside", "bias"]
"""What can be found out of trained runs, in a worker: their speed side by side, where nothing else goes on; one's
exported files; what one has inside; the bias that gives the classes missing from one's transfer set their prior."""
CHECKPOINT_SECONDS = 5.0
TRAINING_PER_CHECKPOINT = 30
"""Training goes on for this many times what the last checkpoint took before the next: they cost about 3% of a run."""
NICENESS = 5
"""Training yields the processor to the page."""
DAMAGED_CHECKPOINT = "Its checkpoint was damaged, so it started anew, towards the same weights."
SECONDS_BETWEEN_MESSAGES = 0.1
PROGRESS = ("step", "epoch", "probe")
"""The kinds of events that change nothing but how far a run is."""


# ------------------------------------------------------------------------------------------------------ one run


def perform(storage: AnyPath, run_id: str, emit: Callable[[Event], None], requested: Callable[[], str | None]) -> None:
    """Do one run, from its config or its last checkpoint, and save what it leaves in its folder in storage.

    emit hears: started {step, total_steps, environment}, message {text}, step and epoch {a record's fields}, probe
    {epoch, step, logits} before the first step and after each epoch, and last one of finished or stopped {results},
    paused, queued (it yielded), failed {text}. requested is asked after every record for 'stop', 'pause', 'yield' or
    None. Raises only what emit and requested raise.
    """
    outcome: Event
    try:
        outcome = _perform(storage, run_id, emit, requested)
    except _CancelledError as cancelled:
        outcome = {"kind": cancelled.outcome, "text": cancelled.text}
    except Exception as error:
        if not isinstance(error, LabError):
            log.exception("run %s failed", run_id)
        outcome = {"kind": "failed", "text": sentence_of(error)}
    emit(outcome)


def sentence_of(error: Exception) -> str:
    """What a user reads of an error that ended a run or a finding."""
    if isinstance(error, LabError):
        return str(error)
    if isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error):
        return "The memory of this machine is full: choose a smaller batch size or model."
    return f"Something unexpected went wrong ({type(error).__name__}: {error}). The app's log has the details."


def _config_of(storage: AnyPath, run_id: str) -> RunConfig:
    try:
        return RunConfig.from_json(read_text(folder_of(storage, run_id).config))
    except FileNotFoundError:
        raise SaveError(
            f"{socket.gethostname()} does not find the files of run {run_id} in {storage}: set KD_STORAGE to storage"
            " that the app and all workers share."
        ) from None


def _perform(
    storage: AnyPath, run_id: str, emit: Callable[[Event], None], requested: Callable[[], str | None]
) -> Event:
    import torch

    from kd_core.data import load
    from kd_core.evaluation import speed
    from kd_core.runs import artifacts, logit_cache
    from kd_core.training import loop
    from kd_core.training import records as training_records

    folder = folder_of(storage, run_id)
    config = _config_of(storage, run_id)
    left = artifacts.all_left(storage, run_id)
    if left:
        return {"kind": "finished", "results": left}
    downloading = _reporter(emit, requested, "Its data set was being downloaded; whole files are kept.")
    dataset = load.load(config.dataset, downloading, storage)
    if config.brought is not None:
        return _ask_brought(storage, run_id, config, dataset, emit, requested)
    teachers, said = [], None
    if config.distillation is not None:
        teachers = [artifacts.load_model(storage, teacher, dataset) for teacher in config.distillation.teachers]
        if config.reads_teacher_logits:
            loaded = dict(zip(config.distillation.teachers, teachers, strict=True))
            said = logit_cache.of_all(storage, config.distillation.teachers, dataset, loaded.__getitem__)

    def begin() -> loop.Training:
        start = None
        if config.continues is not None and not is_file(folder.checkpoint):
            start = artifacts.load_model(storage, config.continues, dataset)
        return loop.Training(config, dataset, teachers=teachers, teacher_logits=said, start=start)

    run, lost = begin(), None
    if is_file(folder.checkpoint):
        try:
            run.restore(folder.checkpoint)
        except LabError as error:  # the same config leads to the same weights from the start
            log.warning("run %s starts anew: %s", run_id, error)
            lost = DAMAGED_CHECKPOINT
            with contextlib.suppress(OSError):  # the next checkpoint replaces it
                remove(folder.checkpoint)
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
    for record in loop.train(run):
        emit(training_records.as_dict(record))
        if isinstance(record, training_records.EpochRecord):
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
            return {"kind": "stopped", "results": artifacts.leave(storage, run_id, run)}
        if time.monotonic() - saved_at > wait:
            before = time.monotonic()
            run.save(folder.checkpoint)
            saved_at = time.monotonic()
            wait = max(CHECKPOINT_SECONDS, TRAINING_PER_CHECKPOINT * (saved_at - before))
    results = artifacts.leave(storage, run_id, run)
    with contextlib.suppress(OSError):  # the weights are safe; a checkpoint left over harms nobody
        remove(folder.checkpoint)
    return {"kind": "finished", "results": results}


def perform_together(
    storage: AnyPath,
    run_ids: Sequence[str],
    emit: Callable[[str, Event], None],
    requested: Callable[[str], str | None],
    absent: Iterable[str] = (),
) -> None:
    """Do several runs that train as one (see sweep.groups), from their configs or their common checkpoint.

    emit and requested are perform's, with the run's id before the rest. A run that is stopped or paused leaves after
    the epoch, and the others go on; one that was paused starts anew when it is resumed, towards the same weights. Where
    one is asked to yield, all do. absent: those that had left before; they train along and leave nothing.
    """
    left = set(absent)

    def tell(run_id: str, event: Event) -> None:
        if event["kind"] in ("finished", "stopped", "paused", "queued", "failed"):
            left.add(run_id)
        emit(run_id, event)

    try:
        _perform_together(storage, run_ids, tell, requested, left)
    except Exception as error:
        if not isinstance(error, LabError):
            log.exception("runs %s failed", ", ".join(run_ids))
        for run_id in run_ids:
            if run_id not in left:
                tell(run_id, {"kind": "failed", "text": sentence_of(error)})


def _perform_together(
    storage: AnyPath,
    run_ids: Sequence[str],
    tell: Callable[[str, Event], None],
    requested: Callable[[str], str | None],
    left: set[str],
) -> None:
    import torch

    from kd_core.data import load
    from kd_core.evaluation import speed
    from kd_core.runs import artifacts, logit_cache
    from kd_core.training import records as training_records
    from kd_core.training import together as training_together

    configs = [_config_of(storage, run_id) for run_id in run_ids]
    learned = {run_id: artifacts.all_left(storage, run_id) for run_id in run_ids if run_id not in left}
    if all(learned.values()):
        for run_id, results in learned.items():
            tell(run_id, {"kind": "finished", "results": results})
        return
    dataset = load.load(configs[0].dataset, storage=storage)
    teachers = next((config.distillation.teachers for config in configs if config.distillation), ())
    said = None
    if teachers:
        said = logit_cache.of_all(
            storage, teachers, dataset, lambda teacher: artifacts.load_model(storage, teacher, dataset)
        )
    together, lost = training_together.Together(configs, dataset, said), None
    checkpoint = folder_of(storage, run_ids[0]).together
    if is_file(checkpoint):
        try:
            together.restore(checkpoint)
        except LabError as error:
            log.warning("runs %s start anew: %s", ", ".join(run_ids), error)
            lost = None if isinstance(error, ConfigError) else DAMAGED_CHECKPOINT  # of another group: as it should be
            together = training_together.Together(configs, dataset, said)
    for run_id in run_ids:  # whoever goes on with one of them has to go on with all: fewer would round otherwise
        if run_id not in left:
            write_atomic(folder_of(storage, run_id).group, json.dumps(list(run_ids)).encode())
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
        if run_id in left:
            continue
        started = {"step": together.epochs_done * steps, "total_steps": config.training.epochs * steps}
        tell(run_id, {"kind": "started", "environment": environment, **started})
        if lost:
            tell(run_id, {"kind": "message", "text": lost})
    saved_at = time.monotonic()
    for records in training_together.train_together(together):
        for i, (run_id, record) in enumerate(zip(run_ids, records, strict=True)):
            if run_id in left:
                continue
            tell(run_id, training_records.as_dict(record))
            request = requested(run_id)
            if request == "pause":
                tell(run_id, {"kind": "paused"})
            elif request == "stop":
                tell(run_id, {"kind": "stopped", "results": artifacts.leave(storage, run_id, together.student(i))})
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
            learned[run_id] = artifacts.leave(storage, run_id, together.student(i))
    for run_id in run_ids:
        if run_id not in left:
            tell(run_id, {"kind": "finished", "results": learned[run_id]})
    with contextlib.suppress(OSError):
        remove(checkpoint)


def _ask_brought(
    storage: AnyPath,
    run_id: str,
    config: RunConfig,
    dataset: "Dataset",
    emit: Callable[[Event], None],
    requested: Callable[[], str | None],
) -> Event:
    """Ask a teacher that was trained elsewhere of every image, so that its run leaves what others leave."""
    import torch

    from kd_core.evaluation import speed
    from kd_core.models import build
    from kd_core.runs import artifacts

    model = artifacts.load_model(storage, run_id, dataset)
    environment = {
        "device": "cpu",
        "precision": "float32",
        "processor": speed.processor(),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }
    emit({"kind": "started", "step": 0, "total_steps": 0, "environment": environment})
    report = _reporter(emit, requested, "It was not asked of all images yet; resume asks again.")
    teacher = artifacts.BroughtTeacher(config, dataset, model)
    images = len(dataset.test_labels) + len(teacher.validation_labels) + len(dataset.train_labels)
    asked = 0

    def count(_: Any, inputs: tuple[Any, ...]) -> None:
        nonlocal asked
        asked += len(inputs[0])
        report(f"Asking it of {images:,} images", min(1.0, asked / images))

    logits = build.logits_of(model, dataset.test_images[dataset.probes], dataset.normalise)
    emit({"kind": "probe", "epoch": 0, "step": 0, "logits": [[round(x, 4) for x in row] for row in logits.tolist()]})
    counting = model.register_forward_pre_hook(count)
    try:
        return {"kind": "finished", "results": artifacts.leave(storage, run_id, teacher)}
    finally:
        counting.remove()


class _CancelledError(Exception):
    """Stop or pause was asked for in the middle of what cannot be gone on with. text: how things stand."""

    def __init__(self, request: str, text: str) -> None:
        self.outcome = {"stop": "stopped", "pause": "paused", "yield": "queued"}[request]
        self.text = text


def _reporter(
    emit: Callable[[Event], None], requested: Callable[[], str | None], cancelled: str
) -> Callable[[str, float], None]:
    """Passes progress on, ten times a second at most, and breaks off where the user asks, which cancelled then says."""
    told_at = 0.0

    def report(text: str, share: float) -> None:
        nonlocal told_at
        if time.monotonic() - told_at > 0.1:
            told_at = time.monotonic()
            emit({"kind": "message", "text": f"{text}: {share:.0%}"})
            request = requested()
            if request:
                raise _CancelledError(request, cancelled)

    return report


def run_here(store: Store, run_id: str, on_event: Callable[[Event], None], requested: Callable[[], str | None]) -> None:
    """Do one run in this process, entering it in the store as it goes. requested adds to what the store is asked."""

    def emit(event: Event) -> None:
        store.apply(run_id, event)
        on_event(event)

    perform(store.storage, run_id, emit, lambda: requested() or store.request(run_id))


# ------------------------------------------------------------------------------------------- in a worker process

_requests: dict[str, Request | Literal["yield"]] = {}
"""What each run on this worker was asked; set by the queue's process through Client.run."""


def note_request(run_id: str, request: Request | Literal["yield"]) -> None:
    """Remember what a run on this worker is asked; it looks after every record."""
    if request != "yield" or run_id not in _requests:  # what its user asked comes first
        _requests[run_id] = request


def _settle_in(threads: int) -> None:
    import torch

    keep_heaps_few()
    if threads:
        torch.set_num_threads(threads)
    if hasattr(os, "nice") and os.nice(0) < NICENESS:
        os.nice(NICENESS - os.nice(0))


def warm_up(configs: list[str], threads: int) -> None:
    """Import, load and measure what the first run of each config would wait for, by its first step."""
    _settle_in(threads)
    from kd_core.data import load
    from kd_core.training import loop

    for text in configs:
        config = RunConfig.from_json(text)
        with contextlib.suppress(LabError):
            next(loop.train(loop.Training(config, load.load(config.dataset))))


def perform_on_worker(key: str, storage: str, run_ids: list[str], absent: list[str], threads: int) -> None:
    """Do a run, or several together.

    key: of this piece of work, by which the queue tells it from one it gave up. absent: as perform_together has them.
    threads: 0 leaves torch's.
    """
    from distributed import Status, get_worker

    _settle_in(threads)
    worker = get_worker()
    leaving = (Status.closing, Status.closing_gracefully, Status.closed, Status.failed)
    kept: dict[str, list[Event]] = {run_id: [] for run_id in run_ids}
    sent_at = dict.fromkeys(run_ids, 0.0)
    for run_id in run_ids:
        _requests.pop(run_id, None)

    def emit(run_id: str, event: Event) -> None:
        """Send at once what changes a run's state, and its records a few times a second: each message costs a step."""
        kept[run_id].append(event)
        if event["kind"] not in PROGRESS or time.monotonic() - sent_at[run_id] > SECONDS_BETWEEN_MESSAGES:
            worker.log_event(TOPIC, {"key": key, "run_id": run_id, "events": list(kept[run_id])})
            kept[run_id].clear()
            sent_at[run_id] = time.monotonic()

    def requested(run_id: str) -> str | None:
        """What it was asked, and to yield where this process is about to end: another one then goes on from there."""
        return _requests.get(run_id) or ("yield" if worker.status in leaving else None)

    if len(run_ids) == 1:
        (only,) = run_ids
        perform(path_at(storage), only, lambda event: emit(only, event), lambda: requested(only))
    else:
        perform_together(path_at(storage), run_ids, emit, requested, absent)


def find_on_worker(key: str, storage: str, kind: Finding, runs: list[Run], threads: int) -> dict[str, Any]:
    """Find something out of runs of one data set. key: of this piece of work. threads: 0 leaves torch's."""
    _settle_in(threads)
    match kind:
        case "speed":
            return _measured_speed(path_at(storage), runs)
        case "export":
            from kd_core.exchange.export import write

            return write.export_run(path_at(storage), runs[0])
        case "inside":
            return _inside(path_at(storage), runs[0])
        case "bias":
            return _prior_bias(path_at(storage), runs[0])


def _measured_speed(storage: AnyPath, runs: list[Run]) -> dict[str, Any]:
    import torch

    from kd_core.data import load
    from kd_core.evaluation import speed
    from kd_core.exchange.export import checks
    from kd_core.runs import artifacts

    dataset = load.load(runs[0].config.dataset, storage=storage)
    candidates = {run.id: artifacts.load_model(storage, run.id, dataset) for run in runs}
    threads, pixels = torch.get_num_threads(), dataset.test_images[:512]
    with contextlib.ExitStack() as copies:
        exports = {
            run.id: {
                runtime: copies.enter_context(on_this_machine(file))
                for runtime, file in checks.for_runtime(storage, run.id).items()
            }
            for run in runs
        }
        return speed.measure(candidates, pixels, mean=dataset.mean, std=dataset.std, exports=exports, threads=threads)


def _inside(storage: AnyPath, run: Run) -> dict[str, Any]:
    """What a model sees before it decides, in a plane, and the loss around its weights."""
    from kd_core.data import load
    from kd_core.evaluation import features, landscape
    from kd_core.runs import artifacts

    if run.config.model.name == BLACK_BOX:
        raise ConfigError(f"{run.label} gives logits alone: it has no layer or weight to look at")
    dataset = load.load(run.config.dataset, storage=storage)
    model = artifacts.load_model(storage, run.id, dataset)
    seen, labels = features.penultimate(model, dataset)
    valley = landscape.loss_landscape(model, dataset)
    return {
        "features": features.projected(seen).round(3).tolist(),
        "width": seen.shape[1],
        "labels": labels.tolist(),
        "steps": valley.steps.round(4).tolist(),
        "losses": [[float(f"{loss:.4g}") for loss in row] for row in valley.losses],
        "images": valley.images,
    }


def _prior_bias(storage: AnyPath, run: Run) -> dict[str, Any]:
    """The bias with which a model calls as many training images one of the missing classes as there are."""
    import numpy as np

    from kd_core.data import load
    from kd_core.evaluation import bias
    from kd_core.models import build
    from kd_core.runs import artifacts

    dataset = load.load(run.config.dataset, storage=storage)
    missing = run.config.transfer_set.missing(len(dataset.class_names))
    share = float(np.isin(dataset.train_labels.numpy(), missing).mean())
    model = artifacts.load_model(storage, run.id, dataset)
    logits = build.logits_of(model, dataset.train_images, dataset.normalise).numpy()
    return {"classes": list(missing), "share": share, "bias": bias.bias_for_share(logits, missing, share)}
