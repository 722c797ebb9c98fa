"""All objectives at equal budget: what one and the same student minimises is the only difference between runs.

Images, epochs, initial weights and order are the same.
Published gains often shrink on a rerun (Tian et al. 2020, arXiv:1910.10699, section 4.1: none of twelve others beats
Hinton's consistently), so each is trained with several seeds, and differences are paired by seed.
Nothing here trains: experiment says which runs it takes (kd_core.experiments.table.plan), standings what came of them.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from kd_core.base.config import ConfigError
from kd_core.base.templates import counted, said
from kd_core.data.catalogue import TransferSetConfig, info_of, is_own
from kd_core.evaluation import statistics
from kd_core.evaluation.statistics import FEWEST_SEEDS, SURE
from kd_core.experiments.defaults import default_temperature, default_training
from kd_core.experiments.story import StoryConfig
from kd_core.experiments.table import Experiment, Line, Row, TaughtBy
from kd_core.losses.catalogue import OBJECTIVES, check_shows
from kd_core.models.config import ModelConfig
from kd_core.training.config import TrainingConfig

BASELINE, SMOOTHED, HINTON = "baseline", "label_smoothing", "hinton"
SMOOTHING = 0.1
"""Of the control without a teacher: Szegedy et al. 2016, arXiv:1512.00567, section 7."""
SEEDS, MAX_SEEDS = 5, 20
FEW_EXAMPLES = 10_000
"""Training images below which the students learn from all of them, and the teacher for longer."""


def budget(dataset: str) -> StoryConfig:
    """Return what all objectives are given alike: two small cnns, as some objectives compare maps, and few images.

    There a teacher helps. The student keeps its last weights: nothing is chosen, on any split. On the data sets that
    everybody knows the cnns have the head that docs/objectives.md was measured with, which grows with the image.
    """
    head = "average" if is_own(dataset) else "flat"
    few = info_of(dataset).train_examples < FEW_EXAMPLES
    return StoryConfig(
        dataset=dataset,
        teacher=ModelConfig(name="cnn", channels=(16, 32), head=head),
        teacher_training=default_training("teacher", dataset).replace(
            epochs=15 if few else 5, batch_size=64 if few else 256
        ),
        student=ModelConfig(name="cnn", channels=(8, 16), head=head),
        training=TrainingConfig(epochs=10 if few else 12, batch_size=64, learning_rate=3e-3, validation_fraction=0),
        transfer_set=TransferSetConfig(fraction=1.0 if few else 0.1),
    )


def fits(objective: str, given: StoryConfig) -> bool:
    """Return whether both networks show what an objective compares. given: its teacher is the one that teaches."""
    try:
        check_shows(given.teacher, objective, "teacher")
        return bool(given.replace(objective=objective))
    except ConfigError:
        return False


def label(name: str) -> str:
    """Return the label of an objective, the baseline or the control."""
    known = {BASELINE: said("Baseline"), SMOOTHED: said("Label smoothing")}
    return known[name] if name in known else OBJECTIVES[name].label


def experiment(given: StoryConfig, only: Collection[str] = ()) -> Experiment:
    """Return an experiment of baseline, control and each objective that fits, with its own defaults.

    One teacher, the story's trained one or that of seed 0, teaches the students of all seeds: the intervals are over
    students. only: these objectives and no others; raises ConfigError where one of them does not fit.
    """
    smoothing = given.training.replace(label_smoothing=SMOOTHING)
    makers = {BASELINE: given.students()[0], SMOOTHED: given.replace(training=smoothing).students()[0]}
    for name in only:
        check_shows(given.teacher, name, "teacher")
        given.replace(objective=name)
    left_out = [label(name) for name in OBJECTIVES if not only and not fits(name, given)]
    for name in OBJECTIVES:
        if name in only or (not only and fits(name, given)):
            temperature = default_temperature(given.dataset, name)
            makers[name] = given.replace(objective=name, temperature=temperature).students()[1]
    taught_by: tuple[TaughtBy, ...] = given.teachers or tuple(given.teacher_runs()[:1])
    return Experiment(
        "objectives",
        said("All objectives at equal budget"),
        counted(
            "The same student ({student}), taught by the same teacher ({teacher}), for one epoch on {share:.0%} of the"
            " training images. What it minimises is the only difference. Label smoothing is by {smoothing:g}, without a"
            " teacher.",
            "The same student ({student}), taught by the same teacher ({teacher}), for {count} epochs on {share:.0%} of"
            " the training images. What it minimises is the only difference. Label smoothing is by {smoothing:g},"
            " without a teacher.",
            given.training.epochs,
            student=given.student.label,
            teacher=given.teacher.label,
            share=given.transfer_set.fraction,
            smoothing=SMOOTHING,
        ),
        said("Left out, as these networks do not show what they compare: {objectives}.", objectives=_listed(left_out))
        if left_out
        else "",
        lambda _: taught_by,
        tuple(Line(name, None, make) for name, make in makers.items()),
    )


class Difference(NamedTuple):
    """Test errors more than another's over the same seeds: mean, its 95% interval, and the chance of so much by luck.

    Student's t of the differences, seed by seed. sure: below SURE also after Holm's correction for as many comparisons.
    """

    mean: float
    low: float
    high: float
    p_value: float
    sure: bool


class Standing(NamedTuple):
    """How an objective did: its test errors by seed, their mean with its 95% interval, and how it compares.

    A comparison is None with itself, and with fewer than FEWEST_SEEDS seeds that both have.
    """

    name: str
    errors: Mapping[int, int]
    mean: float
    interval: tuple[float, float] | None
    to_baseline: Difference | None
    to_hinton: Difference | None
    seconds: float | None


def standings(lines: Sequence[Row]) -> list[Standing]:
    """Return the standing of each line that has finished runs, the fewest mean errors first."""
    rows = {row.label: row for row in lines if row.errors}
    to_baseline, to_hinton = (_differences(rows, reference) for reference in (BASELINE, HINTON))
    made = []
    for name, row in rows.items():
        errors = [row.errors[seed] for seed in sorted(row.errors)]
        interval = statistics.mean_interval(errors)[1:] if len(errors) >= FEWEST_SEEDS else None
        seconds = float(np.median(list(row.seconds.values()))) if row.seconds else None
        made.append(
            Standing(
                name,
                row.errors,
                float(np.mean(errors)),
                interval,
                to_baseline.get(name),
                to_hinton.get(name),
                seconds,
            )
        )
    return sorted(made, key=lambda standing: standing.mean)


def _differences(rows: Mapping[str, Row], reference: str) -> dict[str, Difference]:
    if reference not in rows:
        return {}
    theirs = rows[reference].errors
    return differences({name: (row.errors, theirs) for name, row in rows.items() if name != reference})


K = TypeVar("K", bound=Hashable)


def differences(pairs: Mapping[K, tuple[Mapping[int, int], Mapping[int, int]]]) -> dict[K, Difference]:
    """Return how many errors more the first makes than the second, each by seed, where both have enough seeds."""
    paired = {}
    for name, (mine, theirs) in pairs.items():
        more = [mine[seed] - theirs[seed] for seed in sorted(mine.keys() & theirs.keys())]
        if len(more) >= FEWEST_SEEDS:
            paired[name] = (*statistics.mean_interval(more), statistics.mean_test(more))
    sure = dict(zip(paired, holm([numbers[3] for numbers in paired.values()]), strict=True))
    return {name: Difference(*numbers, sure=sure[name] < SURE) for name, numbers in paired.items()}


def holm(p_values: Sequence[float]) -> list[float]:
    """Apply Holm's correction (Scandinavian Journal of Statistics 6, 1979) to p-values; keep their order.

    Below SURE each keeps the chance of even one false alarm among them all below SURE: the i-th smallest of m, counted
    from 0, is multiplied by m - i, and none is let below a smaller one.
    """
    corrected = [0.0] * len(p_values)
    so_far = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = so_far
    return corrected


def verdict(standings: Sequence[Standing]) -> list[str]:
    """Say which differences the correction leaves, and that all others are neither gain nor loss."""
    sentences = [
        sentence
        for reference, name in ((BASELINE, said("the baseline")), (HINTON, said("Hinton's KD")))
        if (sentence := _sentence(standings, reference, name))
    ]
    return sentences or [said("It takes {fewest} seeds to say anything of differences.", fewest=FEWEST_SEEDS)]


def _sentence(standings: Sequence[Standing], reference: str, name: str) -> str:
    compared = {
        standing.name: difference
        for standing in standings
        if (difference := standing.to_baseline if reference == BASELINE else standing.to_hinton) is not None
    }
    if not compared:
        return ""
    fewer = [label(objective) for objective, difference in compared.items() if difference.sure and difference.mean < 0]
    more = [label(objective) for objective, difference in compared.items() if difference.sure and difference.mean > 0]
    if not fewer and not more:
        outcome = said("none can be told apart from {reference}", reference=name)
    elif not more:
        outcome = said("{fewer}: fewer test errors than {reference}", fewer=_listed(fewer), reference=name)
    elif not fewer:
        outcome = said("{more}: more test errors than {reference}", more=_listed(more), reference=name)
    else:
        outcome = said(
            "{fewer}: fewer test errors than {reference}. {more}: more test errors than {reference}",
            fewer=_listed(fewer),
            more=_listed(more),
            reference=name,
        )
    return said(
        "After Holm's correction for {comparisons} comparisons at 5%: {found}. Whatever else differs may be luck: it is"
        " no gain and no loss.",
        comparisons=len(compared),
        found=outcome,
    )


def _listed(labels: Sequence[str]) -> str:
    first, *others = labels
    for other in others:
        first = said("{first}; {second}", first=first, second=other)
    return first


HEAD = (
    said("objective"),
    said("test errors: mean (95% interval)"),
    said("more than the baseline"),
    said("more than Hinton's"),
    said("time a run"),
)
HOW_TO_READ = said(
    "Intervals are Student's t over the seeds, differences are paired by seed, and each interval is 95% by itself:"
    " among so many some leave out 0 by luck, so * marks those differences alone that Holm's correction leaves."
)


def cells(standing: Standing) -> tuple[str, ...]:
    """Return a line of the table, as HEAD names its columns."""
    mean = mean_in_words(standing.mean, standing.interval)
    time = "" if standing.seconds is None else said("{seconds:.0f} s", seconds=standing.seconds)
    return label(standing.name), mean, in_words(standing.to_baseline), in_words(standing.to_hinton), time


def record(standing: Standing) -> dict[str, Any]:
    """Return a standing as plain numbers, for programs."""
    return {
        "objective": standing.name,
        **plain(standing.errors, standing.interval, standing.to_baseline),
        "more_than_hinton": None if standing.to_hinton is None else standing.to_hinton._asdict(),
        "seconds": standing.seconds,
    }


def plain(
    errors: Mapping[int, int], interval: tuple[float, float] | None, to_baseline: Difference | None
) -> dict[str, Any]:
    """Return what came of a line as plain numbers: mean test errors, their 95% interval, each seed's, and more."""
    return {
        "mean_errors": float(np.mean(list(errors.values()))),
        "low": interval and interval[0],
        "high": interval and interval[1],
        "errors_by_seed": {str(seed): errors[seed] for seed in sorted(errors)},
        "more_than_baseline": None if to_baseline is None else to_baseline._asdict(),
    }


def mean_in_words(mean: float, interval: tuple[float, float] | None) -> str:
    """Return mean test errors, with their interval where there is one."""
    if interval is None:
        return f"{mean:.1f}"
    return said("{mean:.1f} ({low:.1f} to {high:.1f})", mean=mean, low=interval[0], high=interval[1])


def in_words(difference: Difference | None) -> str:
    """Return a difference with its interval, and a star where it is sure."""
    if difference is None:
        return "–"
    mean, low, high, *_ = difference
    if difference.sure:
        return said("{mean:+.1f} ({low:+.1f} to {high:+.1f}) *", mean=mean, low=low, high=high)
    return said("{mean:+.1f} ({low:+.1f} to {high:+.1f})", mean=mean, low=low, high=high)
