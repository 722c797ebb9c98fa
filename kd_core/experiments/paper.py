"""The MNIST experiments of Hinton, Vinyals and Dean (arXiv:1503.02531, section 3), to be redone run by run.

Where MNIST or the time for it is missing, the same experiments can be done on digits, small, without printed numbers.

An Experiment is a table with a line for each setting and a run for each line and seed. plan says which of these runs
are there, which wait to go on, and which are to be trained; rows and verdict say what came of them, beside what the
paper prints. Nothing here trains.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from kd_core.data.catalogue import TransferSetConfig
from kd_core.experiments.defaults import (
    DIGITS_STUDENT_TRAINING,
    DIGITS_TEACHER_TRAINING,
    LIGHT_TEACHER,
    PAPER_STUDENT_TRAINING,
    PAPER_TEACHER_TRAINING,
)
from kd_core.experiments.story import baseline_beside
from kd_core.experiments.table import Experiment, Line
from kd_core.losses.config import DistillationConfig
from kd_core.models.config import PAPER_STUDENT, ModelConfig
from kd_core.training.config import RunConfig, TrainingConfig

Member = Literal["soft", "hard"]
MAX_SEEDS = 10


class Protocol(NamedTuple):
    """What all experiments have in common: the data, both networks, how they are trained, T and alpha."""

    dataset: str
    teacher: ModelConfig
    teacher_training: TrainingConfig
    student: ModelConfig
    training: TrainingConfig
    temperature: float
    alpha: float
    members: int
    """Of the ensemble."""


PAPER = Protocol("mnist", LIGHT_TEACHER, PAPER_TEACHER_TRAINING, PAPER_STUDENT, PAPER_STUDENT_TRAINING, 20.0, 1.0, 5)
SMALL = Protocol(
    "digits",
    ModelConfig(hidden=(400, 400), dropout_hidden=0.3),
    DIGITS_TEACHER_TRAINING.replace(epochs=60, validation_fraction=0),
    ModelConfig(hidden=(100, 100)),
    DIGITS_STUDENT_TRAINING.replace(epochs=40, learning_rate=3e-3, validation_fraction=0),
    4.0,
    1.0,
    3,
)
"""The same in seconds, on real digits that need no network."""
PROTOCOLS = {protocol.dataset: protocol for protocol in (PAPER, SMALL)}


def experiments(protocol: Protocol = PAPER) -> dict[str, Experiment]:
    """Return all experiments by name, in the paper's order."""
    made: tuple[Experiment, ...] = (
        _main_result(protocol),
        _jitter(protocol),
        _units(protocol),
        _without_3(protocol),
        _only_7_and_8(protocol),
        _ensemble(protocol),
        _few_labels(protocol),
    )
    if protocol.dataset != PAPER.dataset:
        made = tuple(_unprinted(experiment) for experiment in made)
    return {experiment.name: experiment for experiment in made}


def _unprinted(experiment: Experiment) -> Experiment:
    """Return the experiment without printed numbers, which mean nothing on other data than the paper's."""
    lines = tuple(line._replace(printed=None) for line in experiment.lines)
    return experiment._replace(
        lines=lines,
        differs="Another data set and smaller nets than the paper's, whose numbers are MNIST's: do not expect them"
        " here.",
    )


def _first_teacher(protocol: Protocol) -> Callable[[int], tuple[RunConfig, ...]]:
    """Return the teacher of seed 0 for the students of every seed."""
    return lambda _: (_teacher(protocol, 0),)


def _teacher(protocol: Protocol, seed: int) -> RunConfig:
    return RunConfig(
        role="teacher",
        dataset=protocol.dataset,
        model=protocol.teacher,
        training=protocol.teacher_training,
        seed=seed,
    )


def _student(
    protocol: Protocol,
    member: Member,
    *,
    model: ModelConfig | None = None,
    temperature: float | None = None,
    part: TransferSetConfig | None = None,
    jitter_pixels: int = 0,
) -> Callable[[int, tuple[str, ...]], RunConfig]:
    """Return what makes a student's run, hard or soft: of one seed, so with the same initial weights."""
    training = protocol.training.replace(jitter_pixels=jitter_pixels)
    common = {
        "dataset": protocol.dataset,
        "model": model or protocol.student,
        "transfer_set": part or TransferSetConfig(),
        "training": training,
    }

    def hard(seed: int, _: tuple[str, ...]) -> RunConfig:
        return RunConfig(role="baseline", seed=seed, **common)

    def soft(seed: int, teachers: tuple[str, ...]) -> RunConfig:
        distillation = DistillationConfig(
            teachers=teachers, temperature=temperature or protocol.temperature, alpha=protocol.alpha
        )
        return RunConfig(role="distilled", distillation=distillation, seed=seed, **common)

    return soft if member == "soft" else hard


HARD, SOFT = "baseline student", "distilled student"


def _main_result(protocol: Protocol) -> Experiment:
    return Experiment(
        "main",
        "Soft targets teach a small net",
        "On MNIST the paper's large net reaches 67 test errors thanks to dropout and images shifted by up to two"
        " pixels. The small net sees neither. On labels it makes 146 errors; on the large net's soft targets at T = 20,"
        " 74.",
        "Both students see the original images only, start from the same weights and train equally long. Optimiser,"
        " rate, dropout and epochs are ours, chosen by hand on images kept apart: the paper prints none. So are alpha"
        f" = {protocol.alpha:g}, where the paper adds the labels' loss with a small weight, and weight decay in place"
        " of its weight constraints. The students of a seed learn from the teacher of that seed.",
        lambda seed: (_teacher(protocol, seed),),
        (
            Line("teacher", 67, lambda seed, _: _teacher(protocol, seed)),
            Line(HARD, 146, _student(protocol, "hard")),
            Line(SOFT, 74, _student(protocol, "soft")),
        ),
        (HARD, SOFT),
    )


def _jitter(protocol: Protocol) -> Experiment:
    return Experiment(
        "jitter",
        "When the student sees shifted images too",
        "Some public reruns let the student see the shifted images as well. That is another experiment: the"
        " augmentation teaches beside the teacher.",
        "Not in the paper.",
        _first_teacher(protocol),
        (
            Line(f"{HARD}, shifted images", None, _student(protocol, "hard", jitter_pixels=2)),
            Line(f"{SOFT}, shifted images", None, _student(protocol, "soft", jitter_pixels=2)),
        ),
        (f"{HARD}, shifted images", f"{SOFT}, shifted images"),
    )


UNITS, TEMPERATURES = (300, 30), (1.0, 2.5, 4.0, 8.0, 20.0)


def _units(protocol: Protocol) -> Experiment:
    return Experiment(
        "units",
        "Small nets want a lower temperature",
        "On MNIST, with 300 units or more in each of two hidden layers, the paper found all T above 8 fairly alike;"
        " with 30, T from 2.5 to 4 worked significantly better than higher or lower ones.",
        "The paper prints no numbers here.",
        _first_teacher(protocol),
        tuple(
            Line(
                f"{units} units, T = {temperature:g}",
                None,
                _student(
                    protocol, "soft", model=protocol.student.replace(hidden=(units, units)), temperature=temperature
                ),
            )
            for units in UNITS
            for temperature in TEMPERATURES
        ),
        (f"{UNITS[1]} units, T = 20", f"{UNITS[1]} units, T = 4"),
    )


def _without_3(protocol: Protocol) -> Experiment:
    part = TransferSetConfig(only_classes=tuple(label for label in range(10) if label != 3))
    return Experiment(
        "no_3",
        "A student that never saw a 3",
        "Every 3 is left out of the transfer set, so that for the student a 3 is a mythical digit. On MNIST the paper's"
        " still gets most of them right: 206 test errors, 133 of them on the 1,010 threes. Most of those come from one"
        " bias that is far too low.",
        "",
        _first_teacher(protocol),
        (Line("student without any 3", 206, _student(protocol, "soft", part=part)),),
        corrected="109 test errors on MNIST, 14 of them on threes, with the bias raised by 3.5, as chosen on the test"
        " set",
    )


def _only_7_and_8(protocol: Protocol) -> Experiment:
    return Experiment(
        "only_7_8",
        "A student that saw 7 and 8 alone",
        "The transfer set holds 7s and 8s only. On MNIST the paper's student gets 47.3% of the test set wrong, until"
        " the biases of 7 and 8 are lowered.",
        "",
        _first_teacher(protocol),
        (
            Line(
                "student of 7 and 8 alone",
                4730,
                _student(protocol, "soft", part=TransferSetConfig(only_classes=(7, 8))),
            ),
        ),
        corrected="13.2% wrong on MNIST with the biases of 7 and 8 lowered by 7.6, as chosen on the test set",
    )


def _ensemble(protocol: Protocol) -> Experiment:
    part = "student distilled from the ensemble"
    single = _student(protocol, "soft")
    return Experiment(
        "ensemble",
        f"An ensemble of {protocol.members} as teacher",
        "The paper distills an ensemble of ten acoustic models into one net of the same size, which keeps most of what"
        " the ensemble gains. Here the ensemble is of teachers that differ in their seed.",
        "The paper does it on speech, not on MNIST.",
        lambda _: tuple(_teacher(protocol, seed) for seed in range(protocol.members)),
        (
            Line("one teacher", None, lambda seed, _: _teacher(protocol, seed)),
            Line(SOFT, None, lambda seed, teachers: single(seed, teachers[:1])),
            Line(part, None, single),
        ),
        (SOFT, part),
    )


FEW = 0.03


def _few_labels(protocol: Protocol) -> Experiment:
    part = TransferSetConfig(fraction=FEW)
    return Experiment(
        "few",
        "Soft targets as a regulariser: 3% of the images",
        "On 3% of its speech data the paper's net overfits the labels badly (44.5% of frames right), while with soft"
        " targets it nearly reaches what all data give (57.0% of 58.9%).",
        "The paper does it on speech; ours is 3% of MNIST's training images.",
        _first_teacher(protocol),
        (
            Line(f"{HARD}, 3% of the images", None, _student(protocol, "hard", part=part)),
            Line(f"{SOFT}, 3% of the images", None, _student(protocol, "soft", part=part)),
        ),
        (f"{HARD}, 3% of the images", f"{SOFT}, 3% of the images"),
    )


def again(student: RunConfig) -> Experiment:
    """Return an experiment of a distilled student and its baseline, for other seeds than theirs."""

    def of(config: RunConfig) -> Callable[[int, tuple[str, ...]], RunConfig]:
        return lambda seed, _: config.replace(seed=seed)

    lines = Line("baseline", None, of(baseline_beside(student))), Line("distilled", None, of(student))
    return Experiment("again", "Other seeds", "", "", lambda _: (), lines)
