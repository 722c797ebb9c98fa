"""What a network shows beside its logits in one forward pass: what feeds its last layer, and its maps by stage.

Works on every network of models.build: hooks listen during the call and leave no trace.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from torch import Tensor, nn

from kd_core.base.config import ConfigError
from kd_core.base.templates import said


class Taps(NamedTuple):
    """Of one forward pass of N images, in float32.

    features: what feeds the last linear layer, (N, D). maps: by stage from input to output, (N, C, H, W) each; none in
    a network without convolutions.
    """

    features: Tensor
    maps: tuple[Tensor, ...]


def tapped(model: nn.Module, inputs: Tensor) -> tuple[Tensor, Taps]:
    """Logits (N, K) of a forward pass, with the gradient that the caller has on, and what was seen on the way."""
    with listening(model) as captured:
        logits: Tensor = model(inputs)
    features, *maps = (stage[0].float() for stage in captured)
    return logits, Taps(features, tuple(maps))


@contextmanager
def listening(model: nn.Module, *, maps: bool = True) -> Iterator[list[list[Tensor]]]:
    """Within, each forward pass adds to these lists: the first has the last linear layer's inputs, then one a stage."""
    captured: list[list[Tensor]] = [[]]

    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ConfigError(said("this network has no nn.Linear, whose inputs could be looked at"))
    handles = [linear[-1].register_forward_pre_hook(lambda _, inputs: captured[0].append(inputs[0].flatten(1)))]
    stages = getattr(model, "stages", ()) if maps else ()  # as kd_core.models.architectures names them
    for stage in map(model.get_submodule, stages):
        kept: list[Tensor] = []
        captured.append(kept)
        handles.append(stage.register_forward_hook(lambda _, inputs, output, kept=kept: kept.append(output)))
    try:
        yield captured
    finally:
        for handle in handles:
            handle.remove()
