"""3x3 convolutions, each with batch norm, ReLU and 2x2 max pooling, then one hidden layer of 128."""

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any

from kd_core.models.architectures.architecture import Architecture, ImageShape, Layer, Widths, with_stages

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
    features = config.channels[-1] * (height // halvings) * (width // halvings)
    # the head is drawn first: seeds keep giving the weights that they have always given
    head = [nn.Flatten(), nn.Linear(features, 128), nn.ReLU(), nn.Linear(128, classes)]
    layers: list[nn.Module] = []
    for outputs in config.channels:
        convolution = nn.Conv2d(channels, outputs, kernel_size=3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
        channels = outputs
    pools = (str(4 * block + 3) for block in range(len(config.channels)))
    return with_stages(nn.Sequential(*layers, *head), pools)


def _short(config: "ModelConfig") -> str:
    default = type(config).model_fields["channels"].default
    return CNN.label if config.channels == default else f"cnn {'-'.join(map(str, config.channels))}"


def _recognise(layers: Sequence[Layer], _: Container[str]) -> dict[str, Any] | None:
    kinds = [layer.kind for layer in layers]
    blocks = kinds.count("convolution")
    if not 1 <= blocks <= MAX_BLOCKS or kinds != ["convolution", "norm"] * blocks + ["linear", "linear"]:
        return None
    return {"channels": tuple(layer.width for layer in layers if layer.kind == "convolution")}


CNN = Architecture(
    "Small convolutional network",
    build,
    Widths("channels", "channels", "16, 32 is small, 32, 64, 128 a teacher for it"),
    reads=("channels",),
    short=_short,
    maps=True,
    recognise=_recognise,
)
