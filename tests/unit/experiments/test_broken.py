"""The lesson "Break it": its runs differ in the mistake alone, its harm is what scipy says, and its page tells it."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from kd_core.base.config import differences
from kd_core.base.paths import ROOT
from kd_core.data.catalogue import TransferSetConfig
from kd_core.evaluation import statistics
from kd_core.evaluation.claims import SeedDifference, seed_difference
from kd_core.exchange import shipped
from kd_core.experiments import broken
from kd_core.experiments import table as experiments_table
from kd_core.experiments.broken import RIGHT, WRONG, Choice
from kd_core.training.mistakes import MISTAKES

SEEDS = (0, 1, 2)


@pytest.mark.parametrize("dataset", broken.BASE)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_right_and_wrong_student_of_a_seed_differ_in_the_mistake_alone(mistake, dataset):
    plan = experiments_table.plan(broken.experiment(mistake, dataset), SEEDS)
    for seed in SEEDS:
        right, wrong = (plan.to_train[plan.runs[label, seed]] for label in (RIGHT, WRONG))
        differing = differences([right, wrong])
        assert differing.pop("mistake") == [None, mistake]
        if mistake == "no_t_squared":
            assert differing.pop("distillation.t_squared") == [True, False]
        if mistake == "hasty_teacher":
            good, hasty = (plan.to_train[student.distillation.teachers[0]] for student in (right, wrong))
            assert differing.pop("distillation.teachers")
            assert differences([good, hasty]) == {
                "training.epochs": [good.training.epochs, 1],
                "mistake": [None, mistake],
            }
        assert not differing


def test_the_teachers_of_the_lesson_are_those_that_ship(store, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", ROOT / "checkpoints" / "shipped")
    shipped.take_in(store)
    for dataset in broken.BASE:
        plan = experiments_table.plan(broken.experiment("class_mean", dataset), SEEDS, store.runs())
        assert {config.role for config in plan.to_train.values()} == {"distilled"}
        assert len(plan.to_train) == 2 * len(SEEDS)


def test_harm_is_the_mean_of_the_paired_differences_with_students_interval():
    generator = np.random.default_rng(0)
    right, wrong = generator.normal(100, 10, 5), generator.normal(115, 10, 5)
    difference = seed_difference(dict(enumerate(right)), dict(enumerate(wrong)))
    interval = ttest_rel(wrong, right).confidence_interval(0.95)
    assert difference.mean == pytest.approx((wrong - right).mean())
    assert difference.interval == pytest.approx((interval.low, interval.high))


def test_harm_counts_the_seeds_that_have_both_and_states_no_interval_of_two():
    assert seed_difference({0: 1.0}, {}) is None
    difference = seed_difference({0: 10, 1: 12, 5: 1}, {0: 13, 1: 13, 4: 99})
    assert difference == SeedDifference({0: 3.0, 1: 1.0}, 2.0, None)
    assert difference.sign == 0


@pytest.mark.parametrize(
    ("interval", "sign", "sentence"),
    [
        ((1.0, 5.0), 1, "**3.0 extra test errors with the mistake** on Digits"),
        ((-1.0, 7.0), 0, "**We cannot tell them apart**"),
        ((-5.0, -1.0), -1, "**Here the mistake does no harm**: 3.0 fewer test errors"),
        (None, 0, "with 2 seeds: it takes 3 to say how sure that is"),
    ],
)
def test_the_finding_says_what_was_found_also_where_that_is_nothing(interval, sign, sentence):
    mean = -3.0 if sign < 0 else 3.0
    difference = SeedDifference(dict.fromkeys(range(2 if interval is None else 5), mean), mean, interval)
    assert difference.sign == sign
    assert sentence in broken.finding("class_mean", "digits", difference)


def test_a_choice_on_the_test_set_is_too_good_by_the_other_halfs_surplus(digits):
    """A student that is right on the half that chose it and wrong elsewhere, beside one that is as good on both."""
    labels = digits.test_labels.numpy()
    choices = []
    for missed_own, missed_other in ((0.1, 0.1), (0.0, 0.2)):
        logits = np.eye(10)[labels]
        for half, share in zip(statistics.halves(len(labels), 7), (missed_own, missed_other), strict=True):
            missed = half[: round(share * len(half))]
            logits[missed] = np.roll(logits[missed], 1, axis=1)
        choices.append(broken.choice(logits, labels, 7))
    right, wrong = choices
    assert wrong == Choice(0, 45, 222, 223)
    assert right == Choice(22, 22, 222, 223)
    difference = broken.optimism({7: right}, {7: wrong})
    assert difference.mean == pytest.approx((45 * 222 / 223 - 0) - (22 * 222 / 223 - 22))
    assert "too good" in broken.finding("test_choice", "digits", difference)


# ----------------------------------------------------------------------------------------------------- the page


def test_no_difference_is_said_as_one():
    difference = SeedDifference(dict.fromkeys(range(5), 0.0), 0.0, (-1.0, 1.0))
    assert "As many test errors with the mistake as without it" in broken.finding("class_mean", "digits", difference)


def test_text_and_rows_say_the_same_share_of_the_images():
    settings = broken._DIGITS, broken._MNIST
    shares = [setting.transfer_set.share_in_words(setting.training.validation_fraction) for setting in settings]
    assert shares == [
        "20% of the training images: 10% to train, 10% to choose the epoch",
        "6% of the training images: 3% to train, 3% to choose the epoch",
    ]
    assert TransferSetConfig(fraction=0.1).share_in_words(0) == "10% of the training images"
