"""What is said of MNIST is so."""

import pytest
import torch

from kd_core.training.config import RunConfig
from tests.unit.training.test_config import check_facts


def test_mnist_is_the_published_one(mnist):
    assert mnist.train_images.shape == (60_000, 1, 28, 28)
    assert mnist.test_images.shape == (10_000, 1, 28, 28)
    assert (mnist.train_images.dtype, mnist.train_labels.dtype) == (torch.uint8, torch.int64)
    assert mnist.class_names == tuple("0123456789")
    assert torch.bincount(mnist.train_labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert torch.bincount(mnist.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert mnist.mean == pytest.approx(0.1307, abs=5e-5)
    assert mnist.std == pytest.approx(0.3081, abs=5e-5)
    normal = mnist.normalise(mnist.train_images)
    assert float(normal.mean(dtype=torch.float64)) == pytest.approx(0, abs=1e-4)


def test_what_is_said_of_mnist_without_loading_it_is_so(mnist):
    check_facts("mnist", mnist)


def test_the_examples_of_mnist_are_those_of_the_split_within_a_thousandth(mnist):
    config = RunConfig(role="baseline")
    kept, _ = mnist.split(config.training.validation_fraction, 0)
    assert config.examples == pytest.approx(len(kept), rel=1e-3)
