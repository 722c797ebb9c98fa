"""The objective and its gradient, against float64 recomputations, autograd and closed forms."""

import math

import numpy as np
import pytest
import torch

from kd_core.losses import hinton

N, K = 7, 10
TEMPERATURES = (0.1, 0.5, 1.0, 2.5, 4.0, 20.0, 100.0)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(3)
    student = torch.randn(N, K, generator=generator, dtype=torch.float64) * 4
    teacher = torch.randn(N, K, generator=generator, dtype=torch.float64) * 6
    labels = torch.randint(0, K, (N,), generator=generator)
    return student, teacher, labels


def plain_softmax(row, temperature):
    """softmax(z / T) of one row with nothing but Python floats."""
    top = max(row)
    powers = [math.exp((z - top) / temperature) for z in row]
    return [power / sum(powers) for power in powers]


def by_hand(student, teacher, labels, temperature, alpha):
    """DESIGN.md's formula, example by example and class by class, in Python's own float64."""
    soft = hard = 0.0
    for s, t, label in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        q, p = plain_softmax(s, temperature), plain_softmax(t, temperature)
        soft += sum(pi * (math.log(pi) - math.log(qi)) for pi, qi in zip(p, q, strict=True) if pi > 0)
        hard -= math.log(plain_softmax(s, 1.0)[label])
    soft, hard = temperature**2 * soft / len(labels), hard / len(labels)
    return alpha * soft + (1 - alpha) * hard, soft, hard


@pytest.mark.parametrize("temperature", TEMPERATURES[1:])
@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_loss_and_its_parts_match_a_float64_recomputation(batch, temperature, alpha):
    expected = by_hand(*batch, temperature, alpha)
    computed = hinton.distillation_loss(*batch, temperature=temperature, alpha=alpha)
    np.testing.assert_allclose([float(part) for part in computed], expected, rtol=1e-9)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_float32_stays_near_float64(batch, temperature):
    student, teacher, labels = batch
    exact = hinton.distillation_loss(student, teacher, labels, temperature=temperature, alpha=0.9)
    single = hinton.distillation_loss(student.float(), teacher.float(), labels, temperature=temperature, alpha=0.9)
    np.testing.assert_allclose([float(part) for part in single], [float(part) for part in exact], rtol=2e-5)


def test_alpha_zero_is_cross_entropy(batch):
    student, teacher, labels = batch
    computed = hinton.distillation_loss(student, teacher, labels, temperature=4.0, alpha=0.0)
    assert float(computed.loss) == pytest.approx(by_hand(*batch, 4.0, 0.0)[2], rel=1e-12)


def test_alpha_one_reads_no_labels(batch):
    student, teacher, labels = batch
    with_labels = hinton.distillation_loss(student, teacher, labels, temperature=4.0, alpha=1.0)
    without = hinton.distillation_loss(student, teacher, None, temperature=4.0, alpha=1.0)
    assert float(without.loss) == float(with_labels.loss) == float(with_labels.soft_loss)
    assert math.isnan(float(without.hard_loss))


def test_identical_logits_give_zero_soft_loss(batch):
    _, teacher, labels = batch
    computed = hinton.distillation_loss(teacher, teacher, labels, temperature=3.0, alpha=0.5)
    assert float(computed.soft_loss) == pytest.approx(0.0, abs=1e-12)


def test_soft_loss_averages_over_the_batch_and_not_over_classes(batch):
    student, teacher, labels = batch
    once = hinton.distillation_loss(student, teacher, labels, temperature=2.0, alpha=1.0)
    twice = hinton.distillation_loss(
        student.repeat(2, 1), teacher.repeat(2, 1), labels.repeat(2), temperature=2.0, alpha=1.0
    )
    assert float(once.soft_loss) == pytest.approx(float(twice.soft_loss), rel=1e-12)
    padding = torch.full((N, 90), -1e9, dtype=torch.float64)  # classes that nobody believes in change nothing
    wide = hinton.distillation_loss(
        torch.cat([student, padding], 1), torch.cat([teacher, padding], 1), labels, temperature=2.0, alpha=1.0
    )
    assert float(wide.soft_loss) == pytest.approx(float(once.soft_loss), rel=1e-9)


@pytest.mark.parametrize("temperature", [0.5, 4.0, 20.0])
def test_switching_t_squared_off_divides_the_soft_loss_by_it(batch, temperature):
    scaled = hinton.distillation_loss(*batch, temperature=temperature, alpha=0.5)
    bare = hinton.distillation_loss(*batch, temperature=temperature, alpha=0.5, t_squared=False)
    assert float(scaled.soft_loss) == pytest.approx(temperature**2 * float(bare.soft_loss), rel=1e-12)
    assert float(scaled.hard_loss) == float(bare.hard_loss)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("t_squared", [True, False])
def test_closed_form_gradient_is_what_autograd_finds(batch, temperature, alpha, t_squared):
    student, teacher, labels = batch
    student = student.clone().requires_grad_()
    settings = {"temperature": temperature, "alpha": alpha, "t_squared": t_squared}
    hinton.distillation_loss(student, teacher, labels, **settings).loss.backward()
    closed = hinton.distillation_gradient(student.detach(), teacher, labels, **settings)
    torch.testing.assert_close(closed.gradient, student.grad, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(closed.soft + closed.hard, closed.gradient, rtol=1e-12, atol=1e-15)


def test_soft_gradient_approaches_the_papers_high_temperature_limit(batch):
    """Section 2.1: (z_s - z_t) / (K T²) for centred logits; the error falls as 1/T beside it."""
    student, teacher, labels = (batch[0][:1], batch[1][:1], batch[2][:1])
    errors = []
    for temperature in (1e2, 1e3, 1e4):
        exact = hinton.distillation_gradient(
            student, teacher, labels, temperature=temperature, alpha=1.0, t_squared=False
        ).soft
        limit = hinton.high_temperature_gradient(student, teacher, temperature)
        errors.append(float((exact - limit).norm() / limit.norm()))
    assert errors[0] < 0.3
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.3)
    assert errors[2] == pytest.approx(errors[1] / 10, rel=0.3)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 100.0])
def test_extreme_logits_stay_finite(temperature):
    student = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]])
    teacher = -student
    labels = torch.tensor([0, 1])
    computed = hinton.distillation_loss(student, teacher, labels, temperature=temperature, alpha=0.5)
    gradient = hinton.distillation_gradient(student, teacher, labels, temperature=temperature, alpha=0.5).gradient
    assert all(torch.isfinite(part) for part in computed)
    assert torch.isfinite(gradient).all()


def test_soft_targets_are_a_distribution_that_flattens_with_temperature(batch):
    previous = None
    for temperature in TEMPERATURES:
        soft = hinton.soft_targets(batch[1], temperature)
        torch.testing.assert_close(soft.sum(1), torch.ones(N, dtype=torch.float64))
        for row, given in zip(soft.tolist(), batch[1].tolist(), strict=True):
            np.testing.assert_allclose(row, plain_softmax(given, temperature), rtol=1e-9, atol=1e-300)
        top = soft.max(1).values
        assert previous is None or (top < previous + 1e-12).all()
        previous = top


@pytest.mark.parametrize("temperature", [0, -1, math.nan])
def test_temperature_that_is_not_above_zero_is_refused_in_words(batch, temperature):
    with pytest.raises(ValueError, match="temperature must be above 0"):
        hinton.distillation_loss(*batch, temperature=temperature, alpha=0.5)
    with pytest.raises(ValueError, match="temperature must be above 0"):
        hinton.soft_targets(batch[0], temperature)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan])
def test_alpha_outside_zero_to_one_is_refused_in_words(batch, alpha):
    with pytest.raises(ValueError, match="alpha must be between 0 and 1"):
        hinton.distillation_loss(*batch, temperature=1.0, alpha=alpha)


def test_hard_loss_without_labels_is_refused_in_words(batch):
    with pytest.raises(ValueError, match="labels are needed"):
        hinton.distillation_loss(batch[0], batch[1], None, temperature=1.0, alpha=0.5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_an_ensemble_of_probabilities_is_the_mean_of_the_softened_ones(batch, temperature):
    members = torch.stack([batch[0], batch[1], batch[0] - batch[1]])
    combined = hinton.ensemble_logits(members, temperature=temperature, average="probabilities")
    expected = torch.stack([hinton.soft_targets(member, temperature) for member in members]).mean(0)
    torch.testing.assert_close(hinton.soft_targets(combined, temperature), expected)


def test_ensemble_of_logits_is_the_geometric_mean_of_probabilities(batch):
    members = torch.stack([batch[0], batch[1]])
    combined = hinton.soft_targets(hinton.ensemble_logits(members, temperature=1.0, average="logits"), 1.0)
    geometric = (hinton.soft_targets(batch[0], 1.0) * hinton.soft_targets(batch[1], 1.0)).sqrt()
    torch.testing.assert_close(combined, geometric / geometric.sum(1, keepdim=True))


def test_ensemble_of_one_says_what_its_member_says(batch):
    for average in ("probabilities", "logits"):
        combined = hinton.ensemble_logits(batch[0][None], temperature=3.0, average=average)
        torch.testing.assert_close(hinton.soft_targets(combined, 3.0), hinton.soft_targets(batch[0], 3.0))
    with pytest.raises(ValueError, match="average must be"):
        hinton.ensemble_logits(batch[0][None], temperature=1.0, average="median")
