"""The loss of a batch as a run's settings have it: the objective's soft loss, the hard loss, and their weights."""

from torch import Tensor
from torch.nn import functional as F

from kd_core.losses import hinton
from kd_core.losses.config import DistillationConfig
from kd_core.losses.objectives.definition import Batch, Settings


def evaluate(
    batch: Batch,
    distillation: DistillationConfig,
    *,
    share: float = 0.0,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> hinton.Losses:
    """The loss of one batch and its parts, as a run's distillation settings have it.

    share: of the training's steps that is done, 0 at the first and 1 at the last, for what changes over them.
    class_weights: (K,), by which examples count in the hard loss.
    """
    temperature, alpha = distillation.at(share)
    weights = distillation.all_weights
    soft_loss = distillation.info.soft_loss(batch, Settings(temperature, distillation.t_squared, weights))
    soft_weight, hard_weight = (alpha, 1 - alpha) if distillation.info.mixed else (1.0, weights["hard"])
    if not distillation.has_hard_loss:
        return hinton.weighted(soft_loss, None, soft_weight, hard_weight)
    hard_loss = F.cross_entropy(
        batch.student_logits, batch.known_labels, class_weights, label_smoothing=label_smoothing
    )
    return hinton.weighted(soft_loss, hard_loss, soft_weight, hard_weight)
