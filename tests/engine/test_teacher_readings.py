"""What a teacher's file does not tell is tried, asked and said; files are read as they were meant."""

import argparse
import io

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from kd_core.base.config import LabError
from kd_core.base.torchvision import torchvision
from kd_core.exchange.teacher import search
from kd_core.exchange.teacher.examine import examine
from kd_core.exchange.teacher.trial import Ask
from kd_core.exchange.teacher.weights import fitted, recognised
from kd_core.models import black_box, build, pixels
from kd_core.models.architectures import stock
from kd_core.models.config import ModelConfig
from kd_core.training.config import RunConfig


@pytest.fixture(autouse=True)
def few_images(monkeypatch):
    """So that a large network is tried within a second."""
    monkeypatch.setattr(search, "MOST_IMAGES", 200)


def saved(anything):
    buffer = io.BytesIO()
    torch.save(anything, buffer)
    return buffer.getvalue()


def tried(content, digits, **options):
    return examine(content, Ask(dataset="digits", file="teacher.bin", **options), digits, lambda text, share: None)


@torch.no_grad()
def taught(model, digits, prepared=None, *, columns=range(10), images=1352):
    """A network of random weights whose last layer alone is fitted, by least squares; and its test errors."""
    prepared = prepared or digits.normalise
    last, inputs = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1], []
    given = prepared(digits.train_images[:images])
    for norm in (layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)):
        norm.momentum = None  # its statistics become the mean of all batches
    model.train()
    model(given[:256])
    model.eval()
    handle = last.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    model(given)
    handle.remove()
    features = torch.cat([inputs[0], torch.ones(len(given), 1)], dim=1).double()
    targets = torch.full((len(given), last.out_features), -1.0).double()
    targets[torch.arange(len(given)), torch.tensor(list(columns))[digits.train_labels[:images]]] = 1
    gram = features.T @ features + 1e-2 * torch.eye(features.shape[1])
    fitted = 5 * torch.linalg.solve(gram, features.T @ targets).float()
    last.weight.copy_(fitted[:-1].T)
    last.bias.copy_(fitted[-1])
    wrong = model(prepared(digits.test_images))[:, list(columns)].argmax(dim=1) != digits.test_labels
    return int(wrong.sum())


def mlp(activation, units=200):
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(784, units), activation(), nn.Linear(units, 10)]
    return nn.Sequential(*layers)


# ------------------------------------------------------------------------------------------------- what is left open


@pytest.mark.parametrize(("name", "activation"), [("tanh", nn.Tanh), ("sigmoid", nn.Sigmoid), ("relu", nn.ReLU)])
def test_an_activation_is_read_as_what_it_was(name, activation, digits):
    model = mlp(activation)
    with torch.no_grad():
        model[1].weight.mul_(4)  # so that its curve counts
    errors = taught(model, digits)
    examined = tried(saved(model.state_dict()), digits)
    assert (examined.config.model.activation, examined.test_errors, examined.warning) == (name, errors, "")
    (question,) = [question for question in examined.questions if question.name == "activation"]
    assert f"Activation: {name}? {question.wrong[name]} of 200 training images wrong" in question.sentence
    assert f"activation {name}" in " ".join(examined.notes)


def test_a_stated_activation_is_taken_and_the_better_one_named(digits):
    model = mlp(nn.Tanh)
    with torch.no_grad():
        model[1].weight.mul_(4)
    errors = taught(model, digits)
    examined = tried(saved(model.state_dict()), digits, answers={"activation": "relu"})
    assert examined.config.model.activation == "relu"
    assert "Other answers do better: with activation tanh it gets" in examined.warning
    with pytest.raises(LabError, match="activation can be relu, leaky_relu"):
        tried(saved(model.state_dict()), digits, answers={"activation": "swish"})
    with pytest.raises(LabError, match="leaves no output open: it asks for weights, activation, pixels"):
        tried(saved(model.state_dict()), digits, answers={"output": "logits"})
    assert tried(saved(model.state_dict()), digits, errors=errors).warning == ""
    assert f"{errors + 300} test errors were to come out" in tried(
        saved(model.state_dict()), digits, errors=errors + 300
    ).warning  # fmt: skip


@pytest.mark.parametrize(
    ("name", "convention"), [("0..1", (0.0, 1.0)), ("-1..1", (0.5, 0.5)), ("0..255", (0, 1 / 255))]
)
def test_pixels_are_found_by_themselves(name, convention, digits):
    mean, std = convention
    model = mlp(nn.ReLU)
    errors = taught(model, digits, lambda images: (images / 255 - mean) / std)
    examined = tried(saved(model.state_dict()), digits)
    assert [question.taken for question in examined.questions if question.name == "pixels"] == [name]
    assert examined.test_errors == errors


def test_torchvisions_own_network_keeps_its_stride(digits, monkeypatch):
    monkeypatch.setattr(search, "FEW_IMAGES", 24)
    monkeypatch.setattr(search, "MOST_IMAGES", 80)
    torch.manual_seed(0)
    model = torchvision().models.mobilenet_v3_small(weights=None, num_classes=10)
    errors = taught(model, digits, lambda images: digits.normalise(images).expand(-1, 3, -1, -1), images=500)
    examined = tried(saved(model.state_dict()), digits)
    assert errors < 445 / 2
    assert examined.config.model == ModelConfig(name="torchvision/mobilenet_v3_small", first_stride=2)
    assert (examined.test_errors, examined.config.brought.shape) == (errors, (3, 28, 28))
    assert "First stride: 2?" in " ".join(question.sentence for question in examined.questions)


def test_the_names_are_torchvisions_classifiers():
    models = torchvision().models
    assert {f"torchvision/{name}" for name in models.list_models(module=models)} == {*stock.NAMES}


@pytest.mark.parametrize("name", ["resnet34", "efficientnet_b0", "squeezenet1_1", "vit_b_32", "mobilenet_v2"])
def test_a_network_of_torchvisions_is_known_by_its_names(name, digits):
    with torch.device("meta"):
        model = torchvision().models.get_model(name, weights=None, num_classes=10)
    state = {key: torch.zeros(tensor.shape, dtype=tensor.dtype) for key, tensor in model.state_dict().items()}
    config = recognised({f"backbone.{key}": tensor for key, tensor in state.items()})
    assert config == ModelConfig(name=f"torchvision/{name}")
    fit = fitted(state, config, (1, 28, 28), digits)
    assert fit.shape == ((3, 224, 224) if name == "vit_b_32" else (3, 28, 28))
    assert RunConfig(role="teacher", dataset="digits", model=config).trained_here


# --------------------------------------------------------------------------------------------------- checkpoints


def test_averages_beside_weights_are_tried_and_which_were_taken_is_said(digits):
    model = mlp(nn.ReLU)
    errors = taught(model, digits)
    good, average = model.state_dict(), torch.optim.swa_utils.AveragedModel(model).state_dict()
    bad = {name: tensor + 0.3 * torch.randn_like(tensor) for name, tensor in good.items()}
    lightning = {
        **{f"model.{name}": tensor for name, tensor in good.items()},
        "criterion.weight": torch.ones(10), "train_acc.tp": torch.zeros(10, dtype=torch.long),
        "aux_head.weight": torch.zeros(5, 200), "aux_head.bias": torch.zeros(5),
    }  # fmt: skip
    files = {
        "n_averaged of its training was left out": average,
        "'model_ema' were taken": {"model": bad, "model_ema": average, "args": argparse.Namespace(lr=0.1), "epoch": 3},
        "'state_dict_ema' were taken": {"state_dict": bad, "state_dict_ema": good, "optimizer": {"state": {}}},
        "left out: aux_head.weight, aux_head.bias": {"state_dict": lightning, "callbacks": {}, "hyper_parameters": {}},
    }
    for note, content in files.items():
        examined = tried(saved(content), digits)
        assert (examined.test_errors, examined.warning) == (errors, ""), note
        assert note in " ".join(examined.notes)


def test_a_thousand_classes_give_those_that_are_ours(digits):
    columns = [404, 436, 94, 281, 345, 207, 30, 339, 510, 867]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 1000))
    errors = taught(model, digits, columns=columns)
    examined = tried(saved(model.state_dict()), digits)
    assert (examined.test_errors, list(examined.config.brought.classes)) == (errors, columns)
    assert examined.state["3.weight"].shape == (10, 100)
    stated = tried(saved(model.state_dict()), digits, answers={"classes": ",".join(map(str, columns))})
    assert stated.test_errors == errors
    with pytest.raises(LabError, match="classes must be 10 numbers from 0 to 999"):
        tried(saved(model.state_dict()), digits, answers={"classes": "1,2"})


# ---------------------------------------------------------------------------------------------------------- ONNX


def graph(nodes, shape, outputs, tensors=(), domains=("",)):
    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, ("N", *shape))
    gives = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs]
    held = [numpy_helper.from_array(np.asarray(tensor), name) for name, tensor in tensors]
    made = helper.make_graph(nodes, "teacher", [given], gives, held)
    opsets = [helper.make_opsetid(domain, 18 if not domain else 1) for domain in domains]
    return helper.make_model(made, ir_version=9, opset_imports=opsets).SerializeToString()


def linear(digits):
    """Weights and bias of a linear teacher of pixels from 0 to 1, and its test errors."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    errors = taught(model, digits, lambda images: images / 255)
    return model[1].weight.detach().numpy().T.copy(), model[1].bias.detach().numpy(), errors


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (None, None, 1), (56, 56, 3)])
def test_onnx_reads_images_laid_out_otherwise(shape, digits):
    weight, bias, errors = linear(digits)
    nodes, side = [], {}
    if shape == (56, 56, 3):  # of colour and twice the size
        side = {"side": "56"}
        nodes = [helper.make_node("Slice", ["images", "from", "to", "axes", "steps"], ["one"]),
                 helper.make_node("Flatten", ["one"], ["rows"])]  # fmt: skip
    else:
        nodes = [helper.make_node("Flatten", ["images"], ["rows"])]
    tensors = [("weight", weight), ("bias", bias), ("from", [0, 0, 0]), ("to", [56, 56, 1]), ("axes", [1, 2, 3]),
               ("steps", [2, 2, 1])]  # fmt: skip
    content = graph(
        [*nodes, helper.make_node("Gemm", ["rows", "weight", "bias"], ["logits"])],
        shape, [("logits", TensorProto.FLOAT)], tensors,
    )  # fmt: skip
    if side:
        with pytest.raises(LabError, match=r"reads images of 56x56x3, .* or have them resized, to a side of 56"):
            tried(content, digits)
    examined = tried(content, digits, answers=side)
    assert abs(examined.test_errors - errors) <= (20 if side else 0)
    again = pixels.build(
        examined.config.model,
        examined.config.brought,
        examined.state,
        (1, 28, 28),
        10,
        mean=digits.mean,
        std=digits.std,
    )
    logits = build.logits_of(again, digits.test_images, digits.normalise)
    assert int((logits.argmax(dim=1) != digits.test_labels).sum()) == examined.test_errors


def test_onnx_gives_its_logits_whichever_output_they_are(digits):
    weight, bias, errors = linear(digits)
    nodes = [
        helper.make_node("Flatten", ["images"], ["features"]),
        helper.make_node("Gemm", ["features", "weight", "bias"], ["logits"]),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1),
    ]
    outputs = [("label", TensorProto.INT64), ("features", TensorProto.FLOAT), ("logits", TensorProto.FLOAT)]
    examined = tried(graph(nodes, (1, 28, 28), outputs, [("weight", weight), ("bias", bias)]), digits)
    assert (examined.test_errors, examined.config.brought.output) == (errors, 2)


def test_onnx_of_scikit_learn_gives_the_probabilities_in_its_maps(digits):
    weight, bias, errors = linear(digits)
    nodes = [
        helper.make_node("LinearClassifier", ["images"], ["label", "scores"], domain="ai.onnx.ml",
                         coefficients=weight.T.flatten().tolist(), intercepts=bias.tolist(),
                         classlabels_ints=list(range(10)), post_transform="SOFTMAX"),
        helper.make_node("ZipMap", ["scores"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=list(range(10))),
    ]  # fmt: skip
    made = onnx.load_from_string(graph(nodes, (784,), [("label", TensorProto.INT64)], domains=("", "ai.onnx.ml")))
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(
        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None)))  # fmt: skip
    made.graph.output.append(helper.make_value_info("maps", kind))
    examined = tried(made.SerializeToString(), digits)
    assert (examined.test_errors, examined.config.brought.gives) == (errors, "probabilities")
    neighbours = [helper.make_node("Scan", ["images"], ["logits"], num_scan_inputs=1)]
    with pytest.raises(LabError, match=r"calls Scan, .* of scikit-learn's models, linear ones"):
        tried(graph(neighbours, (784,), [("logits", TensorProto.FLOAT)]), digits)


def test_the_axes_of_a_file_tell_how_images_lie():
    assert black_box.shape_read((32, 32, 3), (3, 32, 32)) == (3, 32, 32)
    assert black_box.shape_read((3, 28, 28), (1, 28, 28)) == (3, 28, 28)
    assert black_box.shape_read((1024,), (3, 32, 32)) == (1, 32, 32)
    with pytest.raises(LabError, match="resized, to a side of 224"):
        black_box.shape_read((3, 224, 224), (3, 32, 32))
