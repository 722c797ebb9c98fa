"""Intervals and tests: Wilson's, Student's t, the sign test, McNemar's; and when they count as sure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd_core.evaluation.accuracy import Labels, Logits, predictions

SURE = 0.05
"""Significance level: a difference with a p-value below it counts as more than luck."""
FEWEST_SEEDS = 3
"""Seeds from which an interval is stated: of two it says nothing."""


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95% confidence interval of a share, Wilson's score interval without continuity correction (scipy's)."""
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of repeats, such as one value a seed, and its 95% confidence interval: (mean, low, high).

    Student's t: mean ± t(0.975, n − 1) · s / √n, with s the sample's standard deviation (scipy's t and sem).
    Raises ValueError for fewer than two values.
    """
    if len(values) < 2:
        raise ValueError(f"an interval of the mean needs at least two values, got {len(values)}")
    from scipy.stats import sem, t

    mean = float(np.mean(values))
    half = float(t.ppf(0.975, len(values) - 1)) * float(sem(values))
    return mean, mean - half, mean + half


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and what surrounds it, (mean, low, high): mean_interval of FEWEST_SEEDS values, the range of fewer."""
    if len(values) >= FEWEST_SEEDS:
        return mean_interval(values)
    return float(np.mean(values)), min(values), max(values)


def sign_test(pairs: int) -> float:
    """P-value of so many paired differences that all have the same sign, two-sided: 2 / 2ⁿ."""
    return float(2.0 ** (1 - pairs))


def mean_test(differences: Sequence[float]) -> float:
    """P-value of a mean so far from 0, were the true one 0: Student's one-sample t-test, two-sided (scipy's).

    Differences that are all the same, as counts are now and then by luck, have no spread for it: then it is the sign
    test, or 1 where they are 0.
    """
    from scipy.stats import ttest_1samp

    if len(set(differences)) == 1:
        return 1.0 if differences[0] == 0 else sign_test(len(differences))
    return float(ttest_1samp(differences, 0).pvalue)


def halves(examples: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The indices of so many examples in two halves, drawn by seed, in order; one may be larger by 1."""
    order = np.random.default_rng(seed).permutation(examples)
    middle = examples // 2
    return np.sort(order[:middle]), np.sort(order[middle:])


class McNemar(NamedTuple):
    """How many examples only one of two models gets wrong, and how likely so uneven a split is by chance alone."""

    only_first_wrong: int
    only_second_wrong: int
    p_value: float

    @property
    def sign(self) -> int:
        """1 where the first is better, -1 where the second is, 0 where that could be chance."""
        if self.p_value >= SURE:
            return 0
        return 1 if self.only_first_wrong < self.only_second_wrong else -1


def mcnemar(first: Logits, second: Logits, labels: Labels) -> McNemar:
    """Whether two models differ in accuracy: McNemar's test (Psychometrika 12, 1947) in its exact, two-sided form.

    Were they equally good, each example that only one gets wrong would fall to either with probability 1/2: a binomial
    test of the smaller count (scipy's). Where they never differ, p_value is 1.
    """
    from scipy.stats import binomtest

    first_wrong, second_wrong = predictions(first) != labels, predictions(second) != labels
    only_first, only_second = int((first_wrong & ~second_wrong).sum()), int((second_wrong & ~first_wrong).sum())
    discordant = only_first + only_second
    p_value = float(binomtest(min(only_first, only_second), discordant, 0.5).pvalue) if discordant else 1.0
    return McNemar(only_first, only_second, p_value)
