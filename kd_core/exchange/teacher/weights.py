"""Weights in a file: the tensors by their names, and which of the known architectures they are of.

What torch.save wrote is read by torch.load(weights_only=True) alone.
"""

import argparse
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any, Literal, NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from kd_core.base.config import LabError
from kd_core.base.templates import Said, counted, said
from kd_core.data.catalogue import info_of
from kd_core.data.dataset import Dataset
from kd_core.models import build
from kd_core.models.architectures import stock
from kd_core.models.architectures.architecture import ImageShape, Layer
from kd_core.models.config import MODELS, ModelConfig

WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights", "params")
"""Under which names checkpoints keep their weights; what has another name is tried after these."""
NO_WEIGHTS = re.compile("optim|sched|scaler|callbacks|loops")
"""In the name of what checkpoints keep beside weights."""
NO_LAYER = re.compile(r"(^|[._])(loss|criterion|metrics?|acc|accuracy|n_averaged|num_updates)([._]|$)")
"""In the names of tensors that belong to training: counters, losses, metrics."""
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "ema_model.")
"""What DataParallel, torch.compile, averages and wrappers put before every name."""
POSITIONS = "encoder.pos_embedding"
"""Of a vision transformer: their number tells the side of its images."""
MAX_NAMES, MAX_NESTING, MAX_SETS, MAX_GROUPS = 20_000, 4, 6, 8
NAMED = 3
"""Differences that a sentence names."""


class TeacherError(LabError):
    """A file that cannot be used as a teacher; a sentence says why and what to do."""


class Weights(NamedTuple):
    """The weights of a network, float32, wrappers and prefixes taken off their names.

    name: under which their file keeps them, '' where it holds nothing else. notes: sentences on what was done to them.
    """

    name: str
    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()


class Fitted(NamedTuple):
    """Weights under an architecture's own names.

    shape: of the images that it reads. classes: how many it knows. left_out: what is not of it, in words.
    """

    state: dict[str, Tensor]
    shape: ImageShape
    classes: int
    left_out: str


# ------------------------------------------------------------------------------------------------- reading a file


def read_weights(content: bytes) -> list[Weights]:
    """Every set of weights in a file: a state dict, or what a checkpoint keeps, averages beside them too.

    Raises TeacherError.
    """
    plain = content[8:9] == b"{" and content[:1] != b"\x80"
    sets = list(_sets(_safetensors(content) if plain else _unpickled(content)))[:MAX_SETS]
    if not sets:
        raise TeacherError(said("This file holds no weights: save them with torch.save(model.state_dict(), ...)."))
    read = []
    for name, tensors in sorted(sets, key=lambda named: _rank(named[0])):
        try:
            read.append(_plain(name, tensors))
        except TeacherError:
            if not read:
                raise
    return read


def _safetensors(content: bytes) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(content)
    except Exception as error:  # made-up content can raise nearly anything; none of it runs
        raise TeacherError(said("This safetensors file is damaged or cut short: copy it again.")) from error


def _unpickled(content: bytes) -> Any:
    """What torch.save wrote, if it holds nothing but tensors, plain values, and a command's arguments."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # torchvision's recipes keep theirs so
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a made-up pickle can raise nearly anything
        if "weights_only" in str(error) or "Weights only" in str(error):
            raise TeacherError(
                said(
                    "This file holds Python objects beside its weights, which could run code, so it is not read: save"
                    " the weights alone, with torch.save(model.state_dict(), ...)."
                )
            ) from error
        raise TeacherError(said("This file is damaged or cut short, or torch.save did not write it.")) from error


def _sets(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The mappings from names to tensors in a checkpoint, each with the names that lead to it."""
    if not isinstance(value, Mapping) or depth > MAX_NESTING:
        return
    tensors = {str(key): tensor for key, tensor in value.items() if isinstance(tensor, Tensor)}
    if len(tensors) > MAX_NAMES:
        raise TeacherError(
            said("This file holds more than {count:,} tensors: bring a smaller teacher.", count=MAX_NAMES)
        )
    if any(tensor.ndim > 0 for tensor in tensors.values()):
        yield name, tensors
    for key, inner in value.items():
        if not NO_WEIGHTS.search(str(key)):
            yield from _sets(inner, f"{name}.{_shown(str(key))}".strip("."), depth + 1)


def _rank(name: str) -> tuple[int, int]:
    """Where a set of weights comes among others: what is named as usual first, then what lies nearer the top."""
    parts = name.split(".")
    return (WRAPPERS.index(parts[-1]) if parts[-1] in WRAPPERS else len(WRAPPERS), len(parts))


def _plain(name: str, tensors: Mapping[str, Tensor]) -> Weights:
    weights = {key: tensor for key, tensor in tensors.items() if not NO_LAYER.search(key)}
    left_out = [key for key in tensors if key not in weights]
    notes: list[str] = []
    if left_out:
        notes.append(
            counted(
                "{names} of its training was left out.",
                "{names} of its training were left out.",
                len(left_out),
                names=_some(left_out),
            )
        )
    while prefix := next(
        (known for known in PREFIXES if weights and all(key.startswith(known) for key in weights)), None
    ):
        weights = {key.removeprefix(prefix): tensor for key, tensor in weights.items()}
        notes.append(said("'{prefix}' was taken off its names.", prefix=prefix))
    for key, tensor in weights.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
            raise TeacherError(
                said("{name} in this file is sparse, quantised or complex: save plain numbers.", name=_shown(key))
            )
        if not bool(tensor.isfinite().all()):
            raise TeacherError(
                said(
                    "{name} in this file holds what is no number (NaN or infinite): it diverged, or was damaged.",
                    name=_shown(key),
                )
            )
    if any(tensor.is_floating_point() and tensor.dtype != torch.float32 for tensor in weights.values()):
        notes.append(said("Its numbers were turned into float32."))
    weights = {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in weights.items()}
    return Weights(name, weights, tuple(notes))


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
    """The layers of a state dict in its order, without mere counters."""
    parts_of: dict[str, dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        layer, _, part = name.rpartition(".")
        parts_of.setdefault(layer, {})[part] = tensor
    layers = [_Layer(name, parts) for name, parts in parts_of.items()]
    return [layer for layer in layers if any(tensor.is_floating_point() for tensor in layer.parts.values())]


def _ordered(layers: Sequence[_Layer]) -> list[_Layer]:
    """Layers in the order of their names, 2 before 10, or as they stand where only that chains."""

    def by_numbers(layer: _Layer) -> list[Any]:
        return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in _DIGITS.split(layer.name) if part]

    by_name = sorted(layers, key=by_numbers)
    return list(layers) if _chains(layers) and not _chains(by_name) else by_name


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


def recognised(weights: Mapping[str, Tensor]) -> ModelConfig:
    """The architecture that names and shapes tell; what they leave open is as usual. Raises TeacherError for none."""
    model = _by_layers(weights) or _by_names(weights)
    if model is None:
        raise TeacherError(
            said(
                "The names and shapes in this file ({names}) tell none of KD Lab's architectures ({architectures}) or"
                " torchvision's classifiers: choose the one that it was trained as, or bring it as a torch.export"
                " program or ONNX file.",
                names=_some(list(weights)),
                architectures=", ".join(MODELS),
            )
        )
    return model


def _by_layers(weights: Mapping[str, Tensor]) -> ModelConfig | None:
    """The architecture whose layers these are in their order, or would be without a head beside the last one."""
    for layers in _without_heads(_layers(weights)):
        plain = [layer.plain for layer in layers]
        for name, architecture in MODELS.items():
            settings = architecture.recognise(plain) if architecture.recognise else None
            if settings is not None and _chains(layers):
                return ModelConfig(name=name, **settings)
    return None


def _without_heads(layers: Sequence[_Layer]) -> Iterator[list[_Layer]]:
    """The layers, then without one or more groups of them that begin alike and hold a linear layer."""
    yield _ordered(layers)
    groups = list(dict.fromkeys(layer.name.split(".")[0] for layer in layers if layer.essence == _LINEAR))
    for size in range(1, len(groups) if len(groups) <= MAX_GROUPS else 0):
        for dropped in combinations(groups[::-1], size):
            yield _ordered([layer for layer in layers if layer.name.split(".")[0] not in dropped])


def _by_names(weights: Mapping[str, Tensor]) -> ModelConfig | None:
    """The classifier of torchvision's whose names and shapes these are, its first and last layer aside."""
    for name in stock.candidates(weights):
        expected = build.blueprint(ModelConfig(name=name), (3, 224, 224), 1000).state_dict()
        matched, (first, last) = _matched(weights, expected), _ends(expected)
        apart = {first, last, last.replace("weight", "bias"), POSITIONS}
        groups = tuple({f"{_before(weights, expected)}{key.split('.')[0]}." for key in expected})
        if (
            matched.keys() >= expected.keys()
            and sum(key.startswith(groups) for key in weights) <= len(expected)  # else of a deeper one
            and all(key in apart or matched[key].shape == tensor.shape for key, tensor in expected.items())
        ):
            kernel = matched[first].shape[-1]
            if "vit_" in name and kernel != expected[first].shape[-1]:
                continue
            return ModelConfig(name=name, first_kernel=None if kernel == expected[first].shape[-1] else kernel)
    return None


def _ends(expected: Mapping[str, Tensor]) -> tuple[str, str]:
    """The names of the weights of the first and the last layer."""
    names = [name for name, tensor in expected.items() if tensor.ndim in (2, 4)]
    return names[0], names[-1]


def _before(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """What stands before the expected names."""
    first = next(iter(expected))
    ends = [name.removesuffix(first) for name in weights if name == first or name.endswith(f".{first}")]
    return min(ends, key=len, default="")


def _matched(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under their expected names, which may have something before them, or a new head that is linear."""
    before, last = _before(weights, expected), [*expected][-1]
    matched = {name: weights[before + name] for name in expected if before + name in weights}
    head = last.rpartition(".")[0]
    heads = [
        layer for layer in _layers(weights) if layer.name.startswith(f"{before}{head}.") and layer.essence == _LINEAR
    ]
    if f"{head}.weight" not in matched and len(heads) == 1:
        matched |= {f"{head}.{part}": tensor for part, tensor in heads[0].parts.items()}
    for name, tensor in expected.items():
        if name.endswith("num_batches_tracked") and name not in matched:
            matched[name] = torch.zeros_like(tensor, device="cpu")
    return matched


def fitted(weights: Mapping[str, Tensor], model: ModelConfig, image_shape: ImageShape, dataset: Dataset) -> Fitted:
    """Weights under the names of an architecture that reads images of this shape, but for their channels.

    Those of mlp and cnn may bear other names, if there are as many layers of the same kinds in the same order. They may
    know more classes than the data set has. Raises TeacherError, which says how they differ.
    """
    classes, shape = len(dataset.class_names), image_shape
    vit = model.name.startswith(f"{stock.PREFIX}vit_")
    expected = build.blueprint(model, (3, 224, 224) if vit else shape, classes).state_dict()
    given = _named(weights, model, expected)
    first, last = _ends(expected)
    if vit and POSITIONS in given:
        side = round((given[POSITIONS].shape[1] - 1) ** 0.5) * expected[first].shape[-1]
        shape = (shape[0], side, side)
    if first in given:
        read = given[first].shape[1] if given[first].ndim == 4 else given[first].shape[1] / (shape[1] * shape[2])
        shape = (int(read), *shape[1:]) if {read, shape[0]} == {1, 3} else shape
    known = len(given[last]) if last in given else classes
    if known < classes:
        raise TeacherError(
            said(
                "This file's last layer gives {known:,} classes, {data} has {classes:,}: choose the data set that it"
                " was trained on.",
                known=known,
                data=_called(dataset),
                classes=classes,
            )
        )
    expected = build.blueprint(model, shape, known).state_dict()
    _check_first(given.get(first), expected[first], shape, dataset)
    if difference := _difference(given, expected, weights):
        raise TeacherError(
            said(
                "The weights in this file are not those of {model} on {data}: {difference}. Choose the architecture"
                " that it was trained as, or bring it as a torch.export program or ONNX file.",
                model=model.label,
                data=_called(dataset),
                difference=difference,
            )
        )
    kept = {id(tensor) for tensor in given.values()}
    left_out = _some([name for name, tensor in weights.items() if id(tensor) not in kept])
    return Fitted({name: given[name].to(tensor.dtype) for name, tensor in expected.items()}, shape, known, left_out)


def _named(weights: Mapping[str, Tensor], model: ModelConfig, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that an architecture expects, by their names or, of mlp and cnn, by the order of layers."""
    if model.architecture.recognise is not None:
        for layers in _without_heads(_layers(weights)):
            renamed = _renamed(layers, expected)
            if renamed is not None and _chains(layers):
                return renamed
    return _matched(weights, expected)


def _check_first(first: Tensor | None, expected: Tensor, shape: ImageShape, data: Dataset) -> None:
    """What the first layer reads. Raises TeacherError where that is other images."""
    if first is None or first.ndim != expected.ndim or first.shape[1] == expected.shape[1]:
        return
    if first.ndim == 4:
        raise TeacherError(
            said(
                "This file's first layer reads images of {read} channels, those of {data} have {channels}: choose the"
                " data set that it was trained on.",
                read=first.shape[1],
                data=_called(data),
                channels=data.image_shape[0],
            )
        )
    raise TeacherError(
        said(
            "This file's first layer reads {read:,} numbers, an image of {data} has {numbers:,} ({shape}): choose the"
            " data set that it was trained on, or state the side to which its images were resized.",
            read=first.shape[1],
            data=_called(data),
            numbers=expected.shape[1],
            shape="x".join(map(str, shape)),
        )
    )


def _renamed(layers: Sequence[_Layer], expected: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The tensors under our architecture's names, taken layer by layer; None where kinds, number or order differ."""
    ours = _ordered(_layers(expected))
    if [layer.essence for layer in layers] != [layer.essence for layer in ours]:
        return None
    named = {
        f"{our.name}.{part}": tensor
        for layer, our in zip(layers, ours, strict=True)
        for part, tensor in layer.parts.items()
    }
    counters = {name: torch.zeros_like(tensor, device="cpu") for name, tensor in expected.items() if not tensor.ndim}
    return counters | named


def _difference(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    """In which names and shapes they differ, as clauses; nothing where they do not. weights: all of the file."""
    missing = [name for name in expected if name not in given]
    extra = [name for name in weights if name not in expected] if missing else []
    other = [
        said(
            "{name} has shape {shape}, needs {needed}",
            name=_shown(name),
            shape=_shape(given[name]),
            needed=_shape(expected[name]),
        )
        for name in expected
        if name in given and given[name].shape != expected[name].shape
    ]
    clauses: list[str] = []
    if missing:
        clauses.append(counted("{names} is missing", "{names} are missing", len(missing), names=_some(missing)))
    if extra:
        clauses.append(counted("{names} is too many", "{names} are too many", len(extra), names=_some(extra)))
    more = [said("and {count} more", count=len(other) - NAMED)] if len(other) > NAMED else []
    return joined([*clauses, *other[:NAMED], *more], "; ")


def joined(parts: Iterable[str], between: str) -> str:
    """Join parts that keep their templates; nothing where there are none."""
    whole, *rest = [*parts] or [""]
    for part in rest:
        whole = Said("{first}" + between + "{next}", first=whole, next=part)
    return whole


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or said("one number")


def _some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    first, more = ", ".join(map(_shown, names[:NAMED])), len(names) - NAMED
    return said("{names} and {count} more", names=first, count=more) if more > 0 else first


def _shown(name: str) -> str:
    """A name from a file, in which anything may stand."""
    return re.sub(r"[^\w.\[\]-]", "?", name)[:60]


def _called(dataset: Dataset) -> str:
    return info_of(dataset.name).label
