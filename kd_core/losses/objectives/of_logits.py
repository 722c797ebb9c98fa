"""The objectives that compare logits alone; kd_core.losses.hinton and kd_core.losses.logits hold their formulas."""

from typing import TYPE_CHECKING

from kd_core.base.templates import prose
from kd_core.losses.objectives.definition import Batch, Settings, described

if TYPE_CHECKING:
    from torch import Tensor

_TEXTS = prose(__file__)


def _hinton(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import hinton

    return hinton.soft_target_loss(*batch.logits, **settings.softening)


HINTON = described(_TEXTS["hinton"], _hinton)


def _logit_matching(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import logits

    return logits.logit_matching(*batch.logits)


LOGIT_MATCHING = described(
    _TEXTS["logit_matching"], _logit_matching, uses_temperature=False, matches_logits=True, nats=False
)


def _dkd(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import logits

    return logits.decoupled(*batch.logits, batch.known_labels, **settings.keywords)


DKD = described(_TEXTS["dkd"], _dkd, temperature=4.0, needs_labels=True)


def _logit_standardisation(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import hinton, logits

    student, teacher = logits.standardised(batch.student_logits), logits.standardised(batch.teacher_logits)
    return settings.weights["soft"] * hinton.soft_target_loss(student, teacher, **settings.softening)


LOGIT_STANDARDISATION = described(
    _TEXTS["logit_standardisation"], _logit_standardisation, temperature=2.0, matches_logits=True
)


def _dist(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import logits

    return logits.relations(*batch.logits, **settings.keywords)


DIST = described(_TEXTS["dist"], _dist, temperature=1.0, nats=False)


def _jensen_shannon(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import logits

    return logits.jensen_shannon(*batch.logits, **settings.keywords)


JENSEN_SHANNON = described(_TEXTS["jensen_shannon"], _jensen_shannon)


def _nkd(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import logits

    return logits.normalised(*batch.logits, batch.known_labels, **settings.keywords)


NKD = described(_TEXTS["nkd"], _nkd, temperature=3.0, matches_logits=True, needs_labels=True)
