"""What is known before a run starts: how long it will take on this machine, and which settings are known to hurt."""

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

from kd_core.base.config import in_words
from kd_core.base.templates import prose
from kd_core.data.catalogue import HANDWRITTEN
from kd_core.experiments.story import StoryConfig
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.models.config import ModelConfig
from kd_core.training.config import RunConfig

_TEXTS = prose(__file__)
FARTHEST = 4.0
"""An estimate is of epochs of at most so many times the images and multiply-adds of those measured: a short epoch takes
what does not grow with its images, and what else the machine did then, and neither scales."""
TINY_UNITS = 64
FEW_STEPS = 200


class Timing(NamedTuple):
    """What an epoch of a run took on this machine, in seconds, and the multiply-adds of one image through its model."""

    config: RunConfig
    multiply_adds: int
    epoch_seconds: float


def expected_seconds(config: RunConfig, multiply_adds: int, timings: Sequence[Timing]) -> float | None:
    """Predict how long a run trains, from what this machine has measured; None where nothing compares.

    Runs of the same network, batch size and jitter say it directly. Otherwise the time of an epoch is taken as
    a · steps + b · multiply-adds with a, b >= 0, fitted by least squares of the relative errors to the runs of the same
    kind of network and about the same batch size: what a multiply-add takes depends on it severalfold. Neither reaches
    beyond FARTHEST times what was measured.
    """
    timings = [timing for timing in timings if config.examples <= FARTHEST * timing.config.examples]
    alike = [
        timing.epoch_seconds / timing.config.examples for timing in timings if _kind(timing.config) == _kind(config)
    ]
    if alike:
        return float(median(alike) * config.examples * config.training.epochs)
    related = [
        timing
        for timing in timings
        if timing.config.model.name == config.model.name
        and 0.5 <= timing.config.training.batch_size / config.training.batch_size <= 2
        and _looks(timing.config) == _looks(config)
    ]
    work = np.array([_work(timing.config, timing.multiply_adds) for timing in related])
    if not related or _work(config, multiply_adds)[1] > FARTHEST * work[:, 1].max():
        return None
    from scipy.optimize import nnls

    seconds = np.array([timing.epoch_seconds for timing in related])
    rates, _ = nnls(work / seconds[:, None], np.ones(len(related)))
    return float(_work(config, multiply_adds) @ rates * config.training.epochs)


def _kind(config: RunConfig) -> tuple[object, ...]:
    training = config.training
    arithmetic = training.batch_size, training.precision, training.device
    return config.model, *arithmetic, training.jitter_pixels > 0, _looks(config)


def _looks(config: RunConfig) -> str | None:
    """Return the objective for which the teacher looks at every batch, which takes time; else None."""
    distillation = config.distillation
    return distillation.objective if distillation is not None and distillation.info.needs != "logits" else None


def _work(config: RunConfig, multiply_adds: int) -> np.ndarray:
    """Return the steps and multiply-adds of an epoch."""
    examples = config.examples
    return np.array([-(-examples // config.training.batch_size), examples * multiply_adds], dtype=float)


def is_tiny(model: ModelConfig) -> bool:
    """Return whether a student is too small to match every logit: an mlp of at most TINY_UNITS a layer."""
    return model.name == "mlp" and max(model.hidden, default=0) <= TINY_UNITS


def warnings(
    story: StoryConfig,
    teacher_parameters: int | None,
    student_parameters: int,
    class_names: Sequence[str],
    assistant_parameters: int | None = None,
) -> list[str]:
    """Return a sentence on each setting that is known to hurt, by the paper or by what we measured.

    teacher_parameters: of one teacher of the ensemble, or of the only one; None where nobody knows. class_names: of the
    story's data set. assistant_parameters: where there is one.
    """
    training, part, texts = story.training, story.transfer_set, _TEXTS
    tiny = is_tiny(story.student)
    steps = -(-story.student_runs(("teacher",))[-1].examples // training.batch_size) * training.epochs
    above = math.inf if teacher_parameters is None else teacher_parameters
    missing = [] if part.only_classes is None else [class_names[label] for label in part.missing(len(class_names))]
    without = texts["missing"].format(classes=in_words(missing)) if missing else ""
    rate = {"rate": training.learning_rate, "optimizer": training.optimizer}
    assisted = assistant_parameters is not None and not student_parameters < assistant_parameters < above
    known = {
        texts["few_epochs"]: tiny and story.dataset == "mnist" and story.alpha > 0 and training.epochs <= 20,
        texts["assistant"]: assisted,
        texts["no_smaller"]: student_parameters >= above,
        texts["fast"].format(**rate): training.optimizer != "sgd" and training.learning_rate > 0.02,
        texts["slow"].format(**rate): training.optimizer == "sgd" and training.learning_rate < 0.01,
        texts["few_steps"].format(steps=steps): steps < FEW_STEPS,
        without + texts["paper_missing"] * (story.dataset in HANDWRITTEN): bool(missing),
        texts["jitter"]: training.jitter_pixels > 0,
        texts["features"]: not training.jitter_pixels and OBJECTIVES[story.objective].needs != "logits",
    }
    return _of_the_loss(story, tiny) + [sentence for sentence, holds in known.items() if holds]


def _of_the_loss(story: StoryConfig, tiny: bool) -> list[str]:
    """What is known of temperature and alpha, where the objective reads them. tiny: the student is."""
    temperature, alpha, hintons = story.temperature, story.alpha, story.objective == "hinton" and story.alpha > 0
    unused = OBJECTIVES[story.objective].mixed and alpha == 0 and not story.final_alpha
    unscaled = not story.t_squared and temperature > 1 and alpha < 1
    known = {
        _TEXTS["baseline_again"]: unused,
        _TEXTS["no_t_squared"].format(square=temperature**2): hintons and unscaled,
        _TEXTS["low_t"]: hintons and temperature <= 1,
        _TEXTS["tiny_high_t"]: hintons and tiny and temperature > 8,
        _TEXTS["high_t"]: hintons and not tiny and temperature > 20,
    }
    return [sentence for sentence, holds in known.items() if holds]
