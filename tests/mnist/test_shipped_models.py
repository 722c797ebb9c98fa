"""The models that ship make the errors that their cards claim."""

import base64

import numpy as np

from kd_core.data import paths
from kd_core.exchange import opening, shipped


def test_the_shipped_mnist_models_make_the_errors_that_they_claim(mnist):
    checks = list(shipped.verify())
    assert [check for check in checks if not check.holds] == []
    assert paths.available("mnist")
    errors = {check.name: check.measured for check in checks}
    assert errors["mnist-distilled"] < errors["mnist-baseline"]


def test_first_screen_images_have_the_shipped_models_logits(mnist):
    shown = opening.opening()
    images = mnist.test_images[[example.index for example in shown.examples]]
    for role in opening.ROLES:
        computed = shipped.logits_of(f"mnist-{role}", images, mnist.normalise)
        np.testing.assert_allclose([example.logits[role] for example in shown.examples], computed, atol=1e-3)
    for example, image in zip(shown.examples, images.numpy(), strict=True):
        assert base64.b64decode(example.pixels) == image.tobytes()
        assert example.label == mnist.test_labels[example.index]
