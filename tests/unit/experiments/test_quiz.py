"""The quiz's true answers are true, its items are answerable, and its gain is Hake's."""

import pytest
import torch

from kd_core.base.config import ConfigError
from kd_core.experiments.lesson.quiz import ITEMS, normalised_gain, score
from kd_core.losses.hinton import distillation_gradient, distillation_loss

LOGITS = torch.randn(200, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 4
STUDENT = torch.randn(200, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 4
LABELS = LOGITS.argmax(dim=1)


def entropy(probabilities):
    return -(probabilities * probabilities.log()).sum(dim=1)


def test_there_are_eight_items_with_one_true_answer_each():
    assert len(ITEMS) == 8
    for item in ITEMS:
        assert len(set(item.answers)) == 4
        assert 0 <= item.answer < 4
        assert item.why
    assert len({item.answer for item in ITEMS}) > 2, "the true answer does not always stand in one place"


def test_a_higher_temperature_spreads_and_keeps_the_order():
    cold, warm = LOGITS.softmax(dim=1), (LOGITS / 4).softmax(dim=1)
    assert (cold.argsort(dim=1) == warm.argsort(dim=1)).all()
    assert (entropy(warm) > entropy(cold)).all()
    assert (warm.sum(dim=1) - 1).abs().max() < 1e-12
    assert ITEMS[0].answers[ITEMS[0].answer].endswith("the order of the classes stays.")


def test_at_the_highest_temperature_all_classes_are_equal():
    assert ((LOGITS / 1e12).softmax(dim=1) - 0.1).abs().max() < 1e-9
    assert ITEMS[1].answers[ITEMS[1].answer].startswith("1/10")


def test_the_bare_soft_gradient_shrinks_as_the_square_of_a_high_temperature():
    first, second = (
        distillation_gradient(STUDENT, LOGITS, LABELS, temperature=T, alpha=1.0, t_squared=False).soft.norm(dim=1)
        for T in (1_000.0, 2_000.0)
    )
    torch.testing.assert_close(first / second, torch.full_like(first, 4.0), rtol=0.02, atol=0)
    assert "1/T²" in ITEMS[4].answers[ITEMS[4].answer]


def test_alpha_one_reads_no_labels():
    first, second = (
        distillation_loss(STUDENT, LOGITS, labels, temperature=4.0, alpha=1.0) for labels in (LABELS, LABELS.flip(0))
    )
    assert torch.equal(torch.as_tensor(first[0]), torch.as_tensor(second[0]))
    assert ITEMS[5].answers[ITEMS[5].answer].endswith("needs no labels.")


def test_the_gain_is_the_share_of_what_could_be_learned():
    assert normalised_gain(0.4, 0.7) == pytest.approx(0.5)
    assert normalised_gain(0.5, 0.5) == 0
    assert normalised_gain(0.5, 0.25) == pytest.approx(-0.5)
    with pytest.raises(ConfigError, match="nothing to gain"):
        normalised_gain(1.0, 1.0)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        normalised_gain(40, 70)


def test_a_score_counts_right_answers():
    right = [item.answer for item in ITEMS]
    assert score(right) == 1
    assert score([right[0], *[None] * 7]) == 1 / 8
    with pytest.raises(ConfigError, match="8 items"):
        score([0])
