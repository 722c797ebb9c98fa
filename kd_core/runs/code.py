"""Whether runs may use the own code of their networks where they are to be trained."""

from collections.abc import Mapping

from kd_core.models.architectures import own
from kd_core.runs.reading import Reader
from kd_core.training.config import RunConfig


def check_code(known: Reader, configs: Mapping[str, RunConfig]) -> None:
    """Raise ConfigError where own code cannot be trained here, or cannot teach. Nothing of it is imported.

    configs: the runs, by id; known: has those of their teachers that are not among them. Who is nowhere is passed over.
    """
    for config in configs.values():
        if config.model.own:
            own.check_trainable(config.model.name)
        ids = config.distillation.teachers if config.distillation else ()
        teachers = {run.id: run.config for run in known.some([run_id for run_id in ids if run_id not in configs])}
        for run_id in ids:
            teacher = configs.get(run_id) or teachers.get(run_id)
            if teacher is not None and teacher.model.own:
                own.check_permitted(own.path_of(teacher.model.name))
