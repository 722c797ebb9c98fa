"""A file that holds somebody's trained teacher, read and tried before anything is kept of it.

A state dict (.pt, .pth) or safetensors of an architecture of ours, a torch.export program (.pt2), or an ONNX file. What
it is, its content says, not its name. Nothing in it is run but what kd_core.models.black_box lets; pickles are read by
torch.load(weights_only=True) alone. kd_core.exchange.teacher.trial does this in a process of its own, with bounds.
"""

import hashlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import safetensors.torch
import torch
from pydantic import Field
from torch import Tensor, nn

from kd_core.base.archive import Archive, DamagedError, FlawError
from kd_core.base.config import Config, LabError
from kd_core.data.catalogue import info_of
from kd_core.data.dataset import Dataset
from kd_core.evaluation import accuracy
from kd_core.models import black_box, build, pixels
from kd_core.models.architectures.architecture import Layer
from kd_core.models.black_box import BlackBox
from kd_core.models.config import BLACK_BOX, MODELS, PIXELS, ExternalConfig, ModelConfig
from kd_core.training.config import RunConfig, TrainingConfig

Tell = Callable[[str, float], None]
"""Hears what is being done, with the share done, 0 to 1."""
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights", "params")
"""Under which names checkpoints keep their weights."""
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
"""What DataParallel, torch.compile and wrappers put before every name."""
MAX_NAMES, MAX_NESTING = 20_000, 4
NAMED = 3
"""Differences that a sentence names."""
TRIED_IMAGES = 500
"""Of the test set, by which other normalisations are tried."""
SAME = 1e-3
"""By how much, and by what share, what a teacher says of an image may change when it is asked again."""
NO_TRAINING = TrainingConfig(epochs=1, warmup_epochs=0)
"""What stands in the config of a run that was not trained here; its split is what validation errors are counted on."""


class TeacherError(LabError):
    """A file that cannot be used as a teacher; a sentence says why and what to do."""


class Ask(Config):
    """A file to be tried: what its user says of it."""

    dataset: str
    file: str = Field(min_length=1, description="what it is called")
    model: ModelConfig | None = Field(None, description="its architecture; by default what its names and shapes tell")
    mean: tuple[float, ...] | None = Field(None, description="as ExternalConfig's")
    std: tuple[float, ...] | None = Field(None, description="as ExternalConfig's")
    inverted: bool = Field(False, description="whether dark and light are exchanged before")


class Tried(NamedTuple):
    """What a trial found. state: of the run's model. notes, warning: sentences for people; warning may be empty."""

    config: RunConfig
    state: dict[str, Tensor]
    notes: tuple[str, ...]
    warning: str
    test_errors: int
    test_examples: int


def examine(content: bytes, ask: Ask, dataset: Dataset, tell: Tell) -> Tried:
    """Read a file and ask it of the whole test set. Raises LabError where it cannot be this data set's teacher."""
    tell("Reading the file", 0.0)
    config, state, notes = read(content, ask, dataset)
    model = _built(config, state, dataset)
    tell("Asking it for the first time", 0.0)
    gives = _check_answers(model, dataset)
    if config.brought is not None and gives != config.brought.gives:
        config = config.replace(brought=config.brought.replace(gives=gives))
        notes = (*notes, "It gives probabilities; their logarithms serve as its logits, which says the same.")
        model = _built(config, state, dataset)
    answers = []
    for part in dataset.test_images.split(black_box.BATCH):
        answers.append(build.logits_of(model, part, dataset.normalise))
        tell("Asking it of the test set", sum(map(len, answers)) / len(dataset.test_labels))
    logits, labels = torch.cat(answers).numpy(), dataset.test_labels.numpy()
    odd = int((~np.isfinite(logits)).any(axis=1).sum())
    if odd:
        raise TeacherError(
            f"What this file says of {odd:,} of {len(labels):,} test images is not all numbers (NaN or infinite): it"
            " diverged, or its weights are damaged."
        )
    errors = accuracy.test_errors(logits, labels)
    warning = ""
    if errors / len(labels) > (1 - 1 / len(dataset.class_names)) / 2:
        warning = _likely_causes(config, state, dataset, logits, tell)
    return Tried(config, state, notes, warning, errors, len(labels))


def _built(config: RunConfig, state: dict[str, Tensor], dataset: Dataset) -> nn.Module:
    classes = len(dataset.class_names)
    return pixels.build(
        config.model, config.brought, state, dataset.image_shape, classes, mean=dataset.mean, std=dataset.std
    )


def read(content: bytes, ask: Ask, dataset: Dataset) -> tuple[RunConfig, dict[str, Tensor], tuple[str, ...]]:
    """What a file is: the config of its run, the state of its model, and sentences on what was done to it.

    Class count and input are checked first. Raises LabError.
    """
    kind, (mean, std) = kind_of(content), (ask.mean, ask.std)
    if ask.inverted:
        mean, std = _inverted(*((mean, std) if mean and std else _own(dataset)))
    checksum = hashlib.sha256(content).hexdigest()
    came = ExternalConfig(kind=kind, file=ask.file[-100:], sha256=checksum, mean=mean, std=std)

    def run(model: ModelConfig) -> RunConfig:
        return RunConfig(role="teacher", dataset=ask.dataset, model=model, training=NO_TRAINING, brought=came)

    if kind == "weights":
        weights, notes = read_weights(content)
        model, state = fitted(weights, ask.model, dataset)
        return run(model), state, (*notes, f"It is taken for {model.label}.")
    if ask.model is not None:
        raise TeacherError("This file holds a whole program, not weights: leave the architecture to it.")
    config = run(ModelConfig(name=BLACK_BOX))
    box = BlackBox(kind, content, dataset.image_shape, len(dataset.class_names))
    what = "a torch.export program" if kind == "program" else "an ONNX file"
    return config, dict(box.state_dict()), (f"It is {what}: a black box, asked for its logits alone.",)


def kind_of(content: bytes) -> Any:
    """'weights', 'program' or 'onnx', by how a file begins. Raises TeacherError for one that is empty or too large."""
    if not content:
        raise TeacherError("This file is empty: choose the file that holds the trained teacher.")
    if len(content) > black_box.MAX_BYTES:
        raise TeacherError(f"This file is larger than {black_box.MAX_BYTES // 10**6} MB: bring a smaller teacher.")
    if content[:4] == b"PK\3\4":
        names = _zip_names(content)
        if any(name.endswith("/archive_format") or name == "serialized_exported_program.json" for name in names):
            return "program"
        if any(name.endswith("/constants.pkl") for name in names):
            raise TeacherError(
                "This is a TorchScript program, which KD Lab does not run: save model.state_dict(), or export it with"
                " torch.export or to ONNX."
            )
        return "weights"
    if content[:1] == b"\x80" or content[8:9] == b"{":
        return "weights"
    if content[:1] in (b"\x08", b"\x12", b"\x3a"):  # protobuf: ir_version, producer_name or graph comes first
        return "onnx"
    raise TeacherError(
        "This is none of the files that KD Lab reads: a state dict saved by torch.save, safetensors, a torch.export"
        " program, or ONNX."
    )


def _zip_names(content: bytes) -> list[str]:
    """The members of a zip file that unpacks to no more than a teacher may."""
    try:
        archive = Archive(content)
        archive.check_size(MAX_NAMES, black_box.MAX_BYTES)
    except DamagedError as error:
        raise TeacherError("This file is damaged or cut short: copy it again.") from error
    except FlawError as flaw:
        most = f"{black_box.MAX_BYTES // 10**6} MB"
        raise TeacherError(f"This file unpacks to over {most}: bring a smaller teacher.") from flaw
    return list(archive.sizes)


# -------------------------------------------------------------------------------------------------------- weights


def read_weights(content: bytes) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors of a state dict by their names, float32, wrappers and prefixes taken off; sentences on what was.

    Raises TeacherError.
    """
    content_read = _safetensors(content) if content[8:9] == b"{" and content[:1] != b"\x80" else _unpickled(content)
    weights, notes = _unwrapped(content_read), []
    while prefix := next((known for known in PREFIXES if all(name.startswith(known) for name in weights)), None):
        weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
        notes.append(f"'{prefix}' was taken off its names.")
    for name, tensor in weights.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
            raise TeacherError(f"{_shown(name)} in this file is sparse, quantised or complex: save plain numbers.")
    if any(tensor.is_floating_point() and tensor.dtype != torch.float32 for tensor in weights.values()):
        notes.append("Its numbers were turned into float32.")
    weights = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    odd = [name for name, tensor in weights.items() if not bool(tensor.isfinite().all())]
    if odd:
        raise TeacherError(
            f"{_shown(odd[0])} in this file holds what is no number (NaN or infinite): it diverged, or was damaged."
        )
    return weights, tuple(notes)


def _safetensors(content: bytes) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(content)
    except Exception as error:  # made-up content can raise nearly anything; none of it runs
        raise TeacherError("This safetensors file is damaged or cut short: copy it again.") from error


def _unpickled(content: bytes) -> Any:
    """What torch.save wrote, if it holds nothing but tensors and plain values."""
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a made-up pickle can raise nearly anything
        if "weights_only" in str(error) or "Weights only" in str(error):
            raise TeacherError(
                "This file holds Python objects beside its weights, which could run code, so it is not read: save the"
                " weights alone, with torch.save(model.state_dict(), ...)."
            ) from error
        raise TeacherError("This file is damaged or cut short, or torch.save did not write it.") from error


def _unwrapped(checkpoint: Any) -> dict[str, Tensor]:
    """The tensors of a dict, or of the one within that a checkpoint keeps its weights in."""
    for _ in range(MAX_NESTING):
        if not isinstance(checkpoint, Mapping):
            break
        weights = {str(name): value for name, value in checkpoint.items() if isinstance(value, Tensor)}
        inner = [checkpoint[name] for name in WRAPPERS if isinstance(checkpoint.get(name), Mapping)]
        if weights and not inner:
            if len(weights) > MAX_NAMES:
                raise TeacherError(f"This file holds more than {MAX_NAMES:,} tensors: bring a smaller teacher.")
            return weights
        if not inner:
            break
        checkpoint = inner[0]
    raise TeacherError("This file holds no weights: save them with torch.save(model.state_dict(), ...).")


# ------------------------------------------------------------------------------------------------- which network


class _Layer(NamedTuple):
    """The tensors of one layer by their last names."""

    name: str
    parts: dict[str, Tensor]

    @property
    def essence(self) -> tuple[tuple[str, int], ...]:
        """What kind of layer it is: which parts it has, and of how many axes each."""
        parts = {part: tensor for part, tensor in self.parts.items() if part != "num_batches_tracked"}
        return tuple(sorted((part, tensor.ndim) for part, tensor in parts.items()))

    @property
    def plain(self) -> Layer:
        """It as architectures recognise it."""
        kind = _KINDS.get(self.essence)
        return Layer("other", 0) if kind is None else Layer(kind, len(self.parts["weight"]))


def _layers(weights: Mapping[str, Tensor]) -> list[_Layer]:
    """The layers of a state dict: in the order of their names, 2 before 10, or of the file where only that chains."""
    parts_of: dict[str, dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        layer, _, part = name.rpartition(".")
        parts_of.setdefault(layer, {})[part] = tensor

    def by_numbers(layer: _Layer) -> list[Any]:
        return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in _DIGITS.split(layer.name) if part]

    as_stored = [_Layer(name, parts) for name, parts in parts_of.items()]
    by_name = sorted(as_stored, key=by_numbers)
    return as_stored if _chains(as_stored) and not _chains(by_name) else by_name


def _chains(layers: Sequence[_Layer]) -> bool:
    """Whether each linear layer reads as many numbers as the one before it gives."""
    linear = [layer.parts["weight"] for layer in layers if layer.essence == _LINEAR]
    return all(len(before) == after.shape[1] for before, after in pairwise(linear))


_LINEAR = (("bias", 1), ("weight", 2))
_NORM = (("bias", 1), ("running_mean", 1), ("running_var", 1), ("weight", 1))
_CONVOLUTION = (("weight", 4),)
_KINDS: dict[tuple[tuple[str, int], ...], Literal["linear", "norm", "convolution"]] = {
    _LINEAR: "linear",
    _NORM: "norm",
    _CONVOLUTION: "convolution",
}
_DIGITS = re.compile(r"(\d+)")


def fitted(
    weights: Mapping[str, Tensor], chosen: ModelConfig | None, dataset: Dataset
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Which of our architectures weights are of, and they under its own names.

    chosen: by their user; else what names and shapes tell. Those of mlp and cnn may bear other names, if there are as
    many layers of the same kinds in the same order. Raises TeacherError, which says first where classes or images
    differ.
    """
    layers = [layer for layer in _layers(weights) if layer.essence]
    _check_ends(layers, dataset)
    model = chosen or _inferred(layers, weights)
    expected = build.blueprint(model, dataset.image_shape, len(dataset.class_names)).state_dict()
    renamed = _renamed(layers, model, expected)
    state = dict(weights) if renamed is None else renamed
    for name, tensor in expected.items():
        if name.endswith("num_batches_tracked") and name not in state:
            state[name] = torch.zeros_like(tensor, device="cpu")
    if difference := _difference(state, expected):
        raise TeacherError(
            f"The weights in this file are not those of {model.label} on {_called(dataset)}: {difference}. Choose the"
            " architecture that it was trained as, or bring it as a torch.export program or ONNX file."
        )
    return model, {name: state[name].to(tensor.dtype) for name, tensor in expected.items()}


def _check_ends(layers: Sequence[_Layer], dataset: Dataset) -> None:
    """The number of classes of the last layer, and what the first one reads."""
    by_name = {layer.name: layer.parts["weight"] for layer in layers if "weight" in layer.parts}
    matrices = [weight for weight in by_name.values() if weight.ndim > 1]
    if not matrices:
        raise TeacherError("This file holds no layer with weights: save them with torch.save(model.state_dict(), ...).")
    known = [architecture.ends for architecture in MODELS.values() if architecture.ends is not None]
    ends = next((pair for pair in known if by_name.keys() >= {*pair}), None)
    first, last = (matrices[0], matrices[-1]) if ends is None else (by_name[name] for name in ends)
    classes, (channels, height, width) = len(dataset.class_names), dataset.image_shape
    if len(last) != classes:
        raise TeacherError(
            f"This file's last layer gives {len(last):,} classes, {_called(dataset)} has {classes:,}: choose the data"
            " set that it was trained on."
        )
    if first.ndim == 4 and first.shape[1] != channels:
        raise TeacherError(
            f"This file's first layer reads images of {first.shape[1]} channels, those of {_called(dataset)} have"
            f" {channels}: choose the data set that it was trained on."
        )
    if first.ndim == 2 and first.shape[1] != channels * height * width:
        raise TeacherError(
            f"This file's first layer reads {first.shape[1]:,} numbers, an image of {_called(dataset)} has"
            f" {channels * height * width:,} ({channels}x{height}x{width}): choose the data set that it was trained on."
        )


def _inferred(layers: Sequence[_Layer], weights: Mapping[str, Tensor]) -> ModelConfig:
    """The architecture that names and shapes tell. Raises TeacherError where they tell none."""
    plain = [layer.plain for layer in layers]
    for name, architecture in MODELS.items():
        settings = architecture.recognise(plain, weights)
        if settings is not None:
            return ModelConfig(name=name, **settings)
    raise TeacherError(
        f"The names and shapes in this file ({_some(list(weights))}) tell none of KD Lab's architectures"
        f" ({', '.join(MODELS)}): choose the one that it was trained as, or bring it as a torch.export program or ONNX"
        " file."
    )


def _renamed(layers: Sequence[_Layer], model: ModelConfig, expected: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The tensors under our architecture's names, taken layer by layer; None where kinds, number or order differ."""
    ours = _layers(expected)
    unordered = model.architecture.ends is not None
    if unordered or [layer.essence for layer in layers] != [layer.essence for layer in ours]:
        return None
    return {
        f"{our.name}.{part}": tensor
        for layer, our in zip(layers, ours, strict=True)
        for part, tensor in layer.parts.items()
    }


def _difference(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """In which names and shapes they differ, as clauses; nothing where they do not."""
    missing = [name for name in expected if name not in given]
    extra = [name for name in given if name not in expected]
    other = [
        f"{_shown(name)} has shape {_shape(given[name])}, needs {_shape(expected[name])}"
        for name in expected
        if name in given and given[name].shape != expected[name].shape
    ]
    clauses = []
    if missing:
        clauses.append(f"{_some(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    if extra:
        clauses.append(f"{_some(extra)} {'is' if len(extra) == 1 else 'are'} too many")
    return "; ".join([*clauses, *other[:NAMED], *([f"and {len(other) - NAMED} more"] if len(other) > NAMED else [])])


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"


def _some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(_shown, names[:NAMED])) + more


def _shown(name: str) -> str:
    """A name from a file, in which anything may stand."""
    return re.sub(r"[^\w.\[\]-]", "?", name)[:60]


# ------------------------------------------------------------------------------------------------------ what it says


def _check_answers(model: nn.Module, dataset: Dataset) -> Any:
    """'probabilities' or 'logits', whichever it gives. Raises TeacherError where it answers by more than the image.

    That is where it draws random numbers, remembers what it was asked, or looks at the other images of a batch.
    """
    images = dataset.test_images[: black_box.BATCH]
    answers = [build.logits_of(model, images, dataset.normalise) for _ in range(2)]
    few = build.logits_of(model, images[:3], dataset.normalise)
    build.logits_of(model, images[:1], dataset.normalise)  # as somebody's drawing is asked for
    if bool(answers[0].isfinite().all()):
        if not torch.allclose(answers[0], answers[1], rtol=SAME, atol=SAME):
            raise TeacherError(
                "This file says something else when it is asked again of the same images: it was saved as in training."
                " Call model.eval() before you export it."
            )
        if not torch.allclose(answers[0][:3], few, rtol=SAME, atol=SAME):
            raise TeacherError(
                "What this file says of an image depends on the others beside it: it was saved as in training (call"
                " model.eval() before you export it), or it is quantised dynamically (bring it as it was before)."
            )
    sums_to_one = torch.allclose(answers[0].sum(dim=1), torch.ones(len(images)), atol=SAME)
    return (
        "probabilities" if isinstance(model, BlackBox) and bool((answers[0] >= 0).all()) and sums_to_one else "logits"
    )


def _inverted(mean: Sequence[float], std: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The same normalisation after dark and light are exchanged: ((1 - x) - mean) / std is (x - (1 - mean)) / -std."""
    return tuple(1 - value for value in mean), tuple(-value for value in std)


def _own(dataset: Dataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return (dataset.mean,), (dataset.std,)


def _called(dataset: Dataset) -> str:
    return info_of(dataset.name).label


def _likely_causes(config: RunConfig, state: dict[str, Tensor], dataset: Dataset, logits: Any, tell: Tell) -> str:
    """Why a teacher may err so often, each cause with what was measured of it."""
    from scipy.optimize import linear_sum_assignment

    labels = dataset.test_labels.numpy()
    confusion = accuracy.confusion_matrix(logits, labels)
    best = 1 - confusion[linear_sum_assignment(confusion, maximize=True)].sum() / len(labels)
    spread = torch.linspace(0, len(labels) - 1, min(TRIED_IMAGES, len(labels))).long()
    images, truth = dataset.test_images[spread], labels[spread.numpy()]
    parts, answered = images.split(black_box.BATCH), 0

    def share(mean: Any, std: Any) -> float:
        assert config.brought is not None  # noqa: S101  made so by read
        other = config.replace(brought=config.brought.replace(mean=mean, std=std))
        model, batches = _built(other, state, dataset), []
        for part in parts:
            nonlocal answered
            batches.append(build.logits_of(model, part, dataset.normalise))
            answered += 1
            tell("Looking for the cause of its errors", answered / (2 * len(PIXELS) * len(parts)))
        return accuracy.test_errors(torch.cat(batches).numpy(), truth) / len(truth)

    known = {words: (mean, std) if mean and std else _own(dataset) for words, mean, std in PIXELS.values()}
    straight = {words: share(*statistics) for words, statistics in known.items()}
    exchanged = {words: share(*_inverted(*statistics)) for words, statistics in known.items()}
    plain, turned = (min(statistics, key=statistics.__getitem__) for statistics in (straight, exchanged))
    return (
        f"It gets {1 - accuracy.accuracy(logits, labels):.1%} of the test images wrong. Likely causes: its classes"
        f" stand in another order (in the one that suits best {best:.1%} would remain); it reads other pixels (of those"
        f" tried on {len(truth)} images, pixels {plain}, leave {straight[plain]:.1%}); or dark and light are exchanged"
        f" (then pixels {turned}, leave {exchanged[turned]:.1%}). If none helps, it was trained on other images."
    )
