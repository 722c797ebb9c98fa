"""Features against the layers themselves, their projection against numpy's SVD."""

import numpy as np
import pytest
import torch
from tiny import tiny_config, train_here

from kd_core.evaluation import inside
from kd_core.models.config import ModelConfig
from kd_core.runs import artifacts
from kd_core.runs.store import Store

MODELS = {
    "mlp": ModelConfig(hidden=(16, 12), dropout_hidden=0.5, batch_norm=True),
    "linear": ModelConfig(hidden=(1,)),
    "cnn": ModelConfig(name="cnn"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    yield store
    store.close()


@pytest.mark.parametrize("name", MODELS)
def test_the_last_layer_makes_the_logits_of_the_features(store, digits, name):
    run_id = train_here(store, tiny_config(epochs=1).replace(model=MODELS[name]))
    seen, labels = inside.penultimate(artifacts.load_model(store.folder(run_id), digits), digits, count=50)
    weights = [*artifacts.load_model(store.folder(run_id), digits).state_dict().values()][-2:]
    logits = torch.from_numpy(seen) @ weights[0].T + weights[1]
    expected = artifacts.test_logits(store.folder(run_id))[:50]
    np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-4, atol=1e-4)
    assert labels.tolist() == digits.test_labels[:50].tolist()
    assert inside.projected(seen).shape == (50, 2)


def test_the_projection_is_the_svds_with_its_largest_weights_positive():
    generator = np.random.default_rng(0)
    values = (generator.normal(size=(80, 7)) * [5, 3, 1, 1, 0.5, 0.5, 0.1]) @ np.linalg.qr(
        generator.normal(size=(7, 7))
    )[0]
    centred = values - values.mean(axis=0)
    _, _, components = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(components[range(7), np.abs(components).argmax(axis=1)])
    expected = centred @ (components * signs[:, None])[:2].T
    projection = inside.projected(values.astype(np.float32))
    np.testing.assert_allclose(projection, expected, atol=1e-4)
    np.testing.assert_array_equal(inside.projected(values.astype(np.float32)), projection)
    assert projection[:, 0].var() > projection[:, 1].var()


def test_features_that_do_not_vary_are_projected_to_one_point():
    assert (inside.projected(np.ones((5, 3))) == 0).all()
