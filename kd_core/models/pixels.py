"""An external teacher as a module like others of ours: images normalised as our data sets do it in, logits out."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_core.models import build as models_build
from kd_core.models.architectures.architecture import ImageShape
from kd_core.models.config import ExternalConfig, ModelConfig

Statistic = float | Sequence[float]
"""Of pixels from 0 to 1: one number, or one a channel."""
_LUMA = (0.299, 0.587, 0.114)
"""Of red, green and blue, as Pillow makes grey of them (ITU-R BT.601)."""


def build(
    config: ModelConfig,
    external: ExternalConfig | None,
    state: dict[str, Tensor],
    image_shape: ImageShape,
    classes: int,
    *,
    mean: Statistic,
    std: Statistic,
) -> nn.Module:
    """The trained model of any run, in eval mode: state is its state_dict; mean and std are those of its data set.

    config, external: of the run. Raises RuntimeError where the state is not the model's, and as BlackBox does.
    """
    shape = image_shape if external is None else external.reads(image_shape)
    if config.opaque and external is not None:
        from kd_core.models import black_box  # and ONNX Runtime, which most runs do without

        model: nn.Module = black_box.of_state(state, shape, classes, external)
    else:
        model = models_build.build(config, shape, classes)
        model.load_state_dict(state)
    return expecting(model, external, mean=mean, std=std).eval()


def expecting(model: nn.Module, external: ExternalConfig | None, *, mean: Statistic, std: Statistic) -> nn.Module:
    """The model itself, given what it was trained to read wherever it is called with what mean and std normalised.

    By a hook, so that its layers and the names of its weights stay what they are.
    """
    if external is not None and (external.mean is not None or external.shape is not None):
        prepared = preparation(external, mean=mean, std=std)
        model.register_forward_pre_hook(lambda _, inputs: (prepared(inputs[0]),))
    return model


def preparation(external: ExternalConfig, *, mean: Statistic, std: Statistic) -> Callable[[Tensor], Tensor]:
    """What makes of images (N, C, H, W), normalised by mean and std, those that an external teacher reads.

    Grey is repeated for three channels and made of them by its luma. Sizes change bilinearly, smoothed where they
    shrink, as torchvision's Resize does it. Then ((x * std + mean) - their mean) / their std.
    """
    our_mean, our_std = map(_by_channel, (mean, std))
    theirs = (our_mean, our_std) if external.mean is None else map(_by_channel, (external.mean, external.std or ()))
    their_mean, their_std = theirs
    scale, shift = our_std / their_std, (our_mean - their_mean) / their_std

    def prepared(images: Tensor) -> Tensor:
        if external.shape is not None:
            images = _reshaped(images, external.shape)
        return images if external.mean is None else images * scale.to(images) + shift.to(images)

    return prepared


def _reshaped(images: Tensor, shape: ImageShape) -> Tensor:
    if images.shape[1] == 3 and shape[0] == 1:
        images = (images * torch.tensor(_LUMA).reshape(3, 1, 1).to(images)).sum(dim=1, keepdim=True)
    if images.shape[2:] != shape[1:]:
        images = F.interpolate(images, shape[1:], mode="bilinear", antialias=True)
    return images.expand(-1, shape[0], -1, -1)


def _by_channel(statistic: Statistic) -> Tensor:
    """(1 or C, 1, 1), to be broadcast over images."""
    return torch.tensor(statistic, dtype=torch.float64).reshape(-1, 1, 1)
