"""Fully connected layers with ReLU, as in Hinton et al., section 3; dropout on the input and after each layer."""

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any

from kd_core.models.architectures.architecture import Architecture, ImageShape, Layer, Widths

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
        if config.batch_norm:
            layers.append(nn.BatchNorm1d(hidden))
        layers.append(nn.ReLU())
        if config.dropout_hidden:
            layers.append(Dropout(config.dropout_hidden))
        units = hidden
    layers.append(nn.Linear(units, classes))
    return nn.Sequential(*layers)


def _recognise(layers: Sequence[Layer], _: Container[str]) -> dict[str, Any] | None:
    kinds = [layer.kind for layer in layers]
    hidden = tuple(layer.width for layer in layers if layer.kind == "linear")[:-1]
    norms = kinds.count("norm")
    if not set(kinds) <= {"linear", "norm"} or "linear" not in kinds or norms not in (0, len(hidden)):
        return None
    return {"hidden": hidden, "batch_norm": norms > 0}


MLP = Architecture(
    "Multilayer perceptron",
    build,
    Widths("hidden", "hidden units", "800, 800 is the paper's student"),
    reads=("hidden", "dropout_input", "dropout_hidden", "batch_norm"),
    short=lambda config: f"mlp {'-'.join(map(str, config.hidden)) or 'linear'}",
    features=lambda config: bool(config.hidden),
    drops=lambda config: bool(config.dropout_input or (config.dropout_hidden and config.hidden)),
    recognise=_recognise,
)
