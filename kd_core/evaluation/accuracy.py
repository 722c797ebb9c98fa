"""Accuracy, confusion and agreement of models from their logits, without torch.

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


def agreement(student_logits: Logits, teacher_logits: Logits) -> float:
    """Share of examples on which student and teacher have the same top class, 0 to 1."""
    return float((predictions(student_logits) == predictions(teacher_logits)).mean())


def negative_log_likelihood(logits: Logits, labels: Labels, temperature: float = 1.0) -> float:
    """Mean of losses."""
    return float(np.mean(losses(logits, labels, temperature)))


def losses(logits: Logits, labels: Labels, temperature: float = 1.0) -> NDArray[np.float64]:
    """−log softmax(z / T) of each example's label, (N,), in nats, in float64 and of the logits themselves.

    Of probabilities it could not be: sure and wrong, they round to 0, and scikit-learn's log_loss takes at most 36 nats
    an example for that.
    """
    from scipy.special import logsumexp

    exact = np.asarray(logits, dtype=np.float64) / temperature
    loss: NDArray[np.float64] = logsumexp(exact, axis=1) - exact[np.arange(len(labels)), labels]
    return loss


LOWEST, HIGHEST = 0.05, 20.0
"""Between these temperature scaling looks."""


def likest(mean_soft: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each true class, the other class with the largest mean soft target, (K,). mean_soft: (K, K)."""
    others = np.where(np.eye(len(mean_soft), dtype=bool), -1.0, np.nan_to_num(mean_soft))
    return np.asarray(others.argmax(axis=1), dtype=np.int64)
