"""One run from its config, or its last checkpoint, to what it leaves; and what is found out of runs that have trained.

perform() does a run wherever it is called. On a Dask worker perform_on_worker calls it, and progress goes back as
worker events. Nothing here knows the queue. torch is imported by what needs it, not by this module.
"""

import contextlib
import logging
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from kd_core.base.config import LabError
from kd_core.base.files import AnyPath, SaveError, is_file, read_text, remove
from kd_core.runs.run import folder_of
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig

if TYPE_CHECKING:
    from kd_core.data.dataset import Dataset

log = logging.getLogger(__name__)

Event = dict[str, Any]
Request = Literal["stop", "pause"]
"""What a user asks of a run. The queue asks one at work to 'yield': to leave its worker for a while, and wait again."""
CHECKPOINT_SECONDS = 5.0
TRAINING_PER_CHECKPOINT = 30
"""Training goes on for this many times what the last checkpoint took before the next: they cost about 3% of a run."""
DAMAGED_CHECKPOINT = "Its checkpoint was damaged, so it started anew, towards the same weights."


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


def config_in(storage: AnyPath, run_id: str) -> RunConfig:
    """The config of a run, from its folder."""
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
    from kd_core.training import loop, mistaken, records

    folder = folder_of(storage, run_id)
    config = config_in(storage, run_id)
    left = artifacts.all_left(storage, run_id)
    if left:
        return {"kind": "finished", "results": left}
    downloading = _reporter(emit, requested, "Its data set was being downloaded; whole files are kept.")
    dataset = load.load(config.dataset, downloading, storage)
    if not config.trained_here:
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
        return mistaken.begin(config, dataset, teachers=teachers, teacher_logits=said, start=start)

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
        emit(records.as_dict(record))
        if isinstance(record, records.EpochRecord):
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
