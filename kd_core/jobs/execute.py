"""The execution of one run: from its config, or its last checkpoint, to its saved results.

execute_run executes a run wherever it is called. On a Dask worker execute_on_worker calls it, and events go back to the
queue. Nothing here knows the queue. torch is imported by what needs it, not by this module.
"""

import contextlib
import json
import logging
import math
import socket
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from kd_core.base.config import ConfigError, LabError
from kd_core.base.files import AnyPath, DamagedError, SaveError, is_file, read_text, remove
from kd_core.base.process import lacks_memory, memory_here
from kd_core.base.templates import said, said_by
from kd_core.runs.events import ENDS, Ended, Event, Probe
from kd_core.runs.recovery import recorded
from kd_core.runs.run import RunFolder, StoreError, folder_of
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig
from kd_core.training.records import RecordRow

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kd_core.data.dataset import Dataset
    from kd_core.training.loop import Training
    from kd_core.training.together import Together

log = logging.getLogger(__name__)

Restored = TypeVar("Restored", "Training", "Together")
Value = TypeVar("Value")
Request = Literal["stop", "pause"]
"""What a user asks of a run. The queue asks one at work to 'yield': to leave its worker for a while, and wait again."""
CHECKPOINT_SECONDS = 5.0
TRAINING_PER_CHECKPOINT = 30
"""Training goes on for this many times what the last checkpoint took before the next: they cost about 3% of a run."""
SECONDS_BETWEEN_TRIES, SECONDS_TO_MAKE_ROOM = 5.0, 30.0
"""Of saving what cannot be written; and how long after its user asked for a run's end that is given up."""
SAVED_LATER = said("Training has ended; what it learned is saved once that can be written.")
DAMAGED_CHECKPOINT = said("Its checkpoint was damaged, so it started anew, towards the same weights.")


class Supervisor(NamedTuple):
    """Whoever has a run executed.

    emit: takes its events. requested: 'stop', 'pause', 'yield' or None, at any time. reached: the step of the run's
    last record that was entered.
    """

    emit: Callable[[Event], None]
    requested: Callable[[], str | None]
    reached: int = -1

    def say(self, text: str) -> None:
        """Emit a message for people."""
        self.emit({"kind": "message", "text": text})

    def record(self, event: RecordRow | Probe, history: list[str]) -> None:
        """Emit a record, and note it in the history that is saved with what was learned up to it."""
        history.append(json.dumps(event))
        self.emit(event)

    def replay(self, history: Iterable[RecordRow | Probe]) -> None:
        """Emit what may not have been entered of it: the last record that was, whose probe may lack, and all later."""
        for event in history:
            if event["step"] >= self.reached:
                self.emit(event)

    def insist(self, save: Callable[[], Value], meanwhile: str) -> Value:
        """Call save until it succeeds, and say why it did not. meanwhile: a sentence on what becomes of the run.

        Raises SaveError where it still fails SECONDS_TO_MAKE_ROOM after the run's user asked for its end.
        """
        give_up_at, failed = math.inf, False
        while True:
            try:
                value = save()
            except SaveError as error:
                if not failed:
                    log.warning("%s %s", error, meanwhile)
                failed = True
                self.say(said("{first} {next}", first=said_by(error), next=meanwhile))
                if self.requested() in ("stop", "pause"):
                    give_up_at = min(give_up_at, time.monotonic() + SECONDS_TO_MAKE_ROOM)
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(SECONDS_BETWEEN_TRIES)
            else:
                if failed:
                    self.say("")
                return value

    def progress(self, cancelled: str) -> Callable[[str, float], None]:
        """Make a report of progress for work before training: ten messages a second at most.

        It raises to cancel the work where the user asks; the run's message is then cancelled.
        """
        sent_at = 0.0

        def report(text: str, share: float) -> None:
            nonlocal sent_at
            if time.monotonic() - sent_at > 0.1:
                sent_at = time.monotonic()
                self.say(said("{text}: {share:.0%}", text=text, share=share))
                request = self.requested()
                if request:
                    raise _CancelledError(request, cancelled)

        return report


class Checkpoints:
    """Saves a training now and then, at a small share of its time; what cannot be written is tried again later."""

    def __init__(self, save: Callable[[], None], say: Callable[[str], None]) -> None:
        self._save, self._say, self._trouble = save, say, False
        self._saved_at, self._wait = time.monotonic(), CHECKPOINT_SECONDS

    def save_if_due(self) -> None:
        """Save it where the last time is long enough ago."""
        if time.monotonic() - self._saved_at > self._wait:
            self.save()

    def save(self) -> bool:
        """Save it now; False, with a notice, where it cannot be written, or could not be a moment ago."""
        before = time.monotonic()
        trouble: str = ""
        if self._trouble and before - self._saved_at < self._wait:
            return False
        try:
            self._save()
        except SaveError as error:
            trouble = said(
                "{trouble} Training goes on, and saves its checkpoint once that can be written.", trouble=said_by(error)
            )
            if not self._trouble:
                log.warning(trouble)
        if trouble or self._trouble:
            self._say(trouble)
        self._saved_at, self._trouble = time.monotonic(), bool(trouble)
        self._wait = max(CHECKPOINT_SECONDS, TRAINING_PER_CHECKPOINT * (self._saved_at - before))
        return not trouble


class _CancelledError(Exception):
    """A request came during work that cannot be resumed half way. text: what the work has left."""

    def __init__(self, request: str, text: str) -> None:
        outcomes: dict[str, Literal["stopped", "paused", "queued"]]
        outcomes = {"stop": "stopped", "pause": "paused", "yield": "queued"}
        self.outcome: Ended = {"kind": outcomes[request], "text": text}


def supervisor_here(
    store: Store, run_id: str, on_event: Callable[[Event], None], requested: Callable[[], str | None]
) -> Supervisor:
    """Enter a run's events in the store, where this process executes it. requested comes before the store's request."""
    waiting: list[Event] = []

    def emit(event: Event) -> None:
        """Enter events in the store. While it cannot take them, training goes on; at its end it waits."""
        waiting.append(event)
        on_event(event)
        while waiting:
            try:
                store.apply(run_id, *waiting)
                waiting.clear()
            except StoreError as error:
                if event["kind"] in ENDS and requested():
                    raise
                if len(waiting) == 1:
                    log.warning("%s What run %s records is entered once that can be written.", error, run_id)
                if event["kind"] not in ENDS:
                    return
                time.sleep(SECONDS_BETWEEN_TRIES)

    last = store.last_record(run_id)
    return Supervisor(emit, lambda: requested() or store.request(run_id), last["step"] if last else -1)


def run_here(store: Store, run_id: str, on_event: Callable[[Event], None], requested: Callable[[], str | None]) -> None:
    """Execute one run in this process and enter its events in the store. requested comes before the store's request."""
    execute_run(store.folder(run_id), supervisor_here(store, run_id, on_event, requested))


def execute_run(folder: RunFolder, supervisor: Supervisor) -> None:
    """Execute one run, from its config or its last checkpoint, and save its results in its folder.

    Events: started, message, step and epoch; probe before the first step and after each epoch; and last one Ended. The
    supervisor is asked for requests after every record. Raises only what the supervisor raises.
    """
    outcome: Ended
    try:
        outcome = _execute(folder, supervisor)
    except _CancelledError as cancelled:
        outcome = cancelled.outcome
    except Exception as error:
        outcome = failure(error, folder.run_id)
    supervisor.emit(outcome)


def failure(error: Exception, run_ids: str) -> Ended:
    """Make the end of runs that an error broke off; log the error where no user caused it."""
    unexpected = not isinstance(error, LabError)
    if unexpected and not lacks_memory(error):
        log.error("run %s failed", run_ids, exc_info=error)
    return {"kind": "failed", "text": sentence_of(error), "unexpected": unexpected}


def sentence_of(error: Exception) -> str:
    """Put an error that ended a run or a finding into a sentence."""
    if isinstance(error, LabError):
        return said_by(error)
    if lacks_memory(error):
        return said("The memory of this machine is full: choose a smaller batch size or model.")
    return said(
        "Something unexpected went wrong ({kind}: {why}). The app's log has the details.",
        kind=type(error).__name__,
        why=str(error),
    )


def config_in(folder: RunFolder) -> RunConfig:
    """Read the config of a run from its folder."""
    try:
        return RunConfig.from_json(read_text(folder.config))
    except FileNotFoundError:
        raise SaveError(
            said(
                "{host} does not find the files of run {run_id} in {folder}: set KD_STORAGE to storage that the app and"
                " all workers share.",
                host=socket.gethostname(),
                run_id=folder.run_id,
                folder=folder.storage,
            )
        ) from None


def _execute(folder: RunFolder, supervisor: Supervisor) -> Ended:
    from kd_core.data import load
    from kd_core.runs import artifacts
    from kd_core.training import memory

    config = config_in(folder)
    results = artifacts.saved_results(folder)
    if results:
        supervisor.replay(recorded(folder))
        return {"kind": "finished", "results": results}
    memory.check(config, (), memory_here())  # of another host, or of a limit that was lowered since
    downloading = supervisor.progress(said("Its data set was being downloaded; whole files are kept."))
    dataset = load.load(config.dataset, downloading, folder.storage)
    if not config.trained_here:
        return _evaluate_external(folder, config, dataset, supervisor)
    return _train(folder, *_prepared(folder, config, dataset), supervisor)


def restored(begin: Callable[[], Restored], checkpoint: AnyPath, run_ids: str) -> tuple[Restored, LabError | None]:
    """Begin at the checkpoint, if there is one; also return why a checkpoint, now removed, could not be used."""
    training = begin()
    if is_file(checkpoint):
        try:
            training.restore(checkpoint)
        except (DamagedError, ConfigError) as error:  # the same config leads to the same weights from the start
            log.warning("run %s starts anew: %s", run_ids, error)
            with contextlib.suppress(OSError):  # the next checkpoint replaces it
                remove(checkpoint)
            return begin(), error
    return training, None


def _prepared(folder: RunFolder, config: RunConfig, dataset: "Dataset") -> tuple["Training", bool]:
    """Set up a run at its last checkpoint, or at its start; also return whether its checkpoint was damaged."""
    from kd_core.runs import artifacts, logit_cache
    from kd_core.training import mistaken

    teachers: list[nn.Module] = []
    teacher_logits: Tensor | None = None
    if config.distillation is not None:
        folders = [folder_of(folder.storage, run_id) for run_id in config.distillation.teachers]
        teachers = [artifacts.load_model(teacher, dataset) for teacher in folders]
        if config.reads_teacher_logits:
            models = dict(zip(folders, teachers, strict=True))
            teacher_logits = logit_cache.of_all(folders, dataset, models.__getitem__)

    def begin() -> "Training":
        start = None
        if config.continues is not None and not is_file(folder.checkpoint):
            start = artifacts.load_model(folder_of(folder.storage, config.continues), dataset)
        return mistaken.begin(config, dataset, teachers=teachers, teacher_logits=teacher_logits, start=start)

    training, trouble = restored(begin, folder.checkpoint, folder.run_id)
    return training, trouble is not None


def _train(folder: RunFolder, training: "Training", damaged: bool, supervisor: Supervisor) -> Ended:
    from kd_core.evaluation import speed
    from kd_core.runs import artifacts
    from kd_core.training import loop, records

    environment = speed.environment(str(training.device), training.precision)
    total_steps = training.total_steps
    supervisor.emit({"kind": "started", "step": training.step, "total_steps": total_steps, "environment": environment})
    if damaged:
        supervisor.say(DAMAGED_CHECKPOINT)
    supervisor.replay(map(json.loads, training.history))
    if training.step == 0:
        supervisor.record(_probe(training.probe_logits(), epoch=0, step=0), training.history)
    checkpoints = Checkpoints(lambda: training.save(folder.checkpoint), supervisor.say)
    for record in loop.train(training):
        supervisor.record(records.as_dict(record), training.history)
        if isinstance(record, records.EpochRecord):
            probe = _probe(training.probe_logits(), epoch=record.epoch, step=training.step)
            supervisor.record(probe, training.history)
        request = supervisor.requested()
        if request == "yield" and checkpoints.save():
            return {"kind": "queued"}
        if request in ("stop", "pause"):
            return _left_early(folder, training, request, supervisor)
        checkpoints.save_if_due()
    results = supervisor.insist(lambda: artifacts.save_results(folder, training), SAVED_LATER)
    with contextlib.suppress(OSError):  # the weights are safe; a checkpoint left over harms nobody
        remove(folder.checkpoint)
    return {"kind": "finished", "results": results}


def _left_early(folder: RunFolder, training: "Training", request: str, supervisor: Supervisor) -> Ended:
    """End a run whose training was left on request; a stopped one saves what it has learned."""
    from kd_core.runs import artifacts

    supervisor.insist(lambda: training.save(folder.checkpoint), SAVED_LATER)
    if request == "pause":
        return {"kind": "paused"}
    if training.epochs_done < 1:
        text = said("Stopped before its first epoch ended, so it left no weights.")
        return {"kind": "stopped", "text": text}
    supervisor.say(said("Stopped; saving what it learned"))
    results = supervisor.insist(lambda: artifacts.save_results(folder, training), SAVED_LATER)
    return {"kind": "stopped", "results": results}


def _probe(logits: "Tensor", *, epoch: int, step: int) -> Probe:
    rounded = [[round(value, 4) for value in row] for row in logits.tolist()]
    return {"kind": "probe", "epoch": epoch, "step": step, "logits": rounded}


def _evaluate_external(folder: RunFolder, config: RunConfig, dataset: "Dataset", supervisor: Supervisor) -> Ended:
    """Compute an external teacher's logits of every image, so that its run has the results that others have."""
    from kd_core.evaluation import speed
    from kd_core.models import build
    from kd_core.runs import artifacts

    model = artifacts.load_model(folder, dataset)
    environment = speed.environment("cpu", "float32")
    supervisor.emit({"kind": "started", "step": 0, "total_steps": 0, "environment": environment})
    report = supervisor.progress(said("It was not asked of all images yet; resume asks again."))
    teacher = artifacts.ExternalTeacher(config, dataset, model)
    images = len(dataset.test_labels) + len(teacher.validation_labels) + len(dataset.train_labels)
    done = 0

    def count(_: Any, inputs: tuple[Any, ...]) -> None:
        nonlocal done
        done += len(inputs[0])
        report(said("Asking it of {count:,} images", count=images), min(1.0, done / images))

    logits = build.logits_of(model, dataset.test_images[dataset.probes], dataset.normalise)
    supervisor.emit(_probe(logits, epoch=0, step=0))
    counting = model.register_forward_pre_hook(count)
    try:
        return {"kind": "finished", "results": artifacts.save_results(folder, teacher)}
    finally:
        counting.remove()
