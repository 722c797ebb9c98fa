"""Where and in which numbers a model computes: the device, bfloat16 by autocast, quick float32 on CPUs.

Nothing here changes a result beyond the rounding of the arithmetic it names.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from kd_core.base.config import ConfigError
from kd_core.base.templates import said

INT8_WEIGHTS = 64
"""Steps on either side of 0: seven of the eight bits."""
LEAST_SCALE = torch.finfo(torch.float32).eps
"""Of a channel, or a batch, that is 0 throughout."""


def pick_device(name: str) -> torch.device:
    """The device a config means. Raises ConfigError where it names one that this machine has not."""
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in has.items() if there)
    if not has[name]:
        raise ConfigError(said("this machine has no {name} device: choose device auto or cpu", name=name))
    return torch.device(name)


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Within, a forward pass computes in this precision: 'float32' or 'bfloat16'."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def rounding_to_int8(model: nn.Module) -> nn.Module:
    """Have a model's convolutions and linear layers compute with what its int8 file will hold. Returns the model.

    Weights get seven bits for each output channel, symmetric about 0; what goes in, eight bits over its range in the
    batch: as kd_core.exchange.export.graphs quantises. Gradients pass the rounding as if it were not there (straight
    through, Bengio et al. 2013, arXiv:1308.3432). The state_dict stays as it is; a batch norm behind a convolution
    scales whole channels, so folding it in changes no rounding.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and type(layer) in (nn.Conv2d, nn.Linear):  # as they are in torch
            layer.forward = partial(_in_int8, layer)  # type: ignore[method-assign]
    return model


def _in_int8(layer: "nn.Conv2d | nn.Linear", inputs: Tensor) -> Tensor:
    channels = layer.weight.detach().flatten(1).abs().amax(dim=1)
    scale = (channels / INT8_WEIGHTS).clamp(min=LEAST_SCALE)
    zeros = torch.zeros_like(scale, dtype=torch.int32)
    weight = torch.fake_quantize_per_channel_affine(layer.weight, scale, zeros, 0, -INT8_WEIGHTS, INT8_WEIGHTS)
    low, high = inputs.detach().amin().clamp(max=0), inputs.detach().amax().clamp(min=0)
    step = ((high - low) / 255).clamp(min=LEAST_SCALE)
    rounded = torch.fake_quantize_per_tensor_affine(inputs, step, (-low / step).round().to(torch.int32), 0, 255)
    if isinstance(layer, nn.Linear):
        return nn.functional.linear(rounded, weight, layer.bias)
    output: Tensor = layer._conv_forward(rounded, weight, layer.bias)
    return output


@contextmanager
def quick_float32(device: torch.device) -> Iterator[None]:
    """Within, float32 matrix products on a CPU go to oneDNN where that keeps float32's accuracy.

    torch sends them to MKL, which on AMD processors leaves AVX-512 alone: 200 against 430 GFLOP/s on two Zen 5 cores
    (torch 2.13, 512x784x800). torch has no setting for oneDNN itself, only for oneDNN with leave to round to bfloat16;
    whether it makes use of that leave is measured, and where it does this changes nothing.
    """
    setting: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    if device.type != "cpu" or setting.fp32_precision == "bf16" or not _onednn_keeps_float32():
        yield
        return
    before = setting.fp32_precision
    setting.fp32_precision = "bf16"
    try:
        yield
    finally:
        setting.fp32_precision = before


@cache
def _onednn_keeps_float32() -> bool:
    """Whether a product given leave to round to bfloat16 is as near to float64 as float32 is (bfloat16: 1e-3)."""
    if not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    setting: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = setting.fp32_precision
    setting.fp32_precision = "bf16"
    try:
        for rows, inner, columns in ((64, 784, 800), (512, 800, 10), (256, 1200, 1200)):
            left = torch.randn(rows, inner, generator=generator)
            right = torch.randn(columns, inner, generator=generator)
            exact = left.double() @ right.double().T
            if float((left @ right.T - exact).abs().max() / exact.abs().max()) > 1e-5:
                return False
        return True
    finally:
        setting.fp32_precision = before


def random_state(device: torch.device) -> list[torch.Tensor]:
    """State of the generators that a run on this device draws from: the CPU's, and the device's own."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    elif device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return states


def set_random_state(states: list[torch.Tensor], device: torch.device) -> None:
    """Go on drawing from where random_state was taken."""
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
    elif device.type == "mps":
        torch.mps.set_rng_state(states[1])
