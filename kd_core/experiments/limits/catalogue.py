"""The experiments on the limits of distillation: a question, what is claimed of it, and the runs that answer it.

Their words are in catalogue.toml. Each compares two kinds of students over the same seeds: those of a seed start from
the same weights and see the images in the same order. All settings were fixed before the first run and none was changed
for its result. Nothing here trains: table.plan says which runs an experiment takes, outcome what came of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from kd_core.base.templates import Said, counted, prose
from kd_core.data.catalogue import TransferSetConfig, info_of
from kd_core.experiments import broken
from kd_core.experiments.story import Maker, StoryConfig
from kd_core.experiments.table import Experiment, Line, TaughtBy
from kd_core.models.config import ModelConfig
from kd_core.training.config import RunConfig, TrainingConfig

BASELINE = "baseline"
SEEDS, MAX_SEEDS = 5, 10
OTHER_SEED = 100
"""Added to a student's seed for the teacher of its own size, which starts elsewhere."""
SMOOTHING = 0.1
"""Of the labels of a teacher (Müller et al. 2019, arXiv:1906.02629)."""


class Scale(NamedTuple):
    """How large and how long the experiments are on a data set, in under a minute each on digits, in minutes on MNIST.

    student: of most experiments. small: for a high T. dwarf, assistant: below the giant that ships. teacher: trained
    anew for each seed, for hasty or long epochs. training: of students on part of the images. whole: of those that see
    all, as their teacher of the same size does. few: the images of patience, for which training goes on.
    """

    student: ModelConfig
    small: ModelConfig
    dwarf: ModelConfig
    assistant: ModelConfig
    teacher: ModelConfig
    teacher_training: TrainingConfig
    hasty: int
    training: TrainingConfig
    whole: TrainingConfig
    part: TransferSetConfig
    few: TransferSetConfig
    short: int
    long: int
    jitter_pixels: int


_LAST = {"validation_fraction": 0, "precision": "float32"}
"""The weights of the last epoch: nothing is chosen, on any split."""
_DIGITS = TrainingConfig(epochs=60, batch_size=64, learning_rate=1e-2, **_LAST)
_MNIST = TrainingConfig(epochs=20, batch_size=128, learning_rate=3e-3, **_LAST)
SCALES = {
    "digits": Scale(
        student=ModelConfig(hidden=(30,)),
        small=ModelConfig(hidden=(10, 10)),
        dwarf=ModelConfig(hidden=(6,)),
        assistant=ModelConfig(hidden=(40,)),
        teacher=ModelConfig(hidden=(200, 200)),
        teacher_training=_DIGITS.replace(epochs=100, learning_rate=1e-3),
        hasty=10,
        training=_DIGITS,
        whole=_DIGITS,
        part=TransferSetConfig(),
        few=TransferSetConfig(fraction=0.2),
        short=40,
        long=400,
        jitter_pixels=1,
    ),
    "mnist": Scale(
        student=ModelConfig(hidden=(64,)),
        small=ModelConfig(hidden=(30, 30)),
        dwarf=ModelConfig(hidden=(10,)),
        assistant=ModelConfig(hidden=(100,)),
        teacher=ModelConfig(hidden=(200, 200)),
        teacher_training=TrainingConfig(epochs=20, batch_size=256, learning_rate=1e-3, **_LAST),
        hasty=2,
        training=_MNIST,
        whole=_MNIST.replace(epochs=10),
        part=TransferSetConfig(fraction=0.1),
        few=TransferSetConfig(fraction=0.02),
        short=40,
        long=400,
        jitter_pixels=2,
    ),
}


class Claim(NamedTuple):
    """What a paper says, in our words after reading it, and where. expects: the verdict that bears it out here."""

    paper: str
    arxiv: str
    where: str
    states: str
    expects: str


@dataclass(frozen=True)
class Limit:
    """An experiment and its words.

    answers: verdict -> what one may predict. setting: what all its runs have in common. labels: line -> what it is
    called. reference, main: the two lines of the question. fidelity: whether agreement with the teacher is counted too.
    """

    name: str
    dataset: str
    title: str
    question: str
    answers: Mapping[str, str]
    setting: str
    labels: Mapping[str, str]
    claims: tuple[Claim, ...]
    experiment: Experiment
    reference: str
    main: str
    fidelity: bool = False

    @property
    def students(self) -> list[str]:
        """The lines that are no teachers, the main one first and the reference left out."""
        others = [line.label for line in self.experiment.lines if not line.label.startswith("teacher")]
        return [self.main, *(label for label in others if label not in (self.main, self.reference))]


class _Plan(NamedTuple):
    """The runs of an experiment. lines: name -> what makes its run; the first needs no teacher."""

    teachers: Callable[[int], tuple[TaughtBy, ...]]
    lines: Mapping[str, Maker]
    reference: str
    main: str


TEXTS = prose(__file__)
"""Of catalogue.toml: by experiment, and the sentences that all have in common."""


def limit(name: str, dataset: str) -> Limit:
    """Return an experiment of NAMES on a data set of SCALES."""
    plan, texts = _PLANS[name](dataset), TEXTS[name]
    values = _values(dataset)
    lines = tuple(Line(label, None, make) for label, make in plan.lines.items())
    title, question = Said(texts["title"]), Said(texts["question"], None, **values)
    experiment = Experiment(name, title, question, "", plan.teachers, lines, (plan.reference, plan.main))
    return Limit(
        name=name,
        dataset=dataset,
        title=title,
        question=question,
        answers={word: Said(text, None, **values) for word, text in texts["answers"].items()},
        setting=Said(texts["setting"], None, **values),
        labels={label: Said(texts["labels"][label], None, **values) for label in plan.lines},
        claims=tuple(Claim(**claim) for claim in texts["claims"]),
        experiment=experiment,
        reference=plan.reference,
        main=plan.main,
        fidelity=name == "fidelity",
    )


def _values(dataset: str) -> dict[str, object]:
    """What the sentences of a data set's experiments name."""
    scale, giant = SCALES[dataset], broken.teacher(dataset)
    teacher, examples = scale.teacher_training, info_of(dataset).train_examples
    return {
        "data": info_of(dataset).label,
        "student": scale.student.label,
        "small": scale.small.label,
        "dwarf": scale.dwarf.label,
        "assistant": scale.assistant.label,
        "giant": giant.model.label,
        "teacher": scale.teacher.label,
        "teacher_epochs": teacher.epochs,
        "hasty": scale.hasty,
        "longer": round(teacher.epochs / scale.hasty),
        "epochs": scale.training.epochs,
        "whole_epochs": scale.whole.epochs,
        "short": scale.short,
        "long": scale.long,
        "patient": round(scale.long / scale.short),
        "pixels": counted("one pixel", "{count} pixels", scale.jitter_pixels),
        "smoothing": f"{SMOOTHING:g}",
        "images": f"{round(examples * scale.part.fraction):,}",
        "all_images": f"{examples:,}",
        "few_images": f"{round(examples * scale.few.fraction):,}",
    }


def _story(dataset: str, **changes: Any) -> StoryConfig:
    scale = SCALES[dataset]
    common = StoryConfig(
        dataset=dataset, student=scale.student, training=scale.training, transfer_set=scale.part, temperature=4.0
    )
    return common.replace(**changes)


def _of(make: Maker, place: int) -> Maker:
    """Return what makes a student of one teacher, by its place among the seed's."""
    return lambda seed, teachers: make(seed, teachers[place : place + 1])


def _small(dataset: str) -> _Plan:
    story = _story(dataset, student=SCALES[dataset].small, alpha=1.0)
    cold, warm, hot = (story.replace(temperature=T).students()[1] for T in (1.0, 4.0, 20.0))
    lines = {BASELINE: story.students()[0], "cold": cold, "warm": warm, "hot": hot}
    return _Plan(lambda _: (broken.teacher(dataset),), lines, "warm", "hot")


def _gap(dataset: str) -> _Plan:
    story = _story(dataset, student=SCALES[dataset].dwarf)
    _, assistant = story.replace(student=SCALES[dataset].assistant).students()
    baseline, taught = story.students()
    lines = {BASELINE: baseline, "direct": _of(taught, 0), "assisted": _of(taught, 1)}
    return _Plan(lambda _: (broken.teacher(dataset), assistant), lines, "direct", "assisted")


def _own_size(dataset: str) -> tuple[Callable[[int], tuple[TaughtBy, ...]], StoryConfig]:
    """Return a seed's teacher, which has its student's size and starts elsewhere, and the story of that student."""
    scale = SCALES[dataset]
    story = _story(dataset, training=scale.whole, transfer_set=TransferSetConfig(), alpha=1.0)
    teacher = RunConfig(role="teacher", dataset=dataset, model=scale.student, training=scale.whole)
    return lambda seed: (teacher.replace(seed=OTHER_SEED + seed),), story


def _same(dataset: str) -> _Plan:
    teachers, story = _own_size(dataset)
    baseline, again = story.students()
    _, cold = story.replace(temperature=1.0).students()
    lines = {BASELINE: baseline, "teacher": lambda seed, _: _only(teachers(seed)), "cold": cold, "again": again}
    return _Plan(teachers, lines, BASELINE, "again")


def _only(teachers: tuple[TaughtBy, ...]) -> RunConfig:
    (teacher,) = teachers
    assert isinstance(teacher, RunConfig)  # noqa: S101
    return teacher


def _fidelity(dataset: str) -> _Plan:
    teachers, story = _own_size(dataset)
    baseline, plain = story.students()
    _, shifted = story.replace(training=story.training.replace(jitter_pixels=SCALES[dataset].jitter_pixels)).students()
    lines = {BASELINE: baseline, "teacher": lambda seed, _: _only(teachers(seed)), "plain": plain, "shifted": shifted}
    return _Plan(teachers, lines, "plain", "shifted")


def _two_teachers(dataset: str, names: tuple[str, str], **changes: object) -> _Plan:
    """Return students of a seed's two teachers: the usual one, and one whose training is changed, by these names."""
    scale, (baseline, taught) = SCALES[dataset], _story(dataset).students()
    usual = RunConfig(role="teacher", dataset=dataset, model=scale.teacher, training=scale.teacher_training)
    changed = usual.replace(training=scale.teacher_training.replace(**changes))
    lines: dict[str, Maker] = {
        BASELINE: baseline,
        f"teacher_{names[0]}": lambda seed, _: usual.replace(seed=seed),
        f"teacher_{names[1]}": lambda seed, _: changed.replace(seed=seed),
        names[0]: _of(taught, 0),
        names[1]: _of(taught, 1),
    }
    return _Plan(lambda seed: (usual.replace(seed=seed), changed.replace(seed=seed)), lines, *names)


def _longer(dataset: str) -> _Plan:
    plan = _two_teachers(dataset, ("long", "hasty"), epochs=SCALES[dataset].hasty)
    return plan._replace(reference="hasty", main="long")


def _smoothed(dataset: str) -> _Plan:
    return _two_teachers(dataset, ("hard", "smoothed"), label_smoothing=SMOOTHING)


def _patience(dataset: str) -> _Plan:
    scale = SCALES[dataset]
    lines: dict[str, Maker] = {}
    for name, epochs in (("short", scale.short), ("long", scale.long)):
        training = scale.training.replace(epochs=epochs, jitter_pixels=scale.jitter_pixels)
        baseline, taught = _story(dataset, training=training, transfer_set=scale.few, alpha=1.0).students()
        lines |= {f"{BASELINE}_{name}": baseline, name: taught}
    return _Plan(lambda _: (broken.teacher(dataset),), lines, "short", "long")


_PLANS: dict[str, Callable[[str], _Plan]] = {
    "small": _small,
    "gap": _gap,
    "same": _same,
    "fidelity": _fidelity,
    "longer": _longer,
    "smoothed": _smoothed,
    "patience": _patience,
}
NAMES = tuple(_PLANS)
