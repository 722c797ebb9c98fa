"""Whether a run's config can be trained in this store: what it learns from must be there and fit."""

from kd_core.base.config import ConfigError
from kd_core.data.catalogue import called, info_of
from kd_core.losses.catalogue import check_shows
from kd_core.runs.run import ACTIVE, StoreError
from kd_core.runs.store import Store
from kd_core.training import mistakes
from kd_core.training.config import RunConfig


def check(store: Store, configs: dict[str, RunConfig]) -> None:
    """Raise ConfigError where a run could not start.

    That is a teacher that does not exist, failed, knows other classes or does not show what the student is to compare,
    or a run to continue that left no weights or is another network.
    """
    for config in configs.values():
        if config.continues is not None:
            _check_continued(store, config, config.continues)
        if config.distillation is None:
            continue
        for teacher_id in config.distillation.teachers:
            if teacher_id in configs:
                mistakes.check_teacher(config, configs[teacher_id])
                check_shows(configs[teacher_id].model, config.distillation.objective, "teacher")
                continue
            try:
                teacher = store.get(teacher_id)
            except StoreError:
                raise ConfigError(f"there is no teacher run '{teacher_id}': choose one from the list of runs") from None
            if teacher.status not in ACTIVE and not teacher.usable:
                raise ConfigError(f"teacher run {teacher_id} is {teacher.status} and left no weights: choose another")
            mistakes.check_teacher(config, teacher.config)
            classes = teacher.results.get("classes", info_of(teacher.config.dataset).classes)
            if classes != info_of(config.dataset).classes:
                raise ConfigError(
                    f"teacher run {teacher_id} knows {classes} classes, but {called(config.dataset)} has"
                    f" {info_of(config.dataset).classes}: choose a teacher trained on the same classes"
                )
            check_shows(teacher.config.model, config.distillation.objective, "teacher")


def _check_continued(store: Store, config: RunConfig, run_id: str) -> None:
    try:
        continued = store.get(run_id)
    except StoreError:
        raise ConfigError(f"there is no run '{run_id}' to continue: choose one from the list of runs") from None
    if not continued.usable:
        raise ConfigError(f"run {run_id} is {continued.status} and left no weights to continue from")
    if continued.config.brought is not None and continued.config.brought.mean is not None:
        raise ConfigError(
            f"run {run_id} reads other pixels than KD Lab trains on, so its weights cannot go on here: distill from it"
        )
    if (continued.config.model, continued.config.dataset) != (config.model, config.dataset):
        raise ConfigError(
            f"run {run_id} is a {continued.config.model.label} on {called(continued.config.dataset)}: what continues it"
            " must be the same network on the same data set"
        )
