"""Students that train together as one model, from their configs to what they leave."""

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Sequence

from kd_core.base.config import ConfigError, LabError
from kd_core.base.files import AnyPath, is_file, remove, write_atomic
from kd_core.jobs.execute import CHECKPOINT_SECONDS, DAMAGED_CHECKPOINT, Event, config_in, log, sentence_of
from kd_core.runs.run import folder_of


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

    configs = [config_in(storage, run_id) for run_id in run_ids]
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
