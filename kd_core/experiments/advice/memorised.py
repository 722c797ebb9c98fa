"""A run that fits its training images and guesses on all others, by its own epochs. Imports no torch."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kd_core.base.templates import said
from kd_core.data.catalogue import info_of
from kd_core.training.config import RunConfig

NEAR_0 = 0.1
"""Share of the loss of a network that knows nothing, below which a run has learned its images by heart."""
DEVIATIONS = 3.0
"""Of guessing, in standard deviations: right answers above it are no chance."""


def memorised(config: RunConfig, epochs: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence on a run whose training loss is near 0 while it guesses on its validation split, else "".

    epochs: its epoch records. The hard loss of a network that knows nothing is ln K; a soft one is that of the first
    epoch, if several. Guessing gets 1 / K right, give or take DEVIATIONS of the binomial.
    """
    if not epochs or epochs[-1].get("validation_accuracy") is None:
        return ""
    last, classes = epochs[-1], info_of(config.dataset).classes
    loss, nothing = last["hard_loss"], math.log(classes)
    if loss is None:
        loss, nothing = last["loss"], epochs[0]["loss"] if len(epochs) > 1 else 0.0
    right, errors = last["validation_accuracy"], last["validation_errors"]
    images = round(errors / (1 - right)) if right < 1 else 0
    chance = 1 / classes
    if not images or loss >= NEAR_0 * nothing or right > chance + DEVIATIONS * (chance * (1 - chance) / images) ** 0.5:
        return ""
    facts = {"loss": loss, "right": right, "images": images, "chance": chance}
    if config.model.name == "mobilenet_v3_small" and config.model.norm_momentum is None:
        return said(
            "It guesses on images that it has not seen, {right:.1%} of {images:,} right where guessing gets"
            " {chance:.1%}, though its training loss is {loss:.2g}: its batch norms have not settled in so few steps."
            " Train it anew with a norm_momentum of 0.1, as new networks of its kind have it.",
            **facts,
        )
    return said(
        "It guesses on images that it has not seen, {right:.1%} of {images:,} right where guessing gets {chance:.1%},"
        " though its training loss is {loss:.2g}: batch norms that have not settled in so few steps do that, and labels"
        " that say nothing of the images. Train it for more steps, and look at the images of a class.",
        **facts,
    )
