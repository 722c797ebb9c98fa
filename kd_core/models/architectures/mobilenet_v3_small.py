"""Torchvision's MobileNetV3 small with a first convolution of stride 1: small images keep their detail."""

from typing import TYPE_CHECKING

from kd_core.models.architectures.architecture import Architecture, ImageShape, first_layer, settling, with_stages

if TYPE_CHECKING:
    from torch import nn

    from kd_core.models.config import ModelConfig


def build(config: "ModelConfig", image_shape: ImageShape, classes: int) -> "nn.Module":
    """Torchvision's module with another first layer; its shape has no settings."""
    from kd_core.base.torchvision import torchvision

    model: nn.Module = torchvision().models.mobilenet_v3_small(weights=None, num_classes=classes)
    first_layer(model, image_shape[0], stride=1)
    # the last module before each change of map size, and the very last
    return with_stages(
        settling(model, config.norm_momentum or 0),
        ("features.0", "features.1", "features.3", "features.8", "features.12"),
    )


MOBILENET_V3_SMALL = Architecture(
    "MobileNetV3 small",
    build,
    reads=("norm_momentum",),
    maps=True,
    drops=lambda _: True,
    # bfloat16 slows its many small convolutions down: 0.7 of float32's speed at batches of 32 to 256, on the Xeon of
    # docs/measurements/choices.md
    bfloat16=False,
    anew={"norm_momentum": 0.1},  # torchvision's own is 0.01
)
