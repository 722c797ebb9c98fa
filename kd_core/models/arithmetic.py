"""Where and in which numbers a model computes: the device, bfloat16 by autocast, quick float32 on CPUs.

Nothing here changes a result beyond the rounding of the arithmetic it names.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from kd_core.base.config import ConfigError
from kd_core.base.templates import said

INT8_WEIGHTS = 64
"""Steps on either side of 0: seven of the eight bits."""
INT8_LAYERS = ("conv1d", "conv2d", "linear")
INT8_OPERATIONS = {
    *("add", "iadd", "mul", "imul", "matmul", "mean", "adaptive_avg_pool2d", "avg_pool2d", "layer_norm", "softmax"),
    *("gelu", "hardsigmoid", "hardswish", "sigmoid", "silu"),
}
"""Operations, as torch names them, whose inputs an int8 file rounds: ONNX Runtime's quantiser has them, or the parts
into which the exporter takes them apart."""
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
    """Have a model compute with what its int8 file will hold. Returns the model.

    Weights of convolutions and linear layers get seven bits for each output channel, symmetric about 0; what goes into
    them, and into each other operation that ONNX Runtime has in eight bits, gets eight over its range in the batch: as
    kd_core.exchange.export.graphs quantises. Gradients pass the rounding as if it were not there (straight through,
    Bengio et al. 2013, arXiv:1308.3432). The state_dict stays as it is. A batch norm behind a convolution scales whole
    channels, so folding it in changes no rounding of weights; and what lies between the two is not rounded, nor what
    lies before a ReLU, for the file has neither.
    """
    forward = model.forward

    def in_int8(*positional: Any, **named: Any) -> Any:
        with _RoundingToInt8():
            return forward(*positional, **named)

    model.forward = in_int8
    return model


class _RoundingToInt8(TorchFunctionMode):
    """Within, operations read inputs and weights rounded as an int8 file has them."""

    def __torch_function__(
        self, operation: Any, types: Any, positional: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(operation, "__name__", "").strip("_")
        if name in INT8_LAYERS and len(positional) > 1:
            inputs, weight, *rest = positional
            positional = (_activations_in_int8(inputs), _weight_in_int8(weight), *rest)
        elif name in INT8_OPERATIONS:
            positional = tuple(map(_activations_in_int8, positional))
        return operation(*positional, **(named or {}))


def _weight_in_int8(weight: Tensor) -> Tensor:
    scale = (weight.detach().flatten(1).abs().amax(dim=1) / INT8_WEIGHTS).clamp(min=LEAST_SCALE)
    zeros = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -INT8_WEIGHTS, INT8_WEIGHTS)


def _activations_in_int8(values: Any) -> Any:
    """Maps or features, rounded; anything else, such as a number, as it is."""
    if not isinstance(values, Tensor) or not values.is_floating_point() or values.dim() < 2:
        return values
    low, high = values.detach().amin().clamp(max=0), values.detach().amax().clamp(min=0)
    step = ((high - low) / 255).clamp(min=LEAST_SCALE)
    return torch.fake_quantize_per_tensor_affine(values, step, (-low / step).round().to(torch.int32), 0, 255)


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
