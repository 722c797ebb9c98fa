"""The MNIST experiments of Hinton, Vinyals and Dean (arXiv:1503.02531, section 3), to be redone run by run.

Where MNIST or the time for it is missing, the same experiments can be done on digits, small, without printed numbers.

An Experiment is a table with a line for each setting and a run for each line and seed. plan says which of these runs
are there, which wait to go on, and which are to be trained; rows and verdict say what came of them, beside what the
paper prints. Nothing here trains.
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

from kd_core.base.templates import prose
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
    made = (
        _main_result(protocol),
        _both("jitter", protocol, "shifted images", jitter_pixels=2),
        _units(protocol),
        _some_classes("no_3", protocol, "student without any 3", 206, {*range(10)} - {3}),
        _some_classes("only_7_8", protocol, "student of 7 and 8 alone", 4730, (7, 8)),
        _ensemble(protocol),
        _both("few", protocol, "3% of the images", part=TransferSetConfig(fraction=FEW)),
    )
    as_printed = protocol.dataset == PAPER.dataset
    return {experiment.name: experiment if as_printed else _unprinted(experiment) for experiment in made}


def _unprinted(experiment: Experiment) -> Experiment:
    """Return the experiment without printed numbers, which mean nothing on other data than the paper's."""
    differs = "Another data set and smaller nets than the paper's, whose numbers are MNIST's: do not expect them here."
    return experiment._replace(lines=tuple(line._replace(printed=None) for line in experiment.lines), differs=differs)


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
UNITS, TEMPERATURES = (300, 30), (1.0, 2.5, 4.0, 8.0, 20.0)
FEW = 0.03
_TEXTS = prose(__file__)


def _experiment(
    name: str,
    protocol: Protocol,
    lines: Iterable[Line],
    contest: tuple[str, str] | None = None,
    teachers: Callable[[int], tuple[RunConfig, ...]] | None = None,
) -> Experiment:
    """Return an experiment with its texts. teachers: of a seed's students, by default the one of seed 0 for all."""
    said = {key: text.format(alpha=protocol.alpha, members=protocol.members) for key, text in _TEXTS[name].items()}
    taught_by = teachers or (lambda _: (_teacher(protocol, 0),))
    return Experiment(name=name, teachers=taught_by, lines=tuple(lines), contest=contest, **said)


def _main_result(protocol: Protocol) -> Experiment:
    lines = (
        Line("teacher", 67, lambda seed, _: _teacher(protocol, seed)),
        Line(HARD, 146, _student(protocol, "hard")),
        Line(SOFT, 74, _student(protocol, "soft")),
    )
    return _experiment("main", protocol, lines, (HARD, SOFT), lambda seed: (_teacher(protocol, seed),))


def _both(name: str, protocol: Protocol, named: str, **changes: Any) -> Experiment:
    """Return an experiment of both students with the same changes, which their labels name."""
    hard, soft = f"{HARD}, {named}", f"{SOFT}, {named}"
    lines = (
        Line(hard, None, _student(protocol, "hard", **changes)),
        Line(soft, None, _student(protocol, "soft", **changes)),
    )
    return _experiment(name, protocol, lines, (hard, soft))


def _units(protocol: Protocol) -> Experiment:
    def line(units: int, temperature: float) -> Line:
        model = protocol.student.replace(hidden=(units, units))
        student = _student(protocol, "soft", model=model, temperature=temperature)
        return Line(f"{units} units, T = {temperature:g}", None, student)

    lines = (line(units, temperature) for units in UNITS for temperature in TEMPERATURES)
    return _experiment("units", protocol, lines, (f"{UNITS[1]} units, T = 20", f"{UNITS[1]} units, T = 4"))


def _some_classes(name: str, protocol: Protocol, label: str, printed: int, classes: Iterable[int]) -> Experiment:
    """Return an experiment of a student that sees these classes alone."""
    part = TransferSetConfig(only_classes=tuple(classes))
    return _experiment(name, protocol, [Line(label, printed, _student(protocol, "soft", part=part))])


def _ensemble(protocol: Protocol) -> Experiment:
    all_teach = "student distilled from the ensemble"
    student = _student(protocol, "soft")
    lines = (
        Line("one teacher", None, lambda seed, _: _teacher(protocol, seed)),
        Line(SOFT, None, lambda seed, teachers: student(seed, teachers[:1])),
        Line(all_teach, None, student),
    )
    members = tuple(_teacher(protocol, seed) for seed in range(protocol.members))
    return _experiment("ensemble", protocol, lines, (SOFT, all_teach), lambda _: members)


def again(student: RunConfig) -> Experiment:
    """Return an experiment of a distilled student and its baseline, for other seeds than theirs."""

    def of(config: RunConfig) -> Callable[[int, tuple[str, ...]], RunConfig]:
        return lambda seed, _: config.replace(seed=seed)

    lines = Line("baseline", None, of(baseline_beside(student))), Line("distilled", None, of(student))
    return Experiment("again", "Other seeds", "", "", lambda _: (), lines)
