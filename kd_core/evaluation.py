"""How good a model is, how sure it may be of it, and how two differ: from logits alone, without torch.

Logits are (N, K), before softmax; labels are (N,), integers below K.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


def predictions(logits: Logits) -> NDArray[np.int64]:
    """The top class of each example. (N, K) -> (N,)."""
    top: NDArray[np.int64] = logits.argmax(axis=1)
    return top


def test_errors(logits: Logits, labels: Labels) -> int:
    """How many examples the top class gets wrong: a count, as Hinton et al. print it."""
    return int((predictions(logits) != labels).sum())


def accuracy(logits: Logits, labels: Labels) -> float:
    """Share of examples whose top class is the label, 0 to 1."""
    return 1 - test_errors(logits, labels) / len(labels)


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
    """Mean and what surrounds it, (mean, low, high): mean_interval of three values or more, the range of fewer."""
    if len(values) > 2:
        return mean_interval(values)
    return float(np.mean(values)), min(values), max(values)


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


def per_class_accuracy(logits: Logits, labels: Labels) -> NDArray[np.float64]:
    """Share of each class's examples that get it as their top class, (K,). NaN for a class without examples."""
    counts = confusion_matrix(logits, labels)
    examples = counts.sum(axis=1)
    return np.where(examples > 0, np.diagonal(counts) / np.maximum(examples, 1), np.nan)


def confusion_matrix(logits: Logits, labels: Labels) -> NDArray[np.int64]:
    """Counts by true class (rows) and top class (columns), (K, K)."""
    classes = logits.shape[1]
    pairs = labels.astype(np.int64) * classes + predictions(logits)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def confusion_difference(first: Logits, second: Logits, labels: Labels) -> NDArray[np.int64]:
    """By true class (rows) and top class (columns), how many more examples land there by the first model, (K, K).

    Its rows sum to 0. Off the diagonal a positive count is a mistake that the first makes more often.
    """
    return confusion_matrix(first, labels) - confusion_matrix(second, labels)


def with_bias(logits: Logits, classes: Sequence[int], by: float) -> Logits:
    """Logits with the biases of some classes raised by one number, (N, K): Hinton et al., section 3, on omitted digits.

    Lowering the biases of all other classes by as much is the same thing.
    """
    raised = np.array(logits, dtype=np.float64)
    raised[:, list(classes)] += by
    return raised


def bias_for_share(logits: Logits, classes: Sequence[int], share: float) -> float:
    """The bias that gives some classes a share of the top classes, 0 to 1: their prior, say. Reads no label."""
    return float(np.quantile(_lead_of_others(logits, classes), share))


def best_bias(logits: Logits, labels: Labels, classes: Sequence[int]) -> float:
    """The bias of some classes with the fewest errors on these very labels, nearest to 0 among equals.

    On the test set's labels this is the paper's way, and tuned on what it is measured by.
    """
    lead = _lead_of_others(logits, classes)
    inside = np.zeros(logits.shape[1], dtype=bool)
    inside[list(classes)] = True
    right_inside = np.where(inside, logits, -np.inf).argmax(axis=1) == labels
    right_outside = np.where(inside, -np.inf, logits).argmax(axis=1) == labels
    order = np.argsort(lead, kind="stable")
    gained = (right_inside.astype(int) - right_outside)[order]
    right = np.concatenate([[0], np.cumsum(gained)])  # where the bias is above so many of the leads
    edges = np.concatenate([[lead[order[0]] - 1], lead[order], [lead[order[-1]] + 1]])
    middles = (edges[:-1] + edges[1:]) / 2
    possible = np.diff(edges) > 0  # between equal leads there is no room for a bias
    best = middles[possible & (right == right[possible].max())]
    return float(best[np.abs(best).argmin()])


def _lead_of_others(logits: Logits, classes: Sequence[int]) -> NDArray[np.float64]:
    """By how much the best of the other classes is ahead of the best of these, (N,)."""
    inside = np.zeros(logits.shape[1], dtype=bool)
    inside[list(classes)] = True
    lead: NDArray[np.float64] = logits[:, ~inside].max(axis=1).astype(np.float64) - logits[:, inside].max(axis=1)
    return lead


def agreement(student_logits: Logits, teacher_logits: Logits) -> float:
    """Share of examples on which student and teacher have the same top class, 0 to 1."""
    return float((predictions(student_logits) == predictions(teacher_logits)).mean())


def softened(logits: Logits, temperature: float) -> NDArray[np.float64]:
    """softmax(z / T) in float64, for showing. (..., K) -> (..., K). Raises ValueError unless temperature > 0.

    Training uses kd_core.losses.hinton.soft_targets, against which a test holds this one.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature:g}")
    from scipy.special import softmax

    return np.asarray(softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=-1))


def entropy_bits(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shannon entropy of each row, in bits, 0 to log2(K). (..., K) -> (...)."""
    from scipy.special import entr

    return np.asarray(entr(probabilities).sum(axis=-1) / np.log(2))


def mean_soft_targets(logits: Logits, labels: Labels, temperature: float) -> NDArray[np.float64]:
    """What a teacher says of each class on average: (K, K), row = true class, its mean softmax(z / T); rows sum to 1.

    A class without examples has a row of NaN. Raises ValueError unless temperature > 0.
    """
    soft, classes = softened(logits, temperature), logits.shape[1]
    rows = [soft[labels == label].mean(axis=0) if (labels == label).any() else None for label in range(classes)]
    return np.stack([np.full(classes, np.nan) if row is None else row for row in rows])


CALIBRATION_BINS = 15
"""As Guo et al. draw them."""


class CalibrationBin(NamedTuple):
    """The examples of one range of confidence: mean confidence, share that is right, and how many they are."""

    confidence: float
    accuracy: float
    examples: int


class Calibration(NamedTuple):
    """Whether the probabilities of a model mean what they say. All three scores are the better the lower."""

    expected_calibration_error: float
    negative_log_likelihood: float
    brier_score: float
    bins: tuple[CalibrationBin, ...]


def calibration(logits: Logits, labels: Labels, temperature: float = 1.0) -> Calibration:
    """Calibration of softmax(z / T), confidence being the probability of the top class.

    bins: the examples by confidence in CALIBRATION_BINS ranges of equal width, those without any left out
    (scikit-learn's calibration_curve). expected_calibration_error: the mean over the examples of
    |accuracy − confidence| of their bin, 0 to 1 (Guo et al. 2017, arXiv:1706.04599, equation 3).
    negative_log_likelihood: mean −log p of the label, in nats. brier_score: mean squared
    distance of the probabilities from the label's one-hot vector, summed over classes, 0 to 2 (Brier 1950;
    scikit-learn's brier_score_loss). Raises ValueError unless temperature > 0.
    """
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import brier_score_loss

    probabilities = softened(logits, temperature)
    classes, confidence = np.arange(logits.shape[1]), probabilities.max(axis=1)
    right = (predictions(probabilities) == labels).astype(np.int64)
    shares, means = calibration_curve(right, confidence, pos_label=1, n_bins=CALIBRATION_BINS)
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)  # a bin holds its upper edge, as in calibration_curve
    counts = np.bincount(np.searchsorted(edges[1:-1], confidence))
    counts = counts[counts > 0]
    return Calibration(
        expected_calibration_error=float(np.average(np.abs(shares - means), weights=counts)),
        negative_log_likelihood=negative_log_likelihood(logits, labels, temperature),
        brier_score=float(brier_score_loss(labels, probabilities, labels=classes, scale_by_half=False)),
        bins=tuple(
            CalibrationBin(float(mean), float(share), int(count))
            for mean, share, count in zip(means, shares, counts, strict=True)
        ),
    )


def negative_log_likelihood(logits: Logits, labels: Labels, temperature: float = 1.0) -> float:
    """Mean −log softmax(z / T) of the labels, in nats, in float64 and of the logits themselves.

    Of probabilities it could not be: sure and wrong, they round to 0, and scikit-learn's log_loss takes at most 36 nats
    an example for that.
    """
    from scipy.special import logsumexp

    exact = np.asarray(logits, dtype=np.float64) / temperature
    return float(np.mean(logsumexp(exact, axis=1) - exact[np.arange(len(labels)), labels]))


LOWEST, HIGHEST = 0.05, 20.0
"""Between these temperature scaling looks."""


def fitted_temperature(logits: Logits, labels: Labels) -> float | None:
    """Temperature scaling: the T at which softmax(z / T) has the least negative log-likelihood on these examples.

    Guo et al. 2017, arXiv:1706.04599, section 4.2. Fit it on the validation split and use it on the test set. None
    where no T between LOWEST and HIGHEST fits best: of examples without a mistake every lower T is better still. In
    1 / T the negative log-likelihood is convex, its slope mean(E[z] − z of the label), whose root scipy's brentq finds.
    """
    from scipy.optimize import brentq

    exact = np.asarray(logits, dtype=np.float64)
    of_label = exact[np.arange(len(labels)), labels]

    def slope(log_temperature: float) -> float:
        expected = (softened(exact, float(np.exp(log_temperature))) * exact).sum(axis=1)
        return float(np.mean(expected - of_label))

    lowest, highest = np.log(LOWEST), np.log(HIGHEST)
    if slope(lowest) <= 1e-12 or slope(highest) >= 0:  # at the lowest it falls still, or is flat but for rounding
        return None
    return float(np.exp(brentq(slope, lowest, highest, xtol=1e-9)))


def likest(mean_soft: NDArray[np.float64]) -> NDArray[np.int64]:
    """Of a map of mean soft targets, (K, K), the class beside its own that each true class gives most, (K,)."""
    others = np.where(np.eye(len(mean_soft), dtype=bool), -1.0, np.nan_to_num(mean_soft))
    return np.asarray(others.argmax(axis=1), dtype=np.int64)


def likest_pairs(mean_soft: NDArray[np.float64], count: int) -> list[tuple[int, int, float]]:
    """Of a (K, K) map of mean soft targets the `count` largest shares that one class gives another, largest first.

    Each as (true class, other class, share). Classes without examples, whose rows are NaN, are left out.
    """
    shared = np.where(np.eye(len(mean_soft), dtype=bool) | np.isnan(mean_soft), -1.0, mean_soft)
    largest = np.argsort(-shared, axis=None, kind="stable")[: min(count, int((shared >= 0).sum()))]
    rows, columns = np.unravel_index(largest, shared.shape)
    return [(int(row), int(column), float(shared[row, column])) for row, column in zip(rows, columns, strict=True)]


def most_alike(mean_soft: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """The `count` classes of a (K, K) map of mean soft targets that share most with another one, in order of class.

    How much a class shares is the larger of the most that it gives another, and the most that another gives it. Classes
    without examples come last.
    """
    shared = np.where(np.eye(len(mean_soft), dtype=bool), 0.0, np.nan_to_num(mean_soft))
    strength = np.maximum(shared.max(axis=0), shared.max(axis=1)) - np.isnan(mean_soft).any(axis=1)
    return np.sort(np.argsort(-strength, kind="stable")[:count])


class SimilarityTree(NamedTuple):
    """Classes joined by likeness, ready to draw: the order of the leaves, and each join's four corners."""

    leaves: list[int]
    positions: list[list[float]]
    heights: list[list[float]]


def similarity_tree(mean_soft: NDArray[np.float64]) -> SimilarityTree:
    """Average-linkage tree of the classes (scipy's), of a (K, K) map of mean soft targets without NaN.

    Two classes are as near as the share of probability that they lend each other: the distance is minus the log of its
    mean over both directions, the diagonal left out.
    """
    from scipy.cluster.hierarchy import dendrogram, linkage

    shared = mean_soft.copy()
    np.fill_diagonal(shared, 0)
    shared /= np.maximum(shared.sum(axis=1, keepdims=True), 1e-300)  # at a low T all of a row may be its own class's
    distance = -np.log(np.maximum((shared + shared.T) / 2, 1e-12))
    drawn: Any = dendrogram(linkage(distance[np.triu_indices(len(distance), 1)], "average"), no_plot=True)
    return SimilarityTree([int(leaf) for leaf in drawn["leaves"]], drawn["icoord"], drawn["dcoord"])


GALLERIES = ("test order", "most ambiguous for the teacher", "teacher wrong", "teacher and student disagree")


def gallery(
    kind: str, labels: Labels, teacher_logits: Logits, student_logits: Logits | None, label: int | None = None
) -> NDArray[np.int64]:
    """Indices of test images of one kind (of GALLERIES), of one true class where label is given.

    All but the first kind start with the image that the teacher finds most ambiguous, by the entropy of its
    probabilities at T = 1. Without a student nobody disagrees with the teacher.
    """
    told = predictions(teacher_logits)
    keep = np.ones(len(labels), bool) if label is None else labels == label
    if kind == "teacher wrong":
        keep &= told != labels
    elif kind == "teacher and student disagree":
        keep &= told != (told if student_logits is None else predictions(student_logits))
    chosen = np.flatnonzero(keep)
    if kind == "test order":
        return chosen
    entropy = entropy_bits(softened(teacher_logits[chosen], 1.0))
    return chosen[np.argsort(-entropy, kind="stable")]
