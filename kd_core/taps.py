"""What a network shows on its way to the logits, for objectives that compare more than logits.

Knows torch and nothing else of this project.
"""

from typing import Any, NamedTuple

from torch import Tensor, nn


class Taps(NamedTuple):
    """features: the inputs of the last linear layer, (N, D), float32. maps: of convolutions, (N, C, H, W) each."""

    features: Tensor | None = None
    maps: tuple[Tensor, ...] = ()


def tapped(model: nn.Module, inputs: Tensor) -> tuple[Tensor, Taps]:
    """Logits (N, K) of a forward pass, with the gradient that the caller has on, and what was seen on the way."""
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    seen: list[Tensor] = []

    def remember(_: nn.Module, arguments: Any) -> None:
        seen.append(arguments[0].flatten(1).float())

    handle = last.register_forward_pre_hook(remember)
    try:
        logits: Tensor = model(inputs)
    finally:
        handle.remove()
    return logits, Taps(seen[0])
