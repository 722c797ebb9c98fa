"""Training that rounds to int8 computes what the exported int8 file will, and changes nothing that is saved."""

from shutil import rmtree

import numpy as np
import pytest
import torch
from tiny import tiny_config, train_here

from kd_core.data import load
from kd_core.data.dataset import Dataset
from kd_core.evaluation.statistics import mcnemar
from kd_core.exchange.export import graphs, write
from kd_core.experiments import story
from kd_core.models import build
from kd_core.models.arithmetic import _weight_in_int8, rounding_to_int8
from kd_core.models.config import ModelConfig
from kd_core.runs import artifacts
from kd_core.training.together import trains_together

NETWORKS = [ModelConfig(hidden=(16, 8)), ModelConfig(name="cnn", channels=(4, 8))]


@pytest.fixture
def images():
    """Images on which ranges are measured and compared alike."""
    drawn = torch.randint(0, 256, (60, 1, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(60) % 4
    return Dataset.measured("drawn", ("a", "b", "c", "d"), drawn, labels, drawn, labels)


def network(config):
    torch.manual_seed(1)
    return build.build(config, (1, 12, 12), 4).eval()


def in_int8(model, images, path):
    """The logits of a model's exported int8 file."""
    path.write_bytes(graphs.to_int8(graphs.to_onnx(write.trace(model, images)), images))
    return write.run_onnx(path)(images.test_images.to(torch.float32).numpy())


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_a_layer_gives_what_it_does_in_the_int8_file(images, kind, tmp_path):
    torch.manual_seed(0)
    layers = {
        "linear": [torch.nn.Flatten(), torch.nn.Linear(144, 4)],
        "conv": [torch.nn.Conv2d(1, 4, 3, stride=2), torch.nn.Flatten()],
    }
    model, inputs = torch.nn.Sequential(*layers[kind]).eval(), images.normalise(images.test_images)
    with torch.no_grad():
        floats = model(inputs).numpy()
        expected = in_int8(model, images, tmp_path / "int8.onnx")
        rounded = rounding_to_int8(model)(inputs).numpy()
    step = np.ptp(expected) / 255  # what a convolution gives is rounded once more before it is flattened
    bound = 1e-5 if kind == "linear" else 0.27 * step  # such a rounding is off by a quarter of a step on average
    assert np.abs(rounded - expected).mean() < bound < np.abs(floats - expected).mean()


class Block(torch.nn.Module):
    """What depthwise networks are made of: batch norm, a gate, a sum, an activation that is no ReLU."""

    def __init__(self, activation):
        super().__init__()
        layers = torch.nn
        self.wide = layers.Sequential(layers.Conv2d(1, 8, 3, padding=1, bias=False), layers.BatchNorm2d(8), activation)
        self.depthwise = layers.Sequential(
            layers.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), layers.BatchNorm2d(8)
        )
        self.gate = layers.Sequential(layers.AdaptiveAvgPool2d(1), layers.Conv2d(8, 8, 1), layers.Sigmoid())
        self.head = layers.Sequential(layers.AdaptiveAvgPool2d(1), layers.Flatten(), layers.Linear(8, 4))

    def forward(self, images):
        wide = self.wide(images)
        deep = self.depthwise(wide)
        return self.head(wide + deep * self.gate(deep))


@pytest.mark.parametrize("activation", [torch.nn.ReLU(), torch.nn.Hardswish(), torch.nn.SiLU()], ids=str)
def test_a_block_is_off_by_about_as_much_as_in_the_int8_file(images, activation, tmp_path):
    torch.manual_seed(0)
    model, inputs = Block(activation), images.normalise(images.test_images)
    for _ in range(20):
        model(inputs)  # batch norms that fit the images
    model.eval()
    with torch.no_grad():
        for weight in (parameter for parameter in model.parameters() if parameter.dim() > 1):
            weight.copy_(_weight_in_int8(weight))  # what is rounded from here on are activations
        floats = model(inputs).numpy()
        expected = in_int8(model, images, tmp_path / "int8.onnx")
        rounded = rounding_to_int8(model)(inputs).numpy()
    off, expected_off = rounded - floats, expected - floats
    assert np.abs(off).mean() == pytest.approx(np.abs(expected_off).mean(), rel=0.2)
    assert np.corrcoef(off.ravel(), expected_off.ravel())[0, 1] > 0.45


@pytest.mark.parametrize("config", NETWORKS, ids=lambda config: config.name)
def test_gradients_pass_straight_through_and_weights_keep_their_names(images, config):
    plain, rounded = network(config), rounding_to_int8(network(config))
    assert list(rounded.state_dict()) == list(plain.state_dict())
    inputs = images.normalise(images.test_images)
    for model in (plain, rounded):
        model(inputs).square().mean().backward()
    for (name, expected), given in zip(plain.named_parameters(), rounded.parameters(), strict=True):
        assert given.grad.isfinite().all()
        alike = torch.nn.functional.cosine_similarity(given.grad.flatten(), expected.grad.flatten(), dim=0)
        assert alike > 0.98, name


def test_a_layer_that_is_0_throughout_stays_so():
    model = rounding_to_int8(torch.nn.Sequential(torch.nn.Linear(3, 2)))
    torch.nn.init.zeros_(model[0].weight)
    torch.nn.init.zeros_(model[0].bias)
    assert model(torch.zeros(4, 3)).eq(0).all()


def test_a_run_goes_on_int8_aware_at_a_lower_rate_and_is_saved_as_floats(store):
    run = store.get(train_here(store, tiny_config(epochs=4)))
    config = story.continued(run, story.int8_epochs(run), int8_aware=True)
    assert config.training.int8_aware
    assert (config.training.epochs, config.continues) == (1, run.id)
    assert config.training.learning_rate == pytest.approx(run.config.training.learning_rate / story.INT8_SLOWER)
    assert config.label.endswith(", int8-aware")
    assert not trains_together(config)
    aware = store.get(train_here(store, config))
    checks = write.export_run(store.home, aware)
    assert {"model.safetensors", "model.onnx"} <= {*checks.passed}
    assert story.continued(aware, 2).training.int8_aware


def test_an_int8_file_of_a_run_that_went_on_is_judged_by_the_run_before(store):
    before = store.get(train_here(store, tiny_config(epochs=4)))
    aware = store.get(train_here(store, story.continued(before, 1, int8_aware=True)))
    again = store.get(train_here(store, story.continued(aware, 1)))
    digits, logits = load.load("digits"), artifacts.test_logits(store.folder(before.id))
    for run in (aware, again):
        checks = write.export_run(store.home, run)
        check, folder = checks.file("model_int8.onnx"), store.folder(run.id).export
        in_int8 = write.run_onnx(folder / check.name)(digits.test_images.to(torch.float32).numpy())
        assert check.continued_test_errors == before.results["test_errors"]
        assert check.p_value == mcnemar(logits, in_int8, digits.test_labels.numpy()).p_value
        assert check.sentence.endswith(f"weights of this run itself make {run.results['test_errors']}.")
        assert checks.file("model_fp16.onnx").continued_test_errors is None
        assert f"| `model_int8.onnx` | {check.sentence} |" in (folder / "README.md").read_text(encoding="utf-8")
    rmtree(store.folder(before.id).path)
    check = write.export_run(store.home, again).file("model_int8.onnx")
    assert (check.continued_test_errors, check.continued_is_gone) == (None, True)
    assert check.sentence.endswith("is gone: it was judged by its own float32 weights.")


def test_what_the_run_before_got_right_counts_though_its_own_weights_lost_it():
    labels = np.arange(500) % 10
    right = np.eye(10, dtype=np.float32)[labels]
    wrong = np.roll(right, 1, axis=1)
    own = np.concatenate([wrong[:30], right[30:]])
    assert write.judge(own, own, labels, rounded=True).passed
    verdict = write.judge(own, own, labels, rounded=True, continued=right)
    assert (verdict.passed, verdict.withheld, verdict.beyond) == (False, True, True)
    assert "30 test errors of 500 where the run that it continues makes 0: 6.00 points lost" in verdict.sentence
    assert verdict.sentence.endswith("The float32 weights of this run itself make 30.")
