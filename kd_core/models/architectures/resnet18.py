"""Torchvision's ResNet-18 with the stem for small images: 3x3 at stride 1, no max pooling (He et al. 2015, 4.2)."""

from typing import TYPE_CHECKING

from kd_core.models.architectures.architecture import Architecture, ImageShape, with_stages

if TYPE_CHECKING:
    from torch import nn

    from kd_core.models.config import ModelConfig


def build(config: "ModelConfig", image_shape: ImageShape, classes: int) -> "nn.Module":
    """Torchvision's module with another first layer; its shape has no settings."""
    from torch import nn

    from kd_core.base.torchvision import torchvision

    model: nn.Module = torchvision().models.resnet18(weights=None, num_classes=classes)
    model.conv1 = nn.Conv2d(image_shape[0], 64, kernel_size=3, stride=1, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return with_stages(model, ("layer1", "layer2", "layer3", "layer4"))


RESNET18 = Architecture(
    "ResNet-18",
    build,
    maps=True,
    recognise=lambda _, names: {} if "layer1.0.conv1.weight" in names and "fc.weight" in names else None,
    ends=("conv1", "fc"),
)
