"""The lesson "Break it": each mistake of config.MISTAKES beside the right way, and what it costs, seed by seed.

For every mistake and data set there is one right and one wrong student a seed: the same network, start, order of
examples and teacher, so that the mistake is all that differs. Which runs these are is planned as the paper's
experiments are (paper.plan); kd_core.evaluation.claims says what came of them. Nothing here trains.
"""

from collections.abc import Mapping
from typing import NamedTuple

from kd_core.data.catalogue import TransferSetConfig, info_of
from kd_core.evaluation.accuracy import Labels, Logits, test_errors
from kd_core.evaluation.claims import SeedDifference, seed_difference
from kd_core.evaluation.statistics import FEWEST_SEEDS, halves
from kd_core.experiments import defaults, paper, presets
from kd_core.experiments.table import Experiment, Line
from kd_core.losses.config import DistillationConfig
from kd_core.models.config import PAPER_STUDENT, ModelConfig
from kd_core.training.config import RunConfig, TrainingConfig
from kd_core.training.mistakes import MISTAKES

RIGHT, WRONG = "right", "wrong"


class Setting(NamedTuple):
    """A student, how it is taught, and on which part of the training set: where a mistake is to be seen."""

    student: ModelConfig
    training: TrainingConfig
    temperature: float
    alpha: float
    part: TransferSetConfig = TransferSetConfig()


_DIGITS = Setting(
    defaults.DIGITS_STUDENT,
    defaults.DIGITS_STUDENT_TRAINING.replace(validation_fraction=0.5, precision="float32"),
    4.0,
    0.9,
    TransferSetConfig(fraction=0.2),
)
_MNIST = Setting(
    PAPER_STUDENT,
    TrainingConfig(epochs=40, batch_size=128, validation_fraction=0.5, precision="float32"),
    4.0,
    0.9,
    TransferSetConfig(fraction=0.06),
)
BASE = {"digits": _DIGITS, "mnist": _MNIST}
"""Few images, as there a teacher helps most, and as many again to choose the epoch by."""
CHANGED = {
    "digits": {
        "no_t_squared": _DIGITS._replace(temperature=20.0),
        "class_mean": _DIGITS._replace(temperature=20.0, alpha=0.5),
        "colour_jitter": _DIGITS._replace(
            student=ModelConfig(hidden=(100,)),
            training=_DIGITS.training.replace(jitter_pixels=1),
        ),
        "test_choice": _DIGITS._replace(
            training=_DIGITS.training.replace(epochs=100, learning_rate=2e-2, schedule="constant")
        ),
    },
    "mnist": {
        "no_t_squared": _MNIST._replace(temperature=20.0),
        "class_mean": _MNIST._replace(temperature=20.0, alpha=0.5),
        "colour_jitter": _MNIST._replace(training=_MNIST.training.replace(jitter_pixels=2)),
        "test_choice": _MNIST._replace(training=_MNIST.training.replace(schedule="constant")),
    },
}
"""Where a mistake is better seen with others, found by trying on test errors: this shows mistakes, it claims no result.
"""


def teacher(dataset: str) -> RunConfig:
    """The teacher of all students on a data set: the one that ships, so that it need not be trained."""
    if dataset == "digits":
        (config,) = presets.digits_story().teacher_runs()
        return config
    return RunConfig(
        role="teacher", dataset=dataset, model=paper.PAPER.teacher, training=paper.PAPER.teacher_training, seed=0
    )


def setting(mistake: str, dataset: str) -> Setting:
    """What a mistake is shown with on a data set."""
    return CHANGED[dataset].get(mistake, BASE[dataset])


def experiment(mistake: str, dataset: str) -> Experiment:
    """The right and the wrong student of every seed, with their teachers, to be planned by paper.plan."""
    chosen, good = setting(mistake, dataset), teacher(dataset)
    hasty = mistake == "hasty_teacher"
    bad = good.replace(mistake=mistake, training=good.training.replace(epochs=1)) if hasty else good

    def student(seed: int, teachers: tuple[str, ...], *, wrong: bool) -> RunConfig:
        return RunConfig(
            role="distilled",
            dataset=dataset,
            model=chosen.student,
            distillation=DistillationConfig(
                teachers=teachers[-1:] if wrong else teachers[:1],
                temperature=chosen.temperature,
                alpha=chosen.alpha,
                t_squared=not (wrong and mistake == "no_t_squared"),
            ),
            transfer_set=chosen.part,
            training=chosen.training,
            seed=seed,
            mistake=mistake if wrong else None,
        )

    return Experiment(
        mistake,
        MISTAKES[mistake].label,
        MISTAKES[mistake].expect,
        "",
        lambda _: (good, bad) if hasty else (good,),
        (
            Line(RIGHT, None, lambda seed, teachers: student(seed, teachers, wrong=False)),
            Line(WRONG, None, lambda seed, teachers: student(seed, teachers, wrong=True)),
        ),
        (WRONG, RIGHT),
    )


class Choice(NamedTuple):
    """Test errors on the half of the test set that chose the epoch, and on the other half, of one student."""

    own: int
    other: int
    own_examples: int
    other_examples: int

    @property
    def gap(self) -> float:
        """How many more errors the other half has than the own one, scaled to its size."""
        return self.other * self.own_examples / self.other_examples - self.own


def choice(logits: Logits, labels: Labels, seed: int) -> Choice:
    """What a student does on the half of the test set by which its seed chooses, and on the other.

    Of a student whose epoch a validation split chose, both halves are new, and they differ by chance alone. Of one
    whose epoch the first half chose, only the other is: its number there is the honest one.
    """
    own, other = halves(len(labels), seed)
    of_own, of_other = (test_errors(logits[half], labels[half]) for half in (own, other))
    return Choice(of_own, of_other, len(own), len(other))


def optimism(right: Mapping[int, Choice], wrong: Mapping[int, Choice]) -> SeedDifference | None:
    """Optimism: errors on the other half minus those on the half that chose the epoch; None without any seed.

    The other half's errors less the own one's, of the student whose epoch the own half chose, less the same of the
    student whose epoch the validation split chose: so what one half is harder than the other takes itself out.
    """
    return seed_difference(
        {seed: one.gap for seed, one in right.items()}, {seed: one.gap for seed, one in wrong.items()}
    )


def finding(mistake: str, dataset: str, found: SeedDifference) -> str:
    """What was found, in a sentence of Markdown, also where that is nothing."""
    chosen, label, seeds = setting(mistake, dataset), info_of(dataset).label, len(found.by_seed)
    where = f"on {label} at T = {chosen.temperature:g} and alpha = {chosen.alpha:g}"
    said = _many(found.mean, mistake)
    if found.interval is None:
        with_seeds = "one seed" if seeds == 1 else f"{seeds} seeds"
        return f"{said} {where}, with {with_seeds}: it takes {FEWEST_SEEDS} to say how sure that is."
    low, high = found.interval if found.mean >= 0 else (-found.interval[1], -found.interval[0])  # as it is said
    of_seeds = f"mean of {seeds} seeds, 95% interval {low:.1f} to {high:.1f}"
    if not found.sign:
        return (
            f"**We cannot tell them apart** {where}: {said}, {of_seeds}. The harm, if there is any, is smaller than"
            " what this many seeds can show."
        )
    if found.sign < 0:
        return f"**Here the mistake does no harm**: {said} {where}, {of_seeds}."
    return f"**{said}** {where}, {of_seeds}."


def _many(errors: float, mistake: str) -> str:
    if mistake == "test_choice":
        return f"The number is {abs(errors):.1f} errors too {'good' if errors >= 0 else 'bad'}"
    if abs(errors) < 0.05:
        return "As many test errors with the mistake as without it"
    return f"{abs(errors):.1f} {'extra' if errors >= 0 else 'fewer'} test errors with the mistake"
