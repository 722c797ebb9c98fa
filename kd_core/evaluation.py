"""How good a model is, from its logits alone. Plain numpy, so that a page needs no torch to say it.

Logits are (N, K), before softmax; labels are (N,), integers below K.
"""

from typing import Any

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
    pairs = labels * classes + predictions(logits)
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
