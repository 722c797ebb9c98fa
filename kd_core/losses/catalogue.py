"""The objectives by name, and which networks each can compare. Imports no torch."""

from kd_core.base.config import ConfigError
from kd_core.base.templates import said
from kd_core.losses.objectives.definition import ObjectiveInfo
from kd_core.losses.objectives.of_features import ATTENTION, CRD, HINT, RKD, SIMILARITY_PRESERVING
from kd_core.losses.objectives.of_logits import (
    DIST,
    DKD,
    HINTON,
    JENSEN_SHANNON,
    LOGIT_MATCHING,
    LOGIT_STANDARDISATION,
    NKD,
)
from kd_core.models.config import MODELS, ModelConfig

OBJECTIVES: dict[str, ObjectiveInfo] = {
    "hinton": HINTON,
    "logit_matching": LOGIT_MATCHING,
    "dkd": DKD,
    "logit_standardisation": LOGIT_STANDARDISATION,
    "dist": DIST,
    "jensen_shannon": JENSEN_SHANNON,
    "nkd": NKD,
    "similarity_preserving": SIMILARITY_PRESERVING,
    "rkd": RKD,
    "hint": HINT,
    "attention": ATTENTION,
    "crd": CRD,
}
"""In the order in which forms offer them."""


WHOSE = {"student": said("student"), "teacher": said("teacher")}


def check_shows(model: ModelConfig, objective: str, whose: str) -> None:
    """Raise ConfigError where such a network, the student or teacher, does not show what an objective compares."""
    needs, architecture = OBJECTIVES[objective].needs, model.architecture
    named = {"objective": objective, "whose": WHOSE[whose], "network": model.label}
    if needs == "maps" and not architecture.maps:
        architectures, *others = (name for name, other in MODELS.items() if other.maps)
        for other in others:
            architectures = said("{first} or {second}", first=architectures, second=other)
        raise ConfigError(
            said(
                "{objective} compares maps, and the {whose}, {network}, has none: choose {architectures} for it, or"
                " another objective",
                architectures=architectures,
                **named,
            )
        )
    if needs == "features" and model.opaque:
        raise ConfigError(
            said(
                "{objective} compares features, and the {whose}, {network}, shows its logits alone: choose an objective"
                " that compares logits, such as hinton",
                **named,
            )
        )
    if needs == "features" and not architecture.features(model):
        raise ConfigError(
            said(
                "{objective} compares what feeds the last layer, and the {whose}, {network}, has only its images there:"
                " give it hidden units, or choose another objective",
                **named,
            )
        )
