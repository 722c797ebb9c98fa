"""Networks of torchvision and timm as they are, under the names torchvision/NAME and timm/NAME.

They are trained here, from random or published weights, or brought as teachers that were trained elsewhere.
"""

import re
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_core.base.config import ConfigError, in_a_list
from kd_core.base.templates import said
from kd_core.models.architectures.architecture import (
    Architecture,
    ImageShape,
    Input,
    first_layer,
    resized,
    settling,
)

if TYPE_CHECKING:
    from torch import nn

    from kd_core.models.config import ModelConfig

PREFIX, TIMM = "torchvision/", "timm/"
LIBRARY = "library"
"""As ModelConfig.pretrained: the weights that torchvision or timm publish."""
ANEW = ("input_side", "pretrained", "norm_momentum")
"""Settings of ModelConfig that only networks read that are trained here."""
NORM_MOMENTUM = 0.1
"""Of batch norms, at least: torch's own default, which a few hundred steps suffice for."""
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
USUAL = {"torchvision": PREFIX + "mobilenet_v3_small", "timm": TIMM + "mobilenetv4_conv_small"}
"""What a form starts from in each library: small, and made to be deployed."""
_MARKS = {
    "resne": "layer1.0.conv1", "vit_": "encoder.layers", "densenet": "denseblock1", "regnet": "trunk_output",
    "swin": "attn.qkv", "convnext": "layer_scale", "efficientnet": "block.0.0", "shufflenet": "stage2.0.branch2",
    "squeezenet": "squeeze", "inception": "Mixed_5b", "googlenet": "inception3a", "mnasnet": "layers.0.weight",
    "maxvit": "blocks.0.layers", "mobilenet_v3": "features.1.block", "mobilenet_v2": "features.1.conv",
    "vgg": "classifier.6", "alexnet": "classifier.6",
}  # fmt: skip
"""Part of a name -> what stands in the names of its weights."""
_EXTRA = {
    name: {"aux_logits": False, "init_weights": False, "transform_input": False}
    for name in ("googlenet", "inception_v3")
}


def candidates(weights: Iterable[str]) -> list[str]:
    """The names of NAMES whose weights may bear these names."""
    text = "\n".join(weights)
    return [name for name in NAMES if any(part in name and mark in text for part, mark in _MARKS.items())]


@cache
def timm_names() -> tuple[str, ...]:
    """The networks of the installed timm as timm/NAME, read from its source without importing it; none without timm."""
    package = find_spec("timm")
    if package is None or package.origin is None:
        return ()
    sources = sorted((Path(package.origin).parent / "models").glob("*.py"))
    names = (name for source in sources for name in _REGISTERED.findall(source.read_text(encoding="utf-8")))
    return tuple(TIMM + name for name in sorted(names))


_REGISTERED = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)
_OF_TIMM = re.compile(r"timm/\w+(\.\w+)?")


def known(name: str) -> bool:
    """Whether a network is torchvision's, or is called as timm's are: NAME, or NAME.TAG for certain weights."""
    return name in NAMES or _OF_TIMM.fullmatch(name) is not None


def timm() -> Any:
    """Import timm. Raises ConfigError where it is not installed."""
    from kd_core.base.torchvision import torchvision

    torchvision()  # which timm imports, and which may need to be mended first
    try:
        import timm
    except ImportError:
        raise ConfigError(
            said("timm is not installed here: pip install timm, or choose a network of torchvision")
        ) from None
    return timm


@cache
def published_input(name: str) -> Input:
    """What the weights that its library publishes for a network were trained to read. Raises ConfigError."""
    if name.startswith(TIMM):
        config = _config_of_timm(name)
        return Input(int(config.input_size[-1]), tuple(config.mean), tuple(config.std))
    from kd_core.base.torchvision import torchvision

    read = torchvision().models.get_model_weights(name.removeprefix(PREFIX)).DEFAULT.transforms()
    return Input(int(read.crop_size[0]), tuple(read.mean), tuple(read.std))


def _config_of_timm(name: str) -> Any:
    """What timm says of a network's published weights; its general words where it publishes none."""
    return timm().get_pretrained_cfg(_checked(name)) or timm().models.PretrainedCfg()


def _checked(name: str) -> str:
    """A name of timm's as timm calls it. Raises ConfigError where this timm has no such network."""
    called = name.removeprefix(TIMM)
    if not timm().is_model(called.partition(".")[0]):
        raise ConfigError(said("timm {version} has no network {name}", version=timm().__version__, name=called))
    return called


def build(config: "ModelConfig", image_shape: ImageShape, classes: int) -> "nn.Module":
    """The library's module; its first layer reads the image's channels, with first_kernel and first_stride if set.

    Images are resized to input_side first. Where that is open, a network of one size, and one that starts from
    published weights, has them as its weights were trained; grey is made colour for such weights. Raises ConfigError
    for what the library does not have.
    """
    channels, side = 3 if config.pretrained else image_shape[0], config.input_side
    of_timm = config.name.startswith(TIMM)
    if side is None and (config.pretrained or (of_timm and _config_of_timm(config.name).fixed_input_size)):
        side = published_input(config.name).side
    shape = (channels, side or image_shape[1], side or image_shape[2])
    make = _of_timm if of_timm else _of_torchvision
    model = settling(make(config, shape, classes), config.norm_momentum or NORM_MOMENTUM)
    return resized(model, image_shape, shape)


def _of_timm(config: "ModelConfig", image_shape: ImageShape, classes: int) -> "nn.Module":
    name, options = _checked(config.name), {"num_classes": classes, "in_chans": image_shape[0]}
    try:
        model: nn.Module = timm().create_model(name, pretrained=False, img_size=image_shape[1:], **options)
    except TypeError:  # most convolutional networks take images of any size, and no word on it
        model = timm().create_model(name, pretrained=False, **options)
    except RuntimeError as error:
        raise ConfigError(said("timm cannot build {name}: {why}", name=name, why=str(error))) from error
    return model


def _of_torchvision(config: "ModelConfig", image_shape: ImageShape, classes: int) -> "nn.Module":
    from torch import nn

    from kd_core.base.torchvision import torchvision

    name = config.name.removeprefix(PREFIX)
    extra: dict[str, Any] = _EXTRA.get(name, {"image_size": image_shape[1]} if name.startswith("vit_") else {})
    if config.pretrained and "transform_input" in extra:
        extra = {**extra, "transform_input": True}
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
    first += [said("images of {side} pixels", side=config.input_side)] if config.input_side else []
    first += [said("published weights")] if config.pretrained == LIBRARY else []
    first += [config.pretrained.partition("@")[0]] if config.pretrained not in ("", LIBRARY) else []
    label = _called(config.name)
    return said("{label} with {changes}", label=label, changes=in_a_list(first)) if first else label


def _called(name: str) -> str:
    if name.startswith(TIMM):
        return said("timm's {name}", name=name.removeprefix(TIMM))
    return said("torchvision's {name}", name=name.removeprefix(PREFIX))


_LIGHT = ("mobile", "efficientnet", "mnasnet", "shufflenet", "ghostnet", "tinynet", "lcnet", "fbnet")
"""Networks of many small convolutions, which bfloat16 slows down, as it does mobilenet_v3_small."""


@cache
def architecture(name: str) -> Architecture:
    """What a name that is known stands for."""
    of_torchvision = name in NAMES
    return Architecture(
        _called(name),
        build,
        short=_label,
        reads=("pool", "first_kernel", "first_stride", *ANEW)[0 if of_torchvision else 3 :],
        features=lambda _: "squeezenet" not in name,  # its logits come of a convolution
        drops=lambda _: True,
        bfloat16=not any(part in name for part in _LIGHT),
        leaves_open=_leaves_open if of_torchvision else lambda _: {},
    )
