"""The experiments on the limits of distillation: a question, what is claimed of it, and the runs that answer it.

Their words are in catalogue.toml. Each compares two kinds of students over the same seeds: those of a seed start from
the same weights and see the images in the same order. All settings were fixed before the first run and none was changed
for its result. Nothing here trains: table.plan says which runs an experiment takes, outcome what came of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from kd_core.base.config import ConfigError
from kd_core.base.templates import Said, counted, prose, said
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
    own: whether its pair is somebody's own, of which nothing ships.
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
    own: bool = False

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


class _Setting(NamedTuple):
    """Where an experiment is made: its data set, its scale, and the teacher of small, gap and patience."""

    dataset: str
    scale: Scale
    giant: RunConfig | str
    giant_label: str
    own: bool


def title(name: str) -> str:
    """Return what an experiment of NAMES is called."""
    return Said(TEXTS[name]["title"])


def usual(dataset: str) -> StoryConfig:
    """Return the pair and budget of a data set's experiments: of most of SCALES' runs, else like its default story."""
    story, scale = StoryConfig.default(dataset).replace(temperature=4.0), SCALES.get(dataset)
    if scale is None:
        teacher_training, training = story.teacher_training, story.training.replace(jitter_pixels=0)
        return story.replace(teacher_training=teacher_training.replace(**_LAST), training=training.replace(**_LAST))
    networks = {"teacher": scale.teacher, "student": scale.student, "transfer_set": scale.part}
    return story.replace(teacher_training=scale.teacher_training, training=scale.training, **networks)


def _own(pair: StoryConfig) -> _Setting:
    """Make a scale of one's own pair: one student in all roles, and the teacher's training and images as they are."""
    short, few = pair.training.epochs, pair.transfer_set.fraction / 5
    scale = Scale(
        student=pair.student,
        small=pair.student,
        dwarf=pair.student,
        assistant=pair.student.widened or pair.student,
        teacher=pair.teacher,
        teacher_training=pair.teacher_training,
        hasty=max(1, pair.teacher_training.epochs // 10),
        training=pair.training,
        whole=pair.training,
        part=pair.transfer_set,
        few=pair.transfer_set.replace(fraction=few),
        short=short,
        long=10 * short,
        jitter_pixels=2,
    )
    giant = pair.teachers[0] if pair.teachers else pair.teacher_runs()[0]
    return _Setting(pair.dataset, scale, giant, pair.teacher.label, True)


def limit(name: str, dataset: str, pair: StoryConfig | None = None) -> Limit:
    """Return an experiment of NAMES on a data set of SCALES, or with a pair and budget of one's own.

    Raises ConfigError where it cannot be made with this pair.
    """
    if dataset in SCALES and pair in (None, usual(dataset)):
        ships = broken.teacher(dataset)
        of = _Setting(dataset, SCALES[dataset], ships, ships.model.label, False)
    else:
        of = _own(pair or usual(dataset))
    if name == "gap" and of.scale.assistant == of.scale.dwarf:
        raise ConfigError(said("{network} has no width that an assistant could double", network=of.scale.dwarf.label))
    plan, texts, values = _PLANS[name](of), TEXTS[name], _values(of)
    texts = texts | (texts.get("own", {}) if of.own else {})
    lines = tuple(Line(label, None, make) for label, make in plan.lines.items())
    called, question = title(name), Said(texts["question"], None, **values)
    experiment = Experiment(name, called, question, "", plan.teachers, lines, (plan.reference, plan.main))
    return Limit(
        name=name,
        dataset=dataset,
        title=called,
        question=question,
        answers={word: Said(text, None, **values) for word, text in texts["answers"].items()},
        setting=Said(texts["setting"], None, **values),
        labels={label: Said(texts["labels"][label], None, **values) for label in plan.lines},
        claims=tuple(Claim(**claim) for claim in texts["claims"]),
        experiment=experiment,
        reference=plan.reference,
        main=plan.main,
        fidelity=name == "fidelity",
        own=of.own,
    )


def _values(of: _Setting) -> dict[str, object]:
    """What the sentences of a data set's experiments name."""
    scale = of.scale
    teacher, examples = scale.teacher_training, info_of(of.dataset).train_examples
    return {
        "data": info_of(of.dataset).label,
        "student": scale.student.label,
        "small": scale.small.label,
        "dwarf": scale.dwarf.label,
        "assistant": scale.assistant.label,
        "giant": of.giant_label,
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


def _story(of: _Setting, **changes: Any) -> StoryConfig:
    scale = of.scale
    common = StoryConfig(
        dataset=of.dataset, student=scale.student, training=scale.training, transfer_set=scale.part, temperature=4.0
    )
    return common.replace(**changes)


def _of(make: Maker, place: int) -> Maker:
    """Return what makes a student of one teacher, by its place among the seed's."""
    return lambda seed, teachers: make(seed, teachers[place : place + 1])


def _small(of: _Setting) -> _Plan:
    story = _story(of, student=of.scale.small, alpha=1.0)
    cold, warm, hot = (story.replace(temperature=T).students()[1] for T in (1.0, 4.0, 20.0))
    lines = {BASELINE: story.students()[0], "cold": cold, "warm": warm, "hot": hot}
    return _Plan(lambda _: (of.giant,), lines, "warm", "hot")


def _gap(of: _Setting) -> _Plan:
    story = _story(of, student=of.scale.dwarf)
    _, assistant = story.replace(student=of.scale.assistant).students()
    baseline, taught = story.students()
    lines = {BASELINE: baseline, "direct": _of(taught, 0), "assisted": _of(taught, 1)}
    return _Plan(lambda _: (of.giant, assistant), lines, "direct", "assisted")


def _own_size(of: _Setting) -> tuple[Callable[[int], tuple[TaughtBy, ...]], StoryConfig]:
    """Return a seed's teacher, which has its student's size and starts elsewhere, and the story of that student."""
    scale = of.scale
    story = _story(of, training=scale.whole, transfer_set=TransferSetConfig(), alpha=1.0)
    teacher = RunConfig(role="teacher", dataset=of.dataset, model=scale.student, training=scale.whole)
    return lambda seed: (teacher.replace(seed=OTHER_SEED + seed),), story


def _same(of: _Setting) -> _Plan:
    teachers, story = _own_size(of)
    baseline, again = story.students()
    _, cold = story.replace(temperature=1.0).students()
    lines = {BASELINE: baseline, "teacher": lambda seed, _: _only(teachers(seed)), "cold": cold, "again": again}
    return _Plan(teachers, lines, BASELINE, "again")


def _only(teachers: tuple[TaughtBy, ...]) -> RunConfig:
    (teacher,) = teachers
    assert isinstance(teacher, RunConfig)  # noqa: S101
    return teacher


def _fidelity(of: _Setting) -> _Plan:
    teachers, story = _own_size(of)
    baseline, plain = story.students()
    _, shifted = story.replace(training=story.training.replace(jitter_pixels=of.scale.jitter_pixels)).students()
    lines = {BASELINE: baseline, "teacher": lambda seed, _: _only(teachers(seed)), "plain": plain, "shifted": shifted}
    return _Plan(teachers, lines, "plain", "shifted")


def _two_teachers(of: _Setting, names: tuple[str, str], **changes: object) -> _Plan:
    """Return students of a seed's two teachers: the usual one, and one whose training is changed, by these names."""
    scale, (baseline, taught) = of.scale, _story(of).students()
    usual = RunConfig(role="teacher", dataset=of.dataset, model=scale.teacher, training=scale.teacher_training)
    changed = usual.replace(training=scale.teacher_training.replace(**changes))
    lines: dict[str, Maker] = {
        BASELINE: baseline,
        f"teacher_{names[0]}": lambda seed, _: usual.replace(seed=seed),
        f"teacher_{names[1]}": lambda seed, _: changed.replace(seed=seed),
        names[0]: _of(taught, 0),
        names[1]: _of(taught, 1),
    }
    return _Plan(lambda seed: (usual.replace(seed=seed), changed.replace(seed=seed)), lines, *names)


def _longer(of: _Setting) -> _Plan:
    plan = _two_teachers(of, ("long", "hasty"), epochs=of.scale.hasty)
    return plan._replace(reference="hasty", main="long")


def _smoothed(of: _Setting) -> _Plan:
    return _two_teachers(of, ("hard", "smoothed"), label_smoothing=SMOOTHING)


def _patience(of: _Setting) -> _Plan:
    scale = of.scale
    lines: dict[str, Maker] = {}
    for name, epochs in (("short", scale.short), ("long", scale.long)):
        training = scale.training.replace(epochs=epochs, jitter_pixels=scale.jitter_pixels)
        baseline, taught = _story(of, training=training, transfer_set=scale.few, alpha=1.0).students()
        lines |= {f"{BASELINE}_{name}": baseline, name: taught}
    return _Plan(lambda _: (of.giant,), lines, "short", "long")


_PLANS: dict[str, Callable[[_Setting], _Plan]] = {
    "small": _small,
    "gap": _gap,
    "same": _same,
    "fidelity": _fidelity,
    "longer": _longer,
    "smoothed": _smoothed,
    "patience": _patience,
}
NAMES = tuple(_PLANS)
