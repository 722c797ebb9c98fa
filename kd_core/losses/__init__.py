"""What a student minimises: pure functions of logits and features, with their catalogue.

For a loop of one's own (docs/python.md), under the names that the field has for them: kd_core.losses.dkd(...).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kd_core.losses import logits as _of_logits
    from kd_core.losses.hinton import distillation_loss as distillation_loss
    from kd_core.losses.hinton import ensemble_logits as ensemble_logits
    from kd_core.losses.hinton import soft_target_loss as soft_target_loss
    from kd_core.losses.hinton import soft_targets as soft_targets
    from kd_core.losses.hints import attention_loss as attention_loss
    from kd_core.losses.hints import hint_loss as hint_loss
    from kd_core.losses.logits import jensen_shannon as jensen_shannon
    from kd_core.losses.logits import logit_matching as logit_matching
    from kd_core.losses.logits import standardised as standardised
    from kd_core.losses.objectives.modules import DistillationLoss as DistillationLoss
    from kd_core.losses.objectives.modules import Distiller as Distiller
    from kd_core.losses.relations import angle_loss as angle_loss
    from kd_core.losses.relations import distance_loss as distance_loss
    from kd_core.losses.relations import similarity_loss as similarity_loss

    dkd, dist, nkd = _of_logits.decoupled, _of_logits.relations, _of_logits.normalised

PUBLIC = {
    "distillation_loss": "hinton.distillation_loss",
    "soft_target_loss": "hinton.soft_target_loss",
    "soft_targets": "hinton.soft_targets",
    "ensemble_logits": "hinton.ensemble_logits",
    "logit_matching": "logits.logit_matching",
    "standardised": "logits.standardised",
    "dkd": "logits.decoupled",
    "dist": "logits.relations",
    "jensen_shannon": "logits.jensen_shannon",
    "nkd": "logits.normalised",
    "similarity_loss": "relations.similarity_loss",
    "distance_loss": "relations.distance_loss",
    "angle_loss": "relations.angle_loss",
    "hint_loss": "hints.hint_loss",
    "attention_loss": "hints.attention_loss",
    "DistillationLoss": "objectives.modules.DistillationLoss",
    "Distiller": "objectives.modules.Distiller",
}
"""Name -> where it is, below this package."""


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'kd_core.losses' has no attribute '{name}'")
    module, _, function = PUBLIC[name].rpartition(".")
    return getattr(importlib.import_module(f"kd_core.losses.{module}"), function)


def __dir__() -> list[str]:
    return sorted({*globals(), *PUBLIC})
