"""The inputs of a model's last layer, and their plane of largest variance."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kd_core.data.dataset import Dataset
from kd_core.models import build, taps


def penultimate(model: nn.Module, dataset: Dataset, count: int = 1000) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Inputs of a model's last linear layer for the first `count` test images, (N, D), and their labels."""
    with taps.listening(model, maps=False) as (seen,):
        build.logits_of(model, dataset.test_images[:count], dataset.normalise)
    return torch.cat(seen).numpy(), dataset.test_labels[:count].numpy()


def projected(features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The first two principal components of features (N, D), (N, 2): scikit-learn's PCA, exact, of a definite sign.

    The largest weight in each component is positive, so the same features give the same picture. A component that the
    features have not is 0.
    """
    from sklearn.decomposition import PCA

    components = min(2, *features.shape)
    with np.errstate(invalid="ignore"):  # features that do not vary have no shares of their variance
        coordinates = PCA(components, svd_solver="full").fit_transform(np.asarray(features, dtype=np.float64))
    return np.pad(coordinates, ((0, 0), (0, 2 - components)))
