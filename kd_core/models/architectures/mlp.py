"""Fully connected layers with ReLU, as in Hinton et al., section 3; dropout on the input and after each layer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

from kd_core.base.templates import said
from kd_core.models.architectures.architecture import (
    Activation,
    Architecture,
    ImageShape,
    Layer,
    Widths,
    activation,
    with_unusual,
)

if TYPE_CHECKING:
    from torch import nn

    from kd_core.models.config import ModelConfig


def build(config: "ModelConfig", image_shape: ImageShape, classes: int) -> "nn.Module":
    """Flatten, the hidden layers, and a linear layer to the logits."""
    from torch import nn

    from kd_core.models.dropout import Dropout

    channels, height, width = image_shape
    layers: list[nn.Module] = [nn.Flatten()]
    if config.dropout_input:
        layers.append(Dropout(config.dropout_input))
    units = channels * height * width
    for hidden in config.hidden:
        layers.append(nn.Linear(units, hidden))
        norm = [nn.BatchNorm1d(hidden)] if config.batch_norm else []
        layers += [activation(config), *norm] if config.norm_last else [*norm, activation(config)]
        if config.dropout_hidden:
            layers.append(Dropout(config.dropout_hidden))
        units = hidden
    layers.append(nn.Linear(units, classes))
    return nn.Sequential(*layers)


def _recognise(layers: Sequence[Layer]) -> dict[str, Any] | None:
    kinds = [layer.kind for layer in layers]
    hidden = tuple(layer.width for layer in layers if layer.kind == "linear")[:-1]
    norms = kinds.count("norm")
    if not set(kinds) <= {"linear", "norm"} or "linear" not in kinds or norms not in (0, len(hidden)):
        return None
    return {"hidden": hidden, "batch_norm": norms > 0}


def _leaves_open(config: "ModelConfig") -> dict[str, tuple[Any, ...]]:
    norm = {"norm_last": (False, True)} if config.batch_norm else {}
    return {"activation": get_args(Activation), **norm} if config.hidden else {}


MLP = Architecture(
    said("Multilayer perceptron"),
    build,
    Widths("hidden", said("hidden units"), said("800, 800 is the paper's student")),
    reads=("hidden", "dropout_input", "dropout_hidden", "batch_norm", "activation"),
    short=lambda config: with_unusual(f"mlp {'-'.join(map(str, config.hidden)) or 'linear'}", config),
    features=lambda config: bool(config.hidden),
    drops=lambda config: bool(config.dropout_input or (config.dropout_hidden and config.hidden)),
    recognise=_recognise,
    leaves_open=_leaves_open,
)
