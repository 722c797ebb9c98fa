"""Named experiments, and the story that most of them are: teacher, baseline student, distilled student.

A StoryConfig says all of it in one value; plan turns it into linked runs, leaving out what is trained already.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from kd_core.base.config import Config, differences
from kd_core.base.templates import Said, said
from kd_core.data.catalogue import TransferSetConfig
from kd_core.experiments.defaults import (
    STUDENT_TRAINING,
    TEACHER_TRAINING,
    default_model,
    default_temperature,
    default_training,
)
from kd_core.losses.catalogue import OBJECTIVES, check_shows
from kd_core.losses.config import MAX_ENSEMBLE, Average, DistillationConfig, View, objective_weights
from kd_core.models.config import PAPER_STUDENT, PAPER_TEACHER, ModelConfig
from kd_core.runs.run import Listing, Run, new_id, remembered, settled_of
from kd_core.training.config import ROLES, RunConfig, TrainingConfig
from kd_core.training.precision import settled, settled_alike

Maker = Callable[[int, tuple[str, ...]], RunConfig]
"""What makes the run that a seed and the ids of its teachers ask for."""
LOSS = (
    "objective",
    "weights",
    "temperature",
    "alpha",
    "t_squared",
    "ensemble",
    "final_temperature",
    "final_alpha",
    "teacher_view",
)
"""What a story and a DistillationConfig have in common."""


class StoryConfig(Config):
    """Teacher, baseline student and distilled student, as one choice.

    Both students have the same architecture, seed (so the same initial weights and order of examples), images and
    training: what differs between them is the teacher alone. An assistant of a size between (Mirzadeh et al. 2020,
    arXiv:1902.03393) is distilled from the teacher first, in the same way, and teaches the student in its place.
    """

    dataset: str = "mnist"
    teachers: tuple[str, ...] = Field((), max_length=MAX_ENSEMBLE, description="trained runs; none: train new ones")
    new_teachers: int = Field(1, ge=1, le=MAX_ENSEMBLE, description="how many to train; several are an ensemble")
    teacher: ModelConfig = PAPER_TEACHER
    teacher_training: TrainingConfig = TEACHER_TRAINING
    ensemble: Average = "probabilities"
    student: ModelConfig = PAPER_STUDENT
    training: TrainingConfig = STUDENT_TRAINING
    temperature: float = DistillationConfig.model_fields["temperature"].default
    alpha: float = DistillationConfig.model_fields["alpha"].default
    t_squared: bool = True
    objective: str = "hinton"
    weights: tuple[tuple[str, float], ...] = Field((), description="of the objective's terms, where not its defaults")
    final_temperature: float | None = None
    final_alpha: float | None = None
    teacher_view: View = "same"
    assistant: ModelConfig | None = Field(None, description="a network that learns first and teaches the student")
    assistant_training: TrainingConfig | None = Field(None, description="by default the student's")
    transfer_set: TransferSetConfig = TransferSetConfig()
    baseline: bool = True
    seed: int = 0

    @field_validator("weights", mode="before")
    @classmethod
    def _of_the_objective(cls, weights: Any, info: ValidationInfo) -> Any:
        return objective_weights(info.data.get("objective"), weights)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        teachers = self.teachers or tuple(f"new{member}" for member in range(self.new_teachers))
        self.teacher_runs()  # a RunConfig refuses what cannot be
        if not self.teachers and self.objective in OBJECTIVES:  # what is no objective, the student's run refuses
            check_shows(self.teacher, self.objective, "teacher")
        self.assistant_run(teachers)
        self.student_runs(teachers if self.assistant is None else ("assistant",))
        return self

    @classmethod
    def default(cls, dataset: str) -> Self:
        """Return the default story of a data set: about a minute on two cores."""
        return cls(
            dataset=dataset,
            teacher=default_model("teacher", dataset),
            teacher_training=default_training("teacher", dataset),
            student=default_model("student", dataset),
            training=default_training("student", dataset),
            temperature=default_temperature(dataset),
        )

    def teacher_runs(self) -> list[RunConfig]:
        """Return the teachers to train, alike but for their seed; none where trained ones are named."""
        if self.teachers:
            return []
        return [
            RunConfig(
                role="teacher",
                dataset=self.dataset,
                model=self.teacher,
                training=self.teacher_training,
                seed=self.seed + member,
            )
            for member in range(self.new_teachers)
        ]

    def assistant_run(self, teachers: tuple[str, ...]) -> RunConfig | None:
        """Return the assistant, distilled from these runs; None where the story has none."""
        if self.assistant is None:
            return None
        return RunConfig(
            role="distilled",
            dataset=self.dataset,
            model=self.assistant,
            distillation=self._distillation(teachers),
            transfer_set=self.transfer_set,
            training=self.assistant_training or self.training,
            seed=self.seed,
        )

    def _distillation(self, teachers: tuple[str, ...]) -> DistillationConfig:
        """Leave what the objective does not read at its default: the run is the same whatever the form says there."""
        settings = {name: getattr(self, name) for name in LOSS}
        info = OBJECTIVES.get(self.objective)
        if info is not None and not info.uses_temperature:
            del settings["temperature"]
        if info is not None and not info.mixed:
            del settings["alpha"]
        return DistillationConfig(teachers=teachers, **settings)

    def student_runs(self, teachers: tuple[str, ...]) -> list[RunConfig]:
        """Return the baseline, if wanted, and the student distilled from these runs.

        Where the transfer set is unlabelled, the baseline still reads its labels: without a teacher it has no others.
        """
        common = {"dataset": self.dataset, "model": self.student, "training": self.training, "seed": self.seed}
        distillation = self._distillation(teachers)
        part = self.transfer_set
        baseline = RunConfig(role="baseline", transfer_set=part.replace(labelled=True), **common)
        distilled = RunConfig(role="distilled", distillation=distillation, transfer_set=part, **common)
        return [baseline, distilled] if self.baseline else [distilled]

    def students(self) -> tuple[Maker, Maker]:
        """Return what makes the baseline and the distilled student of any seed, for experiments over several."""
        baseline, distilled = self.replace(baseline=True).student_runs(("teacher",))

        def taught(seed: int, teachers: tuple[str, ...]) -> RunConfig:
            return distilled.replace(seed=seed, distillation=self._distillation(teachers))

        return lambda seed, _: baseline.replace(seed=seed), taught

    @classmethod
    def of_runs(cls, runs: Iterable[RunConfig], teachers: Iterable[RunConfig] = ()) -> Self:
        """Return the story of a distilled run, a baseline, or a teacher alone. teachers: those that are known.

        Its teachers stay the trained ones. Where the student's is a run that this story would ask for as an assistant,
        it is told as one.
        """
        runs, teachers = [*runs], [*teachers]
        by_role = {run.role: run for run in runs}
        student = by_role.get("distilled") or by_role.get("baseline")
        teacher = next(iter(teachers), by_role.get("teacher"))
        dataset = (student or teacher or RunConfig(role="teacher")).dataset
        changes: dict[str, object] = {}
        if teacher is not None and teacher.trained_here:
            changes |= {"teacher": teacher.model, "teacher_training": teacher.training, "seed": teacher.seed}
        if student is not None:
            changes |= {"student": student.model, "training": student.training, "seed": student.seed}
            changes |= {"transfer_set": student.transfer_set, "baseline": "baseline" in by_role}
        if student is not None and student.distillation is not None:
            changes |= {name: getattr(student.distillation, name) for name in ("teachers", *LOSS)}
        story = cls.default(dataset).replace(**changes)
        first = next((run for run in (*teachers, *runs) if run.role == "teacher"), None)
        for run in (*teachers, *runs):
            chained = story._taught_by(run, first)
            if chained is not None:
                return chained
        return story

    def _taught_by(self, run: RunConfig, teacher: RunConfig | None) -> Self | None:
        """Return this story with a run as its assistant, or None if the run is none."""
        distillation = run.distillation
        if distillation is None or len(self.teachers) != 1 or distillation.teachers == self.teachers:
            return None
        default = type(self).default(self.dataset)
        chained = self.replace(
            teachers=distillation.teachers,
            ensemble=distillation.ensemble,
            teacher=default.teacher if teacher is None else teacher.model,
            teacher_training=default.teacher_training if teacher is None else teacher.training,
            assistant=run.model,
            assistant_training=None if run.training == self.training else run.training,
        )
        return chained if chained.assistant_run(distillation.teachers) == run else None


class Plan(NamedTuple):
    """What a story takes. to_train: run id -> config, in running order. reused: ids of trained runs that serve."""

    to_train: dict[str, RunConfig]
    reused: tuple[str, ...]


def by_rule(run: Run) -> RunConfig:
    """Return a run's config with its precision settled by the rule where neither config nor run names one."""
    return settled(run.settled)


def plan(story: StoryConfig, trained: Iterable[Run] | Listing = ()) -> Plan:
    """Plan the runs of a story as one linked batch, without those that trained holds already.

    trained: runs that may serve. The same config and seed give the same weights, so a finished run with the very config
    that the story asks for is as good as a new one. Precision is settled here, the same for baseline and distilled
    student. Raises ConfigError where a setting cannot be used.
    """
    known = Listing.of(trained).serving(by_rule, finished=True)
    to_train: dict[str, RunConfig] = {}
    reused: list[str] = list(story.teachers)

    def have(config: RunConfig) -> str:
        (config,) = settled_alike([config], known)
        if config in known:
            reused.append(known[config].id)
            return known[config].id
        run_id = new_id()
        to_train[run_id] = config
        return run_id

    teachers = story.teachers or tuple(have(config) for config in story.teacher_runs())
    assistant = story.assistant_run(teachers)
    students = story.student_runs(teachers if assistant is None else (have(assistant),))
    for config in settled_alike(students, known):
        have(config)
    return Plan(to_train, tuple(dict.fromkeys(reused)))


def assistants(runs: Mapping[str, RunConfig]) -> set[str]:
    """Return the ids of the runs that learn from a teacher and teach another of these runs."""
    teach = {teacher for config in runs.values() if config.distillation for teacher in config.distillation.teachers}
    return {run_id for run_id, config in runs.items() if config.role == "distilled" and run_id in teach}


def is_story(runs: Mapping[str, RunConfig]) -> bool:
    """Return whether a batch is one story: one distilled student, at most one baseline, and no mistake."""
    distilled = {run_id for run_id, config in runs.items() if config.role == "distilled"}
    return bool(distilled) and not is_experiment(runs)


def is_experiment(runs: Mapping[str, RunConfig]) -> bool:
    """Return whether a batch compares many students, or makes a mistake on purpose."""
    between = assistants(runs)
    roles = Counter(config.role for run_id, config in runs.items() if run_id not in between)
    return max(roles["distilled"], roles["baseline"]) > 1 or any(config.mistake for config in runs.values())


def names(runs: Sequence[Run]) -> dict[str, str]:
    """Name each run beside these others: its user's name for it, else its role and what sets it apart.

    E.g. 'distilled, T 4, seed 1'. Whose name would still be another's has the start of its id. All are Said, a user's
    name as a value, so that it is never taken for a word of ours.
    """
    between = assistants({run.id: run.config for run in runs})
    roles: dict[str, str] = {run.id: "assistant" if run.id in between else run.config.role for run in runs}
    called: dict[str, Said] = {}
    for role in dict.fromkeys(roles.values()):
        alike = [run for run in runs if roles[run.id] == role]
        differing = differences([run.config for run in alike])
        for place, run in enumerate(alike):
            settings = {name: values[place] for name, values in differing.items()}
            name = CALLED[role]
            for setting in _what_sets_apart(run.config, settings):
                name = Said("{name}, {setting}", name=name, setting=setting)
            name = Said("{name}", name=run.named) if run.name else name
            mistake = run.config.mistake_said
            called[run.id] = Said("{name}{mistake}", name=name, mistake=mistake) if mistake else name
    counts = Counter(called.values())
    return {
        run.id: Said("{name} · {id}", name=called[run.id], id=run.id[:4])
        if counts[called[run.id]] > 1
        else called[run.id]
        for run in runs
    }


CALLED = {str(role): called for role, called in ROLES.items()} | {"assistant": said("assistant")}
"""What a run in a story is called, by its role."""
SETTINGS = (
    said("seed"),
    said("epochs"),
    said("batch size"),
    said("learning rate"),
    said("warmup epochs"),
    said("weight decay"),
    said("jitter pixels"),
    said("validation fraction"),
    said("label smoothing"),
    said("flip"),
    said("colour"),
    said("randaugment"),
    said("mixup"),
    said("cutmix"),
    said("class weights"),
    said("clip norm"),
    said("patience"),
    said("fraction"),
    said("labelled"),
    said("final temperature"),
    said("final alpha"),
)
"""The settings in which runs of one role mostly differ, as a name tells them."""


def _what_sets_apart(config: RunConfig, settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield these settings of a config, dotted name -> value, each in short; no lists."""
    distillation = config.distillation
    if any(name.startswith("model.") for name in settings):
        yield config.model.label
    for name, value in settings.items():
        if name == "distillation.objective" and distillation:
            yield Said(distillation.info.label)
        elif name == "distillation.temperature" and distillation:
            if distillation.info.uses_temperature:
                yield f"T {value:g}"
        elif name == "distillation.alpha" and distillation:
            if distillation.info.mixed:
                yield f"alpha {value:g}"
        elif name == "distillation.t_squared":
            if value is False and config.mistake is None:  # else the mistake says it
                yield said("T² left out")
        elif not name.startswith(("model.", "mistake")) and isinstance(value, (int, float)):
            shown = f"{value:g}" if not isinstance(value, bool) else said("yes") if value else said("no")
            yield Said("{name} {value}", name=Said(name.rpartition(".")[2].replace("_", " ")), value=shown)


def baseline_beside(config: RunConfig) -> RunConfig:
    """Return the baseline of a distilled run: same network, seed, images and training, no teacher."""
    part = config.transfer_set.replace(labelled=True)
    return config.replace(role="baseline", distillation=None, transfer_set=part, continues=None, mistake=None)


@remembered
def _recipe(run: Run) -> RunConfig:
    """Return a run's settled config with seed 0 and, where it has teachers, any."""
    config = run.settled
    distillation = config.distillation and config.distillation.model_copy(update={"teachers": ("any",)})
    return _the_same(config.model_copy(update={"seed": 0, "distillation": distillation}))


@lru_cache(maxsize=4096)
def _the_same(config: RunConfig) -> RunConfig:
    """Return one object for equal configs: comparing two of a thousand repeats then takes no time."""
    return config


def finished(known: Listing, runs: Iterable[Run]) -> list[Run]:
    """Return those of these runs of a listing that have finished with weights, the newest first."""
    return known.newest_first(run for run in runs if run.status == "finished" and run.usable)


def repeats(run: Run, known: Iterable[Run] | Listing) -> list[Run]:
    """Return the finished runs that differ from this one in their seed alone, itself among them.

    A distilled run's teachers may differ in theirs as well. known: the newest first.
    """
    listing = Listing.of(known)

    def essence(run: Run) -> tuple[object, ...]:
        distillation = run.settled.distillation
        teachers = [] if distillation is None else [(name, listing.by_id.get(name)) for name in distillation.teachers]
        return _recipe(run), *(essence(teacher) if teacher else name for name, teacher in teachers)

    alike = finished(listing, listing.grouped(_recipe).get(_recipe(run), {}).values())
    return [other for other in alike if essence(other) == essence(run)] if alike else []


def baseline_of(run: Run, known: Listing) -> Run | None:
    """Return the newest finished baseline of a distilled run, or None."""
    return next(iter(finished(known, known.grouped(settled_of).get(baseline_beside(run.settled), {}).values())), None)


def pairs(baseline: Run, student: Run, known: Iterable[Run] | Listing) -> dict[int, tuple[int, int]]:
    """Return test errors by seed, (baseline, student), of the seeds that repeats of both have."""
    listing = Listing.of(known)
    first, second = (
        {repeat.config.seed: int(repeat.results["test_errors"]) for repeat in repeats(run, listing)}
        for run in (baseline, student)
    )
    return {seed: (first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())}


INT8_SLOWER = 10
"""Times by which the learning rate is lower where a trained network learns what int8 does to it."""


def continued(run: Run, epochs: int, *, int8_aware: bool = False) -> RunConfig:
    """Train on from a run's weights, the learning rate scheduled anew (warm restart: Loshchilov and Hutter, SGDR).

    int8_aware: with weights and activations rounded as an int8 file has them, at a lower rate. The run itself stays as
    it is; an external teacher goes on as ours. Raises ConfigError.
    """
    training = run.settled.training
    if not run.config.trained_here:
        training = default_training("teacher", run.config.dataset)
    if int8_aware and not training.int8_aware:
        training = training.replace(int8_aware=True, learning_rate=training.learning_rate / INT8_SLOWER)
    return run.config.replace(continues=run.id, brought=None, training=training.for_epochs(epochs))


def int8_epochs(run: Run) -> int:
    """Epochs in which a trained network learns what int8 does to it: a quarter of those that it had."""
    return max(1, round(run.config.training.epochs / 4))
