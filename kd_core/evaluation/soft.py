"""Softened probabilities, and which classes they make alike."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd_core.base.templates import said
from kd_core.evaluation.accuracy import Labels, Logits, predictions


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
    """Mean soft targets of each class: (K, K), row = true class, its mean softmax(z / T); rows sum to 1.

    A class without examples has a row of NaN. Raises ValueError unless temperature > 0.
    """
    soft, classes = softened(logits, temperature), logits.shape[1]
    rows = [soft[labels == label].mean(axis=0) if (labels == label).any() else None for label in range(classes)]
    return np.stack([np.full(classes, np.nan) if row is None else row for row in rows])


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


GALLERIES = (
    said("test order"),
    said("most ambiguous for the teacher"),
    said("teacher wrong"),
    said("teacher and student disagree"),
)


def gallery(
    kind: str, labels: Labels, teacher_logits: Logits, student_logits: Logits | None, label: int | None = None
) -> NDArray[np.int64]:
    """Indices of test images of one kind (of GALLERIES), of one true class where label is given.

    All but the first kind start with the image that the teacher finds most ambiguous, by the entropy of its
    probabilities at T = 1. Without a student nobody disagrees with the teacher.
    """
    teacher_predictions = predictions(teacher_logits)
    keep = np.ones(len(labels), bool) if label is None else labels == label
    if kind == "teacher wrong":
        keep &= teacher_predictions != labels
    elif kind == "teacher and student disagree":
        keep &= teacher_predictions != (teacher_predictions if student_logits is None else predictions(student_logits))
    chosen = np.flatnonzero(keep)
    if kind == "test order":
        return chosen
    entropy = entropy_bits(softened(teacher_logits[chosen], 1.0))
    return chosen[np.argsort(-entropy, kind="stable")]
