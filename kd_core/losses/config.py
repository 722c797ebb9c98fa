"""How a student learns from its teachers. Imports no torch."""

from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_serializer, field_validator, model_validator

from kd_core.base.config import Config, ConfigError, in_a_sentence
from kd_core.base.templates import said
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.losses.objectives.definition import ObjectiveInfo

Average = Literal["probabilities", "logits"]
View = Literal["same", "original"]

MAX_ENSEMBLE = 20


def objective_weights(objective: str | None, given: Any) -> tuple[tuple[str, float], ...]:
    """Bring weights, a mapping or pairs, into the objective's order and drop defaults: equal settings, equal configs.

    Those of an unknown objective are left out, as that is refused itself. Raises ConfigError.
    """
    try:
        weights = {str(name): float(value) for name, value in dict(given).items()}
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(
            said("weights must be numbers by name, such as {{'nontarget': 4}}, got {given}", given=in_a_sentence(given))
        ) from None
    if objective not in OBJECTIVES:
        return ()
    known = OBJECTIVES[objective].weights
    for name, value in weights.items():
        if name not in known:
            has = said("its weights are {weights}", weights=", ".join(known)) if known else said("it has none")
            raise ConfigError(
                said("{objective} has no weight '{name}': {has}", objective=objective, name=name[:80], has=has)
            )
        if not 0 <= value <= known[name].most:
            raise ConfigError(
                said(
                    "weight {name} of {objective} must be between 0 and {most:g}, got {value:g}",
                    name=name,
                    objective=objective,
                    most=known[name].most,
                    value=value,
                )
            )
    return tuple(
        (name, weights[name]) for name, weight in known.items() if weights.get(name, weight.default) != weight.default
    )


class DistillationConfig(Config):
    """How a student learns from its teacher (Hinton et al., arXiv:1503.02531, section 2, unless objective is another).

    Temperature and alpha may change linearly from the first step to the last (the idea of Jafari et al. 2021,
    arXiv:2104.07163, who cool T down to 1).
    """

    teachers: tuple[str, ...] = Field(
        min_length=1, max_length=MAX_ENSEMBLE, description="run ids of the teacher, several for an ensemble"
    )
    temperature: float = Field(
        4.0, gt=0, le=1000, description="T in softmax(z / T), for teacher and student alike in the soft loss"
    )
    alpha: float = Field(0.9, ge=0, le=1, description="weight of the soft loss; 1 - alpha weighs the hard one")
    t_squared: bool = Field(True, description="multiply the soft loss by T², which makes up for softening at a high T")
    ensemble: Average = Field("probabilities", description="what is averaged over several teachers")
    objective: str = Field("hinton", description=f"what the student minimises: {', '.join(OBJECTIVES)}")
    weights: tuple[tuple[str, float], ...] = Field(
        (), description="of the objective's terms, by name, where they are not its defaults"
    )
    final_temperature: float | None = Field(None, gt=0, le=1000, description="T at the last step; by default T stays")
    final_alpha: float | None = Field(None, ge=0, le=1, description="alpha at the last step; by default alpha stays")

    teacher_view: View = Field(
        "same",
        description="what the teacher sees where images are changed in training: the same as the student (Beyer et al."
        " 2022), or the original, whose logits are computed once",
    )

    @field_validator("objective")
    @classmethod
    def _known(cls, objective: str) -> str:
        if objective not in OBJECTIVES:
            raise ConfigError(
                said(
                    "unknown objective '{objective}': choose one of {known}",
                    objective=objective[:80],
                    known=", ".join(OBJECTIVES),
                )
            )
        return objective

    @field_validator("weights", mode="before")
    @classmethod
    def _of_the_objective(cls, weights: Any, validation: ValidationInfo) -> Any:
        return objective_weights(validation.data.get("objective"), weights)

    @field_serializer("weights")
    def _as_mapping(self, weights: tuple[tuple[str, float], ...]) -> dict[str, float]:
        return dict(weights)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.final_temperature is not None and not self.info.uses_temperature:
            raise ConfigError(
                said("{objective} has no temperature: leave final_temperature out", objective=self.objective)
            )
        if self.final_alpha is not None and not self.info.mixed:
            raise ConfigError(
                said("{objective} is not weighed by alpha: leave final_alpha out", objective=self.objective)
            )
        if self.info.needs != "logits" and len(self.teachers) > 1:
            raise ConfigError(
                said(
                    "{objective} compares a teacher's features with the student's: name one teacher",
                    objective=self.objective,
                )
            )
        if self.info.needs != "logits" and self.teacher_view == "original":
            raise ConfigError(
                said(
                    "{objective} compares features of the same image: let the teacher see what the student sees",
                    objective=self.objective,
                )
            )
        if self.info.needs != "logits" and not self.all_weights["hard"]:
            raise ConfigError(
                said(
                    "{objective} teaches what feeds the last layer, not the layer itself: keep its weight hard above 0",
                    objective=self.objective,
                )
            )
        return self

    @property
    def info(self) -> ObjectiveInfo:
        """The catalogue's entry of its objective."""
        return OBJECTIVES[self.objective]

    @property
    def all_weights(self) -> dict[str, float]:
        """Weights of the objective's terms by name, defaults included."""
        return {name: weight.default for name, weight in self.info.weights.items()} | dict(self.weights)

    @property
    def has_hard_loss(self) -> bool:
        """Whether the cross-entropy with the labels is part of the loss, at any time."""
        if not self.info.mixed:
            return self.all_weights["hard"] > 0
        return self.alpha < 1 or (self.final_alpha is not None and self.final_alpha < 1)

    @property
    def reads_labels(self) -> bool:
        """Whether any label is read to compute the loss."""
        return self.has_hard_loss or self.info.needs_labels

    @property
    def average(self) -> Average:
        """What is averaged over several teachers, as the objective allows."""
        return "logits" if self.info.matches_logits else self.ensemble

    @property
    def changes(self) -> bool:
        """Whether temperature or alpha are not the same at every step."""
        return self.final_temperature is not None or self.final_alpha is not None

    def at(self, share: float) -> tuple[float, float]:
        """Temperature and alpha at a share of the steps, from 0 at the first to 1 at the last."""
        temperature, alpha = self.temperature, self.alpha
        if self.final_temperature is not None:
            temperature += (self.final_temperature - temperature) * share
        if self.final_alpha is not None:
            alpha += (self.final_alpha - alpha) * share
        return temperature, alpha

    @property
    def label(self) -> str:
        """A short name, e.g. 'T 4, alpha 0.9' or 'DIST, T 1'. Only what the objective reads."""

        def span(name: str, first: float, last: float | None) -> str:
            return (
                f"{name} {first:g}"
                if last is None
                else said("{name} {first:g} to {last:g}", name=name, first=first, last=last)
            )

        parts = [] if self.objective == "hinton" else [self.info.label]
        parts += [span("T", self.temperature, self.final_temperature)] if self.info.uses_temperature else []
        parts += [span("alpha", self.alpha, self.final_alpha)] if self.info.mixed else []
        parts += [f"{name} {value:g}" for name, value in self.weights]
        label = parts[0] if parts else ""
        for part in parts[1:]:
            label = said("{label}, {setting}", label=label, setting=part)
        return label
