"""Pure functions of logits: softened probabilities, the distillation objective, its closed-form gradient.

Knows torch and nothing else of this project. Everywhere: logits are (N, K), N examples of K classes, before
softmax; labels are (N,) int64; losses are in nats, mean over the N examples; student first.
The source is Hinton, Vinyals and Dean, arXiv:1503.02531, section 2, unless a docstring names another.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Losses(NamedTuple):
    """The objective and its parts, scalars in nats: loss = alpha * soft_loss + (1 - alpha) * hard_loss.

    soft_loss includes T² (unless that was switched off). hard_loss is NaN where no labels were given. Other objectives
    than Hinton's may weigh the parts otherwise (kd_core.losses.objectives.definition.ObjectiveInfo).
    """

    loss: Tensor
    soft_loss: Tensor
    hard_loss: Tensor


class Gradient(NamedTuple):
    """Gradient of the mean loss with respect to the student's logits, (N, K), and its two summands."""

    gradient: Tensor
    soft: Tensor
    hard: Tensor


def soft_targets(logits: Tensor, temperature: float) -> Tensor:
    """Softened probabilities softmax(z / T), equation 1 of the paper. (N, K) -> (N, K), rows sum to 1.

    Raises ValueError unless temperature > 0.
    """
    return F.softmax(logits / _checked_temperature(temperature), dim=-1)


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None,
    *,
    temperature: float,
    alpha: float,
    t_squared: bool = True,
) -> Losses:
    """Distillation objective of Hinton et al. (section 2), in nats per example.

    loss = alpha · T² · KL(softmax(z_t/T) ‖ softmax(z_s/T)) + (1 − alpha) · CE(labels, z_s)

    student_logits, teacher_logits: (N, K). labels: (N,) int64, or None where alpha is 1: no labels are read then.
    t_squared=False drops the T², to show what it is for: where T is large, soft gradients then fall as 1/T².
    Raises ValueError unless temperature > 0 and 0 <= alpha <= 1, and where labels are missing though alpha < 1.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be between 0 and 1, got {alpha:g}")
    soft_loss = soft_target_loss(student_logits, teacher_logits, temperature=temperature, t_squared=t_squared)
    if alpha == 1:
        return weighted(soft_loss, None, 1.0, 0.0)
    if labels is None:
        raise ValueError(f"labels are needed for the hard loss: alpha is {alpha:g}, below 1")
    return weighted(soft_loss, F.cross_entropy(student_logits, labels), alpha, 1 - alpha)


def soft_target_loss(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float, t_squared: bool = True
) -> Tensor:
    """The soft loss of distillation_loss alone: T² · KL(softmax(z_t/T) ‖ softmax(z_s/T)), a scalar.

    Raises ValueError unless temperature > 0.
    """
    _checked_temperature(temperature)
    soft_loss = F.kl_div(
        F.log_softmax(student_logits / temperature, dim=-1),
        F.log_softmax(teacher_logits / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
    return soft_loss * temperature**2 if t_squared else soft_loss  # keeps the soft gradients' size where T is large


def weighted(soft_loss: Tensor, hard_loss: Tensor | None, soft_weight: float, hard_weight: float) -> Losses:
    """The parts and their weighted sum. Without a hard loss it is NaN, and no part of the sum."""
    if hard_loss is None:
        return Losses(soft_weight * soft_loss, soft_loss, torch.full_like(soft_loss, torch.nan))
    loss = hard_loss if soft_weight == 0 else soft_weight * soft_loss + hard_weight * hard_loss
    return Losses(loss, soft_loss, hard_loss)


def distillation_gradient(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    alpha: float,
    t_squared: bool = True,
) -> Gradient:
    """Closed-form gradient of distillation_loss with respect to student_logits, (N, K).

    Equation 2 of the paper gives the soft part, (softmax(z_s/T) − softmax(z_t/T)) / T for one example; here it is
    weighted by alpha, T² and the mean over N. The hard part is (softmax(z_s) − onehot(labels)) · (1 − alpha) / N.
    """
    n, k = student_logits.shape
    soft = soft_targets(student_logits, temperature) - soft_targets(teacher_logits, temperature)
    soft = soft * (alpha * (temperature if t_squared else 1 / temperature) / n)
    hard = (F.softmax(student_logits, dim=-1) - F.one_hot(labels, k)) * ((1 - alpha) / n)
    return Gradient(soft + hard, soft, hard)


def high_temperature_gradient(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Limit of the soft gradient for T large against the logits, (N, K), of one example and without T².

    Equations 3 and 4 (section 2.1): (z_s − z_t) / (K · T²), with each row of logits centred to mean zero. The paper
    writes N for the number of classes, here K.
    """
    _checked_temperature(temperature)
    difference = student_logits - teacher_logits
    return (difference - difference.mean(dim=-1, keepdim=True)) / (difference.shape[-1] * temperature**2)


def ensemble_logits(member_logits: Tensor, *, temperature: float, average: str) -> Tensor:
    """Logits that stand for an ensemble of teachers. (M, N, K), M members -> (N, K).

    average="probabilities": softmax(result / T) is the arithmetic mean of the members' softened probabilities;
    average="logits": the mean of the logits, that is the geometric mean of the probabilities (section 1).
    Raises ValueError on any other average.
    """
    if average == "logits":
        return member_logits.mean(dim=0)
    if average != "probabilities":
        raise ValueError(f"average must be 'probabilities' or 'logits', got '{average}'")
    log_probabilities = F.log_softmax(member_logits / _checked_temperature(temperature), dim=-1)
    mean = torch.logsumexp(log_probabilities, dim=0) - torch.log(torch.tensor(float(member_logits.shape[0])))
    return temperature * mean


def _checked_temperature(temperature: float) -> float:
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature:g}")
    return temperature
