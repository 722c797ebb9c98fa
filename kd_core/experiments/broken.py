"""The lesson "Break it": each mistake of mistakes.MISTAKES beside the right way, and what it costs, seed by seed.

For every mistake and data set there is one right and one wrong student a seed: the same network, start, order of
examples and teacher, so that the mistake is all that differs. Which runs these are is planned as the paper's
experiments are (table.plan); cost says what came of them. Nothing here trains.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd_core.base.templates import Said, counted, said
from kd_core.data.catalogue import TransferSetConfig, info_of
from kd_core.evaluation.accuracy import Labels, Logits, test_errors
from kd_core.evaluation.claims import SeedDifference, seed_difference
from kd_core.evaluation.statistics import FEWEST_SEEDS, halves
from kd_core.experiments import defaults, paper, presets
from kd_core.experiments.story import StoryConfig
from kd_core.experiments.table import Experiment, Line, Redone
from kd_core.models.config import ModelConfig
from kd_core.runs.run import Run
from kd_core.training.config import RunConfig, TrainingConfig
from kd_core.training.mistakes import MISTAKES

if TYPE_CHECKING:
    from kd_core.losses.one_example import Felt

RIGHT, WRONG = said("right"), said("wrong")


_DIGITS = presets.digits_story().replace(
    student=defaults.DIGITS_STUDENT,
    training=defaults.DIGITS_STUDENT_TRAINING.replace(validation_fraction=0.5, precision="float32"),
    temperature=4.0,
    alpha=0.9,
    transfer_set=TransferSetConfig(fraction=0.2),
)
_MNIST = paper.PAPER.replace(
    training=TrainingConfig(epochs=40, batch_size=128, validation_fraction=0.5, precision="float32"),
    temperature=4.0,
    alpha=0.9,
    transfer_set=TransferSetConfig(fraction=0.06),
)
BASE = {"digits": _DIGITS, "mnist": _MNIST}
"""Few images, as there a teacher helps most, and as many again to choose the epoch by."""
CHANGED: dict[str, dict[str, dict[str, object]]] = {
    "digits": {
        "no_t_squared": {"temperature": 20.0},
        "class_mean": {"temperature": 20.0, "alpha": 0.5},
        "colour_jitter": {
            "student": ModelConfig(hidden=(100,)), "training": _DIGITS.training.replace(jitter_pixels=1),
        },
        "test_choice": {
            "training": _DIGITS.training.replace(epochs=100, learning_rate=2e-2, schedule="constant"),
        },
    },
    "mnist": {
        "no_t_squared": {"temperature": 20.0},
        "class_mean": {"temperature": 20.0, "alpha": 0.5},
        "colour_jitter": {"training": _MNIST.training.replace(jitter_pixels=2)},
        "test_choice": {"training": _MNIST.training.replace(schedule="constant")},
    },
}  # fmt: skip
"""Where a mistake is better seen with others, found by trying on test errors: this shows mistakes, it claims no result.
"""


OWN_CHANGED: dict[str, dict[str, float]] = {
    "no_t_squared": {"temperature": 20.0}, "class_mean": {"temperature": 20.0, "alpha": 0.5},
}  # fmt: skip
"""The same for any other pair and budget, whose training stays its own."""


def usual(dataset: str) -> StoryConfig:
    """Return the pair and budget that a data set's lesson starts from: in BASE, else like its default story."""
    if dataset in BASE:
        return BASE[dataset]
    story = StoryConfig.default(dataset)
    training = story.training.replace(validation_fraction=0.5, precision="float32", jitter_pixels=0)
    return story.replace(training=training, temperature=4.0, alpha=0.9)


def teacher(dataset: str) -> RunConfig:
    """Return the teacher of all students on a data set: the one that ships, so it need not be trained."""
    return BASE[dataset].teacher_runs()[0]


Of = str | StoryConfig
"""A data set with its usual pair and budget, or a story of one's own."""


def setting(mistake: str, of: Of) -> StoryConfig:
    """Return the student, how it is taught and on which images, where a mistake is shown."""
    story = usual(of) if isinstance(of, str) else of
    if story == BASE.get(story.dataset):
        return story.replace(**CHANGED[story.dataset].get(mistake, {}))
    training = story.training
    if mistake == "colour_jitter":
        training = training.replace(jitter_pixels=2)
    if mistake == "test_choice":
        training = training.replace(schedule="constant")
    return story.replace(training=training, **OWN_CHANGED.get(mistake, {}))


def taught_by(of: Of) -> RunConfig | str:
    """Return the teacher: the id of a trained one, else its config, which is that of what ships where it is usual."""
    story = usual(of) if isinstance(of, str) else of
    ships = BASE.get(story.dataset)
    if ships is not None and story.teacher_runs() == ships.teacher_runs():
        return teacher(story.dataset)
    return story.teachers[0] if story.teachers else story.teacher_runs()[0]


def experiment(mistake: str, of: Of) -> Experiment:
    """Return the right and the wrong student of every seed, with their teachers, for table.plan.

    Raises ConfigError where the mistake cannot be made with this pair.
    """
    chosen, good, hasty = setting(mistake, of), taught_by(of), mistake == "hasty_teacher"
    bad = _hasty(good, chosen) if hasty else good
    _, right = chosen.students()
    _, wrong = chosen.replace(t_squared=mistake != "no_t_squared").students()
    lines = (
        Line(RIGHT, None, lambda seed, teachers: right(seed, teachers[:1])),
        Line(WRONG, None, lambda seed, teachers: wrong(seed, teachers[-1:]).replace(mistake=mistake)),
    )
    info, teachers = MISTAKES[mistake], (good, bad) if hasty else (good,)
    return Experiment(mistake, info.label, info.expect, "", lambda _: teachers, lines, (WRONG, RIGHT))


def _hasty(good: RunConfig | str, chosen: StoryConfig) -> RunConfig:
    """Return the same teacher after one epoch; of a trained one its network, trained as the data set's are."""
    config = good if isinstance(good, RunConfig) else chosen.replace(teachers=()).teacher_runs()[0]
    return config.replace(mistake="hasty_teacher", training=config.training.for_epochs(1))


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
    """Count a student's errors on the half of the test set by which its seed chooses, and on the other.

    Of a student whose epoch a validation split chose, both halves are new, and they differ by chance alone. Of one
    whose epoch the first half chose, only the other is: its number there is the honest one.
    """
    own, other = halves(len(labels), seed)
    of_own, of_other = (test_errors(logits[half], labels[half]) for half in (own, other))
    return Choice(of_own, of_other, len(own), len(other))


def optimism(right: Mapping[int, Choice], wrong: Mapping[int, Choice]) -> SeedDifference | None:
    """Return the optimism: errors on the other half minus those on the half that chose. None without seeds.

    The other half's errors less the own one's, of the student whose epoch the own half chose, less the same of the
    student whose epoch the validation split chose: so what one half is harder than the other takes itself out.
    """
    return seed_difference(
        {seed: choice.gap for seed, choice in right.items()}, {seed: choice.gap for seed, choice in wrong.items()}
    )


class Cost(NamedTuple):
    """What a mistake costs over the seeds.

    difference: errors more with the mistake, or the optimism. sentence: what was found, in Markdown. axis: what the
    difference counts. head, cells: the numbers behind it as a table, a line a seed. note: how to read it.
    """

    difference: SeedDifference
    sentence: str
    axis: str
    head: Sequence[str]
    cells: list[tuple[str | int, ...]]
    note: str


def cost(
    redo: Redone, labels: Callable[[], Labels], logits: Callable[[str], Logits], of: StoryConfig | None = None
) -> Cost | None:
    """Sum up what an experiment's mistake costs over its finished runs; None without a seed that has both.

    of: whose experiment it is, where that is not the data set's usual one. labels: of the test set. logits: run id ->
    (N, K) over it. They are read where the mistake is a choice by them.
    """
    mistake, examples = redo.experiment.name, f"{info_of(redo.dataset).test_examples:,}"
    right, wrong = redo.finished(RIGHT), redo.finished(WRONG)
    both = sorted(right.keys() & wrong.keys())
    if mistake == "test_choice":
        choices = [{seed: choice(logits(runs[seed].id), labels(), seed) for seed in both} for runs in (right, wrong)]
        difference, cells = optimism(*choices), _choice_cells(*choices)
    else:
        errors = [{seed: float(runs[seed].results["test_errors"]) for seed in both} for runs in (right, wrong)]
        difference, cells = seed_difference(*errors), _error_cells(*errors)
    if difference is None:
        return None
    sentence = finding(mistake, of or redo.dataset, difference)
    if mistake == "test_choice":
        note = said(
            "Each seed cuts the {examples} test images into random halves. The mistaken student chooses its epoch on A"
            " and reports its errors there; B played no part, so the errors there are honest. The right student chooses"
            " by a validation split: for it A and B differ by chance alone, and that difference is taken off.",
            examples=examples,
        )
        return Cost(difference, sentence, OPTIMISM, CHOICE_HEAD, cells, note)
    note = _with_teachers(
        said(
            "Test errors of {examples}, with the weights of the best epoch on the validation split.", examples=examples
        ),
        [run for run in redo.teachers if run.usable],
    )
    return Cost(difference, sentence, said("extra test errors caused by the mistake"), ERROR_HEAD, cells, note)


ERROR_HEAD = (said("seed"), said("right"), said("mistaken"), said("difference"))
OPTIMISM = said("optimism, in errors")
CHOICE_HEAD = (
    said("seed"), said("chosen on half A: errors on A"), said("the same on half B"), said("chosen by validation: A"),
    said("B"), OPTIMISM,
)  # fmt: skip


def _error_cells(right: Mapping[int, float], wrong: Mapping[int, float]) -> list[tuple[str | int, ...]]:
    rows = [(str(seed), right[seed], wrong[seed]) for seed in right]
    if len(rows) > 1:
        rows.append((said("mean"), mean(right.values()), mean(wrong.values())))
    return [(seed, f"{alone:.4g}", f"{broken:.4g}", f"{broken - alone:+.3g}") for seed, alone, broken in rows]


def _choice_cells(right: Mapping[int, Choice], wrong: Mapping[int, Choice]) -> list[tuple[str | int, ...]]:
    return [
        (
            str(seed), wrong[seed].own, wrong[seed].other, right[seed].own, right[seed].other,
            f"{wrong[seed].gap - right[seed].gap:+.3g}",
        )
        for seed in right
    ]  # fmt: skip


def _with_teachers(note: Said, teachers: Sequence[Run]) -> Said:
    """Add a sentence on both teachers to a note, where the mistake has one of its own."""
    if len(teachers) < 2:
        return note
    first, *others = (
        counted(
            "{errors:,} errors after {count} epoch",
            "{errors:,} errors after {count} epochs",
            run.config.training.epochs,
            errors=run.results["test_errors"],
        )
        for run in teachers
    )
    for other in others:
        first = said("{first} and {second}", first=first, second=other)
    return said("{note} The teachers make {each}.", note=note, each=first)


class Pull(NamedTuple):
    """What a student that knows nothing feels from one image, right and wrong, and the sizes of these gradients."""

    right: "Felt"
    wrong: "Felt"
    soft_right: float
    soft_wrong: float
    hard: float

    @property
    def largest(self) -> float:
        """The largest part of any gradient, without its sign."""
        return max(abs(value) for felt in (self.right, self.wrong) for value in (*felt.gradient, *felt.soft_gradient))

    def share(self, soft: float) -> float:
        """The soft loss's share of the pull, where its gradient has this size."""
        return soft / (soft + self.hard)


def pull(mistake: str, of: Of, teacher_logits: Sequence[float], label: int) -> Pull:
    """Return the gradient of both losses on one image, in closed form, with the mistake and without."""
    from kd_core.losses import one_example
    from kd_core.training import mistaken

    chosen, nothing = setting(mistake, of), [0.0] * len(teacher_logits)
    temperature, alpha = chosen.temperature, chosen.alpha
    right = one_example.felt(nothing, teacher_logits, label, temperature=temperature, alpha=alpha)
    wrong = mistaken.felt(mistake, nothing, teacher_logits, label, temperature=temperature, alpha=alpha)
    soft_right, soft_wrong, hard = (
        math.hypot(*gradient) for gradient in (right.soft_gradient, wrong.soft_gradient, right.hard_gradient)
    )
    return Pull(right, wrong, soft_right, soft_wrong, hard)


def jittered(of: Of, image: NDArray[np.uint8]) -> dict[str, dict[str, NDArray[np.uint8]]]:
    """Move one image (C, H, W) as training does, and recolour it as the mistake does: row -> caption -> image."""
    import torch

    from kd_core.data.augment import shifted
    from kd_core.training.mistaken import COLOUR_STRENGTH, recoloured

    most, batch = setting("colour_jitter", of).training.jitter_pixels, torch.from_numpy(image[None])
    moved: dict[str, NDArray[np.uint8]] = {said("as it is"): image}
    recolours = dict(moved)
    for down, right in ((-most, -most), (-most, most), (most, -most), (most, most)):
        shift = torch.tensor([[down, right]])
        brightness, contrast = 1 + COLOUR_STRENGTH * down / most, 1 + COLOUR_STRENGTH * right / most
        by = said("{down:+d} down, {right:+d} right", down=down, right=right)
        moved[by] = shifted(batch, shift)[0].numpy()
        by = said("brightness {brightness:.1f}, contrast {contrast:.1f}", brightness=brightness, contrast=contrast)
        recolours[by] = recoloured(batch, shift, most)[0].numpy()
    return {said("The right way: moved"): moved, said("The mistake: recoloured"): recolours}


def finding(mistake: str, of: Of, difference: SeedDifference) -> str:
    """Say what the mistake costs in a sentence of Markdown, also where that is nothing."""
    chosen, seeds = setting(mistake, of), len(difference.by_seed)
    label = info_of(chosen.dataset).label
    where = said(
        "on {data} at T = {temperature:g} and alpha = {alpha:g}",
        data=label,
        temperature=chosen.temperature,
        alpha=chosen.alpha,
    )
    effect = _many(difference.mean, mistake)
    if difference.interval is None:
        return counted(
            "{found} {where}, with one seed: it takes {fewest} to say how sure that is.",
            "{found} {where}, with {count} seeds: it takes {fewest} to say how sure that is.",
            seeds,
            found=effect,
            where=where,
            fewest=FEWEST_SEEDS,
        )
    low, high = difference.interval
    if difference.mean < 0:  # the sentence counts the other way round
        low, high = -high, -low
    of_seeds = said("mean of {seeds} seeds, 95% interval {low:.1f} to {high:.1f}", seeds=seeds, low=low, high=high)
    if not difference.sign:
        return said(
            "**We cannot tell them apart** {where}: {found}, {of_seeds}. The harm, if there is any, is smaller than"
            " what this many seeds can show.",
            where=where,
            found=effect,
            of_seeds=of_seeds,
        )
    if difference.sign < 0:
        return said(
            "**Here the mistake does no harm**: {found} {where}, {of_seeds}.",
            found=effect,
            where=where,
            of_seeds=of_seeds,
        )
    return said("**{found}** {where}, {of_seeds}.", found=effect, where=where, of_seeds=of_seeds)


def _many(errors: float, mistake: str) -> Said:
    if mistake == "test_choice":
        if errors >= 0:
            return said("The number is {errors:.1f} errors too good", errors=abs(errors))
        return said("The number is {errors:.1f} errors too bad", errors=-errors)
    if abs(errors) < 0.05:
        return said("As many test errors with the mistake as without it")
    if errors >= 0:
        return said("{errors:.1f} extra test errors with the mistake", errors=abs(errors))
    return said("{errors:.1f} fewer test errors with the mistake", errors=-errors)
