"""Evaluation against scikit-learn, closed forms and published numbers."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score
from sklearn.metrics import confusion_matrix as sklearn_confusion

from kd_core.evaluation import accuracy, calibration, soft, statistics
from kd_core.losses import hinton


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
    assert accuracy.accuracy(logits, labels) == pytest.approx(accuracy_score(labels, predicted))
    assert accuracy.test_errors(logits, labels) == round(500 * (1 - accuracy_score(labels, predicted)))
    expected = sklearn_confusion(labels, predicted, labels=range(10))
    assert (accuracy.confusion_matrix(logits, labels) == expected).all()


def test_errors_accuracy_and_confusion_by_hand():
    logits = np.array([[3.0, 1, 2], [0, 5, 4], [1, 0, 0], [-1, -3, -2], [0, 1, 9]])  # top classes 0 1 0 0 2
    labels = np.array([0, 2, 0, 1, 2])
    assert accuracy.predictions(logits).tolist() == [0, 1, 0, 0, 2]
    assert accuracy.test_errors(logits, labels) == 2
    assert accuracy.accuracy(logits, labels) == pytest.approx(3 / 5)
    assert accuracy.confusion_matrix(logits, labels).tolist() == [[2, 0, 0], [1, 0, 0], [0, 1, 1]]


def test_confusion_sums_to_the_examples_and_its_diagonal_to_the_right_ones(results):
    logits, labels = results
    matrix = accuracy.confusion_matrix(logits, labels)
    assert matrix.sum() == 500
    assert np.trace(matrix) == 500 - accuracy.test_errors(logits, labels)
    assert matrix.sum(axis=1).tolist() == np.bincount(labels, minlength=10).tolist()
    assert matrix.sum(axis=0).tolist() == np.bincount(logits.argmax(1), minlength=10).tolist()


def test_neither_a_constant_nor_a_scale_added_to_logits_changes_a_verdict(results):
    logits, labels = results
    moved = logits * 7 + 100
    assert accuracy.test_errors(moved, labels) == accuracy.test_errors(logits, labels)
    assert accuracy.agreement(moved, logits) == 1


def test_confusion_has_a_row_for_a_class_that_never_occurs():
    matrix = accuracy.confusion_matrix(np.eye(4)[[0, 1]], np.array([0, 3]))
    assert matrix.shape == (4, 4)
    assert matrix[0, 0] == matrix[3, 1] == 1
    assert matrix.sum() == 2


def test_agreement_is_the_share_of_common_top_classes():
    student = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    teacher = np.array([[2.0, 0], [0, 2], [0, 2], [0, 2]])
    assert accuracy.agreement(student, teacher) == 0.75


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (81, 263), (9897, 10000)])
def test_wilson_interval_is_its_closed_form(successes, trials):
    z, share = 1.959963984540054, successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2))
    expected = (max(0.0, middle - half), min(1.0, middle + half))
    assert statistics.wilson_interval(successes, trials) == pytest.approx(expected, abs=1e-9)


def test_wilson_interval_matches_a_published_value():
    """Newcombe (1998), Statistics in Medicine 17, table I, method 3: 81 of 263 gives 0.2553 to 0.3662."""
    assert statistics.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize("temperature", [0.1, 1, 4, 100])
def test_softened_is_what_training_calls_soft_targets(results, temperature):
    logits = results[0].astype(np.float64)
    expected = hinton.soft_targets(torch.from_numpy(logits), temperature).numpy()
    np.testing.assert_allclose(soft.softened(logits, temperature), expected, rtol=1e-12, atol=1e-300)


def test_wilson_interval_lies_about_the_share_and_narrows_with_trials():
    """With no success in n trials the closed form is 0 to z² / (n + z²)."""
    z_squared = 1.959963984540054**2
    for trials in (1, 10, 1000):
        low, high = statistics.wilson_interval(0, trials)
        assert low == 0
        assert high == pytest.approx(z_squared / (trials + z_squared), abs=1e-12)
    widths = []
    for trials in (10, 100, 1000, 10_000):
        low, high = statistics.wilson_interval(trials * 9 // 10, trials)
        assert low < 0.9 < high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)


def test_softened_of_two_classes_is_the_sigmoid_of_their_difference():
    for temperature in (0.5, 1.0, 2.0, 20.0):
        for difference in (-30.0, -1.0, 0.0, 0.1, 7.0):
            first, second = soft.softened(np.array([difference, 0.0]), temperature)
            assert first == pytest.approx(1 / (1 + math.exp(-difference / temperature)), rel=1e-12)
            assert first + second == pytest.approx(1, rel=1e-15)


def test_softened_log_weights_are_the_weights_at_t_1_and_their_roots_above():
    weights = np.array([1.0, 4.0, 16.0])
    np.testing.assert_allclose(soft.softened(np.log(weights), 1), weights / 21, rtol=1e-14)
    np.testing.assert_allclose(soft.softened(np.log(weights), 2), np.array([1, 2, 4]) / 7, rtol=1e-14)


def test_softened_is_the_top_class_when_cold_and_uniform_when_hot(results):
    logits = results[0]
    top = np.eye(10)[logits.argmax(1)]
    gap = np.sort(logits, axis=1)
    clear = gap[:, -1] - gap[:, -2] > 0.05
    np.testing.assert_allclose(soft.softened(logits, 1e-3)[clear], top[clear], atol=1e-12)
    np.testing.assert_allclose(soft.softened(logits, 1e9), 0.1, atol=1e-8)


def test_softened_takes_any_leading_shape_and_answers_in_float64(results):
    logits = results[0]
    rows = soft.softened(logits, 3)
    assert rows.dtype == np.float64
    np.testing.assert_array_equal(soft.softened(logits.reshape(5, 100, 10), 3), rows.reshape(5, 100, 10))
    np.testing.assert_allclose(soft.softened(logits[7], 3), rows[7], rtol=1e-15)


@pytest.mark.parametrize("temperature", [0.1, 1, 4, 100])
def test_softened_extreme_logits_have_no_nan_and_agree_with_training(temperature):
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, -1e4], [1e4, 1e4 - 1, 0.0]])
    rows = soft.softened(logits, temperature)
    np.testing.assert_allclose(rows, hinton.soft_targets(torch.from_numpy(logits), temperature).numpy(), atol=1e-15)
    np.testing.assert_allclose(rows[1], 1 / 3)
    np.testing.assert_allclose(rows[2, :2], 0.5, rtol=1e-12)
    bits = soft.entropy_bits(rows)
    assert np.isfinite(bits).all()
    assert bits[1] == pytest.approx(math.log2(3))


def test_softened_extreme_logits_are_a_distribution():
    for temperature in (0.1, 1, 100):
        rows = soft.softened(np.array([[1e4, -1e4, 0], [0, 0, 0]]), temperature)
        assert np.isfinite(rows).all()
        np.testing.assert_allclose(rows.sum(1), 1)


@pytest.mark.parametrize("temperature", [0, -2, math.nan])
def test_softened_refuses_a_temperature_that_is_not_above_zero(temperature):
    with pytest.raises(ValueError, match="temperature must be above 0"):
        soft.softened(np.zeros((1, 3)), temperature)


def test_entropy_is_zero_for_certainty_and_log2_of_k_for_none():
    rows = np.array([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(soft.entropy_bits(rows), [0, 2, 1], atol=1e-12)


def test_entropy_lies_between_zero_and_log2_of_k_and_grows_with_temperature(results):
    logits = results[0]
    before = np.zeros(len(logits))
    for temperature in (0.01, 0.5, 1, 2, 4, 8, 20, 1e6):
        bits = soft.entropy_bits(soft.softened(logits, temperature))
        assert bits.min() >= 0
        assert bits.max() <= math.log2(10) + 1e-12
        assert (bits >= before - 1e-12).all()
        before = bits
    np.testing.assert_allclose(before, math.log2(10), atol=1e-9)


def test_entropy_of_two_classes_is_the_binary_entropy():
    for share in (0.001, 0.1, 0.25, 0.5):
        expected = -share * math.log2(share) - (1 - share) * math.log2(1 - share)
        assert float(soft.entropy_bits(np.array([share, 1 - share]))) == pytest.approx(expected, rel=1e-12)


# ------------------------------------------------------------------------------------------------ is it real?


def wrong_by(pattern, classes=3):
    """Logits and labels of a model that is wrong where pattern says so."""
    labels = np.arange(len(pattern)) % classes
    predicted = np.where(np.array(pattern, bool), (labels + 1) % classes, labels)
    return np.eye(classes)[predicted], labels


def models_wrong_alone(only_first, only_second, both=3, neither=4):
    first, labels = wrong_by([1] * only_first + [0] * only_second + [1] * both + [0] * neither)
    second, _ = wrong_by([0] * only_first + [1] * only_second + [1] * both + [0] * neither)
    return first, second, labels


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 1), (1, 1), (0, 6), (5, 12), (12, 5), (30, 31), (74, 146)])
def test_mcnemar_is_twice_the_smaller_binomial_tail(only_first, only_second):
    result = statistics.mcnemar(*models_wrong_alone(only_first, only_second))
    n, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n
    assert result[:2] == (only_first, only_second)
    assert result.p_value == pytest.approx(min(1, 2 * tail), rel=1e-12)


def test_mcnemar_matches_a_published_value():
    """Fay, "Exact McNemar's Test and Matching Confidence Intervals" (R package exact2x2): 9 against 2 gives 0.06543."""
    assert statistics.mcnemar(*models_wrong_alone(9, 2)).p_value == pytest.approx(0.06543, abs=5e-6)


def test_mcnemar_of_models_that_never_differ_is_one():
    first, _, labels = models_wrong_alone(0, 0)
    assert statistics.mcnemar(first, first, labels) == (0, 0, 1.0)


def test_mcnemar_swaps_with_its_models():
    first, second, labels = models_wrong_alone(3, 9)
    result, swapped = statistics.mcnemar(first, second, labels), statistics.mcnemar(second, first, labels)
    assert result == (3, 9, swapped.p_value)
    assert swapped[:2] == (9, 3)


def test_mean_interval_matches_tabled_t():
    """t(0.975) is 12.706, 4.303 and 2.262 for 1, 2 and 9 degrees of freedom (any statistics book's table)."""
    for values, tabled in (([1.0, 3.0], 12.706), ([1.0, 2.0, 6.0], 4.303), (list(range(10)), 2.262)):
        mean = sum(values) / len(values)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
        half = tabled * deviation / math.sqrt(len(values))
        assert statistics.mean_interval(values) == pytest.approx((mean, mean - half, mean + half), rel=2e-3)


def test_mean_interval_of_equal_values_is_a_point():
    assert statistics.mean_interval([0.98, 0.98, 0.98]) == pytest.approx((0.98, 0.98, 0.98))


def test_mean_interval_covers_the_true_mean_in_95_percent_of_cases():
    samples = np.random.default_rng(0).normal(7, 2, size=(2000, 4))
    covered = 0
    for sample in samples:
        _, low, high = statistics.mean_interval(sample.tolist())
        covered += low <= 7 <= high
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)


def test_spread_is_the_range_of_two_values_and_the_interval_of_more():
    assert statistics.spread([5]) == (5, 5, 5)
    assert statistics.spread([4, 1]) == (2.5, 1, 4)
    assert statistics.spread([1, 2, 6]) == statistics.mean_interval([1, 2, 6])


@pytest.mark.parametrize("values", [[], [0.5]])
def test_mean_interval_needs_two_values(values):
    with pytest.raises(ValueError, match="at least two values"):
        statistics.mean_interval(values)


def test_per_class_accuracy_is_each_classs_share_and_nan_without_examples():
    logits = np.eye(4)[[0, 1, 0, 2, 2, 2]]
    shares = accuracy.per_class_accuracy(logits, np.array([0, 0, 0, 2, 2, 1]))
    np.testing.assert_allclose(shares, [2 / 3, 0, 1, np.nan])


def test_per_class_accuracies_weighted_by_class_are_the_accuracy(results):
    logits, labels = results
    shares = accuracy.per_class_accuracy(logits, labels)
    assert np.average(shares, weights=np.bincount(labels)) == pytest.approx(accuracy.accuracy(logits, labels))


def test_confusion_difference_is_of_matrices_and_its_rows_sum_to_zero(results):
    logits, labels = results
    other = np.roll(logits, 1, axis=1)
    difference = accuracy.confusion_difference(logits, other, labels)
    for true in range(10):
        for top in range(10):
            here = labels == true
            counts = [(model.argmax(1)[here] == top).sum() for model in (logits, other)]
            assert difference[true, top] == counts[0] - counts[1]
    assert (difference.sum(axis=1) == 0).all()
    assert (accuracy.confusion_difference(logits, logits, labels) == 0).all()


# ------------------------------------------------------------------------------------------------ calibration


def brute_calibration(logits, labels, temperature, bins=15):
    """ECE (Guo et al., equations 2 and 3), NLL and Brier score, example by example."""
    members = [[] for _ in range(bins)]
    nll = brier = 0.0
    for row, label in zip(logits.astype(float), labels, strict=True):
        weights = [math.exp((value - row.max()) / temperature) for value in row]
        shares = [weight / sum(weights) for weight in weights]
        confidence = max(shares)
        place = next(place for place in range(bins) if confidence <= (place + 1) / bins + 1e-15)
        members[place].append((confidence, shares.index(confidence) == label))
        nll -= math.log(shares[label])
        brier += sum((share - (index == label)) ** 2 for index, share in enumerate(shares))
    error = sum(abs(sum(right for _, right in bin_) - sum(confidence for confidence, _ in bin_)) for bin_ in members)
    return error / len(labels), nll / len(labels), brier / len(labels), [len(bin_) for bin_ in members if bin_]


@pytest.mark.parametrize("temperature", [0.3, 1, 4])
def test_calibration_is_its_definition_counted_out(results, temperature):
    logits, labels = results
    result = calibration.calibration(logits, labels, temperature)
    *scores, counts = brute_calibration(logits, labels, temperature)
    assert result[:3] == pytest.approx(scores, rel=1e-9)
    assert [bin_.examples for bin_ in result.bins] == counts
    assert sum(bin_.examples * bin_.accuracy for bin_ in result.bins) == pytest.approx(
        (logits.argmax(1) == labels).sum()
    )


def test_calibration_by_hand():
    """Confidences 0.9, 0.9, 0.6, 0.6, of which right: one, one, both none."""
    confident, unsure = [math.log(9), 0.0], [math.log(1.5), 0.0]
    logits, labels = np.array([confident, confident, unsure, unsure]), np.array([0, 1, 1, 1])
    result = calibration.calibration(logits, labels)
    assert [bin_.examples for bin_ in result.bins] == [2, 2]
    assert result.bins[0] == pytest.approx((0.6, 0.0, 2))
    assert result.bins[1] == pytest.approx((0.9, 0.5, 2))
    assert result.expected_calibration_error == pytest.approx((2 * 0.6 + 2 * 0.4) / 4)
    assert result.negative_log_likelihood == pytest.approx(-math.log(0.9 * 0.1 * 0.4 * 0.4) / 4)
    assert result.brier_score == pytest.approx((2 * 0.1**2 + 2 * 0.9**2 + 2 * 2 * 0.6**2) / 4)


def test_calibration_is_perfect_if_sure_and_right_worst_if_sure_and_wrong():
    labels = np.array([0, 1, 2, 1])
    sure = 40.0 * np.eye(3)[labels]
    assert calibration.calibration(sure, labels)[:3] == pytest.approx((0, 0, 0), abs=1e-12)
    error, _, brier, bins = calibration.calibration(sure, (labels + 1) % 3)
    assert (error, brier) == pytest.approx((1, 2))
    assert bins == ((1.0, 0.0, 4),)


def test_calibration_of_uniform_logits_says_log_of_k():
    result = calibration.calibration(np.zeros((50, 5)), np.arange(50) % 5)
    assert result[:3] == pytest.approx((0, math.log(5), 0.8), abs=1e-12)


def drawn(temperature, examples=40_000, classes=6, seed=0):
    """Logits whose softmax at this temperature is the truth: their labels are drawn from it."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(examples, classes)) * 3
    noise = generator.gumbel(size=logits.shape)
    return logits.astype(np.float32), (logits / temperature + noise).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5, 6.0])
def test_temperature_scaling_recovers_the_temperature_that_labels_were_drawn_at(temperature):
    logits, labels = drawn(temperature)
    assert calibration.fitted_temperature(logits, labels) == pytest.approx(temperature, rel=0.03)


def test_temperature_scaling_calibrates_and_changes_no_verdict():
    logits, labels = drawn(2.5)
    fitted = calibration.fitted_temperature(*drawn(2.5, seed=1))
    before, after = calibration.calibration(logits, labels), calibration.calibration(logits, labels, fitted)
    assert before.expected_calibration_error > 0.1 > 0.02 > after.expected_calibration_error
    assert after.negative_log_likelihood < before.negative_log_likelihood
    assert after.brier_score < before.brier_score
    for temperature in (fitted / 1.1, fitted * 1.1):
        assert after.negative_log_likelihood < calibration.calibration(logits, labels, temperature)[1]


@pytest.mark.parametrize("margin", [1, 5, 1000])
def test_a_split_without_mistakes_fits_no_temperature(margin):
    """Every lower T is better still, down to a plateau where float64 sees no loss at all (margin 5: T = 0.12)."""
    assert calibration.fitted_temperature(margin * np.eye(4), np.arange(4)) is None


def test_logits_that_say_nothing_or_the_opposite_fit_no_temperature():
    assert calibration.fitted_temperature(np.zeros((4, 4)), np.arange(4)) is None
    assert calibration.fitted_temperature(-np.eye(4), np.arange(4)) is None


def test_one_mistake_fits_the_temperature_that_gives_it_its_share():
    """99 of 100 right by a margin of 5 between two classes: the best T makes the confidence 0.99."""
    logits, labels = np.tile([5.0, 0.0], (100, 1)), np.arange(100) // 99
    assert calibration.fitted_temperature(logits, labels) == pytest.approx(5 / math.log(99))


def test_negative_log_likelihood_is_not_clipped_at_tiny_probabilities():
    """scikit-learn's log_loss says 36.04 of it."""
    result = calibration.calibration(np.array([[500.0, 0.0], [0.0, 0.0]]), np.array([1, 1]))
    assert result.negative_log_likelihood == pytest.approx((500 + math.log(2)) / 2)
