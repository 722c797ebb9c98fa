"""What one example teaches, in numbers: losses, the gradient on every logit, and what T does to its size.

The same functions that training uses (kd_core.losses.hinton), in float64 on one example, as plain numbers to show.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from kd_core.losses import hinton


class Felt(NamedTuple):
    """Losses of one example in nats, and their gradients on the student's K logits."""

    loss: float
    soft_loss: float
    hard_loss: float
    gradient: list[float]
    soft_gradient: list[float]
    hard_gradient: list[float]


LAW_WITHIN = 0.1
"""The 1/T² law is said to hold where the bare gradient is within this share of the paper's limit."""


class GradientSizes(NamedTuple):
    """Euclidean norm of the soft gradient (alpha 1) at each temperature: bare, times T², and in the paper's limit.

    law_from: the lowest of the temperatures from which on all are within LAW_WITHIN of the limit, None where none is.
    """

    temperatures: list[float]
    bare: list[float]
    times_t_squared: list[float]
    limit: list[float]
    law_from: float | None


def felt(
    student_logits: Sequence[float],
    teacher_logits: Sequence[float],
    label: int,
    *,
    temperature: float,
    alpha: float,
    t_squared: bool = True,
) -> Felt:
    """Losses and gradients of one example, K logits each. Raises ValueError as kd_core.losses.hinton does."""
    student, teacher, labels = _one(student_logits), _one(teacher_logits), torch.tensor([label])
    parts = hinton.distillation_loss(
        student, teacher, labels, temperature=temperature, alpha=min(alpha, 1 - 1e-12), t_squared=t_squared
    )
    gradient = hinton.distillation_gradient(
        student, teacher, labels, temperature=temperature, alpha=alpha, t_squared=t_squared
    )
    total = alpha * float(parts.soft_loss) + (1 - alpha) * float(parts.hard_loss)
    return Felt(
        total,
        float(parts.soft_loss),
        float(parts.hard_loss),
        gradient.gradient[0].tolist(),
        gradient.soft[0].tolist(),
        gradient.hard[0].tolist(),
    )


def gradient_sizes(
    student_logits: Sequence[float], teacher_logits: Sequence[float], temperatures: Sequence[float]
) -> GradientSizes:
    """How large the soft gradient is over T. temperatures: rising.

    It falls as 1/T² where T is large against the logits (section 2.1), which the factor T² repairs (section 2). Below
    that it may rise: on a sure example both softmax functions are nearly the label's one-hot vector at T = 1.
    """
    student, teacher, labels = _one(student_logits), _one(teacher_logits), torch.tensor([0])
    bare, limit = [], []
    for temperature in temperatures:
        gradient = hinton.distillation_gradient(
            student, teacher, labels, temperature=temperature, alpha=1.0, t_squared=False
        )
        bare.append(float(gradient.soft.norm()))
        limit.append(float(hinton.high_temperature_gradient(student, teacher, temperature).norm()))
    repaired = [size * temperature**2 for size, temperature in zip(bare, temperatures, strict=True)]
    law_from = None
    for temperature, size, limiting in zip(temperatures[::-1], bare[::-1], limit[::-1], strict=True):
        if abs(size - limiting) > LAW_WITHIN * limiting:
            break
        law_from = temperature
    return GradientSizes(list(temperatures), bare, repaired, limit, law_from)


def _one(logits: Sequence[float]) -> torch.Tensor:
    return torch.tensor([list(logits)], dtype=torch.float64)
