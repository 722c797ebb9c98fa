"""What an architecture says of itself. kd_core.models.config.MODELS lists them by name."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kd_core.base.templates import said

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kd_core.models.config import ModelConfig

ImageShape = tuple[int, int, int]
"""(C, H, W)."""


class Widths(NamedTuple):
    """The layers whose widths are free. setting: of ModelConfig. label: what people call it. example: for a form."""

    setting: Literal["hidden", "channels"]
    label: str
    example: str


class Layer(NamedTuple):
    """A layer of somebody's weights: what kind it is, and how many units or channels it gives."""

    kind: Literal["linear", "norm", "convolution", "other"]
    width: int


def with_stages(model: "nn.Module", names: Iterable[str]) -> "nn.Module":
    """Name the submodules whose outputs are the maps that can be compared, from input to output."""
    object.__setattr__(model, "stages", tuple(names))
    return model


Activation = Literal["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "tanh", "sigmoid"]


def activation(config: "ModelConfig") -> "nn.Module":
    """The config's activation as a module."""
    from torch import nn

    names = {"relu": "ReLU", "leaky_relu": "LeakyReLU", "silu": "SiLU"}
    name = config.activation
    made: nn.Module = getattr(nn, names.get(name, name.upper() if name.endswith("elu") else name.capitalize()))()
    return made


def with_unusual(label: str, config: "ModelConfig") -> str:
    """A label, and behind it what of a config's layers is not as usual."""
    if config.activation != "relu":
        label = said("{network}, {activation}", network=label, activation=config.activation)
    if config.norm_last:
        label = said("{network}, norm last", network=label)
    if config.pool == "average":
        return said("{network}, average pooling", network=label)
    return label if config.pool == "max" else said("{network}, no pooling", network=label)


def first_layer(model: "nn.Module", channels: int, *, kernel: int | None = None, stride: int | None = None) -> None:
    """Put another first convolution into one of torchvision's models: for images of so many channels.

    kernel, stride: by default its own. Where all is as it was, so is the layer.
    """
    from torch import nn

    name, old = next((name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d))
    kernel, stride = kernel or old.kernel_size[0], stride or old.stride[0]
    if (channels, kernel, stride) == (old.in_channels, old.kernel_size[0], old.stride[0]):
        return
    padding = int(old.padding[0]) if kernel == old.kernel_size[0] else kernel // 2
    bias = old.bias is not None
    new = nn.Conv2d(channels, old.out_channels, kernel_size=kernel, stride=stride, padding=padding, bias=bias)
    model.set_submodule(name, new)


class Input(NamedTuple):
    """What published weights were trained to read. side: of its images, in pixels. mean, std: of pixels from 0 to 1."""

    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def resized(model: "nn.Module", image_shape: ImageShape, shape: ImageShape) -> "nn.Module":
    """The model itself, given images of another shape, both (C, H, W). By a hook: its layers stay what they are."""
    if shape != image_shape:
        model.register_forward_pre_hook(lambda _, inputs: (reshaped(inputs[0], shape),))
    return model


def reshaped(images: "Tensor", shape: ImageShape) -> "Tensor":
    """Images (N, C, H, W) in another shape: grey is repeated for three channels, and made of them by its luma.

    Sizes change bilinearly, smoothed where they shrink, as torchvision's Resize does it.
    """
    import torch
    from torch.nn import functional as F

    if images.shape[1] == 3 and shape[0] == 1:
        images = (images * torch.tensor(_LUMA).reshape(3, 1, 1).to(images)).sum(dim=1, keepdim=True)
    if images.shape[2:] != shape[1:]:
        images = F.interpolate(images, shape[1:], mode="bilinear", antialias=True)
    return images.expand(-1, shape[0], -1, -1)


_LUMA = (0.299, 0.587, 0.114)
"""Of red, green and blue, as Pillow makes grey of them (ITU-R BT.601)."""


def settling(model: "nn.Module", momentum: float) -> "nn.Module":
    """The model itself, whose batch norms take up at least this share of each batch into their running statistics.

    Torchvision's MobileNetV3 has 0.01 of 600,000 steps on ImageNet: after a few hundred it still judges by its first.
    """
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.momentum is not None:
            module.momentum = max(momentum, module.momentum)
    return model


class Architecture(NamedTuple):
    """An architecture.

    build: config, image shape, K -> a module from images (N, C, H, W) to logits (N, K), whose last nn.Linear gives the
    logits. Where its maps can be compared, with_stages names them.
    reads: settings of ModelConfig that change it. short: its name in tables, by default its label.
    maps: whether it has stages. features: whether its last layer reads features, not images. drops: whether it has
    dropout that does something in training. bfloat16: whether bfloat16 may pay off for it.
    recognise: layers of somebody's weights, in order -> settings of ModelConfig, None where they are of another
    architecture; left out where weights have to bear its own names. leaves_open: settings of ModelConfig that no name
    or shape of weights tells, each with its options, the usual first.
    anew: settings of ModelConfig that a new network starts from, where leaving them out means what older runs had.
    """

    label: str
    build: Callable[["ModelConfig", ImageShape, int], "nn.Module"]
    widths: Widths | None = None
    reads: tuple[str, ...] = ()
    short: Callable[["ModelConfig"], str] | None = None
    maps: bool = False
    features: Callable[["ModelConfig"], bool] = lambda config: True
    drops: Callable[["ModelConfig"], bool] = lambda config: False
    bfloat16: bool = True
    recognise: Callable[[Sequence[Layer]], dict[str, Any] | None] | None = None
    leaves_open: Callable[["ModelConfig"], dict[str, tuple[Any, ...]]] = lambda _: {}
    anew: Mapping[str, Any] = {}
