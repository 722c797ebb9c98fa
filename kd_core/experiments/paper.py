"""The MNIST experiments of Hinton, Vinyals and Dean (arXiv:1503.02531, section 3), to be redone run by run.

Where MNIST or the time for it is missing, the same experiments can be done on digits, small, without printed numbers.

An Experiment is a table with a line for each setting and a run for each line and seed. plan says which of these runs
are there, which wait to go on, and which are to be trained; rows and verdict say what came of them, beside what the
paper prints. Nothing here trains.
"""

from collections.abc import Callable, Iterable

from kd_core.base.templates import Said, prose, said
from kd_core.data.catalogue import TransferSetConfig
from kd_core.experiments.defaults import (
    DIGITS_STUDENT_TRAINING,
    DIGITS_TEACHER_TRAINING,
    LIGHT_TEACHER,
    PAPER_STUDENT_TRAINING,
    PAPER_TEACHER_TRAINING,
)
from kd_core.experiments.story import StoryConfig, baseline_beside
from kd_core.experiments.table import Experiment, Line
from kd_core.models.config import PAPER_STUDENT, ModelConfig
from kd_core.training.config import RunConfig

MAX_SEEDS = 10
PAPER = StoryConfig(
    dataset="mnist",
    new_teachers=5,
    teacher=LIGHT_TEACHER,
    teacher_training=PAPER_TEACHER_TRAINING,
    student=PAPER_STUDENT,
    training=PAPER_STUDENT_TRAINING,
    temperature=20.0,
    alpha=1.0,
)
"""What all experiments have in common: the data, both networks, how they are trained, T and alpha; new_teachers are of
the ensemble."""
SMALL = StoryConfig(
    dataset="digits",
    new_teachers=3,
    teacher=ModelConfig(hidden=(400, 400), dropout_hidden=0.3),
    teacher_training=DIGITS_TEACHER_TRAINING.replace(epochs=60, validation_fraction=0),
    student=ModelConfig(hidden=(100, 100)),
    training=DIGITS_STUDENT_TRAINING.replace(epochs=40, learning_rate=3e-3, validation_fraction=0),
    temperature=4.0,
    alpha=1.0,
)
"""The same in seconds, on real digits that need no network."""
PROTOCOLS = {protocol.dataset: protocol for protocol in (PAPER, SMALL)}


def experiments(protocol: StoryConfig = PAPER) -> dict[str, Experiment]:
    """Return all experiments by name, in the paper's order."""
    made = (
        _main_result(protocol),
        _both("jitter", protocol, said("shifted images"), training=protocol.training.replace(jitter_pixels=2)),
        _units(protocol),
        _some_classes("no_3", protocol, said("student without any 3"), 206, {*range(10)} - {3}),
        _some_classes("only_7_8", protocol, said("student of 7 and 8 alone"), 4730, (7, 8)),
        _ensemble(protocol),
        _both("few", protocol, said("3% of the images"), transfer_set=TransferSetConfig(fraction=FEW)),
    )
    as_printed = protocol.dataset == PAPER.dataset
    return {experiment.name: experiment if as_printed else _unprinted(experiment) for experiment in made}


def _unprinted(experiment: Experiment) -> Experiment:
    """Return the experiment without printed numbers, which mean nothing on other data than the paper's."""
    differs = said(
        "Another data set and smaller nets than the paper's, whose numbers are MNIST's: do not expect them here."
    )
    return experiment._replace(lines=tuple(line._replace(printed=None) for line in experiment.lines), differs=differs)


HARD, SOFT = said("baseline student"), said("distilled student")
UNITS, TEMPERATURES = (300, 30), (1.0, 2.5, 4.0, 8.0, 20.0)
FEW = 0.03
_TEXTS = prose(__file__)


def _experiment(
    name: str,
    protocol: StoryConfig,
    lines: Iterable[Line],
    contest: tuple[str, str] | None = None,
    teachers: Callable[[int], tuple[RunConfig, ...]] | None = None,
) -> Experiment:
    """Return an experiment with its texts. teachers: of a seed's students, by default the one of seed 0 for all."""
    texts = {key: Said(text, alpha=protocol.alpha, members=protocol.new_teachers) for key, text in _TEXTS[name].items()}
    taught_by = teachers or (lambda _: tuple(protocol.teacher_runs()[:1]))
    return Experiment(name=name, teachers=taught_by, lines=tuple(lines), contest=contest, **texts)


def _main_result(protocol: StoryConfig) -> Experiment:
    (teacher, *_), (hard, soft) = protocol.teacher_runs(), protocol.students()
    lines = (
        Line(said("teacher"), 67, lambda seed, _: teacher.replace(seed=seed)),
        Line(HARD, 146, hard),
        Line(SOFT, 74, soft),
    )
    return _experiment("main", protocol, lines, (HARD, SOFT), lambda seed: (teacher.replace(seed=seed),))


def _both(name: str, protocol: StoryConfig, named: str, **changes: object) -> Experiment:
    """Return an experiment of both students with the same changes, which their labels name."""
    hard, soft = (said("{student}, {images}", student=student, images=named) for student in (HARD, SOFT))
    make_hard, make_soft = protocol.replace(**changes).students()
    return _experiment(name, protocol, (Line(hard, None, make_hard), Line(soft, None, make_soft)), (hard, soft))


def _units(protocol: StoryConfig) -> Experiment:
    def line(units: int, temperature: float) -> Line:
        student = protocol.student.replace(hidden=(units, units))
        _, soft = protocol.replace(student=student, temperature=temperature).students()
        return Line(said("{units} units, T = {temperature:g}", units=units, temperature=temperature), None, soft)

    lines = (line(units, temperature) for units in UNITS for temperature in TEMPERATURES)
    return _experiment("units", protocol, lines, (f"{UNITS[1]} units, T = 20", f"{UNITS[1]} units, T = 4"))


def _some_classes(name: str, protocol: StoryConfig, label: str, printed: int, classes: Iterable[int]) -> Experiment:
    """Return an experiment of a student that sees these classes alone."""
    _, soft = protocol.replace(transfer_set=TransferSetConfig(only_classes=tuple(classes))).students()
    return _experiment(name, protocol, [Line(label, printed, soft)])


def _ensemble(protocol: StoryConfig) -> Experiment:
    all_teach, members = said("student distilled from the ensemble"), tuple(protocol.teacher_runs())
    _, soft = protocol.students()
    lines = (
        Line(said("one teacher"), None, lambda seed, _: members[0].replace(seed=seed)),
        Line(SOFT, None, lambda seed, teachers: soft(seed, teachers[:1])),
        Line(all_teach, None, soft),
    )
    return _experiment("ensemble", protocol, lines, (SOFT, all_teach), lambda _: members)


def again(student: RunConfig) -> Experiment:
    """Return an experiment of a distilled student and its baseline, for other seeds than theirs."""
    lines = (
        Line(said("baseline"), None, lambda seed, _: baseline_beside(student).replace(seed=seed)),
        Line(said("distilled"), None, lambda seed, _: student.replace(seed=seed)),
    )
    return Experiment("again", said("Other seeds"), "", "", lambda _: (), lines)
