"""What an architecture says of itself. kd_core.models.config.MODELS lists them by name."""

from collections.abc import Callable, Container, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import nn

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


class Architecture(NamedTuple):
    """An architecture.

    build: config, image shape, K -> a module from images (N, C, H, W) to logits (N, K), whose last nn.Linear gives the
    logits. Where its maps can be compared, with_stages names them.
    reads: settings of ModelConfig that change it. short: its name in tables, by default its label.
    maps: whether it has stages. features: whether its last layer reads features, not images. drops: whether it has
    dropout that does something in training. bfloat16: whether bfloat16 may pay off for it.
    recognise: layers of somebody's weights, and the weights' names -> settings of ModelConfig, None where they are of
    another architecture. ends: names of its first and last layer where names do not sort in the order of the layers;
    other architectures take weights under other names, in the order of the layers.
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
    recognise: Callable[[Sequence[Layer], Container[str]], dict[str, Any] | None] = lambda layers, names: None
    ends: tuple[str, str] | None = None
