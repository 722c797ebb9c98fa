"""A comparison of trained models: each number and verdict that the pages, the report and the shell state, once.

They only say what stands here. Nothing is measured here, and no torch is imported.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from kd_core.base.config import LabError
from kd_core.base.templates import Said, said
from kd_core.evaluation import accuracy, calibration, claims, statistics
from kd_core.evaluation.accuracy import Labels, Logits
from kd_core.evaluation.calibration import Calibration
from kd_core.evaluation.claims import SeedDifference, SpeedClaim, in_figures
from kd_core.evaluation.statistics import FEWEST_SEEDS, McNemar
from kd_core.experiments import story
from kd_core.runs.run import Listing, Run

if TYPE_CHECKING:
    from kd_core.evaluation.speed import Speeds

COSTS: tuple[Literal["parameters", "size_bytes", "multiply_adds"], ...] = ("parameters", "size_bytes", "multiply_adds")


class Pace(NamedTuple):
    """What a call of a model takes in batches of one size: claims.times, and the claim against the first model."""

    batch: int
    latency_ms_p50: float
    latency_ms_p95: float
    latency_ms_spread: float
    images_per_second: float
    faster: SpeedClaim | None


@dataclass(frozen=True, eq=False)
class Model:
    """One model of a comparison.

    accuracy: share of the test set, with its 95% interval (Wilson). costs and ratios: by the names in COSTS, the ratio
    to the first model's; None and missing where a black box hides them. paces: runtime -> a Pace for each batch size,
    empty while the speed is unknown.
    """

    run: Run
    name: str
    errors: int
    examples: int
    accuracy: float
    interval: tuple[float, float]
    costs: Mapping[str, int | None]
    ratios: Mapping[str, float]
    paces: Mapping[str, Sequence[Pace]]

    @property
    def single(self) -> Pace | None:
        """One image at a time, in PyTorch."""
        return self.paces["pytorch"][0] if self.paces else None

    @property
    def batched(self) -> Pace | None:
        """In the largest batches that were measured, in PyTorch."""
        return self.paces["pytorch"][-1] if self.paces else None


class Pair(NamedTuple):
    """McNemar's test of two models; better: the one that is on this seed, None where it could be chance."""

    first: Model
    second: Model
    test: McNemar
    better: Model | None


@dataclass(frozen=True)
class Scores:
    """Calibration of a model as it is, and under the temperature that fits its validation split; None where none does.

    unfitted: why none does, in a sentence; empty where there is one, or no validation split.
    """

    model: Model
    plain: Calibration
    temperature: float | None
    scaled: Calibration | None
    unfitted: str


class Sources(NamedTuple):
    """Where a comparison reads what it needs for a closer look.

    logits: run id -> (N, K) over the test set. labels: those of the test set, (N,). validation: run id -> logits and
    labels of its validation split, None where it kept none. finished: the runs among which other seeds are looked for.
    """

    logits: Callable[[str], Logits]
    labels: Callable[[], Labels]
    validation: Callable[[str], tuple[Logits, Labels] | None] = lambda run_id: None
    finished: Sequence[Run] | Listing = ()


@dataclass(frozen=True, eq=False)
class Comparison:
    """Models of one data set, each held against the first. What takes a while is computed when it is first read.

    teacher, baseline, distilled: the first of each among them, without runs that make a mistake on purpose; the student
    is no assistant. saved: test errors that it makes fewer than its baseline, by seed; None where one of both is
    missing. speed: as evaluation.speed.measure has it.
    """

    models: tuple[Model, ...]
    teacher: Model | None
    baseline: Model | None
    distilled: Model | None
    saved: SeedDifference | None
    speed: "Speeds | None"
    sources: Sources | None

    @property
    def runs(self) -> list[Run]:
        """The run of each model."""
        return [model.run for model in self.models]

    @cached_property
    def logits(self) -> dict[str, Logits]:
        """Run id -> logits over the test set, (N, K)."""
        return {run.id: self._source.logits(run.id) for run in self.runs}

    @cached_property
    def labels(self) -> Labels:
        """Of the test set, (N,)."""
        return self._source.labels()

    @property
    def _source(self) -> Sources:
        if self.sources is None:
            raise LabError(said("this comparison was made without the test set"))
        return self.sources

    @cached_property
    def agreements(self) -> dict[str, float]:
        """Run id -> share of the test images on which its top class is the first model's."""
        first = self.logits[self.runs[0].id]
        return {run_id: accuracy.agreement(logits, first) for run_id, logits in self.logits.items()}

    @cached_property
    def pairs(self) -> list[Pair]:
        """McNemar's exact test for every two models."""
        pairs = []
        for first, second in combinations(self.models, 2):
            test = statistics.mcnemar(self.logits[first.run.id], self.logits[second.run.id], self.labels)
            pairs.append(Pair(first, second, test, {1: first, -1: second}.get(test.sign)))
        return pairs

    @cached_property
    def scores(self) -> list[Scores]:
        """The calibration of each model on the test set."""
        return [_scores(model, self.logits[model.run.id], self.labels, self._source) for model in self.models]

    @property
    def paces_ms(self) -> dict[str, float]:
        """Run id -> milliseconds of one image as the models race; empty while the speed is unknown."""
        return claims.paces_ms(self.speed, [run.id for run in self.runs]) if self.speed else {}

    def seeds_in_words(self) -> list[str]:
        """Say what several seeds show: of the student against its baseline, then of each model by itself."""
        sentences: list[str] = [] if self.saved is None else [claims.over_seeds(self.saved)]
        for model in self.models:
            repeats = story.repeats(model.run, self._source.finished)
            errors = sorted(int(run.results["test_errors"]) for run in repeats)
            if len(errors) > 1:
                sentences.append(_seeds_of_a_model(model.name, errors))
        return sentences

    def headline(self, shown: Callable[[str], str] = lambda name: name) -> Said:
        """Say in Markdown the errors, how much of the gap to its teacher the student closes, and what it costs.

        Models that were stopped are named. shown: makes Markdown of a run's name.
        """
        teacher, distilled = self.teacher, self.distilled
        if teacher is None or distilled is None:
            return self._with_stopped(self._errors_of_each(shown), shown)
        text = self._with_stopped(self._against_teacher(teacher, distilled), shown)
        if (fraction := distilled.run.config.transfer_set.fraction) >= 1:
            return text
        if self.baseline is None:
            return said("{text} It learned from {share:.3g}% of the training images.", text=text, share=100 * fraction)
        return said(
            "{text} Both students learned from {share:.3g}% of the training images.", text=text, share=100 * fraction
        )

    def _with_stopped(self, text: Said, shown: Callable[[str], str]) -> Said:
        """Add which models were stopped."""
        for model in self.models:
            if stopped := model.run.stopped_said:
                text = Said("{text} **{name}: {stopped}.**", text=text, name=shown(model.name), stopped=stopped)
        return text

    def _errors_of_each(self, shown: Callable[[str], str]) -> Said:
        """Say each model's errors, where there is no teacher beside a student."""
        first, *others = self.models
        text = said(
            "{name} makes **{errors:,}** errors on the test set", name=shown(first.run.label), errors=first.errors
        )
        for model in others:
            text = said(
                "{before}; {name} makes **{errors:,}**",
                before=text,
                name=shown(model.run.label),
                errors=model.errors,
            )
        return said("{errors_of_each}.", errors_of_each=text)

    def _against_teacher(self, teacher: Model, distilled: Model) -> Said:
        """Say the errors of the student and those beside it, and its size and speed against its teacher's."""
        text = said(
            "The distilled student makes **{errors:,}** test errors of {examples:,}, its teacher {teacher:,}",
            errors=distilled.errors,
            examples=distilled.examples,
            teacher=teacher.errors,
        )
        assistants = story.assistants({run.id: run.config for run in self.runs})
        for model in self.models:
            if model.run.id in assistants:
                text = said("{before}, the assistant {errors:,}", before=text, errors=model.errors)
        if self.baseline is None:
            text = said("{errors_without_baseline}.", errors_without_baseline=text)
        else:
            text = said(
                "{before}, the baseline {errors:,}: on this seed it {closed}.",
                before=text,
                errors=self.baseline.errors,
                closed=claims.gap_closed(teacher.errors, self.baseline.errors, distilled.errors),
            )
        size = _size(teacher, distilled)
        claim = claims.speed_claim(self.speed, distilled.run.id, teacher.run.id) if self.speed else None
        if claim is None:
            return said("{text} It has {size}.", text=text, size=size)
        if not claim.measurable:
            return said("{text} It has {size}; no difference in speed could be measured.", text=text, size=size)
        if claim.is_faster:
            return said(
                "{text} It has {size} and is **{ratio} times** as fast (95% interval {low} to {high}).",
                text=text,
                size=size,
                **claim.figures,
            )
        return said(
            "{text} It has {size} and is **{ratio} times** as slow (95% interval {low} to {high}).",
            text=text,
            size=size,
            **claim.figures,
        )

    def table(self) -> dict[str, list[str]]:
        """Return the whole as text for a shell: title of a row -> a cell for each model."""
        rows = {
            "run": [
                ", ".join(filter(None, [run.config.network + run.config.mistake_said, run.stopped_said]))
                for run in self.runs
            ],
            "test errors": [f"{model.errors} of {model.examples}" for model in self.models],
            "accuracy (95% interval)": [
                f"{model.accuracy:.2%} ({model.interval[0]:.2%} to {model.interval[1]:.2%})" for model in self.models
            ],
        }
        for title, name in zip(("parameters", "size, bytes", "multiply-adds"), COSTS, strict=True):
            rows[title] = [_with_ratio(model, name) for model in self.models]
        single = [model.single for model in self.models if model.single]
        batched = [model.batched for model in self.models if model.batched]
        if single and batched:
            rows["latency p50, ms"] = [in_figures(pace.latency_ms_p50) for pace in single]
            rows["latency p95, ms"] = [in_figures(pace.latency_ms_p95) for pace in single]
            rows[images_at_once(batched[0])] = [f"{pace.images_per_second:,.0f}" for pace in batched]
            rows["times as fast (95% interval)"] = [pace.faster.cell if pace.faster else "–" for pace in single]
        rows["agreement with the first"] = [f"{self.agreements[run.id]:.2%}" for run in self.runs]
        return rows


def images_at_once(pace: Pace) -> Said:
    """Name the throughput in a pace's batches."""
    return said("images a second, {batch} at once", batch=pace.batch)


def compare(
    runs: Sequence[Run], *, speed: Mapping[str, Any] | None = None, sources: Sources | None = None
) -> Comparison:
    """Compare trained runs of one data set.

    speed: also the finding of a failed measurement, {"problem": ...}, which says nothing. sources: without them there
    is the headline, and no closer look.
    """
    speeds = None if speed is None or "problem" in speed else cast("Speeds", speed)
    names = story.names(runs)
    models = tuple(_model(run, names[run.id], runs, speeds) for run in runs)
    teacher, baseline, distilled = _story_of(models)
    saved = None
    if sources is not None and baseline is not None and distilled is not None:
        saved = claims.saved_by_seed(story.pairs(baseline.run, distilled.run, sources.finished))
    return Comparison(models, teacher, baseline, distilled, saved, speeds, sources)


def _story_of(models: Sequence[Model]) -> tuple[Model | None, Model | None, Model | None]:
    """Return the teacher, the baseline and the distilled student, as Comparison names them."""
    assistants = story.assistants({model.run.id: model.run.config for model in models})
    meant = [model for model in models if not model.run.config.mistake]
    students = [model for model in meant if model.run.config.role == "distilled" and model.run.id not in assistants]
    distilled = next(iter(students), None)
    teacher = next((model for model in meant if model.run.config.role == "teacher"), None)
    alike = None if distilled is None else story.baseline_beside(distilled.run.settled)
    return teacher, next((model for model in meant if model.run.settled == alike), None), distilled


def _model(run: Run, name: str, runs: Sequence[Run], speed: "Speeds | None") -> Model:
    errors, examples = int(run.results["test_errors"]), int(run.results["test_examples"])
    pairs = {cost: (run.results[cost], runs[0].results[cost]) for cost in COSTS}
    return Model(
        run=run,
        name=name,
        errors=errors,
        examples=examples,
        accuracy=1 - errors / examples,
        interval=statistics.wilson_interval(examples - errors, examples),
        costs={cost: own for cost, (own, _) in pairs.items()},
        ratios={cost: own / first for cost, (own, first) in pairs.items() if own is not None and first is not None},
        paces={} if speed is None else _paces(run.id, [other.id for other in runs], speed),
    )


def _scores(model: Model, logits: Logits, labels: Labels, sources: Sources) -> Scores:
    plain, kept = calibration.calibration(logits, labels), sources.validation(model.run.id)
    if kept is None:
        return Scores(model, plain, None, None, "")
    fitted = calibration.fitted_temperature(*kept)
    if fitted is not None:
        return Scores(model, plain, fitted, calibration.calibration(logits, labels, fitted), "")
    wrong = accuracy.test_errors(*kept)
    if wrong:
        unfitted = said(
            "No temperature can be fitted to {name}: of its {images:,} validation images {wrong:,} are wrong, and no T"
            " up to {highest:g} is best.",
            name=model.name,
            images=len(kept[1]),
            wrong=wrong,
            highest=accuracy.HIGHEST,
        )
    else:
        unfitted = said(
            "No temperature can be fitted to {name}: of its {images:,} validation images none is wrong, so every lower"
            " T looks better still.",
            name=model.name,
            images=len(kept[1]),
        )
    return Scores(model, plain, None, None, unfitted)


def _paces(run_id: str, ids: Sequence[str], speed: "Speeds") -> dict[str, list[Pace]]:
    paces: dict[str, list[Pace]] = {}
    for runtime, sizes in speed["runtimes"][run_id].items():
        for size in map(int, sizes):
            shown = claims.times(speed, ids, runtime=runtime, batch=size)[run_id]
            claim = claims.speed_claim(speed, run_id, ids[0], runtime=runtime, batch=size)
            paces.setdefault(runtime, []).append(Pace(size, **shown, faster=claim))
    return paces


def _with_ratio(model: Model, cost: str) -> str:
    """Return text such as '2,395,210 (1x)', or a dash for what a black box hides."""
    value = model.costs[cost]
    if value is None:
        return "–"
    return f"{value:,}" + (f" ({in_figures(model.ratios[cost])}x)" if cost in model.ratios else "")


def _size(teacher: Model, distilled: Model) -> Said:
    known = teacher.costs["parameters"] is not None and distilled.costs["parameters"] is not None
    cost = "parameters" if known else "size_bytes"
    ratio = (teacher.costs[cost] or 0) / (distilled.costs[cost] or 1)
    if ratio >= 2:
        return said("1/{ratio:.0f} of the teacher's size", ratio=ratio)
    return said("{share:.0%} of the teacher's size", share=1 / ratio)


def _seeds_of_a_model(name: str, errors: Sequence[int]) -> Said:
    """Say the mean test errors of a model over two or more seeds, with the 95% interval."""
    listed = ", ".join(map(str, errors))
    if len(errors) < FEWEST_SEEDS:
        return said(
            "{name}: {listed} test errors with {seeds} seeds, too few for an interval.",
            name=name,
            listed=listed,
            seeds=len(errors),
        )
    mean, low, high = statistics.mean_interval(errors)
    return said(
        "{name}: {mean:.1f} test errors on average of {seeds} seeds ({listed}), 95% interval {low:.1f} to {high:.1f}"
        " (Student's t).",
        name=name,
        mean=mean,
        seeds=len(errors),
        listed=listed,
        low=low,
        high=high,
    )
