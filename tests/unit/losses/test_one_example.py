"""The numbers under the temperature page, against autograd, closed forms and a small worked example."""

import math

import numpy as np
import pytest
import torch

from kd_core.evaluation import soft
from kd_core.losses import hinton, one_example

GENERATOR = np.random.default_rng(2)
STUDENT, TEACHER = GENERATOR.normal(0, 3, 10).tolist(), GENERATOR.normal(0, 5, 10).tolist()


@pytest.mark.parametrize("temperature", [0.5, 1, 4, 20])
@pytest.mark.parametrize("alpha", [0, 0.4, 1])
@pytest.mark.parametrize("t_squared", [True, False])
def test_what_is_felt_is_what_autograd_finds_on_the_training_loss(temperature, alpha, t_squared):
    student = torch.tensor([STUDENT], dtype=torch.float64, requires_grad=True)
    teacher, labels = torch.tensor([TEACHER], dtype=torch.float64), torch.tensor([3])
    settings = {"temperature": temperature, "alpha": alpha, "t_squared": t_squared}
    loss = hinton.distillation_loss(student, teacher, labels, **settings).loss
    loss.backward()
    felt = one_example.felt(STUDENT, TEACHER, 3, **settings)
    assert felt.loss == pytest.approx(loss.item(), rel=1e-9)
    assert felt.gradient == pytest.approx(student.grad[0].tolist(), rel=1e-8, abs=1e-14)
    assert felt.loss == pytest.approx(alpha * felt.soft_loss + (1 - alpha) * felt.hard_loss)
    assert math.isfinite(felt.hard_loss)


def test_soft_gradient_falls_as_one_over_t_squared_and_the_factor_repairs_it():
    sizes = one_example.gradient_sizes(STUDENT, TEACHER, [100.0, 200.0, 1000.0])
    assert sizes.bare[0] / sizes.bare[1] == pytest.approx(4, rel=0.05)
    assert sizes.times_t_squared[0] == pytest.approx(sizes.times_t_squared[2], rel=0.05)
    difference = np.array(STUDENT) - np.array(TEACHER)
    expected = np.linalg.norm(difference - difference.mean()) / (10 * 1000**2)
    assert sizes.limit[2] == pytest.approx(expected)
    assert sizes.bare[2] == pytest.approx(expected, rel=0.01)


def test_mean_soft_targets_are_means_over_each_true_class():
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]))
    rows = soft.mean_soft_targets(logits, np.array([0, 0, 1]), 1.0)
    np.testing.assert_allclose(rows[0], [0.6, 0.225, 0.175])
    np.testing.assert_allclose(rows[1], [0.1, 0.8, 0.1])
    assert np.isnan(rows[2]).all()


def test_the_tree_joins_the_classes_that_are_confused_first():
    shared = np.full((5, 5), 0.01)
    shared[1, 3] = shared[3, 1] = 0.3
    shared[0, 4] = shared[4, 0] = 0.2
    np.fill_diagonal(shared, 1)
    tree = soft.similarity_tree(shared)
    leaves = tree.leaves
    assert abs(leaves.index(1) - leaves.index(3)) == 1
    assert abs(leaves.index(0) - leaves.index(4)) == 1
    assert sorted(leaves) == [0, 1, 2, 3, 4]


def test_galleries_hold_what_their_names_say():
    labels = np.array([0, 1, 1, 0])
    teacher = np.array([[9.0, 0], [0.2, 0], [0, 3], [1, 0]])
    student = np.array([[9.0, 0], [0, 9], [0, 9], [0, 9]])
    assert soft.gallery("test order", labels, teacher, student).tolist() == [0, 1, 2, 3]
    assert soft.gallery("test order", labels, teacher, student, 1).tolist() == [1, 2]
    assert soft.gallery("most ambiguous for the teacher", labels, teacher, student).tolist() == [1, 3, 2, 0]
    assert soft.gallery("teacher wrong", labels, teacher, student).tolist() == [1]
    assert soft.gallery("teacher and student disagree", labels, teacher, student).tolist() == [1, 3]
    assert soft.gallery("teacher and student disagree", labels, teacher, None).tolist() == []
