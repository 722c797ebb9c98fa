"""The grid of a sweep."""

from itertools import product
from typing import Any, Self

from pydantic import Field, model_validator

from kd_core.base.config import Config, ConfigError
from kd_core.data.catalogue import TransferSetConfig
from kd_core.losses.config import DistillationConfig
from kd_core.models.config import ModelConfig
from kd_core.training.config import RunConfig, TrainingConfig

MAX_CELLS = 500


class SweepConfig(Config):
    """Students that differ in temperature, alpha, seed and width, each with its baseline. Every cell is a run."""

    dataset: str = Field("mnist", description="one of kd_core.data.catalogue.DATASETS, or a user's own")
    teachers: tuple[str, ...] = Field(description="run ids of the trained teacher, several for an ensemble")
    model: ModelConfig = Field(ModelConfig(hidden=(30,)), description="the student, an mlp; widths replace its own")
    widths: tuple[int, ...] = Field((30,), description="units of every hidden layer, one student each")
    temperatures: tuple[float, ...] = Field((1.0, 2.0, 4.0, 8.0), description="T of the soft loss")
    alphas: tuple[float, ...] = Field((0.9,), description="weight of the soft loss")
    seeds: tuple[int, ...] = Field((0,), description="seed of weights, split and order")
    training: TrainingConfig = TrainingConfig()
    transfer_set: TransferSetConfig = TransferSetConfig()

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.model.name != "mlp" or not self.model.hidden:
            raise ConfigError("a sweep's student must be an mlp with a hidden layer, so that its width can change")
        for name in ("widths", "temperatures", "alphas", "seeds"):
            values = getattr(self, name)
            if not values:
                raise ConfigError(f"{name} is empty: name at least one value")
            twice = [value for value in values if values.count(value) > 1]
            if twice:
                raise ConfigError(f"{name} names {twice[0]:g} more than once: name each value once")
        if self.cell_count > MAX_CELLS:
            raise ConfigError(f"a sweep has at most {MAX_CELLS} cells, these would be {self.cell_count}: name fewer")
        self.cells()  # each cell checks its own values
        return self

    @property
    def cell_count(self) -> int:
        """How many runs these are, baselines included."""
        distilled = len(self.temperatures) * len(self.alphas)
        return len(self.widths) * len(self.seeds) * (distilled + self.transfer_set.labelled)

    def cells(self) -> list[RunConfig]:
        """Its runs: for each width and seed the baseline, then each temperature and alpha.

        Without labels there is no baseline, as it would have nothing to learn from.
        """
        cells = []
        for width, seed in product(self.widths, self.seeds):
            shared: dict[str, Any] = {
                "dataset": self.dataset,
                "model": self.model.replace(hidden=(width,) * len(self.model.hidden)),
                "training": self.training,
                "transfer_set": self.transfer_set,
                "seed": seed,
            }
            if self.transfer_set.labelled:
                cells.append(RunConfig(role="baseline", **shared))
            for temperature, alpha in product(self.temperatures, self.alphas):
                distillation = DistillationConfig(teachers=self.teachers, temperature=temperature, alpha=alpha)
                cells.append(RunConfig(role="distilled", distillation=distillation, **shared))
        return cells
