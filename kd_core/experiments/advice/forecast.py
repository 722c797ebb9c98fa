"""What a story will take before its button is pressed: the loss with its numbers, the runs, their cost, what may hurt.

One record, made in one go; a page only says it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kd_core.experiments import story as experiments_story
from kd_core.experiments.advice import before
from kd_core.experiments.story import StoryConfig
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.models.config import ModelConfig
from kd_core.runs.run import Run
from kd_core.training.config import RunConfig

ROLES = ("teacher", "assistant", "baseline", "distilled")


class Known(NamedTuple):
    """What a forecast is made from.

    trained: finished runs that may serve in place of new ones, the oldest first. runs: ids -> those that are there.
    costs: parameters and multiply_adds of an architecture on a data set. seconds: how long a run is expected to train
    here, None where nothing measured compares. span: in how many seconds new runs begin and end.
    """

    trained: Sequence[Run]
    runs: Callable[[Sequence[str]], Sequence[Run]]
    costs: Callable[[ModelConfig, str], Mapping[str, int]]
    seconds: Callable[[RunConfig], float | None]
    span: Callable[[Mapping[str, RunConfig]], tuple[float, float] | None]
    class_names: Sequence[str]


class Formula(NamedTuple):
    """What the student minimises. latex: with the story's numbers. meaning: of its symbols, in Markdown.

    source: who published it. unit: of the loss, and how it is averaged. changes: what changes over training.
    """

    latex: str
    meaning: str
    source: str
    unit: str
    changes: str


class Expected(NamedTuple):
    """A run of the story. role: one of ROLES. parameters, multiply_adds: None of a black box.

    trained: the id of the run that serves, None of one to train. seconds: that it trains, None where nobody knows.
    """

    role: str
    network: str
    parameters: int | None
    multiply_adds: int | None
    trained: str | None
    seconds: float | None


@dataclass(frozen=True)
class Forecast:
    """What a story takes. to_train: run id -> config, in running order. reused: ids of trained runs that serve.

    span: of what is to be trained; None where there is nothing, or nobody knows. warnings: settings known to hurt.
    """

    formula: Formula
    to_train: dict[str, RunConfig]
    reused: tuple[str, ...]
    rows: tuple[Expected, ...]
    span: tuple[float, float] | None
    warnings: tuple[str, ...]


def forecast(story: StoryConfig, known: Known) -> Forecast:
    """Forecast a story. Raises ConfigError where a setting cannot be used."""
    plan = experiments_story.plan(story, known.trained)
    reused = {run.id: run.config for run in known.runs(plan.reused)}
    assistants = experiments_story.assistants(reused | plan.to_train)
    rows = [
        _expected(config, known, assistant=run_id in assistants, trained=run_id if run_id in reused else None)
        for run_id, config in (reused | plan.to_train).items()
    ]
    return Forecast(
        formula=formula(story),
        to_train=plan.to_train,
        reused=plan.reused,
        rows=tuple(sorted(rows, key=lambda row: ROLES.index(row.role))),
        span=known.span(plan.to_train),
        warnings=tuple(_warnings(story, known)),
    )


def _expected(config: RunConfig, known: Known, *, assistant: bool, trained: str | None) -> Expected:
    costs = {} if config.model.opaque else known.costs(config.model, config.dataset)
    return Expected(
        "assistant" if assistant else config.role,
        config.network,
        costs.get("parameters"),
        costs.get("multiply_adds"),
        trained,
        None if trained else known.seconds(config),
    )


def _warnings(story: StoryConfig, known: Known) -> list[str]:
    def parameters(model: ModelConfig) -> int:
        return known.costs(model, story.dataset)["parameters"]

    teachers = [run.config.model for run in known.runs(story.teachers)] or [story.teacher]
    largest = max((parameters(model) for model in teachers if not model.opaque), default=None)
    assistant = None if story.assistant is None else parameters(story.assistant)
    return before.warnings(story, largest, parameters(story.student), known.class_names, assistant)


def formula(story: StoryConfig) -> Formula:
    """Return the loss of the story's student."""
    changes = [
        f"{name} goes from {first:g} to {last:g}"
        for name, first, last in (
            ("T", story.temperature, story.final_temperature),
            ("alpha", story.alpha, story.final_alpha),
        )
        if last is not None
    ]
    caption = f"From the first step to the last, {' and '.join(changes)}." if changes else ""
    return _hinton(story, caption) if story.objective == "hinton" else _other(story, caption)


def _hinton(story: StoryConfig, changes: str) -> Formula:
    """Return Hinton's loss, without a term whose weight is 0 all along."""
    temperature, alpha = f"{story.temperature:g}", story.alpha
    scale = rf"{temperature}^2 \cdot" if story.t_squared else ""
    soft = (
        rf"\underbrace{{{alpha:.3g}}}_{{\alpha}} \cdot {scale}\,\mathrm{{KL}}\big(p^t_{{T={temperature}}}"
        rf" \,\big\|\, p^s_{{T={temperature}}}\big)"
    )
    hard = rf"{1 - alpha:.3g} \cdot \mathrm{{CE}}(y,\, p^s)"
    ends = alpha if story.final_alpha is None else story.final_alpha
    parts = ([soft] if alpha or ends else []) + ([hard] if min(alpha, ends) < 1 else [])
    latex = r"\begin{aligned}\mathcal L \;=\; &" + r" \\ +\; &".join(parts) + r"\end{aligned}"
    meaning = r"$p^t_T = \mathrm{softmax}(z^t / T)$ is the teacher, softened; $p^s$ the student, $y$ the label."
    return Formula(latex, meaning, "", "In nats, mean over the batch (Hinton et al., section 2).", changes)


def _other(story: StoryConfig, changes: str) -> Formula:
    """Return any other objective in symbols, its numbers in the meaning."""
    info = OBJECTIVES[story.objective]
    soft = info.formula if story.t_squared else info.formula.replace(r"T^2\,", "")
    shares = r"\mathcal L_\mathrm{soft} + "
    if info.mixed:
        shares = r"\alpha\,\mathcal L_\mathrm{soft} + (1-\alpha)\,"
    else:
        shares += f"{info.weights['hard'].symbol}\\,"
    latex = (
        rf"\begin{{aligned}}\mathcal L \;=\; &{shares}\mathrm{{CE}}(y,\, p^s) \\"
        rf" \mathcal L_\mathrm{{soft}} \;=\; &{soft}\end{{aligned}}"
    )
    weights = dict(story.weights)
    numbers = [f"$T = {story.temperature:g}$"] if info.uses_temperature else []
    numbers += [rf"$\alpha = {story.alpha:g}$"] if info.mixed else []
    numbers += [f"${weight.symbol} = {weights.get(name, weight.default):g}$" for name, weight in info.weights.items()]
    meaning = f"{info.where}. " if info.where else ""
    unit = f"{'In nats, mean' if info.nats else 'Mean'} over the batch."
    return Formula(latex, f"{meaning}{', '.join(numbers)}.", f"{info.source}.", unit, changes)
