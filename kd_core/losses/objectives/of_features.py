"""The objectives that compare what networks show beside their logits: the inputs of the last layer, or maps.

Their formulas are in kd_core.losses.relations, kd_core.losses.hints and kd_core.losses.contrast.
"""

from typing import TYPE_CHECKING

from kd_core.base.templates import prose
from kd_core.losses.objectives.definition import Batch, Sample, Settings, described

if TYPE_CHECKING:
    from torch import Tensor, nn

_TEXTS = prose(__file__)


def _similarity_preserving(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import relations

    return settings.weights["similarity"] * relations.similarity_loss(*batch.features)


SIMILARITY_PRESERVING = described(
    _TEXTS["similarity_preserving"], _similarity_preserving, uses_temperature=False, needs="features", nats=False
)


def _rkd(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import relations

    distance, angle = settings.weights["distance"], settings.weights["angle"]
    return distance * relations.distance_loss(*batch.features) + angle * relations.angle_loss(*batch.features)


RKD = described(_TEXTS["rkd"], _rkd, uses_temperature=False, needs="features", nats=False)


def _hint(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import hints

    student, teacher = hints.hinted(*batch.taps)
    return settings.weights["hint"] * hints.hint_loss(batch.projected(student), teacher)


def _regressor(sample: Sample) -> "nn.Module":
    from kd_core.losses import hints

    student, teacher = hints.hinted(sample.student, sample.teacher)
    return hints.Regressor(student.shape[1], teacher.shape[1])


HINT = described(_TEXTS["hint"], _hint, uses_temperature=False, needs="features", projector=_regressor, nats=False)


def _attention(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import hints

    return settings.weights["attention"] * hints.attention_loss(hints.joined(*batch.taps))


ATTENTION = described(_TEXTS["attention"], _attention, uses_temperature=False, needs="maps", nats=False)


def _crd(batch: Batch, settings: Settings) -> "Tensor":
    return settings.weights["contrast"] * batch.projected(*batch.features, batch.indices, batch.labels)


def _contrast(sample: Sample) -> "nn.Module":
    from kd_core.losses import contrast

    return contrast.Contrast(sample.student.features.shape[1], sample.teacher.features.shape[1], sample.examples)


CRD = described(_TEXTS["crd"], _crd, uses_temperature=False, needs="features", projector=_contrast)
