"""What is known of a story before its button is pressed: the loss in numbers, the runs, their cost, what may hurt.

One record, the Forecast, made in one go; a page only says it. The sentences are in before.toml.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from kd_core.base.config import in_words
from kd_core.base.templates import Said, prose, said
from kd_core.data.catalogue import HANDWRITTEN
from kd_core.experiments import story as story_module
from kd_core.experiments.story import StoryConfig
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.models.config import ModelConfig
from kd_core.runs.run import Listing, Run
from kd_core.training.config import RunConfig, looks_anew

ROLES = ("teacher", "assistant", "baseline", "distilled")


class Known(NamedTuple):
    """What a forecast is made from.

    trained: runs that may serve in place of new ones once they have finished. runs: ids -> those that are there.
    costs: parameters and multiply_adds of an architecture on a data set. seconds: how long a run is expected to train
    here, None where nothing measured compares. span: in how many seconds new runs begin and end.
    """

    trained: Iterable[Run] | Listing
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
    plan = story_module.plan(story, known.trained)
    trained = {run.id: run for run in known.runs(plan.reused)}
    reused = {run_id: run.config for run_id, run in trained.items()}
    assistants = story_module.assistants(reused | plan.to_train)
    rows = [
        _expected(config, known, assistant=run_id in assistants, trained=trained.get(run_id))
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


def _expected(config: RunConfig, known: Known, *, assistant: bool, trained: Run | None) -> Expected:
    costs: Mapping[str, Any] = known.costs(config.model, config.dataset) if trained is None else _costs(trained, known)
    return Expected(
        "assistant" if assistant else config.role,
        config.network,
        costs.get("parameters"),
        costs.get("multiply_adds"),
        None if trained is None else trained.id,
        None if trained else known.seconds(config),
    )


def _costs(run: Run, known: Known) -> Mapping[str, Any]:
    """Costs of a trained run, as measured of an external teacher, for it may read other images, and of own code."""
    config = run.config
    return run.results if config.brought or config.model.own else known.costs(config.model, config.dataset)


def _warnings(story: StoryConfig, known: Known) -> list[str]:
    def parameters(model: ModelConfig) -> int:
        return known.costs(model, story.dataset)["parameters"]

    teachers = [_costs(run, known).get("parameters") for run in known.runs(story.teachers)] or [
        parameters(story.teacher)
    ]
    largest = max(filter(None, teachers), default=None)
    assistant = None if story.assistant is None else parameters(story.assistant)
    return warnings(story, largest, parameters(story.student), known.class_names, assistant)


def formula(story: StoryConfig) -> Formula:
    """Return the loss of the story's student."""
    caption = _changes(story)
    return _hinton(story, caption) if story.objective == "hinton" else _other(story, caption)


def _changes(story: StoryConfig) -> str:
    """Say how temperature and alpha change over training; nothing where both stay."""
    temperature = {"first_t": story.temperature, "last_t": story.final_temperature}
    alpha = {"first_alpha": story.alpha, "last_alpha": story.final_alpha}
    if story.final_temperature is not None and story.final_alpha is not None:
        return said(
            "From the first step to the last, T goes from {first_t:g} to {last_t:g} and alpha goes from {first_alpha:g}"
            " to {last_alpha:g}.",
            **temperature,
            **alpha,
        )
    if story.final_temperature is not None:
        return said("From the first step to the last, T goes from {first_t:g} to {last_t:g}.", **temperature)
    if story.final_alpha is not None:
        return said("From the first step to the last, alpha goes from {first_alpha:g} to {last_alpha:g}.", **alpha)
    return ""


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
    meaning = said(r"$p^t_T = \mathrm{softmax}(z^t / T)$ is the teacher, softened; $p^s$ the student, $y$ the label.")
    return Formula(latex, meaning, "", said("In nats, mean over the batch (Hinton et al., section 2)."), changes)


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
    listed = ", ".join(numbers)
    meaning = Said("{where}. {numbers}.", where=Said(info.where), numbers=listed) if info.where else f"{listed}."
    unit = said("In nats, mean over the batch.") if info.nats else said("Mean over the batch.")
    return Formula(latex, meaning, Said("{source}.", source=Said(info.source)), unit, changes)


_TEXTS = prose(__file__)
FARTHEST = 4.0
"""An estimate is of epochs of at most so many times the images and multiply-adds of those measured: a short epoch takes
what does not grow with its images, and what else the machine did then, and neither scales."""
TINY_UNITS = 64
FEW_STEPS = 200


class Timing(NamedTuple):
    """What an epoch of a run took on this machine, in seconds, and the multiply-adds of one image through its model."""

    config: RunConfig
    multiply_adds: int
    epoch_seconds: float


def expected_seconds(config: RunConfig, multiply_adds: int, timings: Sequence[Timing]) -> float | None:
    """Predict how long a run trains, from what this machine has measured; None where nothing compares.

    Runs of the same network, batch size and jitter say it directly. Otherwise the time of an epoch is taken as
    a · steps + b · multiply-adds with a, b >= 0, fitted by least squares of the relative errors to the runs of the same
    kind of network and about the same batch size: what a multiply-add takes depends on it severalfold. Neither reaches
    beyond FARTHEST times what was measured.
    """
    timings = [timing for timing in timings if config.examples <= FARTHEST * timing.config.examples]
    alike = [
        timing.epoch_seconds / timing.config.examples for timing in timings if _kind(timing.config) == _kind(config)
    ]
    if alike:
        return float(median(alike) * config.examples * config.training.epochs)
    related = [
        timing
        for timing in timings
        if timing.config.model.name == config.model.name
        and 0.5 <= timing.config.training.batch_size / config.training.batch_size <= 2
        and _looks(timing.config) == _looks(config)
    ]
    work = np.array([_work(timing.config, timing.multiply_adds) for timing in related])
    if not related or _work(config, multiply_adds)[1] > FARTHEST * work[:, 1].max():
        return None
    from scipy.optimize import nnls

    seconds = np.array([timing.epoch_seconds for timing in related])
    rates, _ = nnls(work / seconds[:, None], np.ones(len(related)))
    return float(_work(config, multiply_adds) @ rates * config.training.epochs)


def _kind(config: RunConfig) -> tuple[object, ...]:
    training = config.training
    arithmetic = training.batch_size, training.precision, training.memory_format, training.device
    return config.model, *arithmetic, training.augments, training.changes, _looks(config)


def _looks(config: RunConfig) -> str | None:
    """Return that for which the teacher looks at every batch, which takes time: an objective, or views; else None."""
    distillation = config.distillation
    if distillation is None or not looks_anew(config):
        return None
    return distillation.objective if distillation.info.needs != "logits" else "views"


def _work(config: RunConfig, multiply_adds: int) -> np.ndarray:
    """Return the steps and multiply-adds of an epoch."""
    examples = config.examples
    return np.array([-(-examples // config.training.batch_size), examples * multiply_adds], dtype=float)


def is_tiny(model: ModelConfig) -> bool:
    """Return whether a student is too small to match every logit: an mlp of at most TINY_UNITS a layer."""
    return model.name == "mlp" and max(model.hidden, default=0) <= TINY_UNITS


def warnings(
    story: StoryConfig,
    teacher_parameters: int | None,
    student_parameters: int,
    class_names: Sequence[str],
    assistant_parameters: int | None = None,
) -> list[str]:
    """Return a sentence on each setting that is known to hurt, by the paper or by what we measured.

    teacher_parameters: of one teacher of the ensemble, or of the only one; None where nobody knows. class_names: of the
    story's data set. assistant_parameters: where there is one.
    """
    training, part, texts = story.training, story.transfer_set, _TEXTS
    tiny = is_tiny(story.student)
    steps = -(-story.student_runs(("teacher",))[-1].examples // training.batch_size) * training.epochs
    above = math.inf if teacher_parameters is None else teacher_parameters
    missing = [] if part.only_classes is None else [class_names[label] for label in part.missing(len(class_names))]
    without = Said(texts["missing"], classes=in_words(missing)) if missing else Said("")
    if missing and story.dataset in HANDWRITTEN:
        without = Said("{without}{in_the_paper}", without=without, in_the_paper=Said(texts["paper_missing"]))
    rate, optimizer = training.learning_rate, training.optimizer
    assisted = assistant_parameters is not None and not student_parameters < assistant_parameters < above
    two = OBJECTIVES[story.objective].of_two_classes
    known = {
        two: bool(two) and len(class_names) == 2,
        texts["few_epochs"]: tiny and story.dataset == "mnist" and story.alpha > 0 and training.epochs <= 20,
        texts["assistant"]: assisted,
        texts["no_smaller"]: student_parameters >= above,
        Said(texts["fast"], rate=rate, optimizer=optimizer): optimizer != "sgd" and rate > 0.02,
        Said(texts["slow"], rate=rate): optimizer == "sgd" and rate < 0.01,
        Said(texts["few_steps"], steps=steps): steps < FEW_STEPS,
        without: bool(missing),
        texts["views"]: training.augments and story.teacher_view == "same",
        texts["original"]: training.augments and story.teacher_view == "original",
        texts["few_weights"]: training.class_weights and story.alpha == 1,
        texts["features"]: not training.augments and OBJECTIVES[story.objective].needs != "logits",
    }
    return _of_the_loss(story, tiny) + [sentence for sentence, holds in known.items() if holds]


def _of_the_loss(story: StoryConfig, tiny: bool) -> list[str]:
    """What is known of temperature and alpha, where the objective reads them. tiny: the student is."""
    temperature, alpha, hintons = story.temperature, story.alpha, story.objective == "hinton" and story.alpha > 0
    unused = OBJECTIVES[story.objective].mixed and alpha == 0 and not story.final_alpha
    unscaled = not story.t_squared and temperature > 1 and alpha < 1
    known = {
        _TEXTS["baseline_again"]: unused,
        Said(_TEXTS["no_t_squared"], square=temperature**2): hintons and unscaled,
        _TEXTS["low_t"]: hintons and temperature <= 1,
        _TEXTS["tiny_high_t"]: hintons and tiny and temperature > 8,
        _TEXTS["high_t"]: hintons and not tiny and temperature > 20,
    }
    return [sentence for sentence, holds in known.items() if holds]
