"""Whether a run can be trained: what it learns from must be in the store and fit it, and it must fit its worker."""

import math

from kd_core.base.config import ConfigError
from kd_core.base.templates import said
from kd_core.data.catalogue import called, info_of
from kd_core.losses.catalogue import check_shows
from kd_core.runs.reading import check_code
from kd_core.runs.run import ACTIVE, STATES, StoreError
from kd_core.runs.store import Store
from kd_core.training import memory, mistakes
from kd_core.training.config import RunConfig


def check(store: Store, configs: dict[str, RunConfig], most_bytes: float = math.inf) -> None:
    """Raise ConfigError where a run could not start, or would take more memory than its worker has (most_bytes).

    It could not with a teacher that does not exist, failed, knows other classes or does not show what the student is to
    compare, or as the continuation of a run that left no weights or is another network.
    """
    check_code(store, configs)
    for config in configs.values():
        if config.continues is not None:
            _check_continued(store, config, config.continues)
        teachers = config.distillation.teachers if config.distillation else ()
        networks = [_checked_teacher(store, configs, config, teacher_id).model for teacher_id in teachers]
        memory.check(config, networks, most_bytes)


def _checked_teacher(store: Store, configs: dict[str, RunConfig], config: RunConfig, teacher_id: str) -> RunConfig:
    """Return the config of a teacher, one of configs or of the store, that fits its student's."""
    if teacher_id in configs:
        taught_by, classes = configs[teacher_id], info_of(config.dataset).classes
    else:
        try:
            teacher = store.get(teacher_id)
        except StoreError:
            raise ConfigError(
                said("there is no teacher run '{run_id}': choose one from the list of runs", run_id=teacher_id)
            ) from None
        if teacher.status not in ACTIVE and not teacher.usable:
            raise ConfigError(
                said(
                    "teacher run {run_id} is {status} and left no weights: choose another",
                    run_id=teacher_id,
                    status=STATES[teacher.status],
                )
            )
        taught_by = teacher.config
        classes = teacher.results.get("classes", info_of(taught_by.dataset).classes)
    mistakes.check_teacher(config, taught_by)
    if classes != info_of(config.dataset).classes:
        raise ConfigError(
            said(
                "teacher run {run_id} knows {known} classes, but {dataset} has {classes}: choose a teacher trained on"
                " the same classes",
                run_id=teacher_id,
                known=classes,
                dataset=called(config.dataset),
                classes=info_of(config.dataset).classes,
            )
        )
    if config.distillation is not None:
        check_shows(taught_by.model, config.distillation.objective, "teacher")
    return taught_by


def _check_continued(store: Store, config: RunConfig, run_id: str) -> None:
    try:
        continued = store.get(run_id)
    except StoreError:
        raise ConfigError(
            said("there is no run '{run_id}' to continue: choose one from the list of runs", run_id=run_id)
        ) from None
    if not continued.usable:
        state = {"run_id": run_id, "status": STATES[continued.status]}
        raise ConfigError(said("run {run_id} is {status} and left no weights to continue from", **state))
    brought = continued.config.brought
    if brought is not None and (brought.mean is not None or brought.shape is not None or continued.config.model.stock):
        raise ConfigError(
            said(
                "run {run_id} reads other pixels than KD Lab trains on, or is none of its architectures, so its weights"
                " cannot go on here: distill from it",
                run_id=run_id,
            )
        )
    if (continued.config.model, continued.config.dataset) != (config.model, config.dataset):
        raise ConfigError(
            said(
                "run {run_id} is a {network} on {dataset}: what continues it must be the same network on the same data"
                " set",
                run_id=run_id,
                network=continued.config.model.label,
                dataset=called(continued.config.dataset),
            )
        )
