"""After a run: what its own numbers say went wrong, and which experiment to do next. Pure functions of an Evidence.

Settings are judged on the transfer set and the validation split alone. The test set is read for one question only,
whether the reported difference could be chance, and the answer to that is more seeds, never another setting.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kd_core import evaluation
from kd_core.config import ConfigError
from kd_core.evaluation import Logits
from kd_core.evidence import Evidence
from kd_core.recipes import TEMPERATURES, StoryConfig

MOST = 4
"""Pieces of advice: who is told everything at once does nothing."""


class Advice(NamedTuple):
    """One thing that a run's numbers say. about: a word for it.

    evidence: those numbers, in a sentence. change: the next experiment in words; next: the same as a story, None where
    there is none to propose.
    """

    about: str
    sentence: str
    evidence: str
    change: str = ""
    next: StoryConfig | None = None


def advise(evidence: Evidence) -> list[Advice]:
    """What a run's numbers say, most important first: what spoils every other number, then the rest. May be empty."""
    found = [advice for rule in RULES if (advice := rule(evidence)) is not None]
    return found[:MOST]


# ------------------------------------------------------------------------------------------------- was it a whole run


def _stopped(evidence: Evidence) -> Advice | None:
    if evidence.finished:
        return None
    return Advice(
        "stopped",
        "It was stopped early, so that most of what follows may be for want of training.",
        f"{evidence.epochs_done:.3g} of {evidence.run.training.epochs} epochs were done.",
        "Train all of it",
        evidence.story,
    )


# ------------------------------------------------------------------------------------------------------- the teacher

SURE = 0.05
"""The level of every test here."""
TEACHER_SEEDS = 3


def _teacher_no_better(evidence: Evidence) -> Advice | None:
    """The teacher errs as often as the pupil does without it, on images that it did not learn from.

    Few images cannot tell: it is said only where a teacher with half of the pupil's errors would make so many by chance
    in less than SURE of all cases (binomial).
    """
    from scipy.stats import binomtest

    if evidence.judged is None or evidence.teacher_errors is None:
        return None
    judged, (errors, images) = evidence.judged, evidence.teacher_errors
    alone = judged.baseline is not None
    pupil = evaluation.test_errors(judged.student if judged.baseline is None else judged.baseline, judged.labels)
    rate = pupil / len(judged.labels)
    chance = binomtest(errors, images, rate / 2, alternative="greater").pvalue
    if errors / images < rate or chance >= SURE:
        return None
    change, story = _better_teacher(evidence.story)
    return Advice(
        "teacher",
        f"The teacher is no better than the student {'without it' if alone else 'itself'}: there is little to learn"
        " from it.",
        f"On images that it did not learn from, the teacher gets {errors / images:.2%} wrong ({errors:,} of {images:,});"
        f" the {'baseline' if alone else 'student'} {rate:.2%} ({pupil:,} of {len(judged.labels):,}).",
        change,
        story,
    )


def _better_teacher(story: StoryConfig) -> tuple[str, StoryConfig | None]:
    """A new one of the data set's own recipe where that is another, else several as an ensemble."""
    default = StoryConfig.default(story.dataset)
    if story.teacher != default.teacher or story.teacher_training != default.teacher_training:
        changed = {"teacher": default.teacher, "teacher_training": default.teacher_training}
        return "Train a better teacher", _changed(story, teachers=(), new_teachers=1, **changed)
    if max(len(story.teachers), story.new_teachers) < TEACHER_SEEDS:
        return f"Let {TEACHER_SEEDS} teachers teach", _changed(story, teachers=(), new_teachers=TEACHER_SEEDS)
    return "", None


# ----------------------------------------------------------------------------------------------------- the temperature

SHARP, SOFT = 0.01, 0.05
FLAT, LESS_FLAT = 0.99, 0.9


def spread_mass(teacher_logits: Logits, temperature: float) -> float:
    """What a teacher leaves to all classes but its first, of softmax(z / T), on average: 0 to 1 - 1 / K."""
    return float(1 - evaluation.softened(teacher_logits, temperature).max(axis=1).mean())


def evenness(teacher_logits: Logits, temperature: float) -> float:
    """Mean entropy of softmax(z / T) as a share of the most possible, 0 to 1."""
    soft = evaluation.softened(teacher_logits, temperature)
    return float(evaluation.entropy_bits(soft).mean() / np.log2(soft.shape[1]))


def _temperature(evidence: Evidence) -> Advice | None:
    if evidence.shown is None or evidence.story.alpha == 0:
        return None
    logits, temperature = evidence.shown.teacher_logits, evidence.story.temperature
    mass, even = spread_mass(logits, temperature), evenness(logits, temperature)
    if mass < SHARP:
        warmer = next((one for one in TEMPERATURES if one > temperature and spread_mass(logits, one) >= SOFT), None)
        return Advice(
            "sharp",
            f"The teacher is overconfident at T = {temperature:g}: its soft targets say hardly more than labels.",
            f"On {len(logits):,} images that the student learns from, it leaves {mass:.2%} of the probability to all"
            " other classes together"
            + (f"; at T = {warmer:g} it would leave {spread_mass(logits, warmer):.1%}." if warmer else "."),
            f"Raise T to {warmer:g}" if warmer else "",
            _changed(evidence.story, temperature=warmer) if warmer else None,
        )
    if even > FLAT:
        cooler = next(
            (one for one in TEMPERATURES[::-1] if one < temperature and evenness(logits, one) <= LESS_FLAT), None
        )
        return Advice(
            "flat",
            f"At T = {temperature:g} the teacher's targets are almost uniform: all classes look alike.",
            f"On {len(logits):,} images that the student learns from, their entropy is {even:.2%} of the most possible"
            + (f"; at T = {cooler:g} it would be {evenness(logits, cooler):.1%}." if cooler else "."),
            f"Lower T to {cooler:g}" if cooler else "",
            _changed(evidence.story, temperature=cooler) if cooler else None,
        )
    return None


# ---------------------------------------------------------------------------------------------- soft against hard loss

WEAK = 0.25


def pull(
    teacher_logits: Logits, labels: evaluation.Labels, *, temperature: float, alpha: float, t_squared: bool
) -> float:
    """How hard the soft loss pulls on the logits of a student that knows nothing, over how hard the labels do.

    The ratio of the Frobenius norms of both summands of the gradient (kd_core.losses.distillation_gradient) at student
    logits of 0, where every training starts. Later both parts of a student that fits well cancel, whatever their
    weights, so that their sizes there say nothing.
    """
    import torch

    from kd_core import losses

    teacher = torch.from_numpy(np.asarray(teacher_logits, dtype=np.float64))
    gradient = losses.distillation_gradient(
        torch.zeros_like(teacher),
        teacher,
        torch.from_numpy(np.asarray(labels, dtype=np.int64)),
        temperature=temperature,
        alpha=alpha,
        t_squared=t_squared,
    )
    return float(gradient.soft.norm() / gradient.hard.norm())


def _hard_dominates(evidence: Evidence) -> Advice | None:
    story = evidence.story
    if evidence.shown is None or story.alpha == 1:
        return None

    def pull_of(one: StoryConfig) -> float:
        settings = {"temperature": one.temperature, "alpha": one.alpha, "t_squared": one.t_squared}
        return pull(evidence.shown.teacher_logits, evidence.shown.labels, **settings)

    now = pull_of(story)
    if now >= WEAK:
        return None
    repaired = story if story.t_squared else story.replace(t_squared=True)
    change = "Multiply the soft loss by T²"
    if pull_of(repaired) < WEAK:
        repaired = repaired.replace(alpha=max(repaired.alpha, StoryConfig.default(story.dataset).alpha))
        change = f"Raise alpha to {repaired.alpha:g}" + ("" if story.t_squared else ", with T²")
    return Advice(
        "hard",
        "The hard loss dominates: the teacher has hardly a say.",
        f"At the start of training the soft loss pulls on the student's logits {now:.3f} times as hard as the labels do;"
        f" that would be {pull_of(repaired):.2g} times then.",
        change,
        repaired,
    )


# ---------------------------------------------------------------------------------------------------- which gain is real

FEWEST_SEEDS, ENOUGH_SEEDS = 3, 5
"""Of which an interval is stated, and after which no more are asked for."""


def _gain(evidence: Evidence) -> Advice | None:
    """Whether student and baseline differ: over the seeds where there are enough, else on the images of the one run."""
    if evidence.compared is None:
        return None
    saved = [baseline - student for baseline, student in evidence.pairs.values()]
    if len(saved) >= FEWEST_SEEDS:
        mean, low, high = evaluation.mean_interval(saved)
        better, worse = low > 0, high < 0
        said = (
            f"Over {len(saved)} seeds the student makes {mean:.1f} test errors fewer than its baseline on average, 95%"
            f" interval {low:.1f} to {high:.1f} (Student's t)."
        )
    else:
        only_baseline, only_student, chance = evidence.compared
        better = chance < SURE and only_student < only_baseline
        worse = chance < SURE and only_student > only_baseline
        said = (
            f"On the test set {only_baseline:,} images are wrong for the baseline alone and {only_student:,} for the"
            f" student alone: were both equally good, so uneven a split would come with probability {chance:.2g}"
            " (McNemar)."
        )
    if better:
        return None
    if worse:
        alpha = evidence.story.alpha / 2
        return Advice(
            "worse",
            "The student is worse than its baseline: the teacher holds it back.",
            said,
            f"Lower alpha to {alpha:g}",
            _changed(evidence.story, alpha=alpha),
        )
    if len(saved) >= ENOUGH_SEEDS:
        return Advice("chance", "What the student gains is too little to be seen over so many seeds.", said)
    seed = max([evidence.run.seed, *evidence.pairs]) + 1
    return Advice(
        "chance",
        "The gain over the baseline is within the noise: another seed may turn it round.",
        said,
        f"Repeat with seed {seed}",
        _changed(evidence.story, seed=seed, baseline=True),
    )


def _changed(story: StoryConfig, **changes: object) -> StoryConfig | None:
    """The story with changes, or None where they cannot be."""
    try:
        return story.replace(**changes)
    except ConfigError:
        return None


RULES: tuple[Callable[[Evidence], Advice | None], ...] = (
    _stopped,
    _teacher_no_better,
    _temperature,
    _hard_dominates,
    _gain,
)
