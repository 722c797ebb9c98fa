"""Networks of torchvision and timm as they are: built, trained, started from files of weights, resized for."""

import hashlib
import socket

import huggingface_hub
import pytest
import torch
from node import computed_by

from kd_core.base import tensors
from kd_core.base.config import ConfigError
from kd_core.base.torchvision import torchvision
from kd_core.data.catalogue import TransferSetConfig
from kd_core.exchange.export import offline_page, write
from kd_core.models import build, pixels
from kd_core.models.architectures import stock
from kd_core.models.config import ModelConfig, weights_files
from kd_core.training.config import RunConfig, TrainingConfig
from kd_core.training.loop import Training, train

SMALL = ModelConfig(name="torchvision/shufflenet_v2_x0_5")
TIMM = ModelConfig(name="timm/test_resnet")
GREY = (1, 8, 8)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KD_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    (tmp_path / "weights").mkdir()
    return tmp_path


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def own_file(home, config, classes=1000):
    """A file of weights of a network of so many classes, as ModelConfig.pretrained names it, and those weights."""
    torch.manual_seed(5)
    state = build.build(config, (3, 32, 32), classes).state_dict()
    path = home / "weights" / "mine.safetensors"
    tensors.save_tensors(path, state)
    return f"{path.name}@{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}", state


def run_of(model, **training):
    usual = {"epochs": 2, "warmup_epochs": 0, "batch_size": 256, "precision": "float32"}
    return RunConfig(role="baseline", dataset="digits", model=model, training=TrainingConfig(**{**usual, **training}))


@pytest.mark.parametrize("model", [SMALL, TIMM])
def test_a_librarys_network_trains_here_and_resumes_to_the_same_weights(model, digits, tmp_path):
    config = run_of(model.replace(input_side=32), batch_size=64).replace(transfer_set=TransferSetConfig(fraction=0.1))
    whole = Training(config, digits)
    records = train(whole)
    next(records)
    whole.save(tmp_path / "checkpoint")
    for _ in records:
        pass
    resumed = Training(config, digits)
    resumed.restore(tmp_path / "checkpoint")
    for _ in train(resumed):
        pass
    for name, tensor in whole.best_weights.items():
        assert torch.equal(tensor, resumed.best_weights[name])


def test_the_names_of_timm_are_read_without_importing_it():
    import timm

    assert {name.removeprefix("timm/") for name in stock.timm_names()} == set(timm.list_models())


def test_a_networks_images_are_resized_and_its_cost_is_that_of_their_size():
    small, large = (SMALL.replace(input_side=side) for side in (32, 64))
    costs = [build.multiply_adds(build.build(model, GREY, 10), GREY) for model in (small, large)]
    assert costs[1] > 3 * costs[0]


def test_published_weights_read_pixels_as_their_library_says():
    config = ModelConfig(name="torchvision/shufflenet_v2_x0_5", pretrained="library", input_side=32)
    seen = []
    model = pixels.fresh(config, GREY, 10, mean=0.3, std=0.2).eval()
    model.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.full((1, *GREY), 0.75)
    model((image - 0.3) / 0.2)
    weights = torchvision().models.get_model_weights("shufflenet_v2_x0_5").DEFAULT.transforms()
    expected = (0.75 - torch.tensor(weights.mean)) / torch.tensor(weights.std)
    assert seen[0].shape == (1, 3, 32, 32)
    assert torch.allclose(seen[0][0, :, 16, 16], expected, atol=1e-5)


@pytest.mark.parametrize("model", [SMALL, TIMM])
def test_training_starts_from_a_file_and_draws_a_new_last_layer(model, digits, home):
    named, state = own_file(home, model)
    assert weights_files() == [named]
    training = Training(run_of(model.replace(pretrained=named, input_side=32)), digits)
    own = training.model.state_dict()
    *before, weight, bias = own
    assert all(torch.equal(own[name], state[name]) for name in before)
    assert own[weight].shape[0] == own[bias].shape[0] == 10


def test_published_weights_are_taken_from_the_folder_where_they_lie_there(digits, home, offline):
    url = torchvision().models.get_model_weights("shufflenet_v2_x0_5").DEFAULT.url
    torch.manual_seed(6)
    state = build.build(SMALL, (3, 32, 32), 1000).state_dict()
    torch.save(state, home / "weights" / url.rpartition("/")[2])
    training = Training(run_of(SMALL.replace(pretrained="library", input_side=32)), digits)
    assert torch.equal(training.model.conv1[0].weight, state["conv1.0.weight"])


def test_weights_of_timm_are_taken_from_the_folder_where_they_lie_there(digits, home, offline):
    torch.manual_seed(7)
    state = build.build(TIMM, (3, 32, 32), 1000).state_dict()
    tensors.save_tensors(home / "weights" / "test_resnet.r160_in1k.safetensors", state)
    training = Training(run_of(TIMM.replace(pretrained="library", input_side=32)), digits)
    assert torch.equal(training.model.state_dict()["conv1.0.weight"], state["conv1.0.weight"])


@pytest.mark.parametrize("model", [SMALL, TIMM])
def test_published_weights_that_cannot_be_had_are_a_sentence(model, digits, home, offline):
    with pytest.raises(ConfigError, match=r"not on this machine .* put the file into .*weights, or start from random"):
        Training(run_of(model.replace(pretrained="library", input_side=32)), digits)


def test_weights_of_another_network_are_a_sentence(digits, home):
    named, _ = own_file(home, TIMM)
    with pytest.raises(ConfigError, match=r"mine.safetensors are not those of torchvision's shufflenet"):
        Training(run_of(SMALL.replace(pretrained=named, input_side=32)), digits)


def test_a_file_of_weights_that_has_changed_is_a_sentence(digits, home):
    named, _ = own_file(home, SMALL)
    (home / "weights" / "mine.safetensors").write_bytes(b"another")
    with pytest.raises(ConfigError, match="has changed since this run was set up"):
        Training(run_of(SMALL.replace(pretrained=named, input_side=32)), digits)


def test_a_network_that_cannot_look_at_such_images_says_which_side_it_wants():
    model = ModelConfig(name="torchvision/alexnet")
    with (
        pytest.raises(ConfigError, match="state the side to which they are resized first, such as 224"),
        build.taking(model, GREY),
    ):
        build.multiply_adds(build.blueprint(model, GREY, 10), GREY)


def test_a_network_that_timm_lacks_and_settings_that_none_reads_are_sentences():
    with pytest.raises(ConfigError, match=r"timm .* has no network nope"):
        build.build(ModelConfig(name="timm/nope"), GREY, 10)
    with pytest.raises(ConfigError, match="are for torchvision's and timm's networks"):
        ModelConfig(name="mlp", pretrained="library")
    with pytest.raises(ConfigError, match="unknown model 'timm/hf-hub:someone/net'"):
        ModelConfig(name="timm/hf-hub:someone/net")


def test_a_resized_network_exports_to_onnx_with_its_own_preprocessing(digits, tmp_path):
    config = TIMM.replace(pretrained="library", input_side=32)
    torch.manual_seed(0)
    model = pixels.fresh(config, digits.image_shape, 10, mean=digits.mean, std=digits.std).eval()
    path = tmp_path / "net.onnx"
    path.write_bytes(write.to_onnx(write.trace(model, digits)))
    images = digits.test_images[:20]
    with torch.inference_mode():
        expected = model(digits.normalise(images)).numpy()
    assert write.run_onnx(path)(images.float().numpy()) == pytest.approx(expected, abs=1e-4)


def test_batch_norms_settle_within_a_short_run():
    def momenta(**settings):
        model = build.build(ModelConfig(**settings), (3, 32, 32), 10)
        return {module.momentum for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)}

    assert momenta(name="torchvision/mobilenet_v3_small") == {0.1}
    assert momenta(name="mobilenet_v3_small") == {0.01}  # as older runs had it
    assert {ModelConfig().named("mobilenet_v3_small").norm_momentum} == {0.1}
    assert momenta(name="mobilenet_v3_small", norm_momentum=0.1) == {0.1}


def test_a_cnn_that_averages_its_maps_runs_in_an_exported_page(digits):
    torch.manual_seed(0)
    model = build.build(ModelConfig().named("cnn"), digits.image_shape, 10).eval()
    program = offline_page.to_program(write.to_onnx(write.trace(model, digits)))
    image = digits.test_images[0]
    values = {"program": program, "shape": list(image.shape), "pixels": image.flatten().tolist()}
    run = "console.log(JSON.stringify(network(v.program, v.shape)(v.pixels)))"
    with torch.inference_mode():
        expected = model(digits.normalise(image[None]))[0].tolist()
    assert computed_by(("maths", "as_mnist", "interpreter"), run, values) == pytest.approx(expected, abs=1e-4)
