"""Correct the bias of a class that a student never saw, as the paper does (section 3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd_core.evaluation.accuracy import Labels, Logits, predictions

STRONGEST = 4.0
"""Up to this bias, or 2.5 times the best, the test errors are counted."""
STEPS = 61


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


@dataclass(frozen=True, eq=False)
class Correction:
    """What raising the biases of some classes does to a model's test errors, those on these classes beside all.

    examples: images of these classes in the test set. best: best_bias on the test set. biases: from 0 to the strongest.
    """

    logits: Logits
    labels: Labels
    classes: Sequence[int]
    examples: int
    best: float
    biases: NDArray[np.float64]

    def errors(self, by: float) -> tuple[int, int]:
        """Test errors with the biases raised by so much, and how many of them are on these classes."""
        wrong = predictions(with_bias(self.logits, self.classes, by)) != self.labels
        return int(wrong.sum()), int(wrong[np.isin(self.labels, self.classes)].sum())


def correction(logits: Logits, labels: Labels, classes: Sequence[int]) -> Correction:
    """The correction of some classes, to be counted at any bias."""
    best = best_bias(logits, labels, classes)
    biases = np.linspace(0, max(STRONGEST, 2.5 * best), STEPS)
    return Correction(logits, labels, classes, int(np.isin(labels, classes).sum()), best, biases)
