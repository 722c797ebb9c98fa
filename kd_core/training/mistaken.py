"""Training that makes a mistake of public code on purpose, for the lesson "Break it".

Each class overrides the one step of Training that its mistake gets wrong. T² left out and a teacher trained for one
epoch are settings of a run, so that there is nothing of them here.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_core.base.config import ConfigError
from kd_core.base.templates import said
from kd_core.data.dataset import Dataset
from kd_core.evaluation.statistics import halves
from kd_core.losses import one_example
from kd_core.losses.config import DistillationConfig
from kd_core.losses.hinton import Losses
from kd_core.losses.objectives.definition import Batch
from kd_core.models.taps import Taps
from kd_core.training.config import RunConfig
from kd_core.training.loop import Training

COLOUR_STRENGTH = 0.4
"""Brightness and contrast change by up to this share, both ways: what public code gives torchvision's ColorJitter."""
GREY_SHARES = (0.2989, 0.587, 0.114)
"""Of red, green and blue in the grey that contrast is measured by (ITU-R BT.601, as torchvision has it)."""


class ClassMean(Training):
    """Averages the soft loss over classes as well as over the batch."""

    def distillation_losses(self, batch: Batch, distillation: DistillationConfig) -> Losses:
        temperature, alpha = distillation.temperature, distillation.alpha
        return class_mean_loss(
            batch.student_logits, batch.teacher_logits, batch.labels, temperature=temperature, alpha=alpha
        )


class TeacherDropout(Training):
    """Leaves the teachers in train mode, so that each batch is taught by a random part of them.

    Raises ConfigError where a teacher has no dropout to leave on.
    """

    def __init__(self, config: RunConfig, dataset: Dataset, *, teachers: Sequence[nn.Module] = (), **more: Any) -> None:
        super().__init__(config, dataset, teachers=teachers, **more)
        for teacher in self.teachers:
            if not any(isinstance(module, nn.Dropout) and module.p > 0 for module in teacher.modules()):
                raise ConfigError(
                    said("to leave the teacher's dropout on needs a teacher with dropout: choose another one")
                )
            teacher.train()

    @property
    def _looks_anew(self) -> bool:
        return True


class StaleCache(Training):
    """Reads kept logits by position, though each epoch shows the images in another order."""

    def epoch_plan(self, epoch: int) -> tuple[Tensor, Tensor | None]:
        order, shifts = super().epoch_plan(epoch)
        self._rows = row_of_each_image(order, self.config.seed)
        return order, shifts

    def teaching(self, indices: Tensor, inputs: Tensor) -> tuple[Tensor, Taps | None]:
        return super().teaching(self._rows[indices], inputs)


class ColourJitter(Training):
    """Changes brightness and contrast where the images should move."""

    def jittered(self, images: Tensor, shifts: Tensor) -> Tensor:
        return recoloured(images, shifts, self.config.training.jitter_pixels)


class ChosenOnTest(Training):
    """Chooses the best epoch by errors on a half of the test set."""

    def choosing_errors(self, validation_errors: int) -> int:
        return self.errors_on(*choosing_half(self.dataset.test_images, self.dataset.test_labels, self.config.seed))


TRAININGS: dict[str, type[Training]] = {
    "class_mean": ClassMean,
    "teacher_dropout": TeacherDropout,
    "stale_cache": StaleCache,
    "colour_jitter": ColourJitter,
    "test_choice": ChosenOnTest,
}
"""Mistake -> the training that makes it, for those that are no settings."""


def begin(config: RunConfig, dataset: Dataset, **given: Any) -> Training:
    """Build the Training of a run, with the mistake that its config names. given: keyword arguments of Training."""
    return TRAININGS.get(config.mistake or "", Training)(config, dataset, **given)


def class_mean_loss(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None, *, temperature: float, alpha: float
) -> Losses:
    """hinton.distillation_loss with the divergence averaged over classes instead of summed: K times too weak.

    student_logits, teacher_logits: (N, K). labels: (N,) int64, None where alpha is 1.
    """
    student = F.log_softmax(student_logits / temperature, dim=-1)
    teacher = F.softmax(teacher_logits / temperature, dim=-1)
    divergence = F.kl_div(student, teacher, reduction="none").mean()  # torch warns of "mean", and is to change it
    weak = temperature**2 * divergence
    if labels is None:
        return Losses(weak, weak, torch.full_like(weak, torch.nan))
    hard_loss = F.cross_entropy(student_logits, labels)
    return Losses(alpha * weak + (1 - alpha) * hard_loss, weak, hard_loss)


def row_of_each_image(order: Tensor, seed: int) -> Tensor:
    """For each image, the row of a stale cache whose logits it is taught in an epoch, (N,).

    The cache holds the teacher's logits in the order of a shuffled pass of its own, drawn by seed; order: (N,), in
    which this epoch shows the images. The i-th image is taught by the i-th row of the cache.
    """
    cached = torch.randperm(len(order), generator=torch.Generator().manual_seed(seed)).to(order.device)
    rows = torch.empty_like(order)
    rows[order] = cached
    return rows


def recoloured(images: Tensor, shifts: Tensor, most: int) -> Tensor:
    """Change brightness and contrast; positions stay. (B, C, H, W) uint8, (B, 2) pixels -> (B, C, H, W) uint8.

    shifts, from -most to most, are those by which the images should have moved: down sets the brightness, right the
    contrast, as shares of COLOUR_STRENGTH. Both are torchvision's adjust_brightness and adjust_contrast, with factors
    from 0.6 to 1.4: brightness multiplies the values, contrast their distance from the image's mean grey.
    """
    factors = 1 + COLOUR_STRENGTH * shifts.to(torch.float32)[:, :, None, None, None] / most  # (B, 2, 1, 1, 1)
    brighter = (images.to(torch.float32) * factors[:, 0]).clamp_(0, 255).floor_()
    grey = brighter
    if images.shape[1] == len(GREY_SHARES):
        shares = torch.tensor(GREY_SHARES, device=images.device)[:, None, None]
        grey = (brighter * shares).sum(dim=1, keepdim=True).floor_()
    mean = grey.mean(dim=(1, 2, 3), keepdim=True)
    return (mean + (brighter - mean) * factors[:, 1]).clamp_(0, 255).to(torch.uint8)


def choosing_half(test_images: Tensor, test_labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Images and labels of the half of the test set that chooses the epoch; the other half measures the optimism."""
    chosen = torch.from_numpy(halves(len(test_labels), seed)[0])
    return test_images[chosen], test_labels[chosen]


def felt(
    mistake: str,
    student_logits: Sequence[float],
    teacher_logits: Sequence[float],
    label: int,
    *,
    temperature: float,
    alpha: float,
) -> one_example.Felt:
    """Losses and gradients of one example with a mistake in the loss, in closed form; K logits each.

    mistake: no_t_squared or class_mean. The right loss is one_example.felt.
    """
    t_squared = mistake != "no_t_squared"
    right = one_example.felt(
        student_logits, teacher_logits, label, temperature=temperature, alpha=alpha, t_squared=t_squared
    )
    if mistake != "class_mean":
        return right
    classes = len(student_logits)
    soft = [value / classes for value in right.soft_gradient]
    return right._replace(
        loss=right.loss - alpha * right.soft_loss * (1 - 1 / classes),
        soft_loss=right.soft_loss / classes,
        gradient=[soft_part + hard_part for soft_part, hard_part in zip(soft, right.hard_gradient, strict=True)],
        soft_gradient=soft,
    )
