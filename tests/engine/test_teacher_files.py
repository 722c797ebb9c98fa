"""A teacher's file is read as what it is, says the same here as where it was trained, and can do no harm."""

import io
import json
import warnings
import zipfile
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from onnx import TensorProto, helper, numpy_helper
from tiny import tiny_config, train_here
from torch import nn

from kd_core.base.config import ConfigError, LabError
from kd_core.exchange import bundle
from kd_core.exchange.export.checks import ExportError
from kd_core.exchange.export.write import export_run
from kd_core.exchange.model_card import model_card
from kd_core.exchange.teacher import trial
from kd_core.exchange.teacher.examine import examine, read
from kd_core.exchange.teacher.trial import Ask
from kd_core.experiments.story import StoryConfig, continued
from kd_core.jobs import execute, findings
from kd_core.models import black_box, build
from kd_core.models import pixels as models_pixels
from kd_core.models.config import BLACK_BOX, ExternalConfig, ModelConfig
from kd_core.runs import artifacts, logit_cache
from kd_core.runs.recovery import follow_folders
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig
from kd_core.training.together import trains_together

KINDS = ("state dict", "checkpoint", "safetensors", "program", "onnx", "onnx by torch")
SAME = {"rtol": 0, "atol": 1e-5}


def saved(anything):
    buffer = io.BytesIO()
    torch.save(anything, buffer)
    return buffer.getvalue()


def exported(model, batch=2, *, shape=(1, 28, 28), fixed=False):
    """A torch.export program, for any number of images or for just this many."""
    free = None if fixed else ({0: torch.export.Dim("batch", min=1)},)
    with warnings.catch_warnings(action="ignore"):
        return torch.export.export(model, (torch.zeros(batch, *shape),), dynamic_shapes=free)


def as_pt2(program):
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        torch.export.save(program, buffer)
    return buffer.getvalue()


def as_onnx(weights, *, shape=("N", 1, 28, 28), change=lambda graph: None):
    """The linear layers of a state dict, with ReLU between them, as somebody else's tools would write them."""
    names = [name.removesuffix(".weight") for name in weights if name.endswith(".weight")]
    nodes = [helper.make_node("Flatten", ["images"], ["x0"])]
    tensors = []
    for i, name in enumerate(names):
        parts = [f"{name}.{part}" for part in ("weight", "bias")]
        tensors += [numpy_helper.from_array(weights[part].numpy(), part) for part in parts]
        last = i == len(names) - 1
        inputs = [f"x{i}", f"{name}.weight", f"{name}.bias"]
        nodes.append(helper.make_node("Gemm", inputs, ["logits" if last else f"y{i}"], transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [f"y{i}"], [f"x{i + 1}"]))
    given = [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)]
    gives = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("N", None))]
    graph = helper.make_graph(nodes, "teacher", given, gives, tensors)
    change(graph)
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory, digits):
    """A teacher trained on digits, in another store, and its files."""
    store = Store(tmp_path_factory.mktemp("elsewhere"))
    run_id = train_here(store, tiny_config(epochs=8))
    model = artifacts.load_model(store.folder(run_id), digits)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    program = exported(model)
    with warnings.catch_warnings(action="ignore"):  # torch warns of its own pytree
        by_torch = torch.onnx.export(program, verbose=False).model_proto.SerializeToString()
    yield SimpleNamespace(
        model=model,
        weights=weights,
        logits=build.logits_of(model, digits.test_images, digits.normalise).numpy(),
        errors=store.get(run_id).results["test_errors"],
        files={
            "state dict": saved(weights),
            "checkpoint": saved({"epoch": 3, "state_dict": {f"module._orig_mod.{n}": t for n, t in weights.items()}}),
            "safetensors": safetensors.torch.save(weights),
            "program": as_pt2(program),
            "onnx": as_onnx(weights),
            "onnx by torch": by_torch,
        },
    )
    store.close()


def tried(content, digits, **options):
    return examine(content, Ask(dataset="digits", file="teacher.bin", **options), digits, lambda text, share: None)


def module_of(examined, digits):
    return models_pixels.build(
        examined.config.model,
        examined.config.brought,
        examined.state,
        (1, 28, 28),
        10,
        mean=digits.mean,
        std=digits.std,
    )


def logits_of(examined, digits, images=None):
    images = digits.test_images if images is None else images
    return build.logits_of(module_of(examined, digits), images, digits.normalise).numpy()


def taken(store, examined, **run_here):
    """The run that is made of what was tried."""
    state = safetensors.torch.save({name: tensor.contiguous() for name, tensor in examined.state.items()})
    outcome = trial.Outcome(
        examined.config, state, examined.notes, examined.warning, examined.test_errors, examined.test_examples
    )

    def submit(configs):
        store.create(configs)
        for run_id in configs:
            execute.run_here(store, run_id, lambda event: None, run_here.get("requested", lambda: None))
        return list(configs)

    return trial.take(store, outcome, submit)


# -------------------------------------------------------------------------------------------------- the same teacher


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_file_says_what_the_original_said(kind, elsewhere, digits):
    examined = tried(elsewhere.files[kind], digits)
    assert np.allclose(logits_of(examined, digits), elsewhere.logits, **SAME)
    assert examined.test_errors == elsewhere.errors == (elsewhere.logits.argmax(1) != digits.test_labels.numpy()).sum()
    assert examined.warning == ""
    assert (examined.config.model.name == BLACK_BOX) == (kind in KINDS[-3:])


@pytest.mark.parametrize("kind", ["checkpoint", "program", "onnx"])
def test_a_brought_teacher_is_a_finished_run_that_teaches(kind, elsewhere, digits, store):
    run_id = taken(store, tried(elsewhere.files[kind], digits))
    run = store.get(run_id)
    assert (run.status, run.config.role, run.tags) == ("finished", "teacher", ("brought",))
    assert "brought by its user" in run.label
    assert run.results["test_errors"] == elsewhere.errors
    assert np.allclose(artifacts.test_logits(store.folder(run_id)), elsewhere.logits, **SAME)
    images = digits.test_images[:5].numpy()
    assert np.allclose(artifacts.load_trained(store.folder(run_id))(images), elsewhere.logits[:5], **SAME)
    kept = artifacts.training_logits([store.folder(run_id)], "digits")
    assert np.allclose(kept[0], build.logits_of(elsewhere.model, digits.train_images, digits.normalise), **SAME)
    for jitter in (0, 1):  # from what it said once, and asked anew for each batch
        student = train_here(store, tiny_config("distilled", teachers=(run_id,), epochs=1, jitter_pixels=jitter))
        assert store.get(student).usable, store.get(student).message


def test_costs_of_a_black_box_are_unknown_but_for_its_size(elsewhere, digits, store):
    run_id = taken(store, tried(elsewhere.files["onnx"], digits))
    results = store.get(run_id).results
    assert (results["parameters"], results["multiply_adds"]) == (None, None)
    assert results["size_bytes"] == len(elsewhere.files["onnx"])


@pytest.mark.parametrize("kind", ["program", "onnx"])
def test_a_fixed_batch_is_filled_up_and_cut_off(kind, elsewhere, digits):
    fixed = exported(elsewhere.model, 4, fixed=True)
    content = as_pt2(fixed) if kind == "program" else as_onnx(elsewhere.weights, shape=(4, 1, 28, 28))
    examined = tried(content, digits)
    assert np.allclose(logits_of(examined, digits, digits.test_images[:7]), elsewhere.logits[:7], **SAME)


def test_rows_of_numbers_are_given_where_a_black_box_reads_rows(elsewhere, digits):
    examined = tried(as_onnx(elsewhere.weights, shape=("N", 784)), digits)
    assert np.allclose(logits_of(examined, digits), elsewhere.logits, **SAME)


class FromPixels(nn.Module):
    """The same teacher for other pixels: those times scale plus shift are from 0 to 1."""

    def __init__(self, model, digits, scale=1.0, shift=0.0, softmax=False):
        super().__init__()
        self.model, self.mean, self.std = model, digits.mean, digits.std
        self.scale, self.shift, self.softmax = scale, shift, softmax

    def forward(self, pixels):
        pixels = pixels.to("cpu", torch.float32)  # as programs say that were written on one device
        logits = self.model((pixels * self.scale + self.shift - self.mean) / self.std)
        return logits.softmax(dim=1) if self.softmax else logits


@pytest.mark.parametrize(
    ("scale", "shift", "options"),
    [
        (1.0, 0.0, {"mean": (0.0,), "std": (1.0,)}),
        (1 / 255, 0.0, {"mean": (0.0,), "std": (1 / 255,)}),
        (0.5, 0.5, {"mean": (0.5,), "std": (0.5,)}),
        (-1.0, 1.0, {"mean": (0.0,), "std": (1.0,), "answers": {"inverted": "yes"}}),
    ],
)
def test_pixels_are_given_as_the_teacher_was_trained_to_read_them(scale, shift, options, elsewhere, digits):
    content = as_pt2(exported(FromPixels(elsewhere.model, digits, scale, shift)))
    assert np.allclose(logits_of(tried(content, digits, **options), digits), elsewhere.logits, rtol=0, atol=1e-4)


def test_an_inverted_own_normalisation_is_inverted_pixels_normalised(elsewhere, digits):
    examined = tried(elsewhere.files["state dict"], digits, answers={"pixels": "own", "inverted": "yes"})
    expected = build.logits_of(elsewhere.model, 255 - digits.test_images, digits.normalise).numpy()
    assert np.allclose(logits_of(examined, digits), expected, rtol=0, atol=1e-4)


def test_each_channel_may_have_its_own_mean_and_deviation():
    seen = []
    model = nn.Sequential(nn.Identity())
    model[0].register_forward_hook(lambda module, inputs, output: seen.append(output))
    came = ExternalConfig(
        kind="weights", file="x", sha256="0" * 64, mean=(0.5, 0.25, 0.1), std=(0.5, 0.2, -1.0)
    )  # fmt: skip
    pixels = np.random.default_rng(0).random((2, 3, 4, 4))
    models_pixels.expecting(model, ModelConfig(), came, mean=0.3, std=0.7)(torch.tensor((pixels - 0.3) / 0.7))
    expected = (pixels - np.array([0.5, 0.25, 0.1]).reshape(3, 1, 1)) / np.array([0.5, 0.2, -1.0]).reshape(3, 1, 1)
    assert np.allclose(seen[0].numpy(), expected)


def test_the_logarithm_is_taken_of_probabilities(elsewhere, digits):
    content = as_pt2(exported(FromPixels(elsewhere.model, digits, softmax=True)))
    examined = tried(content, digits, mean=(0.0,), std=(1.0,))
    assert examined.config.brought.gives == "probabilities"
    assert "probabilities" in " ".join(examined.notes)
    shifted = elsewhere.logits - np.log(np.exp(elsewhere.logits.astype(float)).sum(axis=1, keepdims=True))
    assert np.allclose(np.exp(logits_of(examined, digits)), np.exp(shifted), atol=1e-4)


def test_half_precision_becomes_float32(elsewhere, digits):
    halves = {name: tensor.half() for name, tensor in elsewhere.weights.items()}
    examined = tried(saved(halves), digits)
    assert {tensor.dtype for tensor in examined.state.values()} == {torch.float32}
    assert "float32" in " ".join(examined.notes)


# ------------------------------------------------------------------------------------------------ which network


def test_an_mlp_is_known_by_its_shapes_whatever_its_layers_are_called(elsewhere, digits):
    renamed = dict(zip(["fc2.weight", "fc2.bias", "fc10.weight", "fc10.bias"], elsewhere.weights.values(), strict=True))
    for content in (saved(renamed), safetensors.torch.save(renamed)):
        examined = tried(content, digits)
        assert examined.config.model == ModelConfig(hidden=(16,))
        assert np.allclose(logits_of(examined, digits), elsewhere.logits, **SAME)


def test_layers_stand_as_in_the_file_where_their_names_do_not_follow_each_other(elsewhere, digits):
    names = ["inner.weight", "inner.bias", "end.weight", "end.bias"]
    examined = tried(saved(dict(zip(names, elsewhere.weights.values(), strict=True))), digits)
    assert np.allclose(logits_of(examined, digits), elsewhere.logits, **SAME)


@pytest.mark.parametrize(
    "model",
    [
        ModelConfig(hidden=(8, 12)),
        ModelConfig(hidden=()),
        ModelConfig(hidden=(8, 12), dropout_input=0.1, dropout_hidden=0.5, batch_norm=True),
        ModelConfig(name="cnn"),
        ModelConfig(name="cnn", channels=(4, 8, 6)),
        ModelConfig(name="resnet18"),
        ModelConfig(name="mobilenet_v3_small"),
    ],
)
def test_every_architecture_of_ours_is_known_by_its_names_and_shapes(model, digits):
    torch.manual_seed(0)
    built = build.build(model, (1, 28, 28), 10).eval()
    weights = {name: tensor for name, tensor in built.state_dict().items() if "num_batches" not in name}
    ask = Ask(dataset="digits", file="x")
    for content in (saved(weights), safetensors.torch.save(weights)):
        config, state, _ = read(content, ask, digits)
        assert (config.model.name, config.model.channels) == (model.name, model.channels)
        assert config.model.hidden == model.hidden
        again = models_pixels.build(
            config.model, config.brought, state, (1, 28, 28), 10, mean=digits.mean, std=digits.std
        )
        images = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(1))
        assert torch.allclose(again(images), built(images))


# -------------------------------------------------------------------------------------------------------- refusals


class Evil:
    """What a pickle may hold: it calls open when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def rezipped(content, change):
    """A zip file, its members given to change, which may return others."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, member in (change(members) or members).items():
            archive.writestr(name, member)
    return buffer.getvalue()


def graph_changed(content, change):
    """A program whose JSON was given to change."""

    def changed(members):
        (name,) = [name for name in members if name.endswith("models/model.json")]
        graph = json.loads(members[name])
        change(graph)
        members[name] = json.dumps(graph).encode()

    return rezipped(content, changed)


def with_node(content, **node):
    def change(program):
        program["graph_module"]["graph"]["nodes"][0] |= node

    return graph_changed(content, change)


def another_last_layer(weights, classes):
    *_, weight, bias = weights
    return weights | {weight: torch.zeros(classes, 16), bias: torch.zeros(classes)}


def test_what_differs_is_said_in_a_sentence(elsewhere, digits):
    weights, first, linear = elsewhere.weights, next(iter(elsewhere.weights)), nn.Linear(3072, 10)
    cnn = build.build(ModelConfig(name="cnn"), (4, 28, 28), 10).state_dict()
    colours = nn.Sequential(nn.Flatten(), linear).eval()
    cases = {
        "last layer gives 7 classes, Digits .* has 10": saved(another_last_layer(weights, 7)),
        "gives 7 classes, the data set has 10": as_onnx(another_last_layer(weights, 7)),
        "reads 3,072 numbers, an image of .* has 784": saved(linear.state_dict()),
        "reads images of 3x32x32, those of the data set are 1x28x28": as_pt2(exported(colours, shape=(3, 32, 32))),
        "reads images of 4 channels, those of .* have 1": saved(cnn),
        "tell none of KD Lab's architectures": saved({"a.weight": weights[first], "b.scale": torch.ones(3),
                                                      "c.weight": torch.zeros(10, 16)}),
        "holds no weights": saved({"epoch": 3}),
        "holds what is no number": saved(weights | {first: weights[first] * torch.nan}),
        "is empty": b"",
        "none of the files that KD Lab reads": b"GIF89a" * 10,
        "safetensors file is damaged or cut short": elsewhere.files["safetensors"][:-7],
        "is damaged or cut short": elsewhere.files["state dict"][:-70],
        "damaged or cut short": elsewhere.files["program"][:-90],
        "no ONNX file, or it is damaged or cut short": elsewhere.files["onnx"][:-7],
    }  # fmt: skip
    for sentence, content in cases.items():
        with pytest.raises(LabError, match=sentence):
            tried(content, digits)


def test_all_differences_from_the_chosen_architecture_stand_in_one_sentence(elsewhere, digits):
    with pytest.raises(
        LabError,
        match=r"not those of mlp 20-20 .*5.bias are missing; .*1.weight has shape 16x784, needs 20x784; .*and 1 more",
    ):
        tried(elsewhere.files["state dict"], digits, model=ModelConfig(hidden=(20, 20)))
    with pytest.raises(LabError, match="leave the architecture to it"):
        tried(elsewhere.files["onnx"], digits, model=ModelConfig(name="cnn"))


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(elsewhere, digits, tmp_path):
    mark = tmp_path / "ran"
    with pytest.raises(LabError, match="save the weights alone"):
        tried(saved(elsewhere.weights | {"note": Evil(mark)}), digits)
    with pytest.raises(LabError, match="save the weights alone"):
        tried(saved(elsewhere.model), digits)
    assert not mark.exists()


def test_a_program_is_read_without_its_pickles(elsewhere, digits, tmp_path):
    mark = tmp_path / "ran"
    evil = saved(Evil(mark))

    def poisoned(members):
        for name in members:
            if name.endswith("sample_inputs/model.pt"):
                members[name] = evil

    examined = tried(rezipped(elsewhere.files["program"], poisoned), digits)
    assert examined.test_errors == elsewhere.errors

    def pickled(part, use):
        def change(members):
            (name,) = [name for name in members if name.endswith(f"model_{part}_config.json")]
            root = name.partition("/")[0]
            members[f"{root}/data/{part}/evil"] = evil
            members[name] = json.dumps({"config": {"x": {"path_name": "evil", "is_param": False, **use}}}).encode()

        return change

    for part in ("weights", "constants"):
        for use in ({"use_pickle": True, "tensor_meta": None}, {"use_pickle": False, "tensor_meta": None}):
            with pytest.raises(LabError, match="a pickle can run code"):
                tried(rezipped(elsewhere.files["program"], pickled(part, use)), digits)
    assert not mark.exists()


def test_a_program_calls_nothing_but_arithmetic(elsewhere, digits, tmp_path):
    content, mark = elsewhere.files["program"], tmp_path / "ran"
    for target in ("torch.ops.aten.from_file.default", "torch.ops.higher_order.cond", "builtins.eval", "os.system",
                   "torch.ops.aten.nonzero.default", "torch.ops.aten.resize_.default"):  # fmt: skip
        with pytest.raises(LabError, match=r"calls .*, which is not among the operators"):
            tried(with_node(content, target=target), digits)
    argument = {"name": "self", "arg": {"as_graph": {"name": "x", "graph": {}}}, "kind": 1}
    with pytest.raises(LabError, match="cannot be computed"):
        tried(with_node(content, target="torch.ops.aten.relu.default"), digits)
    with pytest.raises(LabError, match="is given graph"):
        tried(with_node(content, inputs=[argument]), digits)

    def of_python(program):
        (size,) = [
            size
            for meta in program["graph_module"]["graph"]["tensor_values"].values()
            for size in meta["sizes"][:1]
            if meta["sizes"][1:2] == [{"as_int": 1}]
        ]
        size["as_expr"]["expr_str"] = f"open({str(mark)!r}, 'w')"

    with pytest.raises(LabError, match="follows a formula"):
        tried(graph_changed(content, of_python), digits)
    assert not mark.exists()


def test_programs_that_hold_other_things_are_refused(elsewhere, digits, monkeypatch):
    content = elsewhere.files["program"]
    with pytest.raises(LabError, match="compiled code"):
        tried(rezipped(content, lambda members: members | {"a/data/aotinductor/model/x.so": b"ELF"}), digits)
    with pytest.raises(LabError, match="an old torch wrote it"):
        tried(rezipped(content, lambda members: members | {"serialized_exported_program.json": b"{}"}), digits)
    with pytest.raises(LabError, match="TorchScript"):
        tried(rezipped(content, lambda members: {"a/constants.pkl": b""}), digits)
    with pytest.raises(LabError, match="another version of torch"):
        tried(graph_changed(content, lambda program: program["schema_version"].update(major=9)), digits)

    def overlong(members):
        for name in members:
            if name.endswith("weights_config.json"):
                config = json.loads(members[name])
                config["config"]["1.weight"]["tensor_meta"]["storage_offset"] = {"as_int": 1}
                members[name] = json.dumps(config).encode()

    with pytest.raises(LabError, match="larger than what is stored"):
        tried(rezipped(content, overlong), digits)
    monkeypatch.setattr(black_box, "MAX_BYTES", len(content) + 10_000)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/archive_format", "pt2")
        archive.writestr("a/data/weights/weight_0", bytes(len(content) + 20_000))
    for inside in ("archive_format", "data.pkl"):
        with pytest.raises(LabError, match="unpacks to over"):
            tried(bomb.getvalue().replace(b"archive_format", inside.encode().ljust(14, b"_")), digits)


def test_what_was_exported_as_in_training_is_refused(digits):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Dropout(0.5)).train()
    with pytest.raises(LabError, match="as in training"):
        tried(as_pt2(exported(model)), digits)
    averages = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), nn.Linear(784, 10)).train()
    with pytest.raises(LabError, match=r"call model.eval\(\)"):
        tried(as_pt2(exported(averages, 4)), digits)


def test_what_depends_on_the_rest_of_its_batch_is_refused(elsewhere, digits):
    def centred(graph):
        graph.node[-1].output[0] = "uncentred"
        graph.node.append(helper.make_node("ReduceMean", ["uncentred", "batch"], ["mean"]))
        graph.node.append(helper.make_node("Sub", ["uncentred", "mean"], ["logits"]))
        graph.initializer.append(numpy_helper.from_array(np.array([0]), "batch"))

    with pytest.raises(LabError, match="depends on the others beside it"):
        tried(as_onnx(elsewhere.weights, change=centred), digits)


def test_logits_that_are_no_numbers_are_refused(elsewhere, digits):
    weights = {name: tensor * torch.inf for name, tensor in elsewhere.weights.items()}
    with pytest.raises(LabError, match="test images is not all numbers"):
        tried(as_onnx(weights), digits)


def test_an_onnx_file_calls_only_arithmetic_of_sizes_fixed_beforehand(elsewhere, digits):
    weights = elsewhere.weights

    def outside(graph):
        graph.initializer[0].data_location = TensorProto.EXTERNAL
        graph.initializer[0].external_data.add(key="location", value="/etc/passwd")

    def node(*given, **attributes):
        return lambda graph: graph.node.insert(0, helper.make_node(*given, **attributes))

    def sized_by_pixels(graph):
        graph.node.insert(0, helper.make_node("Cast", ["images"], ["whole"], to=TensorProto.INT64))
        graph.node.insert(1, helper.make_node("ConstantOfShape", ["whole"], ["zeros"]))

    def second_input(graph):
        graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ("N", 3)))

    body = helper.make_graph([], "body", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)])
    cases = {
        "weights lie in another file": outside,
        "calls evil.corp.Run, which is not among": node("Run", ["images"], ["y"], domain="evil.corp"),
        "calls Loop, which is not among": node("Loop", ["", "", "images"], ["y"], body=body),
        "calls If, which is not among": node("If", ["images"], ["y"], then_branch=body, else_branch=body),
        "calls RandomNormalLike, which is not among": node("RandomNormalLike", ["images"], ["y"]),
        "calls NonZero, which is not among": node("NonZero", ["images"], ["y"]),
        "holds a graph of its own": node("Relu", ["images"], ["y"], body=body),
        "size of its ConstantOfShape follows": sized_by_pixels,
        "wants 2 inputs": second_input,
        "do not stand in the order": node("Relu", ["logits"], ["y"]),
        "batch statistics on": node("BatchNormalization", ["images"] * 5, ["y"], training_mode=1),
    }
    for sentence, change in cases.items():
        with pytest.raises(LabError, match=sentence):
            tried(as_onnx(weights, change=change), digits)


def test_an_onnx_file_is_never_taken_for_onnx_runtimes_own_format(elsewhere, digits):
    made = onnx.load_from_string(elsewhere.files["onnx"])
    made.producer_name, made.ir_version = "ORTM", 9
    content = made.SerializeToString()
    assert content[4:8] == b"ORTM"  # by which ONNX Runtime knows its own files, of which nothing here is checked
    assert tried(content, digits).test_errors == elsewhere.errors


# ------------------------------------------------------------------------------------------ what speaks against it


def test_a_teacher_of_another_order_of_classes_is_told_that_order(elsewhere, digits):
    *_, weight, bias = elsewhere.weights
    order = torch.arange(10).roll(1)
    turned = elsewhere.weights | {weight: elsewhere.weights[weight][order], bias: elsewhere.weights[bias][order]}
    examined = tried(saved(turned), digits)
    classes = "1,2,3,4,5,6,7,8,9,0"
    assert f"with classes {classes} it gets" in examined.warning
    put_right = tried(saved(turned), digits, answers={"classes": classes})
    assert (put_right.warning, put_right.test_errors) == ("", elsewhere.errors)
    assert np.allclose(logits_of(put_right, digits), elsewhere.logits, **SAME)


@pytest.mark.parametrize(
    ("scale", "shift", "better"), [(-1.0, 1.0, "pixels 0..1, inverted yes"), (1 / 255, 0.0, "pixels 0..255")]
)
def test_a_teacher_of_other_pixels_than_stated_is_told_which_suit_it(scale, shift, better, elsewhere, digits):
    content = as_pt2(exported(FromPixels(elsewhere.model, digits, scale, shift)))
    examined = tried(content, digits, mean=(9.0,), std=(0.1,))
    assert "guessed" in examined.warning
    assert f"with {better} it gets" in examined.warning


def test_a_weak_teacher_is_taken_without_a_warning(elsewhere, digits):
    *_, weight, _ = elsewhere.weights
    noise = torch.randn(elsewhere.weights[weight].shape, generator=torch.Generator().manual_seed(0))
    weak = tried(saved(elsewhere.weights | {weight: elsewhere.weights[weight] + 0.6 * noise}), digits)
    assert weak.test_errors > 445 / 2
    assert weak.warning == ""
    assert "it may simply be weak" in " ".join(weak.notes)


# ------------------------------------------------------------------------------------------------ what it may not do


def test_a_black_box_cannot_be_trained_continued_packed_or_exported(elsewhere, digits, store):
    run = store.get(taken(store, tried(elsewhere.files["onnx"], digits)))
    with pytest.raises(ConfigError, match="cannot be trained"):
        RunConfig(role="baseline", model=ModelConfig(name=BLACK_BOX))
    with pytest.raises(ConfigError, match="cannot be trained"):
        continued(run, 2)
    with pytest.raises(bundle.BundleError, match="is a black box"):
        bundle.pack(store, run.id)
    with pytest.raises(ExportError, match="is a black box"):
        export_run(store.storage, run)
    with pytest.raises(ConfigError, match="no layer or weight"):
        findings.find_on_worker("", str(store.storage), "inside", [run], 0)
    with pytest.raises(ConfigError, match="no run"):
        RunConfig(**run.config.model_dump() | {"continues": "abc"})
    with pytest.raises(ConfigError, match="as it is"):
        RunConfig(**run.config.model_dump() | {"role": "baseline"})


def test_what_was_brought_goes_on_here_only_if_it_reads_our_pixels(elsewhere, digits, store):
    from kd_core.runs import checks

    run = store.get(taken(store, tried(elsewhere.files["state dict"], digits)))
    config = continued(run, 1)
    assert (config.brought, config.continues) == (None, run.id)
    checks.check(store, {"new": config})
    assert store.get(train_here(store, config)).usable
    other = store.get(taken(store, tried(elsewhere.files["state dict"], digits, mean=(0.1,), std=(0.3,))))
    with pytest.raises(ConfigError, match="other pixels"):
        checks.check(store, {"new": continued(other, 1)})


def test_a_brought_mlp_trains_with_no_other_and_its_story_keeps_to_itself(elsewhere, digits):
    config, _, _ = read(elsewhere.files["state dict"], Ask(dataset="digits", file="x"), digits)
    assert not trains_together(config)
    student = tiny_config("distilled", teachers=("abc",))
    box = config.replace(model=ModelConfig(name=BLACK_BOX), brought=config.brought.replace(kind="onnx"))
    story = StoryConfig.of_runs([student], [box])
    assert story.teachers == ("abc",)
    assert story.teacher.name != BLACK_BOX


def test_a_brought_teacher_travels_in_a_bundle_with_its_pixels(elsewhere, digits, store, tmp_path):
    examined = tried(elsewhere.files["state dict"], digits, mean=(0.2,), std=(0.4,))
    run_id = taken(store, examined)
    there = Store(tmp_path / "there")
    try:
        again = bundle.unpack(there, bundle.pack(store, run_id))
        images = digits.test_images[:9]
        carried = build.logits_of(artifacts.load_model(there.folder(again), digits), images, digits.normalise)
        assert np.allclose(carried, logits_of(examined, digits, images))
        assert there.get(again).config.brought == examined.config.brought
    finally:
        there.close()
    card = model_card(
        store.get(run_id), image_shape=(1, 28, 28), class_names=digits.class_names, mean=0.1, std=0.3, layers=""
    )
    assert "config.brought, weights, (1, 28, 28), 10, mean=MEAN" in card
    assert examined.config.brought.sha256 in card


def test_what_a_teacher_said_of_other_pixels_is_not_taken_for_what_it_says_now(elsewhere, digits, store):
    wide, narrow = (
        taken(store, tried(elsewhere.files["state dict"], digits, mean=(0.2,), std=(std,))) for std in (0.4, 0.3)
    )
    assert artifacts.weights_sha256(store.folder(wide)) == artifacts.weights_sha256(store.folder(narrow))
    keys = {logit_cache.key(store.folder(run_id), digits) for run_id in (wide, narrow, wide)}
    assert len(keys) == 2


def test_a_list_that_lost_a_brought_run_finds_it_in_its_folder(elsewhere, digits, store, tmp_path):
    run_id = taken(store, tried(elsewhere.files["onnx"], digits))
    assert artifacts.saved_results(store.folder(run_id)) == store.get(run_id).results
    other = Store(tmp_path / "other", store.storage)
    follow_folders(other)
    assert (other.get(run_id).status, other.get(run_id).usable) == ("finished", True)
    other.close()


def test_a_stopped_question_is_asked_again(elsewhere, digits, store):
    run_id = taken(store, tried(elsewhere.files["onnx"], digits), requested=lambda: "stop")
    assert (store.get(run_id).status, store.get(run_id).usable) == ("stopped", False)
    store.take_up(run_id)
    execute.run_here(store, run_id, lambda event: None, lambda: None)
    assert store.get(run_id).results["test_errors"] == elsewhere.errors


def test_a_teacher_that_may_not_be_queued_leaves_nothing_behind(elsewhere, digits, store):
    examined = tried(elsewhere.files["onnx"], digits)
    outcome = trial.Outcome(examined.config, b"x", examined.notes, examined.warning, 0, 1)

    def refused(configs):
        raise ConfigError("the queue is full")

    with pytest.raises(ConfigError, match="queue is full"):
        trial.take(store, outcome, refused)
    assert not [*store.storage.glob("runs/*")]
    assert store.runs() == []


# ---------------------------------------------------------------------------------------- in a process of its own
