"""An external teacher as a module like others of ours: images normalised as our data sets do it in, logits out."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kd_core.base.config import ConfigError
from kd_core.base.templates import said
from kd_core.models import build as models_build
from kd_core.models.architectures import own, stock
from kd_core.models.architectures.architecture import ImageShape, reshaped
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

    config, external: of the run. Raises RuntimeError where the state is not the model's (ConfigError where that is of
    own code), and as BlackBox does.
    """
    shape = image_shape if external is None else external.reads(image_shape)
    if config.opaque and external is not None:
        from kd_core.models import black_box  # and ONNX Runtime, which most runs do without

        model: nn.Module = black_box.of_state(state, shape, classes, external)
    else:
        model = models_build.build(config, shape, classes)
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            if not config.own:
                raise
            raise ConfigError(
                said(
                    "these weights do not fit {network} for {classes} classes of images {shape}, as its code is now:"
                    " put the code back as it was, or train it anew",
                    network=config.label,
                    classes=classes,
                    shape=shape,
                )
            ) from error
    return expecting(model, config, external, mean=mean, std=std).eval()


def fresh(config: ModelConfig, image_shape: ImageShape, classes: int, *, mean: Statistic, std: Statistic) -> nn.Module:
    """An untrained model for images that mean and std normalised; its weights are drawn as models.build says."""
    model = models_build.build(config, image_shape, classes)
    if config.own:
        own.check_unchanged(config.name)
    return expecting(model, config, None, mean=mean, std=std)


def expecting(
    model: nn.Module, config: ModelConfig, external: ExternalConfig | None, *, mean: Statistic, std: Statistic
) -> nn.Module:
    """The model itself, given what it was trained to read wherever it is called with what mean and std normalised.

    Also what its weights were trained to read before training went on here, where it starts from published ones. By a
    hook, so that its layers and the names of its weights stay what they are.
    """
    if external is None and config.pretrained:
        published = stock.published_input(config.name)
        theirs: ExternalConfig | _Pixels = _Pixels(published.mean, published.std)
    elif external is not None and (external.mean is not None or external.shape is not None):
        theirs = external
    else:
        return model
    prepared = preparation(theirs, mean=mean, std=std)
    model.register_forward_pre_hook(lambda _, inputs: (prepared(inputs[0]),))
    return model


class _Pixels(NamedTuple):
    """What preparation reads of an ExternalConfig."""

    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    shape: ImageShape | None = None


def preparation(external: "ExternalConfig | _Pixels", *, mean: Statistic, std: Statistic) -> Callable[[Tensor], Tensor]:
    """What makes of images (N, C, H, W), normalised by mean and std, those that an external teacher reads.

    They are reshaped as architectures.architecture does it. Then ((x * std + mean) - their mean) / their std.
    """
    our_mean, our_std = map(_by_channel, (mean, std))
    theirs = (our_mean, our_std) if external.mean is None else map(_by_channel, (external.mean, external.std or ()))
    their_mean, their_std = theirs
    scale, shift = our_std / their_std, (our_mean - their_mean) / their_std

    def prepared(images: Tensor) -> Tensor:
        if external.shape is not None:
            images = reshaped(images, external.shape)
        return images if external.mean is None else images * scale.to(images) + shift.to(images)

    return prepared


def _by_channel(statistic: Statistic) -> Tensor:
    """(1 or C, 1, 1), to be broadcast over images."""
    return torch.tensor(statistic, dtype=torch.float64).reshape(-1, 1, 1)
