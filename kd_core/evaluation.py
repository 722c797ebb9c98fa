"""How good a model is, from its logits alone. Plain numpy, so that a page needs no torch to say it.

Logits are (N, K), before softmax; labels are (N,), integers below K.
"""

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


def confusion_matrix(logits: Logits, labels: Labels) -> NDArray[np.int64]:
    """Counts by true class (rows) and top class (columns), (K, K)."""
    classes = logits.shape[1]
    pairs = labels.astype(np.int64) * classes + predictions(logits)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def agreement(student_logits: Logits, teacher_logits: Logits) -> float:
    """Share of examples on which student and teacher have the same top class, 0 to 1."""
    return float((predictions(student_logits) == predictions(teacher_logits)).mean())


def softened(logits: Logits, temperature: float) -> NDArray[np.float64]:
    """softmax(z / T) in float64, for showing. (..., K) -> (..., K). Raises ValueError unless temperature > 0.

    Training uses kd_core.losses.soft_targets, against which a test holds this one.
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
    shared /= shared.sum(axis=1, keepdims=True)
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
