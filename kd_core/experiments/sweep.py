"""The grid of a sweep: which runs it is, and what came of them."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from statistics import mean
from typing import Any, NamedTuple, Self

from pydantic import Field, model_validator

from kd_core.base.config import Config, ConfigError
from kd_core.base.templates import Said, said
from kd_core.data.catalogue import TransferSetConfig
from kd_core.evaluation.statistics import FEWEST_SEEDS, mean_interval
from kd_core.experiments import equal_budget
from kd_core.experiments.defaults import default_model, default_training
from kd_core.experiments.equal_budget import Difference
from kd_core.experiments.table import Experiment, Line
from kd_core.losses.config import DistillationConfig
from kd_core.models.config import ModelConfig
from kd_core.runs.run import Run
from kd_core.training.config import RunConfig, TrainingConfig

MAX_CELLS = 500


SMALL = ModelConfig(hidden=(30,))
"""The student of a data set whose students are mlps: small enough that dozens train as one model."""


class SweepConfig(Config):
    """Students that differ in temperature, alpha, seed and network, each with its baseline. Every cell is a run."""

    dataset: str = Field("mnist", description="one of kd_core.data.catalogue.DATASETS, or a user's own")
    teachers: tuple[str, ...] = Field(description="run ids of the trained teacher, several for an ensemble")
    model: ModelConfig = Field(ModelConfig(hidden=(30,)), description="the student, an mlp; widths replace its own")
    widths: tuple[int, ...] = Field((30,), description="units of every hidden layer, one student each")
    students: tuple[ModelConfig, ...] = Field(
        (), max_length=20, description="networks of any kind, as they are, in place of model and widths"
    )
    temperatures: tuple[float, ...] = Field((1.0, 2.0, 4.0, 8.0), description="T of the soft loss")
    alphas: tuple[float, ...] = Field((0.9,), description="weight of the soft loss")
    seeds: tuple[int, ...] = Field((0,), description="seed of weights, split and order")
    training: TrainingConfig = TrainingConfig()
    transfer_set: TransferSetConfig = TransferSetConfig()

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if not self.students and (self.model.name != "mlp" or not self.model.hidden):
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
        if len({*self.students}) < len(self.students):
            raise ConfigError(said("the same student is named more than once: name each once"))
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

    @classmethod
    def default(cls, dataset: str, teachers: tuple[str, ...]) -> Self:
        """Return the sweep that browser and shell start from on a data set."""
        student = default_model("distilled", dataset)
        return cls(
            dataset=dataset,
            teachers=teachers,
            students=(SMALL if student.name == "mlp" else student,),
            alphas=(0.5, 0.9),
            seeds=(0, 1),
            training=default_training("distilled", dataset),
        )

    @property
    def networks(self) -> tuple[ModelConfig, ...]:
        """The students' networks."""
        hidden = len(self.model.hidden)
        return self.students or tuple(self.model.replace(hidden=(width,) * hidden) for width in self.widths)

    @property
    def cell_count(self) -> int:
        """Count the runs, baselines included."""
        distilled = len(self.temperatures) * len(self.alphas)
        return len(self.networks) * len(self.seeds) * (distilled + self.transfer_set.labelled)

    def cells(self) -> list[RunConfig]:
        """Return its runs: for each network and seed the baseline, then each temperature and alpha."""
        return [cell for model, seed in product(self.networks, self.seeds) for cell in self._cells(model, seed)]

    def _cells(self, model: ModelConfig, seed: int) -> list[RunConfig]:
        """Return the runs of a network and seed; no baseline without labels: it would have nothing to learn from."""
        shared: dict[str, Any] = {"dataset": self.dataset, "model": model, "training": self.training, "seed": seed}
        shared["transfer_set"] = self.transfer_set
        cells = [RunConfig(role="baseline", **shared)] if self.transfer_set.labelled else []
        for temperature, alpha in product(self.temperatures, self.alphas):
            distillation = DistillationConfig(teachers=self.teachers, temperature=temperature, alpha=alpha)
            cells.append(RunConfig(role="distilled", distillation=distillation, **shared))
        return cells

    def experiment(self) -> Experiment:
        """Return the same as an experiment, whose runs are planned, reused and resumed."""

        def made(model: ModelConfig, place: int, seed: int, _: tuple[str, ...]) -> RunConfig:
            return self._cells(model, seed)[place]

        lines = [
            Line(f"{model.label}, {place}", None, partial(made, model, place))
            for model in self.networks
            for place in range(len(self._cells(model, 0)))
        ]
        return Experiment("sweep", said("Sweep"), "", "", lambda _: (), tuple(lines))


class ErrorMap(NamedTuple):
    """Mean errors over the seeds of the students of one network: a row for each alpha, a column for each T.

    means: None where no run has any errors yet.
    """

    network: str
    temperatures: list[float]
    alphas: list[float]
    means: list[list[float | None]]


def by_network(runs: Sequence[Run]) -> dict[ModelConfig, list[Run]]:
    """Group runs by their student's network, the narrower first, and those of one by alpha."""

    def order(run: Run) -> tuple[str, tuple[int, ...], float]:
        model, free, loss = run.config.model, run.config.model.architecture.widths, run.config.distillation
        return model.name, () if free is None else getattr(model, free.setting), loss.alpha if loss else 0.0

    grouped: dict[ModelConfig, list[Run]] = {}
    for run in sorted(runs, key=order):
        grouped.setdefault(run.config.model, []).append(run)
    return grouped


def error_maps(runs: Sequence[Run], errors: Mapping[str, int]) -> list[ErrorMap]:
    """Map the errors of each network's distilled students. errors: run id -> errors, of the runs that have any."""
    maps = []
    for model, students in by_network(runs).items():
        cells: dict[tuple[float, float], list[int]] = {}
        for run in students:
            if run.config.distillation is not None:
                settings = run.config.distillation.alpha, run.config.distillation.temperature
                cells.setdefault(settings, []).extend([errors[run.id]] if run.id in errors else [])
        if cells:
            alphas, temperatures = (sorted(set(values)) for values in zip(*cells, strict=True))
            means = [[mean(counts) if (counts := cells.get((a, t))) else None for t in temperatures] for a in alphas]
            maps.append(ErrorMap(model.label, temperatures, alphas, means))
    return maps


def baselines_in_words(finished: Sequence[Run]) -> list[str]:
    """Return a sentence on the baselines of each network: their test errors over the seeds."""
    return [
        said("Baseline {network}: {errors} test errors.", network=model.label, errors=errors_in_words(counts))
        for model, students in by_network(finished).items()
        if (counts := [run.results["test_errors"] for run in students if run.config.role == "baseline"])
    ]


class Tried(NamedTuple):
    """What came of one setting of a sweep: its test errors by seed, and how they compare with its baseline's.

    temperature, alpha: None of the baseline. to_baseline: as of equal_budget.Standing, corrected over the whole table.
    """

    network: str
    temperature: float | None
    alpha: float | None
    errors: dict[int, int]
    to_baseline: Difference | None

    @property
    def mean(self) -> float:
        """Mean test errors over the seeds."""
        return mean(self.errors.values())

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its 95% interval by Student's t; None of too few seeds."""
        counts = list(self.errors.values())
        return mean_interval(counts)[1:] if len(counts) >= FEWEST_SEEDS else None


def tried(finished: Sequence[Run]) -> list[Tried]:
    """Return what was tried, the fewest mean test errors first."""
    errors: dict[tuple[ModelConfig, float | None, float | None], dict[int, int]] = {}
    for run in finished:
        loss = run.config.distillation
        settings = (run.config.model, *((loss.temperature, loss.alpha) if loss else (None, None)))
        errors.setdefault(settings, {})[run.config.seed] = run.results["test_errors"]
    baselines = {key[0]: counts for key, counts in errors.items() if key[1] is None}
    pairs = {
        key: (mine, baselines[key[0]]) for key, mine in errors.items() if key[1] is not None and key[0] in baselines
    }
    more = equal_budget.differences(pairs)
    rows = [Tried(key[0].label, *key[1:], counts, more.get(key)) for key, counts in errors.items()]
    return sorted(rows, key=lambda row: row.mean)


def verdict(rows: Sequence[Tried]) -> str:
    """Say how many settings differ from their baseline by more than luck."""
    compared = [row.to_baseline for row in rows if row.to_baseline is not None]
    if not compared:
        return said("It takes {fewest} seeds to say anything of differences.", fewest=FEWEST_SEEDS)
    sure = [difference.mean for difference in compared if difference.sure]
    return said(
        "After Holm's correction for {comparisons} comparisons at 5%: {fewer} settings make fewer test errors than"
        " their baseline, {more} make more. Whatever else differs may be luck. The best of many settings is partly the"
        " luckiest: measure it anew with other seeds.",
        comparisons=len(compared),
        fewer=sum(more < 0 for more in sure),
        more=sum(more > 0 for more in sure),
    )


HEAD = (
    said("network"),
    "T",
    "alpha",
    said("test errors: mean (95% interval)"),
    said("more than the baseline"),
    said("by seed"),
)


def cells(row: Tried) -> tuple[str, ...]:
    """Return a line of the table, as HEAD names its columns."""
    settings = ("–" if value is None else f"{value:g}" for value in (row.temperature, row.alpha))
    by_seed = " ".join(str(row.errors[seed]) for seed in sorted(row.errors))
    return (
        row.network,
        *settings,
        equal_budget.mean_in_words(row.mean, row.interval),
        equal_budget.in_words(row.to_baseline),
        by_seed,
    )


def record(row: Tried) -> dict[str, Any]:
    """Return a line as plain numbers, for programs."""
    settings = {"network": row.network, "temperature": row.temperature, "alpha": row.alpha}
    return settings | equal_budget.plain(row.errors, row.interval, row.to_baseline)


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
