"""An experiment as a table: its runs planned, its rows beside the printed numbers, its verdicts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal, NamedTuple

from kd_core.base.templates import Said, said
from kd_core.evaluation.claims import seed_difference
from kd_core.evaluation.statistics import FEWEST_SEEDS, spread
from kd_core.experiments.story import Maker, by_rule
from kd_core.runs.run import ACTIVE, RESUMABLE, Listing, Run, new_id
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig
from kd_core.training.precision import settled_alike


class Line(NamedTuple):
    """One line of a table: what it is called, what the paper prints, and the run that a seed asks for.

    make: seed and the teachers' run ids -> config. printed: test errors of 10,000, None where the paper has no number.
    """

    label: str
    printed: int | None
    make: Maker


TaughtBy = RunConfig | Maker | str
"""A teacher; what makes one that learns itself, from those named before it (an assistant); or a trained one's id."""


class Experiment(NamedTuple):
    """A table of the paper and what it is there to show.

    teachers: seed -> the runs whose soft targets it needs. contest: the labels of two lines, the second expected to be
    better. corrected: what the paper prints after its bias correction, where there is one.
    """

    name: str
    title: str
    shows: str
    differs: str
    teachers: Callable[[int], tuple[TaughtBy, ...]]
    lines: tuple[Line, ...]
    contest: tuple[str, str] | None = None
    corrected: str = ""


Cell = tuple[str, int]
"""A line's label, and a seed."""


class Redo(NamedTuple):
    """What redoing an experiment takes.

    runs: the run of each cell, there or to come. to_train: run id -> config, in running order, teachers first.
    to_resume: ids of runs that wait to go on from their checkpoint. at_work: of runs that wait or train already.
    """

    runs: dict[Cell, str]
    to_train: dict[str, RunConfig]
    to_resume: tuple[str, ...]
    at_work: tuple[str, ...] = ()


def plan(experiment: Experiment, seeds: Iterable[int], known: Iterable[Run] | Listing = ()) -> Redo:
    """Plan the runs of an experiment with these seeds. known: runs that may serve; of equal ones the best.

    The same config gives the same weights, so that a finished run serves every experiment that asks for it, and what
    was interrupted goes on instead of starting anew. Precision is settled here, one for the students of a seed.
    """
    by_config = Listing.of(known).serving(by_rule)
    at_work: dict[str, None] = {}
    to_train: dict[str, RunConfig] = {}
    to_resume: dict[str, None] = {}
    planned: dict[RunConfig, str] = {}

    def have(config: RunConfig) -> str:
        (config,) = settled_alike([config], by_config)
        if config not in planned:
            run = by_config.get(config)
            planned[config] = run.id if run else new_id()
            if run is None:
                to_train[planned[config]] = config
            elif run.status in RESUMABLE:
                to_resume[run.id] = None
            elif run.status in ACTIVE:
                at_work[run.id] = None
        return planned[config]

    runs: dict[Cell, str] = {}
    for seed in seeds:
        teachers: tuple[str, ...] = ()
        for teacher in experiment.teachers(seed):
            if not isinstance(teacher, str):
                teacher = have(teacher if isinstance(teacher, RunConfig) else teacher(seed, teachers))
            teachers += (teacher,)
        lines = {line.label: line.make(seed, teachers) for line in experiment.lines}
        students = {label: config for label, config in lines.items() if config.role != "teacher"}
        for model in {config.model for config in students.values()}:
            labels = [label for label, config in students.items() if config.model == model]
            lines |= zip(labels, settled_alike([students[label] for label in labels], by_config), strict=True)
        runs |= {(label, seed): have(config) for label, config in lines.items()}
    return Redo(runs, to_train, tuple(to_resume), tuple(at_work))


HEAD = (said("run"), said("paper"), said("ours: median (range)"), said("seeds"), said("time a run"))


class Row(NamedTuple):
    """What came of a line: test errors by seed, each of so many examples, and the seconds that each took to train."""

    label: str
    printed: int | None
    errors: dict[int, int]
    examples: int
    seconds: dict[int, float]

    @property
    def median(self) -> float | None:
        """Median over the seeds, in test errors."""
        return median(self.errors.values()) if self.errors else None

    def errors_in_words(self) -> str:
        """Median and range, such as '74 (71 to 78)'."""
        if not self.errors:
            return ""
        if len(self.errors) == 1:
            return f"{self.median:g}"
        low, high = min(self.errors.values()), max(self.errors.values())
        return said("{median:g} ({low} to {high})", median=self.median, low=low, high=high)

    def time(self) -> str:
        """Median seconds of a run, such as '212 s'."""
        return said("{seconds:.0f} s", seconds=median(self.seconds.values())) if self.seconds else ""

    @property
    def cells(self) -> tuple[str, ...]:
        """It as a line of a table, as HEAD names its columns."""
        printed = "–" if self.printed is None else f"{self.printed:,}"
        return self.label, printed, self.errors_in_words(), str(len(self.errors)), self.time()


@dataclass(frozen=True)
class Redone:
    """An experiment with a number of seeds: its plan, and what is there of it.

    runs: those of the plan's cells that exist, by id. teachers: the other runs that teach them.
    """

    experiment: Experiment
    seeds: int
    plan: Redo
    runs: dict[str, Run]
    teachers: list[Run]

    @property
    def dataset(self) -> str:
        """The data set that all its runs learn from."""
        return self.experiment.lines[0].make(0, ("teacher",)).dataset

    @property
    def all_finished(self) -> list[Run]:
        """The runs of its cells that have trained to their end."""
        return [run for run in self.runs.values() if run.status == "finished"]

    def of(self, label: str) -> dict[int, Run]:
        """The runs of a line that exist, by seed."""
        return {
            seed: self.runs[run_id]
            for (line, seed), run_id in self.plan.runs.items()
            if line == label and run_id in self.runs
        }

    def finished(self, label: str) -> dict[int, Run]:
        """Those of them that have trained to their end."""
        return {seed: run for seed, run in self.of(label).items() if run.status == "finished"}


def redone(experiment: Experiment, seeds: int, known: Iterable[Run] | Listing) -> Redone:
    """Gather an experiment with seeds 0, 1, … from known: all runs of a store, the newest first."""
    listing = Listing.of(known)
    by_id, planned = listing.by_id, plan(experiment, range(seeds), listing)
    runs = {run_id: by_id[run_id] for run_id in planned.runs.values() if run_id in by_id}
    taught = [run.config.distillation for run in runs.values() if run.config.distillation is not None]
    teachers = dict.fromkeys(teacher for distillation in taught for teacher in distillation.teachers)
    others = [by_id[run_id] for run_id in teachers if run_id in by_id and run_id not in runs]
    return Redone(experiment, seeds, planned, runs, others)


def rows(redo: Redone, seconds: Mapping[str, float] | None = None) -> list[Row]:
    """Return a row for each line, of its finished runs. seconds: run id -> what its epochs took."""
    made = []
    for line in redo.experiment.lines:
        finished = redo.finished(line.label)
        errors = {seed: run.results["test_errors"] for seed, run in finished.items()}
        examples = next((run.results["test_examples"] for run in finished.values()), 0)
        took = {seed: seconds[run.id] for seed, run in finished.items() if run.id in seconds} if seconds else {}
        made.append(Row(line.label, line.printed, errors, examples, took))
    return made


def results(redo: Redone, store: Store) -> list[Row]:
    """Return a row for each line, with the time that its runs took."""
    return rows(redo, {run.id: sum(store.epoch_seconds(run.id)) for run in redo.all_finished})


def machines(runs: Iterable[Run]) -> str:
    """Say on what runs were trained, such as 'AMD EPYC, 2 threads, torch 2.13.0'."""
    each = {
        f"{run.environment['processor']}, {run.environment['threads']} threads, torch {run.environment['torch']}"
        for run in runs
    }
    return "; ".join(sorted(each))


Spread = tuple[float, float, float]
"""Mean and what surrounds it, as statistics.spread has it."""


def over_temperature(runs: Iterable[Run], name: Callable[[Run], str]) -> dict[str, dict[float, Spread]]:
    """Group the errors of finished distilled students: a line's name -> T -> their spread over the seeds."""
    errors: dict[str, dict[float, list[int]]] = {}
    for run in runs:
        if run.config.distillation is not None:
            line = errors.setdefault(name(run), {})
            line.setdefault(run.config.distillation.temperature, []).append(run.results["test_errors"])
    return {
        line: {temperature: spread(counts) for temperature, counts in by_temperature.items()}
        for line, by_temperature in errors.items()
    }


Word = Literal["wins", "loses", "inconclusive"]


class Verdict(NamedTuple):
    """Whether fewer test errors are made than by something else over the same seeds, and a sentence on how sure."""

    word: Word
    sentence: str


def verdicts(experiment: Experiment, rows: Sequence[Row]) -> list[Verdict]:
    """Judge the experiment's contest, if it has one, and each line that the paper prints a number for.

    The second of the contest's lines wins or loses where the 95% interval of the mean difference, seed by seed
    (Student's t), leaves out 0; a line against the paper likewise, whose number is of one run and taken as exact. Fewer
    than FEWEST_SEEDS seeds say nothing either way; lines without any are left out.
    """
    judged = []
    if experiment.contest is not None:
        first, second = (next(row for row in rows if row.label == label) for label in experiment.contest)
        both = sorted(first.errors.keys() & second.errors.keys())
        judged.append(
            _judged(
                said("'{second}' against '{first}'", second=second.label, first=first.label),
                [first.errors[seed] - second.errors[seed] for seed in both],
            )
        )
    for row in rows:
        if row.printed is not None:
            saved = [row.printed - errors for errors in row.errors.values()]
            pair = said("'{line}' against the paper's {printed:,}", line=row.label, printed=row.printed)
            judged.append(_judged(pair, saved))
    return [verdict for verdict in judged if verdict is not None]


def _judged(pair: Said, saved: Sequence[int]) -> Verdict | None:
    """Judge one comparison. saved: test errors fewer than the other's, by seed."""
    if not saved:
        return None
    over = seed_difference(dict.fromkeys(range(len(saved)), 0), dict(enumerate(saved)))
    if over is None or over.interval is None:
        if len(saved) == 1:
            pair = said("{pair}, {fewer} with one seed", pair=pair, fewer=_fewer(saved[0]))
        sentence = said("{pair}: it takes {fewest} seeds to say anything.", pair=pair, fewest=FEWEST_SEEDS)
        return Verdict("inconclusive", sentence)
    word: Word = "wins" if over.sign > 0 else "loses" if over.sign < 0 else "inconclusive"
    low, high = over.interval
    sentence = said(
        "{pair}: {fewer}, mean of {seeds} seeds; 95% interval of what it saves {low:.1f} to {high:.1f}.",
        pair=pair,
        fewer=_fewer(over.mean),
        seeds=len(saved),
        low=low,
        high=high,
    )
    return Verdict(word, sentence)


def _fewer(difference: float) -> Said:
    if not difference:
        return said("as many test errors")
    if difference > 0:
        return said("{count:.4g} fewer test errors", count=difference)
    return said("{count:.4g} more test errors", count=-difference)
