"""The landscape against the loss itself, point by point."""

import copy

import numpy as np
import pytest
import torch
from tiny import tiny_config, train_here
from torch.nn import functional as F

from kd_core.evaluation import inside
from kd_core.models import build
from kd_core.models.config import ModelConfig
from kd_core.runs import artifacts
from kd_core.runs.store import Store

MODELS = {
    "mlp": ModelConfig(hidden=(16, 12), dropout_hidden=0.5, batch_norm=True),
    "one layer": ModelConfig(hidden=(8,)),
    "cnn": ModelConfig(name="cnn"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    yield store
    store.close()


@pytest.fixture(scope="module", params=MODELS)
def run_id(store, request):
    return train_here(store, tiny_config(epochs=1).replace(model=MODELS[request.param]))


def loss_at(model, digits, images, along=(), steps=()):
    moved = copy.deepcopy(model)
    for direction, step in zip(along, steps, strict=True):
        moved.load_state_dict(
            {**moved.state_dict(), **{k: moved.state_dict()[k] + step * v for k, v in direction.items()}}
        )
    chosen = torch.randperm(len(digits.train_labels), generator=torch.Generator().manual_seed(3))[:images]
    logits = build.logits_of(moved, digits.train_images[chosen], digits.normalise)
    return float(F.cross_entropy(logits, digits.train_labels[chosen]))


def test_the_centre_is_the_models_loss_and_corners_are_of_moved_weights(store, digits, run_id):
    landscape = inside.loss_landscape(
        artifacts.load_model(store.folder(run_id), digits), digits, size=3, reach=0.5, seed=3
    )
    model = artifacts.load_model(store.folder(run_id), digits)
    along = inside.directions(model, 3)
    assert landscape.images == min(1000, len(digits.train_labels))
    assert landscape.steps.tolist() == [-0.5, 0, 0.5]
    assert landscape.losses[1, 1] == pytest.approx(loss_at(model, digits, landscape.images), rel=1e-4)
    for row, down in enumerate(landscape.steps):
        for column, across in enumerate(landscape.steps):
            expected = loss_at(model, digits, landscape.images, along, (across, down))
            assert landscape.losses[row, column] == pytest.approx(expected, rel=1e-3)


def test_every_filter_of_a_direction_has_its_models_norm_the_rest_stays(store, digits, run_id):
    model = artifacts.load_model(store.folder(run_id), digits)
    first, second = inside.directions(model, 0)
    for name, weight in model.named_parameters():
        for direction in (first, second):
            if weight.dim() == 1:
                assert (direction[name] == 0).all()
            else:
                norms = [float(filter_.norm()) for filter_ in weight.detach()]
                assert [float(filter_.norm()) for filter_ in direction[name]] == pytest.approx(norms, rel=1e-4)
                assert not torch.allclose(first[name], second[name])


def test_models_of_one_architecture_are_moved_along_the_same_lines():
    drawn = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = build.build(MODELS["mlp"], (1, 8, 8), 10)
        drawn.append(
            [F.normalize(tensor, dim=1) for tensor in inside.directions(model, 7)[0].values() if tensor.dim() == 2]
        )
    for first, second in zip(*drawn, strict=True):
        torch.testing.assert_close(first, second)


def test_a_landscape_is_the_same_each_time(store, digits, run_id):
    first, second = (
        inside.loss_landscape(artifacts.load_model(store.folder(run_id), digits), digits, size=3) for _ in range(2)
    )
    np.testing.assert_array_equal(first.losses, second.losses)


def test_a_large_model_is_shown_fewer_images_and_no_fewer_than_the_fewest(store, digits, run_id, monkeypatch):
    cost = build.multiply_adds(artifacts.load_model(store.folder(run_id), digits), digits.image_shape)
    monkeypatch.setattr(inside, "MOST_MULTIPLY_ADDS", 9 * cost * 200)
    assert inside.loss_landscape(artifacts.load_model(store.folder(run_id), digits), digits, size=3).images == 200
    monkeypatch.setattr(inside, "MOST_MULTIPLY_ADDS", 1)
    assert (
        inside.loss_landscape(artifacts.load_model(store.folder(run_id), digits), digits, size=3).images
        == inside.FEWEST_IMAGES
    )


@pytest.mark.parametrize("size", [1, 4])
def test_a_grid_without_a_centre_is_refused(store, digits, run_id, size):
    with pytest.raises(ValueError, match="size must be odd"):
        inside.loss_landscape(artifacts.load_model(store.folder(run_id), digits), digits, size=size)
