"""Torchvision's classifiers as they are, under the name torchvision/NAME: for teachers that were trained elsewhere."""

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from kd_core.base.config import in_a_list
from kd_core.base.templates import said
from kd_core.models.architectures.architecture import Architecture, ImageShape, first_layer

if TYPE_CHECKING:
    from torch import nn

    from kd_core.models.config import ModelConfig

PREFIX = "torchvision/"
_NAMES = """
resnet18 resnet34 resnet50 mobilenet_v3_small mobilenet_v3_large efficientnet_b0 mobilenet_v2 resnet101 resnet152
vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn alexnet densenet121 densenet161 densenet169 densenet201
efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7
efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l convnext_tiny convnext_small convnext_base convnext_large
googlenet inception_v3 maxvit_t mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3 shufflenet_v2_x0_5 shufflenet_v2_x1_0
shufflenet_v2_x1_5 shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 swin_t swin_s swin_b swin_v2_t swin_v2_s swin_v2_b
vit_b_16 vit_b_32 vit_l_16 vit_l_32 vit_h_14 wide_resnet50_2 wide_resnet101_2 resnext50_32x4d resnext101_32x8d
resnext101_64x4d regnet_x_400mf regnet_x_800mf regnet_x_1_6gf regnet_x_3_2gf regnet_x_8gf regnet_x_16gf regnet_x_32gf
regnet_y_400mf regnet_y_800mf regnet_y_1_6gf regnet_y_3_2gf regnet_y_8gf regnet_y_16gf regnet_y_32gf regnet_y_128gf
"""
NAMES = tuple(PREFIX + name for name in _NAMES.split())
"""Those of torchvision 0.28, the most used first, in which order weights are compared with them."""
_MARKS = {
    "resne": "layer1.0.conv1", "vit_": "encoder.layers", "densenet": "denseblock1", "regnet": "trunk_output",
    "swin": "attn.qkv", "convnext": "layer_scale", "efficientnet": "block.0.0", "shufflenet": "stage2.0.branch2",
    "squeezenet": "squeeze", "inception": "Mixed_5b", "googlenet": "inception3a", "mnasnet": "layers.0.weight",
    "maxvit": "blocks.0.layers", "mobilenet_v3": "features.1.block", "mobilenet_v2": "features.1.conv",
    "vgg": "classifier.6", "alexnet": "classifier.6",
}  # fmt: skip
"""Part of a name -> what stands in the names of its weights."""
_EXTRA = {name: {"aux_logits": False, "init_weights": False} for name in ("googlenet", "inception_v3")}


def candidates(weights: Iterable[str]) -> list[str]:
    """The names of NAMES whose weights may bear these names."""
    text = "\n".join(weights)
    return [name for name in NAMES if any(part in name and mark in text for part, mark in _MARKS.items())]


def build(config: "ModelConfig", image_shape: ImageShape, classes: int) -> "nn.Module":
    """Torchvision's module; its first layer reads the image's channels, with first_kernel and first_stride if set."""
    from torch import nn

    from kd_core.base.torchvision import torchvision

    name = config.name.removeprefix(PREFIX)
    extra: dict[str, Any] = _EXTRA.get(name, {"image_size": image_shape[1]} if name.startswith("vit_") else {})
    model: nn.Module = torchvision().models.get_model(name, weights=None, num_classes=classes, **extra)
    first_layer(model, image_shape[0], kernel=config.first_kernel, stride=config.first_stride)
    if config.pool == "none" and isinstance(getattr(model, "maxpool", None), nn.MaxPool2d):
        model.maxpool = nn.Identity()
    return model


def _leaves_open(config: "ModelConfig") -> dict[str, tuple[Any, ...]]:
    """A small kernel was put there for small images, as a rule, with no stride and no pooling."""
    name = config.name.removeprefix(PREFIX)
    if name.startswith(("vit_", "swin", "convnext", "vgg")):  # patches lie side by side; VGG has no stride to lose
        return {}
    small = config.first_kernel is not None or name == "mobilenet_v3_small"
    strides = (1, 2) if small else (None, 1)
    pools = (("none", "max") if small else ("max", "none")) if "resne" in name else ("max",)
    return {"first_stride": strides, "pool": pools}


def _label(config: "ModelConfig") -> str:
    first = [f"{config.first_kernel}x{config.first_kernel}"] if config.first_kernel else []
    first += [said("stride {stride}", stride=config.first_stride)] if config.first_stride else []
    first += [said("no pooling")] if config.pool == "none" else []
    label = said("torchvision's {name}", name=config.name.removeprefix(PREFIX))
    return said("{label} with {changes}", label=label, changes=in_a_list(first)) if first else label


@cache
def architecture(name: str) -> Architecture:
    """What a name of NAMES stands for."""
    return Architecture(
        said("torchvision's {name}", name=name.removeprefix(PREFIX)),
        build,
        short=_label,
        reads=("pool", "first_kernel", "first_stride"),
        features=lambda _: "squeezenet" not in name,  # its logits come of a convolution
        drops=lambda _: True,
        leaves_open=_leaves_open,
    )
