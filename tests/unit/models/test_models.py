"""Shapes and costs of the architectures, against closed forms."""

import itertools

import pytest
import torch

from kd_core.evaluation import speed
from kd_core.experiments.defaults import OTHER_STUDENT, OTHER_TEACHER
from kd_core.models import build
from kd_core.models.config import MODELS, PAPER_STUDENT, PAPER_TEACHER, ModelConfig
from kd_core.models.dropout import Dropout

GREY = (1, 28, 28)


@pytest.mark.parametrize(
    ("config", "parameters", "multiply_adds"),
    [(PAPER_TEACHER, 2_395_210, 2_392_800), (PAPER_STUDENT, 1_276_810, 1_275_200)],
)
def test_the_papers_networks_cost_what_their_layers_add_up_to(config, parameters, multiply_adds):
    units = [784, *config.hidden, 10]
    assert parameters == sum((a + 1) * b for a, b in itertools.pairwise(units))
    assert multiply_adds == sum(a * b for a, b in itertools.pairwise(units))
    model = build.build(config, GREY, 10)
    assert speed.costs(model, GREY) == {
        "parameters": parameters,
        "multiply_adds": multiply_adds,
        "size_bytes": 4 * parameters,
    }


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [GREY, (3, 32, 32)])
def test_every_architecture_takes_grey_and_colour(name, shape):
    model = build.build(ModelConfig(name=name), shape, 7).eval()
    assert model(torch.zeros(2, *shape)).shape == (2, 7)
    assert build.multiply_adds(model, shape) > 0


def test_convolutions_count_by_their_closed_form():
    model = build.build(ModelConfig(name="cnn"), GREY, 10)
    expected = 28 * 28 * 16 * 9 + 14 * 14 * 32 * 16 * 9 + 32 * 7 * 7 * 128 + 128 * 10
    assert build.multiply_adds(model, GREY) == expected


def test_a_cnn_of_other_channels_counts_by_its_closed_form_and_halves_its_maps():
    config = ModelConfig(name="cnn", channels=(4, 6, 9))
    convolutions = 28 * 28 * 4 * 9 + 14 * 14 * 4 * 6 * 9 + 7 * 7 * 6 * 9 * 9
    model = build.build(config, GREY, 10)
    assert build.multiply_adds(model, GREY) == convolutions + 9 * 3 * 3 * 128 + 128 * 10
    assert build.build(config, (3, 8, 8), 2)(torch.zeros(2, 3, 8, 8)).shape == (2, 2)


def test_the_cnn_of_a_seed_draws_its_head_first_as_it_always_has():
    torch.manual_seed(3)
    model = build.build(ModelConfig(name="cnn"), GREY, 10)
    torch.manual_seed(3)
    head = [torch.nn.Linear(32 * 7 * 7, 128), torch.nn.Linear(128, 10)]
    convolutions = [torch.nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in ((1, 16), (16, 32))]
    for layer, index in zip([*head, *convolutions], (9, 11, 0, 4), strict=True):
        assert torch.equal(layer.weight, model[index].weight)


def test_batch_norm_and_dropout_stand_where_the_config_puts_them():
    model = build.build(ModelConfig(hidden=(5, 6), dropout_input=0.1, dropout_hidden=0.2, batch_norm=True), GREY, 10)
    names = [type(layer).__name__ for layer in model.children()]
    block = ["Linear", "BatchNorm1d", "ReLU", "Dropout"]
    assert names == ["Flatten", "Dropout", *block, *block, "Linear"]


def test_a_network_without_hidden_layers_is_linear():
    assert build.parameter_count(build.build(ModelConfig(hidden=()), GREY, 10)) == 7850


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(share):
    torch.manual_seed(0)
    dropped = Dropout(share)(torch.ones(1000, 1001))
    zeros = float((dropped == 0).float().mean())
    deviation = (share * (1 - share) / 1_001_000) ** 0.5
    assert zeros == pytest.approx(share, abs=5 * deviation + 1 / 65_536)
    kept = dropped[dropped != 0]
    assert kept.min() == kept.max() == pytest.approx(1 / (1 - share), rel=1e-4)


def test_dropout_masks_of_neighbouring_units_are_independent():
    torch.manual_seed(0)
    kept = Dropout(0.5)(torch.ones(4000, 64)).ne(0).double()
    correlations = torch.corrcoef(kept.T) - torch.eye(64)
    assert correlations.abs().max() < 6 / 4000**0.5


def test_dropout_does_nothing_in_eval_mode():
    values = torch.randn(4, 5)
    assert Dropout(0.5).eval()(values) is values or torch.equal(Dropout(0.5).eval()(values), values)


def test_logits_are_taken_in_eval_mode_and_the_mode_put_back(digits):
    model = build.build(ModelConfig(hidden=(8,), dropout_hidden=0.5), digits.image_shape, 10).train()
    first = build.logits_of(model, digits.test_images, digits.normalise)
    assert torch.equal(first, build.logits_of(model, digits.test_images, digits.normalise))
    assert model.training
    assert first.shape == (len(digits.test_labels), 10)


@pytest.mark.parametrize("side", [8, 28, 224])
def test_a_new_cnn_has_at_most_100_000_numbers_at_any_size(side):
    for config in (OTHER_TEACHER, OTHER_STUDENT):
        assert build.parameter_count(build.blueprint(config, (3, side, side), 48)) <= 100_000


def test_a_cnn_that_averages_its_maps_counts_by_its_closed_form():
    convolutions = 28 * 28 * 16 * 9 + 14 * 14 * 32 * 16 * 9 + 7 * 7 * 64 * 32 * 9
    assert build.multiply_adds(build.build(OTHER_STUDENT, GREY, 10), GREY) == convolutions + 64 * 10


def test_another_architecture_starts_as_new_runs_do_and_the_same_stays():
    old = ModelConfig(name="cnn", channels=(8, 16))
    assert old.named("cnn") == old
    assert old.named("mlp").named("cnn") == old.replace(head="average", channels=(16, 32, 64))
    assert old.named("torchvision/resnet18").replace(pretrained="library", input_side=64).named("mlp").head == "flat"
