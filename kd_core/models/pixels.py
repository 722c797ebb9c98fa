"""A brought teacher as a module like others of ours: images normalised as our data sets do it in, logits out."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kd_core.models import build as models_build
from kd_core.models.config import BLACK_BOX, BroughtConfig, ModelConfig

Statistic = float | Sequence[float]
"""Of pixels from 0 to 1: one number, or one a channel."""


def build(
    config: ModelConfig,
    brought: BroughtConfig | None,
    state: dict[str, Tensor],
    image_shape: models_build.ImageShape,
    classes: int,
    *,
    mean: Statistic,
    std: Statistic,
) -> nn.Module:
    """The trained model of any run, in eval mode: state is its state_dict; mean and std are those of its data set.

    config, brought: of the run. Raises RuntimeError where the state is not the model's, and as black_box.BlackBox does.
    """
    if config.name == BLACK_BOX and brought is not None:
        from kd_core.models import black_box  # and ONNX Runtime, which most runs do without

        model: nn.Module = black_box.of_state(state, image_shape, classes, brought.gives)
    else:
        model = models_build.build(config, image_shape, classes)
        model.load_state_dict(state)
    return expecting(model, brought, mean=mean, std=std).eval()


def expecting(model: nn.Module, brought: BroughtConfig | None, *, mean: Statistic, std: Statistic) -> nn.Module:
    """The model itself, given what it was trained to read wherever it is called with what mean and std normalised.

    By a hook, so that its layers and the names of its weights stay what they are.
    """
    if brought is None or brought.mean is None or brought.std is None:
        return model
    ours, theirs = ([_by_channel(one) for one in pair] for pair in ((mean, std), (brought.mean, brought.std)))
    scale, shift = ours[1] / theirs[1], (ours[0] - theirs[0]) / theirs[1]

    def renormalise(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """((x * std + mean) - their mean) / their std, for x as we normalise it."""
        images = inputs[0]
        return (images * scale.to(images) + shift.to(images),)

    model.register_forward_pre_hook(renormalise)
    return model


def _by_channel(statistic: Statistic) -> Tensor:
    """(1 or C, 1, 1), to be broadcast over images."""
    return torch.tensor(statistic, dtype=torch.float64).reshape(-1, 1, 1)
