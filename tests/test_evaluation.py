"""Evaluation against scikit-learn, closed forms and published numbers."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score
from sklearn.metrics import confusion_matrix as sklearn_confusion

from kd_core import evaluation, losses


@pytest.fixture
def results():
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(500, 10)).astype(np.float32)
    labels = generator.integers(0, 10, 500)
    logits[np.arange(500), labels] += 1.5
    return logits, labels


def test_errors_accuracy_and_confusion_agree_with_scikit_learn(results):
    logits, labels = results
    predicted = logits.argmax(1)
    assert evaluation.accuracy(logits, labels) == pytest.approx(accuracy_score(labels, predicted))
    assert evaluation.test_errors(logits, labels) == round(500 * (1 - accuracy_score(labels, predicted)))
    expected = sklearn_confusion(labels, predicted, labels=range(10))
    assert (evaluation.confusion_matrix(logits, labels) == expected).all()


def test_confusion_has_a_row_for_a_class_that_never_occurs():
    matrix = evaluation.confusion_matrix(np.eye(4)[[0, 1]], np.array([0, 3]))
    assert matrix.shape == (4, 4)
    assert matrix[0, 0] == matrix[3, 1] == 1
    assert matrix.sum() == 2


def test_agreement_is_the_share_of_common_top_classes():
    student = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    teacher = np.array([[2.0, 0], [0, 2], [0, 2], [0, 2]])
    assert evaluation.agreement(student, teacher) == 0.75


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (81, 263), (9897, 10000)])
def test_wilson_interval_is_its_closed_form(successes, trials):
    z, share = 1.959963984540054, successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2))
    expected = (max(0.0, middle - half), min(1.0, middle + half))
    assert evaluation.wilson_interval(successes, trials) == pytest.approx(expected, abs=1e-9)


def test_wilson_interval_matches_a_published_value():
    """Newcombe (1998), Statistics in Medicine 17, table I, method 3: 81 of 263 gives 0.2553 to 0.3662."""
    assert evaluation.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize("temperature", [0.1, 1, 4, 100])
def test_softened_is_what_training_calls_soft_targets(results, temperature):
    logits = results[0].astype(np.float64)
    expected = losses.soft_targets(torch.from_numpy(logits), temperature).numpy()
    np.testing.assert_allclose(evaluation.softened(logits, temperature), expected, rtol=1e-12, atol=1e-300)


def test_softened_extreme_logits_are_a_distribution():
    for temperature in (0.1, 1, 100):
        rows = evaluation.softened(np.array([[1e4, -1e4, 0], [0, 0, 0]]), temperature)
        assert np.isfinite(rows).all()
        np.testing.assert_allclose(rows.sum(1), 1)


@pytest.mark.parametrize("temperature", [0, -2, math.nan])
def test_softened_refuses_a_temperature_that_is_not_above_zero(temperature):
    with pytest.raises(ValueError, match="temperature must be above 0"):
        evaluation.softened(np.zeros((1, 3)), temperature)


def test_entropy_is_zero_for_certainty_and_log2_of_k_for_none():
    rows = np.array([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(evaluation.entropy_bits(rows), [0, 2, 1], atol=1e-12)
