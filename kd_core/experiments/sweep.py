"""The grid of a sweep: which runs it is, and what came of them."""

from collections.abc import Mapping, Sequence
from itertools import product
from statistics import mean
from typing import Any, NamedTuple, Self

from pydantic import Field, model_validator

from kd_core.base.config import Config, ConfigError
from kd_core.base.templates import Said, said
from kd_core.data.catalogue import TransferSetConfig
from kd_core.evaluation.statistics import FEWEST_SEEDS, mean_interval
from kd_core.losses.config import DistillationConfig
from kd_core.models.config import ModelConfig
from kd_core.runs.run import Run
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
            raise ConfigError(
                said("a sweep's student must be an mlp with a hidden layer, so that its width can change")
            )
        for name in ("widths", "temperatures", "alphas", "seeds"):
            values = getattr(self, name)
            if not values:
                raise ConfigError(said("{name} is empty: name at least one value", name=Said(name)))
            twice = [value for value in values if values.count(value) > 1]
            if twice:
                raise ConfigError(
                    said("{name} names {value:g} more than once: name each value once", name=Said(name), value=twice[0])
                )
        if self.cell_count > MAX_CELLS:
            raise ConfigError(
                said(
                    "a sweep has at most {most} cells, these would be {cells}: name fewer",
                    most=MAX_CELLS,
                    cells=self.cell_count,
                )
            )
        self.cells()  # each cell checks its own values
        return self

    @property
    def cell_count(self) -> int:
        """Count the runs, baselines included."""
        distilled = len(self.temperatures) * len(self.alphas)
        return len(self.widths) * len(self.seeds) * (distilled + self.transfer_set.labelled)

    def cells(self) -> list[RunConfig]:
        """Return its runs: for each width and seed the baseline, then each temperature and alpha.

        Without labels there is no baseline, as it would have nothing to learn from.
        """
        cells = []
        for width, seed in product(self.widths, self.seeds):
            model = self.model.replace(hidden=(width,) * len(self.model.hidden))
            shared: dict[str, Any] = {"dataset": self.dataset, "model": model, "training": self.training, "seed": seed}
            shared["transfer_set"] = self.transfer_set
            if self.transfer_set.labelled:
                cells.append(RunConfig(role="baseline", **shared))
            for temperature, alpha in product(self.temperatures, self.alphas):
                distillation = DistillationConfig(teachers=self.teachers, temperature=temperature, alpha=alpha)
                cells.append(RunConfig(role="distilled", distillation=distillation, **shared))
        return cells


class ErrorMap(NamedTuple):
    """Mean errors over the seeds of the students of one width: a row for each alpha, a column for each T.

    means: None where no run has any errors yet.
    """

    width: int
    temperatures: list[float]
    alphas: list[float]
    means: list[list[float | None]]


def width_of(run: Run) -> int:
    """Return the units of a student's first hidden layer."""
    return run.config.model.hidden[0]


def error_maps(runs: Sequence[Run], errors: Mapping[str, int]) -> list[ErrorMap]:
    """Map the errors of each width's distilled students. errors: run id -> errors, of the runs that have any."""
    cells: dict[int, dict[tuple[float, float], list[int]]] = {}
    for run in sorted(runs, key=width_of):
        if run.config.distillation is not None:
            settings = run.config.distillation.alpha, run.config.distillation.temperature
            counted = cells.setdefault(width_of(run), {}).setdefault(settings, [])
            counted += [errors[run.id]] if run.id in errors else []
    maps = []
    for width, of_width in cells.items():
        alphas, temperatures = (sorted(set(values)) for values in zip(*of_width, strict=True))
        means = [[mean(counts) if (counts := of_width.get((a, t))) else None for t in temperatures] for a in alphas]
        maps.append(ErrorMap(width, temperatures, alphas, means))
    return maps


def baselines_in_words(finished: Sequence[Run]) -> list[str]:
    """Return a sentence on the baselines of each width: their test errors over the seeds."""
    errors: dict[int, list[int]] = {}
    for run in sorted(finished, key=width_of):
        if run.config.role == "baseline":
            errors.setdefault(width_of(run), []).append(run.results["test_errors"])
    return [
        said("Baseline of {width} units: {errors} test errors.", width=width, errors=errors_in_words(counts))
        for width, counts in errors.items()
    ]


def errors_in_words(errors: Sequence[int]) -> str:
    """Say the mean of errors over the seeds, with the 95% interval where they are enough for one."""
    if len(errors) == 1:
        return f"{errors[0]:,}"
    if len(errors) < FEWEST_SEEDS:
        return said(
            "{mean:g} on average of {seeds} seeds ({low:,} and {high:,})",
            mean=mean(errors),
            seeds=len(errors),
            low=min(errors),
            high=max(errors),
        )
    middle, low, high = mean_interval(errors)
    return said(
        "{mean:.0f} on average of {seeds} seeds (95% interval {low:.0f} to {high:.0f})",
        mean=middle,
        seeds=len(errors),
        low=low,
        high=high,
    )
