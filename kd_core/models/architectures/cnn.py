"""3x3 convolutions, each with batch norm, ReLU and 2x2 max pooling, then the mean of each map and a linear layer.

Until December 2026 it ended in a hidden layer of 128 on all pixels of its maps: 12.9 million numbers at 224 pixels.
"""

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
    with_stages,
    with_unusual,
)

if TYPE_CHECKING:
    from torch import nn

    from kd_core.models.config import ModelConfig

MAX_BLOCKS = 3
"""Convolutions: each halves the sides of an image, which may be of 8 pixels."""


def build(config: "ModelConfig", image_shape: ImageShape, classes: int) -> "nn.Module":
    """The blocks and the head in one Sequential."""
    from torch import nn

    channels, height, width = image_shape
    halvings = 2 ** len(config.channels)
    # the head is drawn first: seeds keep giving the weights that they have always given
    head: list[nn.Module]
    if config.head == "average":
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(config.channels[-1], classes)]
    else:
        features = config.channels[-1] * (height // halvings) * (width // halvings)
        head = [nn.Flatten(), nn.Linear(features, 128), activation(config), nn.Linear(128, classes)]
    layers: list[nn.Module] = []
    for outputs in config.channels:
        stride = 2 if config.pool == "none" else 1
        layers.append(nn.Conv2d(channels, outputs, kernel_size=3, stride=stride, padding=1, bias=False))
        inner = [nn.BatchNorm2d(outputs), activation(config)]
        layers += [*(inner[::-1] if config.norm_last else inner), _pooling(config)]
        channels = outputs
    pools = (str(4 * block + 3) for block in range(len(config.channels)))
    return with_stages(nn.Sequential(*layers, *head), pools)


def _pooling(config: "ModelConfig") -> "nn.Module":
    from torch import nn

    return {"max": nn.MaxPool2d(2), "average": nn.AvgPool2d(2), "none": nn.Identity()}[config.pool]


def _short(config: "ModelConfig") -> str:
    """By its channels; one with the head of before by that, or, of the channels that it mostly had, by its old name."""
    default = type(config).model_fields["channels"].default
    plain = f"cnn {'-'.join(map(str, config.channels))}"
    if config.head == "flat":
        plain = CNN.label if config.channels == default else said("{network}, flat head", network=plain)
    return with_unusual(plain, config)


def _recognise(layers: Sequence[Layer]) -> dict[str, Any] | None:
    kinds = [layer.kind for layer in layers]
    blocks = kinds.count("convolution")
    heads = {"flat": ["linear", "linear"], "average": ["linear"]}
    head = next((name for name, rest in heads.items() if kinds == ["convolution", "norm"] * blocks + rest), None)
    if not 1 <= blocks <= MAX_BLOCKS or head is None:
        return None
    return {"channels": tuple(layer.width for layer in layers if layer.kind == "convolution"), "head": head}


CNN = Architecture(
    said("Small convolutional network"),
    build,
    Widths("channels", said("channels"), said("16, 32, 64 is small, 32, 64, 128 a teacher for it")),
    reads=("channels", "activation", "head"),
    short=_short,
    maps=True,
    recognise=_recognise,
    leaves_open=lambda _: {
        "activation": get_args(Activation),
        "norm_last": (False, True),
        "pool": ("max", "average", "none"),
    },
    anew={"head": "average", "channels": (16, 32, 64)},
)
