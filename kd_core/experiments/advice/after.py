"""After a run: what its own numbers say went wrong, and which experiment to do next. Pure functions of an Evidence.

The sentences are in after.toml, the measurements behind the limits in docs/measurements/choices.md.

Settings are judged on the transfer set and the validation split alone. The test set is read for two questions only:
whether the reported difference could be chance, to which the answer is more seeds, never another setting; and how good
a teacher is of which nothing else is known, as one that was trained elsewhere.
"""

from collections.abc import Callable
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from kd_core.base.config import ConfigError, differences
from kd_core.base.templates import Said, prose, said
from kd_core.data.catalogue import info_of
from kd_core.evaluation import accuracy, calibration
from kd_core.evaluation import soft as evaluation_soft
from kd_core.evaluation.accuracy import Logits
from kd_core.evaluation.claims import over_seeds, saved_by_seed
from kd_core.evaluation.statistics import SURE
from kd_core.experiments.advice.before import FEW_STEPS, is_tiny
from kd_core.experiments.advice.evidence import Evidence, OnTheTestSet
from kd_core.experiments.defaults import TEMPERATURES
from kd_core.experiments.story import StoryConfig
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.models.config import MODELS

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


ALL_WELL = said(
    "These results give no reason to change a setting: targets, losses, length and gain look as they should."
)


_TEXTS = prose(__file__)


def _advice(name: str, next_story: StoryConfig | None, **values: object) -> Advice:
    """Return the advice of this name in after.toml, its texts filled in. What stands before a colon is its word."""
    texts = _TEXTS[name]
    sentence, evidence = (said(texts[part], **values) for part in ("sentence", "evidence"))
    change = "" if next_story is None else said(texts["change"], **values)
    about, _, _ = name.partition(":")
    return Advice(about, sentence, evidence, change, next_story)


def changes(before: StoryConfig, then: StoryConfig) -> dict[str, tuple[Any, Any]]:
    """Return the settings that the next experiment changes, by dotted name, without what its networks do not read."""
    unread = {
        f"{role}.{field}"
        for role in ("teacher", "student", "assistant")
        if (model := getattr(then, role)) is not None
        for field in {*chain(*(known.reads for known in MODELS.values()))} - {*model.architecture.reads}
    }
    changed = differences([before, then])
    return {name: (values[0], values[1]) for name, values in changed.items() if name not in unread}


def advise(evidence: Evidence) -> list[Advice]:
    """Say what a run's numbers mean, what spoils every other number first. May be empty."""
    return [advice for rule in RULES if (advice := rule(evidence)) is not None][:MOST]


# ------------------------------------------------------------------------------------------------- was it a whole run


def _stopped(evidence: Evidence) -> Advice | None:
    if evidence.finished:
        return None
    return _advice("stopped", evidence.story, done=evidence.epochs_done, epochs=evidence.run.training.epochs)


# ------------------------------------------------------------------------------------------------------- the teacher

TEACHER_SEEDS = 3


def _teacher_stopped(evidence: Evidence) -> Advice | None:
    if not evidence.teacher_stopped:
        return None
    anew = _changed(evidence.story, teachers=(), new_teachers=max(1, len(evidence.story.teachers)))
    return _advice("teacher stopped", anew, teacher_stopped=evidence.teacher_stopped)


def _teacher_no_better(evidence: Evidence) -> Advice | None:
    """Find a teacher that errs as often as the pupil without it, on images that it did not learn from.

    Few images cannot tell: it is said only where, of a teacher with half of the pupil's errors, so many would come with
    a chance below SURE, both being counts (binomial, given their sum; Przyborowski and Wilenski 1940, Biometrika 31).
    """
    pupil, than = said("baseline"), said("the baseline")
    if evidence.judged is None or evidence.judged.baseline is None:
        pupil, than = said("student"), said("the student itself")
    words = {"than": than, "pupil": pupil}
    if evidence.teacher_tested is not None:
        return _teacher_tested(evidence, evidence.teacher_tested, words)
    if evidence.judged is None or evidence.teacher_errors is None:
        return None
    judged, (errors, images) = evidence.judged, evidence.teacher_errors
    wrong = accuracy.test_errors(judged.student if judged.baseline is None else judged.baseline, judged.labels)
    counts = errors, images, wrong, len(judged.labels)
    if errors / images < wrong / len(judged.labels) or _chance(*counts, times=0.5) >= SURE:
        return None
    name = "teacher: worse" if _chance(*counts, times=1.0) < SURE else "teacher"
    numbers = {"errors": errors, "images": images, "share": errors / images, "wrong": wrong}
    judged_numbers = {"judged": len(judged.labels), "rate": wrong / len(judged.labels)}
    return _of_the_teacher(name, _TEXTS["teacher_unseen"]["evidence"], evidence, **words, **numbers, **judged_numbers)


def _teacher_tested(evidence: Evidence, tested: OnTheTestSet, words: dict[str, Said]) -> Advice | None:
    """Judge a teacher on the test set: worse by the exact paired test, or no better than its pupil."""
    errors, wrong, images, compared = tested
    if compared.sign >= 0 and (errors < wrong or _chance(errors, images, wrong, images, times=0.5) >= SURE):
        return None
    name = "teacher: worse" if compared.sign < 0 else "teacher"
    numbers = {"errors": errors, "images": images, "wrong": wrong, "chance": compared.p_value}
    alone = {"only_teacher": compared.only_first_wrong, "only_pupil": compared.only_second_wrong}
    return _of_the_teacher(name, _TEXTS["teacher_tested"]["evidence"], evidence, **words, **numbers, **alone)


def _chance(errors: int, images: int, wrong: int, judged: int, *, times: float) -> float:
    """Return the chance of so many errors beside so many wrong, were the one's rate so many times the other's."""
    from scipy.stats import binomtest

    if not errors + wrong:
        return 1.0
    return float(binomtest(errors, errors + wrong, times * images / (times * images + judged), "greater").pvalue)


def _of_the_teacher(name: str, text: str, evidence: Evidence, **values: object) -> Advice:
    change, story = _better_teacher(evidence)
    return _advice(name, story, change=change, numbers=said(text, **values), **values)


def _better_teacher(evidence: Evidence) -> tuple[str, StoryConfig | None]:
    """Propose a new teacher of the data set's default where that is another, else an ensemble."""
    story = evidence.story
    default = StoryConfig.default(story.dataset)
    if evidence.teacher_external:
        return said("Train a teacher here"), _changed(story, teachers=(), new_teachers=1)
    if story.teacher != default.teacher or story.teacher_training != default.teacher_training:
        changed = {"teacher": default.teacher, "teacher_training": default.teacher_training}
        return said("Train a better teacher"), _changed(story, teachers=(), new_teachers=1, **changed)
    if max(len(story.teachers), story.new_teachers) < TEACHER_SEEDS:
        change = said("Let {teachers} teachers teach", teachers=TEACHER_SEEDS)
        return change, _changed(story, teachers=(), new_teachers=TEACHER_SEEDS)
    return "", None


# ------------------------------------------------------------------------------------------------------ the objective


def _two_classes(evidence: Evidence) -> Advice | None:
    story, info = evidence.story, OBJECTIVES[evidence.story.objective]
    if info_of(story.dataset).classes != 2 or not info.of_two_classes:
        return None
    return Advice(
        "two classes",
        said(
            "{objective} loses with two classes what it was made for: what is left of it here is little or nothing.",
            objective=Said(info.label),
        ),
        info.of_two_classes,
        said("Minimise Hinton's KD"),
        _changed(story, objective="hinton", weights=()),
    )


# ----------------------------------------------------------------------------------------------------- the temperature

SHARP, SOFT = 0.01, 0.05
"""Share of the probability beside the first class: below SHARP soft targets are hardly more than labels."""
FLAT, LESS_FLAT = 0.99, 0.9
"""Entropy as a share of the most possible: above FLAT targets harm small students; a better T leaves LESS_FLAT."""


def spread_mass(teacher_logits: Logits, temperature: float) -> float:
    """Return the mean share of softmax(z / T) that is not the top class's: 0 to 1 - 1 / K."""
    return float(1 - evaluation_soft.softened(teacher_logits, temperature).max(axis=1).mean())


def evenness(teacher_logits: Logits, temperature: float) -> float:
    """Return the mean entropy of softmax(z / T) as a share of the most possible, 0 to 1."""
    soft = evaluation_soft.softened(teacher_logits, temperature)
    return float(evaluation_soft.entropy_bits(soft).mean() / np.log2(soft.shape[1]))


def _temperature(evidence: Evidence) -> Advice | None:
    """Of the objectives that compare softmax(z / T) as a whole, with one T all along; others weigh its parts anew."""
    story = evidence.story
    if evidence.shown is None or story.objective not in ("hinton", "jensen_shannon") or story.alpha == 0:
        return None
    if story.final_temperature is not None:
        return None
    logits, temperature = evidence.shown.teacher_logits, evidence.story.temperature
    mass, even = spread_mass(logits, temperature), evenness(logits, temperature)
    if mass < SHARP:
        about = "sharp"
        better = next((t for t in TEMPERATURES if t > temperature and spread_mass(logits, t) >= SOFT), None)
    elif even > FLAT and is_tiny(story.student):
        about = "flat"
        better = next((t for t in TEMPERATURES[::-1] if t < temperature and evenness(logits, t) <= LESS_FLAT), None)
    else:
        return None
    otherwise, changed = "", None
    if better is not None:
        then = {"then": better, "mass": spread_mass(logits, better), "even": evenness(logits, better)}
        otherwise, changed = said(_TEXTS[about]["otherwise"], **then), _changed(story, temperature=better)
    numbers = {"images": len(logits), "mass": mass, "even": even}
    return _advice(about, changed, now=temperature, then=better, otherwise=otherwise, **numbers)


# ---------------------------------------------------------------------------------------------- soft against hard loss

WEAK = 0.1
"""Of the pull: below it the student follows its teacher far less than with alpha 0.9 and T²."""


def pull(
    teacher_logits: Logits, labels: accuracy.Labels, *, temperature: float, alpha: float, t_squared: bool
) -> float:
    """Return the size of the soft loss's gradient over that of the hard loss, for a student with logits of 0.

    The ratio of the Frobenius norms of both summands of the gradient (hinton.distillation_gradient) at student
    logits of 0, where every training starts. Later both parts of a student that fits well cancel, whatever their
    weights, so that their sizes there say nothing.
    """
    import torch

    from kd_core.losses import hinton

    teacher = torch.from_numpy(np.asarray(teacher_logits, dtype=np.float64))
    nothing, targets = torch.zeros_like(teacher), torch.from_numpy(np.asarray(labels, dtype=np.int64))
    gradient = hinton.distillation_gradient(
        nothing, teacher, targets, temperature=temperature, alpha=alpha, t_squared=t_squared
    )
    return float(gradient.soft.norm() / gradient.hard.norm())


def _hard_dominates(evidence: Evidence) -> Advice | None:
    story = evidence.story
    if evidence.shown is None or not _is_hintons(story) or story.alpha == 1:
        return None
    shown = evidence.shown

    def pull_of(tried: StoryConfig) -> float:
        return pull(*shown, temperature=tried.temperature, alpha=tried.alpha, t_squared=tried.t_squared)

    now = pull_of(story)
    if now >= WEAK:
        return None
    repaired = story if story.t_squared else story.replace(t_squared=True)
    change = said("Multiply the soft loss by T²")
    if pull_of(repaired) < WEAK:
        repaired = repaired.replace(alpha=max(repaired.alpha, StoryConfig.default(story.dataset).alpha))
        if story.t_squared:
            change = said("Raise alpha to {alpha:g}", alpha=repaired.alpha)
        else:
            change = said("Raise alpha to {alpha:g}, with T²", alpha=repaired.alpha)
    if repaired == story:
        return None
    return _advice("hard", repaired, change=change, now=now, then=pull_of(repaired))


# ------------------------------------------------------------------------------------------------ length and capacity

LEARNED, STILL_FALLING = 2.0, 1 / 3
"""Gap and fall (see Fit): below the one nothing is memorised yet, from the other on more epochs help."""
FAR = 0.05
"""What is left (see Fit), above which about twice as many units save a third or more of the test errors."""


class Fit(NamedTuple):
    """How far a student has come on what it learns from.

    gap: the loss of images that it has not seen over that of those that it learns from; near 1, it has not memorised
    anything yet. fall: share of the training loss that the second half of the epochs took away, None after a single
    one. left: soft loss of the last epoch over that of a student that knows nothing; None where that is not known.
    """

    gap: float
    fall: float | None
    left: float | None
    learned: float
    unseen: float
    part: str
    steps: int

    @property
    def standing(self) -> bool:
        """Whether the loss has stopped falling; after few steps it has not."""
        return self.steps >= FEW_STEPS and self.fall is not None and self.fall < STILL_FALLING


def fit_of(evidence: Evidence) -> Fit | None:
    """By the soft loss where it is Hinton's, whose value on unseen images is computed here, else by the hard one.

    None where it cannot be known: without a validation split, and where the student's training loss is that of
    dropped units or shifted images, which its validation loss is not.
    """
    model, training, judged = evidence.run.model, evidence.run.training, evidence.judged
    noisy = training.augments or training.class_weights or model.drops
    if judged is None or noisy or not evidence.epochs:
        return None
    last = evidence.epochs[-1]
    learned = unseen = left = None
    part = said("soft")
    if _is_hintons(evidence.story) and judged.teacher is not None and last["soft_loss"] is not None:
        learned, unseen = last["soft_loss"], _soft_loss(judged.student, judged.teacher, evidence.story)
        left = learned / _soft_loss(np.zeros_like(judged.teacher), judged.teacher, evidence.story)
    elif last["hard_loss"] is not None and not training.label_smoothing:
        part, learned = said("hard"), last["hard_loss"]
        unseen = calibration.calibration(judged.student, judged.labels).negative_log_likelihood
    if learned is None or unseen is None or learned <= 0:
        return None
    half = evidence.epochs[len(evidence.epochs) // 2 - 1]["loss"] if len(evidence.epochs) > 1 else None
    fall = None if half is None or half <= 0 else 1 - last["loss"] / half
    return Fit(unseen / learned, fall, left, learned, unseen, part, last["step"])


def _soft_loss(student_logits: Logits, teacher_logits: Logits, story: StoryConfig) -> float:
    import torch

    from kd_core.losses import hinton

    student, teacher = (torch.from_numpy(np.asarray(logits, np.float64)) for logits in (student_logits, teacher_logits))
    losses = hinton.distillation_loss(
        student, teacher, None, temperature=story.temperature, alpha=1.0, t_squared=story.t_squared
    )
    return float(losses.soft_loss)


def _is_hintons(story: StoryConfig) -> bool:
    """Return whether the soft loss is Hinton's with one T and one alpha all along."""
    return story.objective == "hinton" and story.final_temperature is None and story.final_alpha is None


def _too_short(evidence: Evidence) -> Advice | None:
    """Find training that was too short: unseen images cost hardly more, and the loss was still falling."""
    fit = fit_of(evidence)
    if not evidence.finished or fit is None or fit.gap >= LEARNED or fit.standing:
        return None
    epochs = 2 * evidence.story.training.epochs
    longer = _changed(evidence.story, training=evidence.story.training.replace(epochs=epochs))
    fell = "" if fit.fall is None else Said(_TEXTS["short"]["fell"], fall=fit.fall)
    return _advice("short", longer, fell=fell, epochs=epochs, **fit._asdict())


def _too_small(evidence: Evidence) -> Advice | None:
    """Find a student that is too small: its loss stands still far from its teacher, on seen images too.

    A student that is merely trained too little shows the same gap, but its loss is falling (_too_short); one that is
    large enough comes near its teacher on what it learns from, whatever it makes of the rest.
    """
    fit, judged = fit_of(evidence), evidence.judged
    student, teacher = evidence.parameters
    if not evidence.finished or fit is None or fit.left is None or judged is None or judged.teacher is None:
        return None
    if _hard_dominates(evidence) is not None:  # then its teacher is not what it followed
        return None
    if fit.gap >= LEARNED or not fit.standing or fit.left < FAR or teacher is None or student >= teacher:
        return None
    wider = evidence.story.student.widened
    larger = _changed(evidence.story, student=wider) if wider else None
    agreement = accuracy.agreement(judged.student, judged.teacher)
    return _advice("small", larger, wider=wider, agreement=agreement, student=student, teacher=teacher, **fit._asdict())


WORSENED = 2.0
"""Standard deviations."""


def _too_long(evidence: Evidence) -> Advice | None:
    """Find overfitting: validation errors rose by more than their noise while the loss still fell.

    The last quarter of the epochs against the best one, in standard deviations of a difference of two counts, √(a + b):
    too much for two counts of the same images, which pays for the best having been picked among many.
    """
    errors = [epoch["validation_errors"] for epoch in evidence.epochs]
    if len(errors) < 4 or None in errors:
        return None
    best = min(errors)
    at = len(errors) - 1 - errors[::-1].index(best)
    end = float(np.mean(errors[-(len(errors) // 4) :]))
    if end - best <= WORSENED * (end + best) ** 0.5 or evidence.epochs[-1]["loss"] >= evidence.epochs[at]["loss"]:
        return None
    story = evidence.story
    if OBJECTIVES[story.objective].mixed and story.alpha < 1:
        change, better = said("Raise alpha to {alpha:g}", alpha=1), _changed(story, alpha=1.0, final_alpha=None)
    else:
        change = said("Stop after {epochs} epochs", epochs=at + 1)
        better = _changed(story, training=story.training.for_epochs(at + 1))
    return _advice("long", better, change=change, best=best, epoch=at + 1, end=end)


# -------------------------------------------------------------------------------------- which gain is real

ENOUGH_SEEDS = 5
"""After which no more are asked for."""


def _gain(evidence: Evidence) -> Advice | None:
    """Judge whether student and baseline differ: over enough seeds, else on the images of the one run."""
    if evidence.compared is None:
        return None
    saved = saved_by_seed(evidence.pairs)
    several = saved is not None and saved.interval is not None
    if saved is not None and several:
        sign, numbers = saved.sign, over_seeds(saved)
    else:
        sign = -evidence.compared.sign
        counts = dict(zip(("only_baseline", "only_student", "chance"), evidence.compared, strict=True))
        numbers = said(_TEXTS["one_run"]["numbers"], **counts)
    if sign > 0 and several:
        return None
    if sign < 0:
        alpha = round(evidence.story.alpha / 2, 2)
        change, better = said("Lower alpha to {alpha:g}", alpha=alpha), _changed(evidence.story, alpha=alpha)
        if not OBJECTIVES[evidence.story.objective].mixed:
            change, better = said("Try Hinton's objective"), _changed(evidence.story, objective="hinton", weights=())
        return _advice("worse", better, change=change, numbers=numbers, on="" if several else said(" on this seed"))
    if len(evidence.pairs) >= ENOUGH_SEEDS:
        return _advice("chance: too little", None, numbers=numbers)
    seed = max([evidence.run.seed, *evidence.pairs]) + 1
    again = _changed(evidence.story, seed=seed, baseline=True)
    return _advice("chance: one seed" if sign > 0 else "chance: noise", again, numbers=numbers, seed=seed)


def _changed(story: StoryConfig, **changes: object) -> StoryConfig | None:
    """Return the story with changes, or None where they are refused."""
    try:
        return story.replace(**changes)
    except ConfigError:
        return None


RULES: tuple[Callable[[Evidence], Advice | None], ...] = (
    _stopped,
    _teacher_stopped,
    _teacher_no_better,
    _two_classes,
    _temperature,
    _hard_dominates,
    _too_short,
    _too_small,
    _too_long,
    _gain,
)
