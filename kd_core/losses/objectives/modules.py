"""The objectives as nn.Modules, for a training loop of one's own. They compute what kd_core.losses.objective does."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from kd_core.base.config import ConfigError
from kd_core.losses import objective as losses_objective
from kd_core.losses.config import DistillationConfig
from kd_core.losses.hinton import Losses
from kd_core.losses.objectives.definition import Batch, Sample
from kd_core.models.taps import Taps, tapped


class DistillationLoss(nn.Module):
    """An objective of logits as a module: (student_logits, teacher_logits, labels) -> the loss, a scalar.

    objective: one of kd_core.losses.catalogue.OBJECTIVES that compares logits; docs/objectives.md has formulas and
    sources. temperature: T, by default the objective's own, or 4. alpha: weight of the soft loss, where the objective
    has it. weights: of its terms by name, where it has some of its own, such as {"nontarget": 8} of dkd.
    Raises ConfigError for settings that the objective does not have, or that are out of their range.
    """

    def __init__(
        self,
        objective: str = "hinton",
        *,
        temperature: float | None = None,
        alpha: float = 0.9,
        weights: Mapping[str, float] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.settings = settings_of(objective, temperature=temperature, alpha=alpha, weights=weights)
        self.label_smoothing = label_smoothing
        if self.settings.info.needs != "logits" and type(self) is DistillationLoss:
            raise ConfigError(f"{objective} compares features, not logits alone: use kd_core.Distiller for it")

    def forward(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None = None) -> Tensor:
        """The loss in nats an example, mean over the batch: student_logits, teacher_logits (N, K); labels (N,) int64.

        labels may be left out where the objective reads none, as Hinton's at alpha 1. Raises ConfigError for shapes
        that do not fit, and for teacher_logits that carry a gradient.
        """
        return self.parts(student_logits, teacher_logits, labels).loss

    def parts(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor | None = None) -> Losses:
        """The loss with its soft and its hard part, to be logged; arguments as forward's."""
        return self._losses(student_logits, teacher_logits, labels)

    def extra_repr(self) -> str:
        return self.settings.label

    def _losses(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        labels: Tensor | None,
        indices: Tensor | None = None,
        **taps: Any,
    ) -> Losses:
        check(student_logits, teacher_logits, labels, self.settings)
        if indices is None:
            indices = torch.arange(len(student_logits), device=student_logits.device)
        batch = Batch(
            student_logits.float(),
            teacher_logits.float(),
            labels if self.settings.reads_labels else None,
            indices,
            **taps,
        )
        return losses_objective.evaluate(batch, self.settings, label_smoothing=self.label_smoothing)


class Distiller(DistillationLoss):
    """A student with its teacher: (inputs, labels) -> Losses, whose loss is to be minimised. For every objective.

    The teacher is frozen, stays in eval mode whatever train() is called with, and is asked without gradient; its
    weights are in no state dict and no parameters() of this module. What an objective trains beside the student,
    such as a hint's regressor, is: optimise parameters(), and save student.state_dict().
    example: a few inputs, for an objective that compares features. examples: how many the training set has, for crd,
    which remembers each: then forward needs their indices.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        objective: str = "hinton",
        *,
        example: Tensor | None = None,
        examples: int | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(objective, **settings)
        self.student = student
        self._teacher = [teacher.eval().requires_grad_(False)]  # in a list, so that it is no part of this module
        self.projector: nn.Module | None = None
        info = self.settings.info
        self._listens = info.needs != "logits"
        if self._listens:
            if example is None:
                raise ConfigError(f"{objective} compares features: give a few inputs as example")
            self.projector = self._projector(example, examples)

    @property
    def teacher(self) -> nn.Module:
        """The teacher, frozen."""
        return self._teacher[0]

    def forward(self, inputs: Tensor, labels: Tensor | None = None, indices: Tensor | None = None) -> Losses:  # type: ignore[override]
        """Run both networks. inputs (N, …); labels (N,) int64; indices (N,): places in the training set, for crd."""
        student_logits, student_taps = self._seen(self.student, inputs)
        with torch.no_grad():
            teacher_logits, teacher_taps = self._seen(self.teacher, inputs)
        more = {"student_taps": student_taps, "teacher_taps": teacher_taps, "projector": self.projector}
        return self._losses(student_logits, teacher_logits, labels, indices, **more)

    def train(self, mode: bool = True) -> Self:
        """Set student and projector to train or eval mode; the teacher stays in eval mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Move the teacher along, where .to(), .cuda() or .float() moves the student."""
        super()._apply(fn, recurse)
        self.teacher._apply(fn, recurse)
        return self

    def _seen(self, model: nn.Module, inputs: Tensor) -> tuple[Tensor, Taps | None]:
        return tapped(model, inputs) if self._listens else (model(inputs), None)

    def _projector(self, example: Tensor, examples: int | None) -> nn.Module | None:
        info, was_training = self.settings.info, self.student.training
        try:
            with torch.no_grad():
                student, teacher = (self._seen(model.eval(), example)[1] for model in (self.student, self.teacher))
        finally:
            self.student.train(was_training)
        assert student is not None and teacher is not None  # noqa: S101, PT018  such an objective listens
        for whose, taps in (("student", student), ("teacher", teacher)):
            if info.needs == "maps" and not taps.maps:
                raise ConfigError(
                    f"{self.settings.objective} compares maps: name the {whose}'s stages by kd_core.with_stages(model,"
                    ' ["layer1", "layer2"])'
                )
        if info.projector is None:
            return None
        if examples is None and self.settings.objective == "crd":
            raise ConfigError("crd remembers every training example: say how many there are by examples=")
        return info.projector(Sample(student, teacher, examples or len(example)))


def settings_of(
    objective: str, *, temperature: float | None, alpha: float, weights: Mapping[str, float] | None
) -> DistillationConfig:
    """An objective's settings where no run names its teacher. temperature: by default its own, or 4."""
    made = DistillationConfig(
        teachers=("given",), objective=objective, alpha=alpha, weights=tuple((weights or {}).items())
    )
    own = made.info.temperature
    return made.replace(temperature=temperature if temperature is not None else 4.0 if own is None else own)


def check(student: Tensor, teacher: Tensor, labels: Tensor | None, settings: DistillationConfig) -> None:
    """Raise ConfigError where logits (N, K) and labels (N,) do not fit together."""
    if student.ndim != 2 or student.shape != teacher.shape:
        raise ConfigError(
            f"logits of student and teacher have one shape, (N, K), and not {tuple(student.shape)} and"
            f" {tuple(teacher.shape)}"
        )
    if teacher.requires_grad:
        raise ConfigError(
            "the teacher's logits carry a gradient: put the teacher into eval mode and ask it within torch.no_grad()"
        )
    if labels is None:
        if settings.reads_labels:
            raise ConfigError(f"{settings.label} reads labels, (N,) int64: give them, or set alpha to 1")
    elif labels.shape != student.shape[:1] or labels.is_floating_point():
        raise ConfigError(
            f"labels are class numbers, ({len(student)},) int64, not {tuple(labels.shape)} {labels.dtype}"
        )
