"""The MNIST experiments of Hinton, Vinyals and Dean (arXiv:1503.02531, section 3), to be redone run by run.

Where MNIST or the time for it is missing, the same experiments can be done on digits, small, without printed numbers.

An Experiment is a table with a line for each setting and a run for each line and seed. plan says which of these runs
are there, which wait to go on, and which are to be trained; rows and verdict say what came of them, beside what the
paper prints. Nothing here trains.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Literal, NamedTuple

from kd_core.data.catalogue import TransferSetConfig
from kd_core.evaluation.claims import FEWEST_SEEDS, seed_difference
from kd_core.losses.config import DistillationConfig
from kd_core.models.config import PAPER_STUDENT, ModelConfig
from kd_core.recipes import (
    DIGITS_STUDENT_TRAINING,
    DIGITS_TEACHER_TRAINING,
    LIGHT_TEACHER,
    PAPER_STUDENT_TRAINING,
    PAPER_TEACHER_TRAINING,
    baseline_beside,
)
from kd_core.runs.run import ACTIVE, RESUMABLE, Run, new_id
from kd_core.runs.store import serving
from kd_core.training.config import RunConfig, TrainingConfig
from kd_core.training.precision import settled, settled_alike

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


class Line(NamedTuple):
    """One line of a table: what it is called, what the paper prints, and the run that a seed asks for.

    make: seed and the teachers' run ids -> config. printed: test errors of 10,000, None where the paper has no number.
    """

    label: str
    printed: int | None
    make: Callable[[int, tuple[str, ...]], RunConfig]


class Experiment(NamedTuple):
    """A table of the paper and what it is there to show.

    teachers: seed -> the runs whose soft targets it needs. contest: the labels of two lines, the second expected to be
    better. corrected: what the paper prints after its bias correction, where there is one.
    """

    name: str
    title: str
    shows: str
    differs: str
    teachers: Callable[[int], tuple[RunConfig, ...]]
    lines: tuple[Line, ...]
    contest: tuple[str, str] | None = None
    corrected: str = ""


def experiments(protocol: Protocol = PAPER) -> dict[str, Experiment]:
    """All of them by name, in the paper's order."""
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
    """On other data than the paper's, where its numbers mean nothing."""
    lines = tuple(line._replace(printed=None) for line in experiment.lines)
    return experiment._replace(
        lines=lines,
        differs="Another data set and smaller nets than the paper's, whose numbers are MNIST's: do not expect them"
        " here.",
    )


def _first_teacher(protocol: Protocol) -> Callable[[int], tuple[RunConfig, ...]]:
    """The same teacher, that of seed 0, for the students of every seed."""
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
    """A student's run: of one seed, so from the same initial weights and with the same budget, hard or soft."""
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


Cell = tuple[str, int]
"""A line's label, and a seed."""


def again(student: RunConfig) -> Experiment:
    """A distilled student and its baseline, with the same teachers: to be planned with other seeds than theirs."""

    def of(config: RunConfig) -> Callable[[int, tuple[str, ...]], RunConfig]:
        return lambda seed, _: config.replace(seed=seed)

    lines = Line("baseline", None, of(baseline_beside(student))), Line("distilled", None, of(student))
    return Experiment("again", "Other seeds", "", "", lambda _: (), lines)


class Redo(NamedTuple):
    """What redoing an experiment takes.

    runs: the run of each cell, there or to come. to_train: run id -> config, in running order, teachers first.
    to_resume: ids of runs that wait to go on from their checkpoint. at_work: of runs that wait or train already.
    """

    runs: dict[Cell, str]
    to_train: dict[str, RunConfig]
    to_resume: tuple[str, ...]
    at_work: tuple[str, ...] = ()


def plan(experiment: Experiment, seeds: Iterable[int], known: Iterable[Run] = ()) -> Redo:
    """The runs of an experiment with these seeds. known: all runs that may serve; the best of equal ones is taken.

    The same config gives the same weights, so that a finished run serves every experiment that asks for it, and what
    was interrupted goes on instead of starting anew. Precision is settled here, one for the students of a seed.
    """
    by_config = {settled(config): run for config, run in reversed(serving(known).items())}  # of equal ones the first
    at_work: dict[str, None] = {}
    to_train: dict[str, RunConfig] = {}
    to_resume: dict[str, None] = {}
    asked: dict[RunConfig, str] = {}

    def have(config: RunConfig) -> str:
        (config,) = settled_alike([config], by_config)
        if config not in asked:
            run = by_config.get(config)
            asked[config] = run.id if run else new_id()
            if run is None:
                to_train[asked[config]] = config
            elif run.status in RESUMABLE:
                to_resume[run.id] = None
            elif run.status in ACTIVE:
                at_work[run.id] = None
        return asked[config]

    runs: dict[Cell, str] = {}
    for seed in seeds:
        teachers = tuple(have(config) for config in experiment.teachers(seed))
        lines = {line.label: line.make(seed, teachers) for line in experiment.lines}
        students = {label: config for label, config in lines.items() if config.role != "teacher"}
        for model in {config.model for config in students.values()}:
            labels = [label for label, config in students.items() if config.model == model]
            lines |= zip(labels, settled_alike([students[label] for label in labels], by_config), strict=True)
        runs |= {(label, seed): have(config) for label, config in lines.items()}
    return Redo(runs, to_train, tuple(to_resume), tuple(at_work))


class Row(NamedTuple):
    """What came of a line: test errors by seed, each of so many examples, and the seconds that each took to train."""

    label: str
    printed: int | None
    errors: dict[int, int]
    examples: int
    seconds: dict[int, float]

    @property
    def median(self) -> float | None:
        """Over the seeds."""
        return median(self.errors.values()) if self.errors else None

    def said(self) -> str:
        """Median and range, such as '74 (71 to 78)'."""
        if not self.errors:
            return ""
        low, high = min(self.errors.values()), max(self.errors.values())
        return f"{self.median:g}" + (f" ({low} to {high})" if len(self.errors) > 1 else "")

    def time(self) -> str:
        """Median seconds of a run, such as '212 s'."""
        return f"{median(self.seconds.values()):.0f} s" if self.seconds else ""


def rows(
    experiment: Experiment, redo: Redo, runs: Mapping[str, Run], seconds: Mapping[str, float] | None = None
) -> list[Row]:
    """A row for each line, of the runs that have finished. seconds: run id -> what its epochs took."""
    found = []
    for line in experiment.lines:
        finished = {
            seed: runs[run_id]
            for (label, seed), run_id in redo.runs.items()
            if label == line.label and run_id in runs and runs[run_id].status == "finished"
        }
        errors = {seed: run.results["test_errors"] for seed, run in finished.items()}
        examples = next((run.results["test_examples"] for run in finished.values()), 0)
        took = {seed: seconds[run.id] for seed, run in finished.items() if run.id in seconds} if seconds else {}
        found.append(Row(line.label, line.printed, errors, examples, took))
    return found


Word = Literal["wins", "loses", "inconclusive"]


class Verdict(NamedTuple):
    """Whether fewer test errors are made than by something else over the same seeds, and a sentence on how sure."""

    word: Word
    sentence: str


def verdicts(experiment: Experiment, found: Sequence[Row]) -> list[Verdict]:
    """What came of the experiment: of its contest, if it has one, and of each line that the paper prints a number for.

    The second of the contest's lines wins or loses where the 95% interval of the mean difference, seed by seed
    (Student's t), leaves out 0; a line against the paper likewise, whose number is of one run and taken as exact. Fewer
    than FEWEST_SEEDS seeds say nothing either way; lines without any are left out.
    """
    said = []
    if experiment.contest is not None:
        first, second = (next(row for row in found if row.label == label) for label in experiment.contest)
        both = sorted(first.errors.keys() & second.errors.keys())
        said.append(
            _judged(
                f"'{second.label}' against '{first.label}'",
                [first.errors[seed] - second.errors[seed] for seed in both],
            )
        )
    for row in found:
        if row.printed is not None:
            saved = [row.printed - errors for errors in row.errors.values()]
            said.append(_judged(f"'{row.label}' against the paper's {row.printed:,}", saved))
    return [verdict for verdict in said if verdict is not None]


def _judged(pair: str, saved: Sequence[int]) -> Verdict | None:
    """saved: test errors fewer than the other's, by seed."""
    if not saved:
        return None
    over = seed_difference(dict.fromkeys(range(len(saved)), 0), dict(enumerate(saved)))
    if over is None or over.interval is None:
        seen = f", {_fewer(saved[0])} with one seed" if len(saved) == 1 else ""
        return Verdict("inconclusive", f"{pair}{seen}: it takes {FEWEST_SEEDS} seeds to say anything.")
    word: Word = "wins" if over.sign > 0 else "loses" if over.sign < 0 else "inconclusive"
    interval = "95% interval of what it saves {:.1f} to {:.1f}".format(*over.interval)
    return Verdict(word, f"{pair}: {_fewer(over.mean)}, mean of {len(saved)} seeds; {interval}.")


def _fewer(difference: float) -> str:
    if not difference:
        return "as many test errors"
    return f"{abs(difference):.4g} {'fewer' if difference >= 0 else 'more'} test errors"
