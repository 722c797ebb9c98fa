"""Torchvision's MobileNetV3 small with a first convolution of stride 1: small images keep their detail."""

from typing import TYPE_CHECKING

from kd_core.models.architectures.architecture import Architecture, ImageShape, with_stages

if TYPE_CHECKING:
    from torch import nn

    from kd_core.models.config import ModelConfig


def build(config: "ModelConfig", image_shape: ImageShape, classes: int) -> "nn.Module":
    """Torchvision's module with another first layer; its shape has no settings."""
    from torch import nn

    from kd_core.base.torchvision import torchvision

    model: nn.Module = torchvision().models.mobilenet_v3_small(weights=None, num_classes=classes)
    stem = nn.Conv2d(image_shape[0], 16, kernel_size=3, stride=1, padding=1, bias=False)
    model.get_submodule("features.0")[0] = stem  # type: ignore[operator]
    # the last module before each change of map size, and the very last
    return with_stages(model, ("features.0", "features.1", "features.3", "features.8", "features.12"))


MOBILENET_V3_SMALL = Architecture(
    "MobileNetV3 small",
    build,
    maps=True,
    drops=lambda _: True,
    # bfloat16 slows its many small convolutions down: 0.7 of float32's speed at batches of 32 to 256, on the Xeon of
    # docs/measurements/choices.md
    bfloat16=False,
    recognise=lambda _, names: {} if "features.0.0.weight" in names and "classifier.3.weight" in names else None,
    ends=("features.0.0", "classifier.3"),
)
