"""The optimiser, its rate over time, and the order of examples in an epoch."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from kd_core.training.config import TrainingConfig

SGD_MOMENTUM = 0.9


def learning_rate(config: TrainingConfig, step: int, steps_per_epoch: int) -> float:
    """The rate at a step, counted from 0. one-cycle is Smith and Topin's (arXiv:1708.07120) as torch's OneCycleLR."""
    total, peak = config.epochs * steps_per_epoch, config.learning_rate
    if config.schedule == "one-cycle":
        low, turn = peak / 25, max(0.3 * total - 1, 1e-9)
        if step <= turn:
            return _cosine(low, peak, step / turn)
        return _cosine(peak, low / 1e4, (step - turn) / max(1e-9, total - 1 - turn))
    warmup = config.warmup_epochs * steps_per_epoch
    if step < warmup:
        return peak * min(1.0, (step + 1) / warmup)
    if config.schedule == "constant":
        return peak
    return _cosine(peak, 0.0, (step - warmup) / (total - warmup))


def optimizer_of(
    parameters: Iterable[nn.Parameter], config: TrainingConfig, device: torch.device
) -> torch.optim.Optimizer:
    """Build the optimiser. Every update rule treats each parameter element by itself."""
    decay = config.weight_decay
    if decay is None:
        decay = 0.01 if config.optimizer == "adamw" else 0.0
    options: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": decay}
    options["fused"] = device.type in ("cpu", "cuda", "mps")
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=SGD_MOMENTUM, **options)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, **options)


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """The random generator of an epoch, counted from 0: first the order of examples, then their shifts."""
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch)


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))
