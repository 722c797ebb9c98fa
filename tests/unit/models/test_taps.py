"""Taps against what the layers themselves compute."""

import pytest
import torch
from torch import nn

from kd_core.models import build, taps
from kd_core.models.config import MODELS, ModelConfig

GREY = (1, 28, 28)
CHANNELS = {
    "mlp": [],
    "cnn": [16, 32],
    "resnet18": [64, 128, 256, 512],
    "mobilenet_v3_small": [16, 16, 24, 48, 576],
}
SIDES = {"mlp": [], "cnn": [14, 7], "resnet18": [28, 14, 7, 4], "mobilenet_v3_small": [28, 14, 7, 4, 2]}


def built(name):
    torch.manual_seed(0)
    return build.build(ModelConfig(name=name, hidden=(20, 12)), GREY, 10).eval()


@pytest.mark.parametrize("name", MODELS)
def test_one_pass_gives_the_logits_what_feeds_the_last_layer_and_a_map_a_stage(name):
    model, images = built(name), torch.randn(3, *GREY)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    logits, seen = taps.tapped(model, images)
    assert torch.equal(logits, model(images))
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    torch.testing.assert_close(last(seen.features), logits)
    assert [tuple(stage.shape[:2]) for stage in seen.maps] == [(3, channels) for channels in CHANNELS[name]]
    assert [stage.shape[2] for stage in seen.maps] == SIDES[name]
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_the_stages_of_a_cnn_are_what_its_layers_compute_one_by_one():
    model, images = built("cnn"), torch.randn(3, *GREY)
    _, seen = taps.tapped(model, images)
    torch.testing.assert_close(seen.maps[0], model[:4](images))
    torch.testing.assert_close(seen.maps[1], model[:8](images))
    torch.testing.assert_close(seen.features, model[:-1](images))


def test_the_stages_of_a_resnet_are_its_layers():
    model, images = built("resnet18"), torch.randn(2, *GREY)
    expected = model.layer2(model.layer1(model.relu(model.bn1(model.conv1(images)))))
    torch.testing.assert_close(taps.tapped(model, images)[1].maps[1], expected)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_reach_the_network_through_its_taps(name):
    model = built(name)
    _, seen = taps.tapped(model, torch.randn(3, *GREY))
    (seen.features.square().sum() + sum(stage.square().sum() for stage in seen.maps)).backward()
    first = next(model.parameters())
    assert first.grad.abs().sum() > 0


def test_nothing_listens_after_a_pass_that_failed():
    model = built("cnn")
    with pytest.raises(RuntimeError):
        taps.tapped(model, torch.randn(3, 5, 28, 28))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
