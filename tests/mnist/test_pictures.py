"""MNIST's own images, drawn again, are read as they were."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from kd_core.data import load, paths
from kd_core.data import picture as data_picture
from kd_core.evaluation.accuracy import accuracy
from kd_core.models.build import logits_of
from kd_core.training.config import RunConfig, TrainingConfig
from kd_core.training.loop import Training, train


def test_mnists_own_images_pass_unchanged(mnist):
    """They are made this way already: all but a few odd ones come back to the last grey level."""
    images = mnist.test_images[:, 0].numpy()
    passed = np.stack([data_picture.as_mnist(image) for image in images])
    assert (passed == images).all(axis=(1, 2)).mean() > 0.995
    assert abs(passed.mean() - images.mean()) < 0.05
    assert abs(passed.std() - images.std()) < 0.05


@pytest.fixture(scope="module")
def teacher():
    """A teacher of two epochs on MNIST."""
    if paths.folder_of("mnist") is None:
        message = "MNIST is not on this machine: set KD_DATA_DIR to a folder with MNIST/raw, as .ci/run does"
        pytest.fail(message) if os.environ.get("KD_NO_SKIPS") else pytest.skip(message)
    training = TrainingConfig(epochs=2, jitter_pixels=1, learning_rate=2e-3, warmup_epochs=0.1)
    run = Training(RunConfig(role="teacher", training=training), load.load("mnist"))
    for _ in train(run):
        pass
    return run.best_model()


@pytest.mark.parametrize("side", [140, 280])
def test_a_teacher_knows_redrawn_test_images_as_well_as_the_originals(mnist, teacher, side):
    """Test images enlarged and moved about a sheet, as a user would draw them: under one point of accuracy is lost."""
    generator = np.random.default_rng(0)
    originals, labels = mnist.test_images[:3000], mnist.test_labels[:3000].numpy()
    redrawn = []
    for image in originals[:, 0].numpy():
        large = np.asarray(Image.fromarray(image).resize((side // 2, side // 2), Image.Resampling.BICUBIC))
        sheet = np.zeros((side, side), np.uint8)
        top, left = generator.integers(0, side // 2, 2)
        sheet[top : top + side // 2, left : left + side // 2] = large
        redrawn.append(data_picture.as_mnist(sheet))
    again = torch.from_numpy(np.stack(redrawn)).unsqueeze(1)
    before = accuracy(logits_of(teacher, originals, mnist.normalise).numpy(), labels)
    after = accuracy(logits_of(teacher, again, mnist.normalise).numpy(), labels)
    assert before > 0.95
    assert after > before - 0.01
    assert abs(float(again.double().mean()) - float(originals.double().mean())) < 3


def test_an_image_comes_back_from_an_address(mnist):
    for image in mnist.test_images[:50, 0].numpy():
        text = data_picture.to_address(image)
        assert (data_picture.from_address(text) == image).all()
        assert text.replace("-", "").replace("_", "").isalnum()
        assert len(text) < 900
