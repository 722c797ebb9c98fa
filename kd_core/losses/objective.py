"""What a student minimises: each objective of kd_core.losses.catalogue.OBJECTIVES computed, in one place for training.

An objective is a pure function (Hinton's in losses.hinton, the others of logits in losses.logits, those of
features in relations, hints and contrast beside it) and an entry in SOFT_LOSSES, which hands it what it reads of a
Batch. kd_core.training.config says how its soft loss and the hard loss are weighed.

For objectives that compare features:

- config.OBJECTIVES[name].needs is "features" or "maps": training then runs student and teacher through taps.tapped on
  every batch and fills Batch.student_taps and Batch.teacher_taps (the teacher's without gradient). Batch.indices are
  the examples' positions in the run's training images, for an objective that remembers examples.
- config.OBJECTIVES[name].projector is true: PROJECTORS[name] builds a module from a Sample, after the student, so that
  the student's first weights are those of its baseline. Training passes it to the objective as Batch.projector, trains
  its parameters with the student's (one optimiser), and keeps its whole state, buffers too, in checkpoints. What is
  exported is the student alone.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from kd_core.losses import contrast, hinton, hints, logits, relations
from kd_core.losses.config import DistillationConfig
from kd_core.models.taps import Taps


class Batch(NamedTuple):
    """What an objective may read of N examples. labels is None where the run reads none."""

    student_logits: Tensor  # (N, K)
    teacher_logits: Tensor  # (N, K)
    labels: Tensor | None  # (N,) int64
    indices: Tensor  # (N,) int64
    student_taps: Taps | None = None
    teacher_taps: Taps | None = None
    projector: nn.Module | None = None


class Settings(NamedTuple):
    """The numbers of an objective, as they stand at this step."""

    temperature: float
    t_squared: bool
    weights: Mapping[str, float]


class Sample(NamedTuple):
    """What a projector is made for: taps of a few examples, and how many examples the run trains on."""

    student: Taps
    teacher: Taps
    examples: int


def _labels(batch: Batch) -> Tensor:
    if batch.labels is None:
        raise ValueError("this objective reads labels")
    return batch.labels


def _taps(batch: Batch) -> tuple[Taps, Taps]:
    if batch.student_taps is None or batch.teacher_taps is None:
        raise ValueError("this objective reads what networks show beside their logits")
    return batch.student_taps, batch.teacher_taps


def _features(batch: Batch) -> tuple[Tensor, Tensor]:
    student, teacher = _taps(batch)
    return student.features, teacher.features


def _hint(batch: Batch, settings: Settings) -> Tensor:
    student, teacher = hints.hinted(*_taps(batch))
    return settings.weights["hint"] * hints.hint_loss(_projected(batch, student), teacher)


def _projected(batch: Batch, *inputs: Tensor | None) -> Tensor:
    if batch.projector is None:
        raise ValueError("this objective has a projector")
    projected: Tensor = batch.projector(*inputs)
    return projected


SOFT_LOSSES: dict[str, Callable[[Batch, Settings], Tensor]] = {
    "hinton": lambda b, s: hinton.soft_target_loss(
        b.student_logits, b.teacher_logits, temperature=s.temperature, t_squared=s.t_squared
    ),
    "logit_matching": lambda b, s: logits.logit_matching(b.student_logits, b.teacher_logits),
    "dkd": lambda b, s: logits.decoupled(
        b.student_logits, b.teacher_logits, _labels(b), temperature=s.temperature, t_squared=s.t_squared,
        target=s.weights["target"], nontarget=s.weights["nontarget"],
    ),
    "logit_standardisation": lambda b, s: s.weights["soft"] * hinton.soft_target_loss(
        logits.standardised(b.student_logits), logits.standardised(b.teacher_logits),
        temperature=s.temperature, t_squared=s.t_squared,
    ),
    "dist": lambda b, s: logits.relations(
        b.student_logits, b.teacher_logits, temperature=s.temperature, t_squared=s.t_squared,
        between=s.weights["between"], within=s.weights["within"],
    ),
    "jensen_shannon": lambda b, s: logits.jensen_shannon(
        b.student_logits, b.teacher_logits, temperature=s.temperature, t_squared=s.t_squared, beta=s.weights["beta"]
    ),
    "nkd": lambda b, s: logits.normalised(
        b.student_logits, b.teacher_logits, _labels(b), temperature=s.temperature, t_squared=s.t_squared,
        target=s.weights["target"], nontarget=s.weights["nontarget"],
    ),
    "similarity_preserving": lambda b, s: s.weights["similarity"] * relations.similarity_loss(*_features(b)),
    "rkd": lambda b, s: (
        s.weights["distance"] * relations.distance_loss(*_features(b))
        + s.weights["angle"] * relations.angle_loss(*_features(b))
    ),
    "hint": _hint,
    "attention": lambda b, s: s.weights["attention"] * hints.attention_loss(hints.joined(*_taps(b))),
    "crd": lambda b, s: s.weights["contrast"] * _projected(b, *_features(b), b.indices, b.labels),
}  # fmt: skip


def _regressor(sample: Sample) -> nn.Module:
    student, teacher = hints.hinted(sample.student, sample.teacher)
    return hints.Regressor(student.shape[1], teacher.shape[1])


PROJECTORS: dict[str, Callable[[Sample], nn.Module]] = {
    "hint": _regressor,
    "crd": lambda sample: contrast.Contrast(
        sample.student.features.shape[1], sample.teacher.features.shape[1], sample.examples
    ),
}


def evaluate(
    batch: Batch, distillation: DistillationConfig, *, share: float = 0.0, label_smoothing: float = 0.0
) -> hinton.Losses:
    """The loss of one batch and its parts, as a run's distillation settings have it.

    share: of the training's steps that is done, 0 at the first and 1 at the last, for what changes over them.
    """
    temperature, alpha = distillation.at(share)
    weights = distillation.all_weights
    soft_loss = SOFT_LOSSES[distillation.objective](batch, Settings(temperature, distillation.t_squared, weights))
    soft_weight, hard_weight = (alpha, 1 - alpha) if distillation.info.mixed else (1.0, weights["hard"])
    if not distillation.has_hard_loss:
        return hinton.weighted(soft_loss, None, soft_weight, hard_weight)
    hard_loss = F.cross_entropy(batch.student_logits, _labels(batch), label_smoothing=label_smoothing)
    return hinton.weighted(soft_loss, hard_loss, soft_weight, hard_weight)
