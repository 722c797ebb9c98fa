"""Anybody's networks and examples as the training loop takes them, checked before anything is trained."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data import Dataset as TorchDataset

from kd_core.base.config import ConfigError
from kd_core.data.dataset import Dataset
from kd_core.data.own.copies import checksum
from kd_core.models.build import logits_of

Preprocess = Callable[[Tensor], Tensor]
Examples = tuple[Any, Any] | TorchDataset[Any] | DataLoader[Any]
"""Inputs (N, …) and labels (N,), as tensors or arrays; or what gives pairs of both."""
Data = Sequence[Examples] | Dataset
"""(train, test), or a data set of KD Lab's, such as photographs makes."""
READ_AT_ONCE = 256
"""Examples of a batch in which a Dataset is read."""
NUMBERS_AT_ONCE = 20_000_000
"""Of the inputs of a batch on which nothing is trained: at 224 pixels in colour, 132 images."""


class DataError(ConfigError):
    """Examples or networks that do not fit together; a sentence says why and what to do."""


@dataclass(frozen=True, eq=False, repr=False)
class Given(Dataset):
    """Examples of anybody's, in memory: inputs (N, …) of any number type, as the networks or preprocess read them.

    preprocess: inputs (B, …) -> what both networks read, called on every batch; by default inputs are floats.
    """

    preprocess: Preprocess | None = None

    @classmethod
    def of(cls, data: Data, preprocess: Preprocess | None = None, class_names: Sequence[str] | None = None) -> Self:
        """Read (train, test). Raises DataError where one is missing, or they are no examples of the same classes.

        A data set of KD Lab's brings its class names, its groups, and the mean and deviation to normalise by.
        """
        groups = None
        if isinstance(data, Dataset):
            groups, mean, std = data.train_groups, data.mean, data.std
            preprocess = preprocess or (lambda images: (images / 255 - mean) / std)
            class_names = class_names or data.class_names
            data = (data.train_images, data.train_labels), (data.test_images, data.test_labels)
        if isinstance(data, TorchDataset | DataLoader | Tensor) or len(data) != 2:
            raise DataError(
                "data is a pair, (train, test): errors are counted on a test set that nothing was trained on, so split"
                " one off if there is none"
            )
        if hasattr(data[0], "dtype"):
            raise DataError(
                "data is a pair of arrays: give (train, test), each a pair of inputs and labels, such as"
                " ((inputs, labels), (test_inputs, test_labels))"
            )
        (train, train_labels), (test, test_labels) = (
            _read(part, name) for part, name in zip(data, ("training", "test"), strict=True)
        )
        if train.shape[1:] != test.shape[1:]:
            raise DataError(
                f"training inputs have the shape {_shape(train[0])}, test inputs {_shape(test[0])}: bring them to one"
            )
        if not train.is_floating_point() and preprocess is None:
            raise DataError(
                f"inputs are {str(train.dtype).removeprefix('torch.')}, and networks read floats: give floats, or"
                " preprocess, such as preprocess=lambda images: images / 255"
            )
        classes = int(max(train_labels.max(), test_labels.max())) + 1
        if class_names is not None and len(class_names) < classes:
            raise DataError(f"label {classes - 1} has no name: class_names has {len(class_names)} of {classes}")
        names = tuple(map(str, range(classes) if class_names is None else class_names))
        return cls("given", train, train_labels, test, test_labels, names, 0.0, 1.0, False, groups, preprocess)

    def normalise(self, images: Tensor) -> Tensor:
        """Inputs as the networks read them, float32."""
        return (images if self.preprocess is None else self.preprocess(images)).to(torch.float32)

    @property
    def evaluated_at_once(self) -> int:
        """Inputs of a batch on which nothing is trained."""
        return max(1, min(1000, NUMBERS_AT_ONCE // max(1, self.train_images[0].numel())))

    @cached_property
    def notes(self) -> list[str]:
        """What whoever counts errors on this test set has to know."""
        trained_on = {_checksum(example) for example in self.train_images}
        known = sum(_checksum(example) in trained_on for example in self.test_images)
        examples = len(self.test_images)
        if not known:
            return []
        which = "All" if known == examples else f"{known:,} of {examples:,}"
        return [
            f"{which} test examples are training examples too, and errors on them say nothing of new ones: take them"
            " out of one of the two sets."
        ]

    @property
    def probes(self) -> Tensor:
        """None: nobody watches."""
        return torch.empty(0, dtype=torch.int64)

    def logits(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Logits (N, K) of a model in eval mode, float32 on the CPU."""
        return logits_of(model, inputs, self.normalise, batch_size=self.evaluated_at_once)

    def named_for(self, classes: int) -> Self:
        """The same with so many classes, of which the last may have no example."""
        names = (*self.class_names, *map(str, range(len(self.class_names), classes)))
        return type(self)(**{**vars(self), "class_names": names})


def student_maker(student: nn.Module | Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """What makes a fresh student: copies of a module with its weights, or what a function or class makes."""
    if not isinstance(student, nn.Module) and not callable(student):
        raise DataError(f"student is a torch module, or a function that makes one, not {_kind(student)}")
    try:
        made = student if isinstance(student, nn.Module) else student()
    except TypeError as error:  # of arguments that it lacks, most of all
        raise DataError(
            f"student is called without arguments, and raises: {error}. Give a function that needs none, such as"
            " lambda: Net(10)"
        ) from error
    if not isinstance(made, nn.Module):
        raise DataError(f"student makes {_kind(made)}: it has to return a torch module")
    if not any(parameter.requires_grad for parameter in made.parameters()):
        raise DataError("the student has no parameters that could be trained: choose another, or requires_grad_(True)")
    return (lambda: copy.deepcopy(student)) if isinstance(student, nn.Module) else student


def teachers_of(teacher: nn.Module | Sequence[nn.Module]) -> list[nn.Module]:
    """Copies of the teachers in eval mode, which nothing changes: their owner's stay as they are."""
    several = teacher if isinstance(teacher, list | tuple) else []
    teachers = [teacher] if isinstance(teacher, nn.Module) else [*several]
    if not teachers or not all(isinstance(each, nn.Module) for each in teachers):
        raise DataError(f"teacher is a trained torch module, or a list of several, not {_kind(teacher)}")
    return [copy.deepcopy(each).eval() for each in teachers]


def class_count(model: nn.Module, given: Given, whose: str) -> int:
    """K of a network that reads these inputs. Raises DataError where it does not, or gives no logits (N, K)."""
    first = given.train_images[:2]
    try:
        given.normalise(first)
    except Exception as error:  # anybody's function
        raise DataError(f"preprocess cannot read inputs of the shape {_shape(first)}: {error}") from error
    outputs: list[Any] = []
    hook = model.register_forward_hook(lambda _model, _inputs, output: outputs.append(output))
    try:
        logits = given.logits(model, first)
    except Exception as error:  # anybody's network
        if outputs and not isinstance(outputs[-1], Tensor):
            raise DataError(
                f"the {whose} gives {_kind(outputs[-1])}: wrap it in a module whose forward returns the logits, (N, K)"
            ) from error
        raise DataError(f"the {whose} cannot read inputs of the shape {_shape(first)}: {error}") from error
    finally:
        hook.remove()
    if logits.ndim != 2 or len(logits) != len(first):
        raise DataError(
            f"of {len(first)} inputs the {whose} gives the shape {_shape(logits)}: a classifier gives logits, (N, K)"
        )
    if not bool(logits.isfinite().all()):
        raise DataError(f"the {whose} gives logits that are no numbers: look at its weights and at its preprocessing")
    return int(logits.shape[1])


def check_classes(given: Given, classes: Mapping[str, int]) -> Given:
    """Raise DataError where networks differ in their classes, or lack some of the labels. classes: by role."""
    labels = len(given.class_names)
    if len(set(classes.values())) > 1:
        counts = ", ".join(f"the {whose} {count}" for whose, count in classes.items())
        raise DataError(
            f"student and teacher have to know the same classes in the same order, and {counts}: give both a head of as"
            " many"
        )
    known = next(iter(classes.values()))
    if known < labels:
        raise DataError(
            f"labels go up to {labels - 1}, and the networks know {known} classes: labels count from 0 to {known - 1}"
        )
    return given.named_for(known)


def _checksum(example: Tensor) -> bytes:
    return checksum(example.reshape(-1).view(torch.uint8).numpy())


def _read(part: Any, name: str) -> tuple[Tensor, Tensor]:
    if part is None:
        raise DataError(f"there is no {name} set: data is a pair, (train, test)")
    if isinstance(part, TensorDataset):
        part = part.tensors
    if isinstance(part, tuple | list) and len(part) == 2:
        inputs, labels = map(_as_tensor, part)
    else:
        inputs, labels = _collected(part, name)
    _check_labels(inputs, labels, name)
    return inputs, labels.long()


def _check_labels(inputs: Tensor, labels: Tensor, name: str) -> None:
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise DataError(f"{name} labels have the shape {_shape(labels)}: give class numbers, (N,), as argmax(dim=1)")
    if labels.ndim != 1 or len(labels) != len(inputs):
        raise DataError(f"there are {len(inputs)} {name} inputs, and labels of the shape {_shape(labels)}: one each")
    if len(labels) == 0:
        raise DataError(f"the {name} set is empty")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise DataError(f"{name} labels are {str(labels.dtype).removeprefix('torch.')}: give whole numbers from 0")
    if int(labels.min()) < 0:
        raise DataError(f"a {name} label is {int(labels.min())}: labels count from 0")
    if inputs.is_floating_point() and not bool(inputs.isfinite().all()):
        raise DataError(f"some {name} inputs are no numbers (NaN or infinite): look at how they were made")


def _as_tensor(values: Any) -> Tensor:
    try:
        return values.detach().cpu() if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    except (TypeError, ValueError) as error:
        raise DataError(f"inputs and labels are tensors or arrays, not {_kind(values)}: {error}") from error


def _collected(part: Any, name: str) -> tuple[Tensor, Tensor]:
    """Read a Dataset or DataLoader once, in its order."""
    if not isinstance(part, DataLoader):
        if not hasattr(part, "__getitem__") or isinstance(part, str | dict | Tensor):
            _unreadable(name, _kind(part))
        part = DataLoader(part, batch_size=READ_AT_ONCE)
    inputs, labels = [], []
    try:
        for batch in _pairs(part, name):
            inputs.append(batch[0].cpu())
            labels.append(torch.as_tensor(batch[1]).cpu())
    except (TypeError, RuntimeError, AttributeError) as error:
        raise DataError(
            f"the {name} examples do not stack: {error}. Give the Dataset a transform that makes tensors of one shape"
        ) from error
    if not inputs:
        raise DataError(f"the {name} set is empty")
    return torch.cat(inputs), torch.cat(labels)


def _pairs(batches: Iterable[Any], name: str) -> Iterable[tuple[Tensor, Tensor]]:
    for batch in batches:
        if isinstance(batch, Mapping):  # as Hugging Face's data sets give them
            keys = next((pair for pair in (("pixel_values", "labels"), ("image", "label")) if {*pair} <= {*batch}), ())
            batch = tuple(batch[key] for key in keys)
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            _unreadable(name, f"items of {_kind(batch)}")
        yield batch[0], batch[1]


def _unreadable(name: str, kind: str) -> NoReturn:
    raise DataError(
        f"the {name} set is a pair of tensors, or a Dataset or DataLoader of (input, label), not"
        f" {kind}: (inputs, labels) will do"
    )


def _kind(value: object) -> str:
    if value is None:
        return "None"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, tuple | list) else "")


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
