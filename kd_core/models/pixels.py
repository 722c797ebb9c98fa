"""An external teacher as a module like others of ours: images normalised as our data sets do it in, logits out."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kd_core.models import build as models_build
from kd_core.models.architectures.architecture import ImageShape
from kd_core.models.config import ExternalConfig, ModelConfig

Statistic = float | Sequence[float]
"""Of pixels from 0 to 1: one number, or one a channel."""


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
    if config.opaque and external is not None:
        from kd_core.models import black_box  # and ONNX Runtime, which most runs do without

        model: nn.Module = black_box.of_state(state, image_shape, classes, external.gives)
    else:
        model = models_build.build(config, image_shape, classes)
        model.load_state_dict(state)
    return expecting(model, external, mean=mean, std=std).eval()


def expecting(model: nn.Module, external: ExternalConfig | None, *, mean: Statistic, std: Statistic) -> nn.Module:
    """The model itself, given what it was trained to read wherever it is called with what mean and std normalised.

    By a hook, so that its layers and the names of its weights stay what they are.
    """
    if external is None or external.mean is None or external.std is None:
        return model
    our_mean, our_std, their_mean, their_std = map(_by_channel, (mean, std, external.mean, external.std))
    scale, shift = our_std / their_std, (our_mean - their_mean) / their_std

    def renormalise(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """((x * std + mean) - their mean) / their std, for x as we normalise it."""
        images = inputs[0]
        return (images * scale.to(images) + shift.to(images),)

    model.register_forward_pre_hook(renormalise)
    return model


def _by_channel(statistic: Statistic) -> Tensor:
    """(1 or C, 1, 1), to be broadcast over images."""
    return torch.tensor(statistic, dtype=torch.float64).reshape(-1, 1, 1)
