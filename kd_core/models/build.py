"""Name -> nn.Module: float images (N, C, H, W) in, logits (N, K) out. Also its parameters and multiply-adds.

The smallest image side that cnn and the torchvision models take is 8 pixels.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kd_core.base.config import ConfigError
from kd_core.base.templates import said
from kd_core.models.architectures import stock
from kd_core.models.architectures.architecture import ImageShape
from kd_core.models.arithmetic import quick_float32
from kd_core.models.config import ModelConfig


def build(config: ModelConfig, image_shape: ImageShape, classes: int) -> nn.Module:
    """A fresh model. Its initial weights are set by torch's global generator (torch.manual_seed).

    image_shape: (C, H, W). classes: K. Raises ConfigError for a black box, of which there is none but its user's.
    """
    return config.architecture.build(config, image_shape, classes)


@contextmanager
def taking(config: ModelConfig, image_shape: ImageShape) -> Iterator[None]:
    """Within, a network of a library or of own code that cannot look at such images raises ConfigError."""
    try:
        yield
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:
        if isinstance(error, ConfigError) or not (config.stock or config.own):
            raise
        if config.own:
            raise ConfigError(
                said(
                    "{network} cannot be counted on torch's meta device ({why}): let its forward pass branch on no"
                    " values and make its tensors on the device of its images",
                    network=config.label,
                    why=str(error).partition("\n")[0][:200],
                )
            ) from error
        raise ConfigError(
            said(
                "{network} does not take images of {shape}: state the side to which they are resized first, such as"
                " {side}",
                network=config.label,
                shape="x".join(map(str, image_shape)),
                side=stock.published_input(config.name).side,
            )
        ) from error


def blueprint(config: ModelConfig, image_shape: ImageShape, classes: int) -> nn.Module:
    """The model without its numbers, on the meta device: whatever its size, it takes no memory and no time to build.

    But for torchvision's RegNets and others that compute by tensors as they are built: those are built whole first.
    """
    with taking(config, image_shape):
        try:
            with torch.device("meta"):
                return build(config, image_shape, classes)
        except (NotImplementedError, RuntimeError, ConfigError):
            return build(config, image_shape, classes).to("meta")


def parameter_count(model: nn.Module) -> int:
    """Trainable numbers in the model."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_adds(model: nn.Module, image_shape: ImageShape) -> int:
    """Multiply-adds of one image's forward pass, by torch's own operator counter; additions of biases do not count.

    Counted on the meta device, where nothing is computed.
    """
    counted = copy.deepcopy(model).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        counted(torch.zeros(1, *image_shape, device="meta"))
    return int(counter.get_total_flops()) // 2


@torch.no_grad()
def logits_of(
    model: nn.Module, images: Tensor, normalise: Callable[[Tensor], Tensor], *, batch_size: int = 1000
) -> Tensor:
    """Logits of many images, (N, K) float32 on the CPU, with the model in eval mode and its mode put back after.

    images: (N, C, H, W) uint8. normalise: Dataset.normalise. The batches are cut the same way every time, so the
    same weights give the same logits to the last bit on the same machine.
    """
    device = next(chain(model.parameters(), model.buffers())).device  # a black box has no parameters
    was_training = model.training
    model.eval()
    with quick_float32(device):
        batches = [model(normalise(batch.to(device))).float().cpu() for batch in images.split(batch_size)]
    model.train(was_training)
    return torch.cat(batches)
