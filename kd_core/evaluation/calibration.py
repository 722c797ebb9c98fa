"""Whether confidence can be trusted, and the one temperature that makes it fit best."""

from typing import NamedTuple

import numpy as np

from kd_core.evaluation.accuracy import HIGHEST, LOWEST, Labels, Logits, negative_log_likelihood, predictions
from kd_core.evaluation.soft import softened

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
