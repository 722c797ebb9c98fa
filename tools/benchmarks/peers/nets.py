"""The networks that every peer gets, in plain torch: no peer's environment needs kd_core for them."""

from itertools import pairwise

import torch
from torch import nn
from torch.utils.data import TensorDataset


def mlp(*widths: int) -> nn.Sequential:
    """784 pixels to ten logits, with a hidden layer of ReLUs for each width."""
    sizes = list(pairwise((784, *widths, 10)))
    layers = [layer for inputs, outputs in sizes for layer in (nn.Linear(inputs, outputs), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers[:-1])


def teacher() -> nn.Module:
    return mlp(400, 400)


def student() -> nn.Module:
    """First weights are drawn by torch's global generator."""
    return mlp(100, 100)


def errors_of(model: nn.Module, data: TensorDataset) -> int:
    """Count the examples whose class the model misses."""
    images, labels = data.tensors
    model.eval()
    with torch.inference_mode():
        return int((model(images).argmax(1) != labels).sum())
