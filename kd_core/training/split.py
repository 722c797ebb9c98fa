"""Which images of a data set a run learns from, and which choose its best weights."""

from typing import TYPE_CHECKING

from kd_core.training.config import RunConfig

if TYPE_CHECKING:
    from torch import Tensor

    from kd_core.data.dataset import Dataset


def split_of(dataset: "Dataset", config: RunConfig) -> "tuple[Tensor, Tensor]":
    """Indices into the training set: (training, validation) images of a run.

    Raises ConfigError where its transfer set holds no image of either.
    """
    parts = dataset.split(config.training.validation_fraction, config.seed)
    if config.transfer_set.whole:
        return parts
    learned, chosen_by = (dataset.transfer_set(part, config.transfer_set, config.seed) for part in parts)
    return learned, chosen_by
