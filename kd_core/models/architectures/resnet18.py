"""Torchvision's ResNet-18 with the stem for small images: 3x3 at stride 1, no max pooling (He et al. 2015, 4.2)."""

from typing import TYPE_CHECKING

from kd_core.models.architectures.architecture import Architecture, ImageShape, first_layer, settling, with_stages

if TYPE_CHECKING:
    from torch import nn

    from kd_core.models.config import ModelConfig


def build(config: "ModelConfig", image_shape: ImageShape, classes: int) -> "nn.Module":
    """Torchvision's module with another first layer; its shape has no settings."""
    from torch import nn

    from kd_core.base.torchvision import torchvision

    model: nn.Module = torchvision().models.resnet18(weights=None, num_classes=classes)
    first_layer(model, image_shape[0], kernel=3, stride=1)
    model.maxpool = nn.Identity()
    return with_stages(settling(model, config.norm_momentum or 0), ("layer1", "layer2", "layer3", "layer4"))


RESNET18 = Architecture(
    "ResNet-18",
    build,
    reads=("norm_momentum",),
    maps=True,
)
