"""What is known before a run starts: how long it will take on this machine, and which settings are known to hurt."""

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

from kd_core.base.config import in_words
from kd_core.data.catalogue import HANDWRITTEN
from kd_core.experiments.story import StoryConfig
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.models.config import ModelConfig
from kd_core.training.config import RunConfig

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
    texts: list[str] = []
    training, part = story.training, story.transfer_set
    tiny = is_tiny(story.student)
    student = story.student_runs(("teacher",))[-1]
    texts += _of_the_loss(story, tiny)
    if tiny and story.dataset == "mnist" and story.alpha > 0 and training.epochs <= 20:
        texts.append("We measured students of 30 units on MNIST: in so few epochs a teacher gained them nothing.")
    above = math.inf if teacher_parameters is None else teacher_parameters
    if assistant_parameters is not None and not student_parameters < assistant_parameters < above:
        texts.append(
            "An assistant can help where its size is between the teacher's and the student's (Mirzadeh et al. 2020)."
        )
    if teacher_parameters is not None and student_parameters >= teacher_parameters:
        texts.append(
            "The student is no smaller than its teacher: it can still gain from the soft targets (born-again networks,"
            " Furlanello et al. 2018), but saves neither size nor time."
        )
    if training.optimizer != "sgd" and training.learning_rate > 0.02:
        texts.append(
            f"A learning rate of {training.learning_rate:g} is high for {training.optimizer}: it may not settle."
        )
    if training.optimizer == "sgd" and training.learning_rate < 0.01:
        texts.append(f"A learning rate of {training.learning_rate:g} is low for sgd.")
    steps = -(-student.examples // training.batch_size) * training.epochs
    if steps < FEW_STEPS:
        texts.append(f"The student takes only {steps} steps: a smaller batch size or more epochs would help it.")
    if part.only_classes is not None:
        missing = [class_names[label] for label in part.missing(len(class_names))]
        if missing:
            paper = " Without any 3, the paper's student made 133 of its 206 errors on threes (section 3)."
            texts.append(
                f"The transfer set has no {in_words(missing)}: most errors will be there."
                + (paper if story.dataset in HANDWRITTEN else "")
            )
    if training.jitter_pixels:
        texts.append("With jitter the teacher looks at every image anew in every epoch, which costs time.")
    elif OBJECTIVES[story.objective].needs != "logits":
        texts.append("To compare features the teacher looks at every image in every epoch, which costs time.")
    return texts


def _of_the_loss(story: StoryConfig, tiny: bool) -> list[str]:
    """What is known of temperature and alpha, where the objective reads them. tiny: the student is."""
    texts: list[str] = []
    temperature, alpha = story.temperature, story.alpha
    if OBJECTIVES[story.objective].mixed and alpha == 0 and not story.final_alpha:
        texts.append("With alpha = 0 the soft loss counts for nothing: the distilled student is the baseline again.")
    if story.objective != "hinton":
        return texts
    if alpha > 0 and not story.t_squared and temperature > 1 and alpha < 1:
        texts.append(
            f"Without T² the soft loss pulls {temperature**2:.3g} times less than with it (paper, section 2): the"
            " labels weigh more than alpha says."
        )
    if temperature <= 1 and alpha > 0:
        texts.append("At T of 1 and less, the soft targets of a sure teacher are almost identical to the labels.")
    if temperature > 8 and tiny and alpha > 0:
        texts.append(
            "For a student this small the paper found T between 2.5 and 4 better than higher ones (section 3)."
        )
    elif temperature > 20 and alpha > 0:
        texts.append(
            "Far above T = 20 the student has to match every logit of its teacher, also the very negative ones: these"
            " may be noise or carry knowledge, and which of the two counts is to be measured (paper, section 2.1)."
        )
    return texts
