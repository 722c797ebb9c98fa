"""What a model computes before it decides, and the training loss around its weights: a wide valley, or a gorge."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from kd_core.data.dataset import Dataset
from kd_core.models import build, taps
from kd_core.models.arithmetic import quick_float32

IMAGES, FEWEST_IMAGES = 1000, 64
MOST_MULTIPLY_ADDS = 2e12
"""Of a whole landscape: a larger model is shown fewer images, but FEWEST_IMAGES at least."""


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


class Landscape(NamedTuple):
    """losses[row, column], in nats per example, at weights + steps[column] · first + steps[row] · second direction."""

    steps: NDArray[np.float64]
    losses: NDArray[np.float64]
    images: int


def loss_landscape(
    model: nn.Module, dataset: Dataset, *, size: int = 15, reach: float = 1.0, seed: int = 0
) -> Landscape:
    """Cross-entropy with the true labels over training images, on a size x size grid about a model's weights.

    Two random directions, filter-normalised (Li et al. 2018, arXiv:1712.09913, section 4), each from -reach to reach,
    where 1 moves every filter by as much as its own norm. Seed, architecture and data set choose directions and images,
    so that models of one architecture are seen along the same lines. Raises ValueError for an even size, whose grid
    would leave out the weights themselves.
    """
    if size % 2 == 0 or size < 3:
        raise ValueError(f"size must be odd and at least 3, got {size}")
    affordable = MOST_MULTIPLY_ADDS / size**2 / build.multiply_adds(model, dataset.image_shape)
    count = int(min(len(dataset.train_labels), IMAGES, max(FEWEST_IMAGES, affordable)))
    order = torch.randperm(len(dataset.train_labels), generator=torch.Generator().manual_seed(seed))[:count]
    inputs, labels = dataset.normalise(dataset.train_images[order]), dataset.train_labels[order]
    steps = np.linspace(-reach, reach, size)
    losses = np.empty((size, size))
    with torch.no_grad(), quick_float32(torch.device("cpu")):
        here, first, second = _linear_parts(model, inputs, directions(model, seed))
        at = {name: torch.empty_like(tensor) for name, tensor in here.items()}
        for row, down in enumerate(steps):
            line = {name: tensor.add(second[name], alpha=down) for name, tensor in here.items()}
            for column, across in enumerate(steps):
                for name, tensor in line.items():
                    torch.add(tensor, first[name], alpha=across, out=at[name])
                losses[row, column] = F.cross_entropy(functional_call(model, at, (inputs,)), labels).item()
    return Landscape(steps, losses, count)


Tensors = dict[str, Tensor]


def directions(model: nn.Module, seed: int) -> tuple[Tensors, Tensors]:
    """Two random directions in the model's weights, normal before each filter is given the norm of the model's own.

    A filter is what one unit or channel has: a row of a matrix, a kernel over all inputs. Biases and the scales of
    batch norm stay where they are, as in the authors' code.
    """
    generator = torch.Generator().manual_seed(seed)
    first, second = ({name: _direction(weight, generator) for name, weight in model.named_parameters()} for _ in "12")
    return first, second


def _direction(weight: Tensor, generator: torch.Generator) -> Tensor:
    if weight.dim() < 2:
        return torch.zeros_like(weight)
    drawn = torch.randn(weight.shape, generator=generator)
    inner = tuple(range(1, weight.dim()))
    norms = torch.linalg.vector_norm(weight.detach(), dim=inner, keepdim=True)
    scaled: Tensor = drawn * (norms / torch.linalg.vector_norm(drawn, dim=inner, keepdim=True))
    return scaled


class _Given(nn.Module):
    """Replaces a layer and returns a given output."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.register_buffer("output", output)

    def forward(self, _: Tensor) -> Any:
        return self.output


def _linear_parts(model: nn.Module, inputs: Tensor, along: tuple[Tensors, Tensors]) -> tuple[Tensors, Tensors, Tensors]:
    """The parameters that move over the plane: their values, and their change along each direction.

    That is every matrix and kernel but the first. The first layer's output is itself linear in its weights, so it is
    computed along each direction once, not at every point, and stands in model from now on: two fifths of the work of
    the paper's teacher.
    """
    moving = {name: weight.detach() for name, weight in model.named_parameters() if weight.dim() > 1}
    name = next(iter(moving))
    path = name.removesuffix(".weight")
    layer, seen = model.get_submodule(path), []
    handle = layer.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    model(inputs)
    handle.remove()
    unbiased = {"bias": torch.zeros_like(layer.bias)} if isinstance(layer.bias, Tensor) else {}
    parts = [moving, *({other: direction[other] for other in moving} for direction in along)]
    outputs = [
        layer(seen[0]),
        *(functional_call(layer, unbiased | {"weight": part[name]}, (seen[0],)) for part in parts[1:]),
    ]
    model.set_submodule(path, _Given(outputs[0]))
    here, first, second = (
        {other: tensor for other, tensor in part.items() if other != name} | {f"{path}.output": output}
        for part, output in zip(parts, outputs, strict=True)
    )
    return here, first, second
