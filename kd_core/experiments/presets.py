"""Stories by name: the quick demo, the paper's, the student that never saw a class."""

from collections.abc import Callable
from typing import NamedTuple

from kd_core.base.templates import prose
from kd_core.data.catalogue import TransferSetConfig, info_of
from kd_core.experiments.defaults import LIGHT_TEACHER, default_training
from kd_core.experiments.story import StoryConfig
from kd_core.models.config import PAPER_STUDENT, PAPER_TEACHER, ModelConfig


def quick_demo(dataset: str, seed: int = 0) -> StoryConfig:
    """Return the whole story in well under a minute on two cores.

    The teacher learns from all images and its students from few: there it helps most (docs/measurements/choices.md).
    """
    story = StoryConfig.default(dataset).replace(seed=seed)
    if dataset == "digits":
        return story.replace(
            training=story.training.replace(epochs=120, batch_size=32),
            temperature=4.0,
            transfer_set=TransferSetConfig(fraction=0.25),
        )
    if dataset == "mnist":
        return story.replace(
            teacher=LIGHT_TEACHER,
            teacher_training=story.teacher_training.replace(epochs=15),
            training=story.training.replace(epochs=30, batch_size=256, learning_rate=2e-3),
            transfer_set=TransferSetConfig(fraction=0.1),
        )
    return story


class Preset(NamedTuple):
    """A story with a name: what it shows, in a sentence, and the story itself on a data set.

    {one} and {name} stand for the class that never_seen names: 'a 3' and '3', say.
    """

    title: str
    shows: str
    story: Callable[[str], StoryConfig]


def _paper_student(dataset: str) -> StoryConfig:
    training = default_training("student", dataset).replace(epochs=20)
    return StoryConfig.default(dataset).replace(
        teacher=PAPER_TEACHER, student=PAPER_STUDENT, temperature=20.0, training=training
    )


def never_seen(dataset: str) -> int:
    """Return the class that the student of a preset never sees: 3, as in the paper, or the last of few classes."""
    return min(3, info_of(dataset).classes - 1)


def _never_saw_one(dataset: str) -> StoryConfig:
    others = tuple(label for label in range(info_of(dataset).classes) if label != never_seen(dataset))
    story = StoryConfig.default(dataset)
    return story.replace(transfer_set=TransferSetConfig(only_classes=others), temperature=max(4.0, story.temperature))


_STORIES: dict[str, Callable[[str], StoryConfig]] = {
    "demo": quick_demo,
    "paper": _paper_student,
    "tiny": lambda dataset: StoryConfig.default(dataset).replace(student=ModelConfig(hidden=(30, 30)), temperature=3.0),
    "unlabelled": lambda dataset: StoryConfig.default(dataset).replace(
        alpha=1.0, transfer_set=TransferSetConfig(labelled=False)
    ),
    "no_3": _never_saw_one,
}
PRESETS = {name: Preset(**prose(__file__)[name], story=story) for name, story in _STORIES.items()}


def digits_story() -> StoryConfig:
    """Return the smaller story that ships beside the paper's main experiment. It is not the quick demo."""
    return StoryConfig.default("digits").replace(
        teacher=ModelConfig(hidden=(400, 400), dropout_hidden=0.3),
        teacher_training=default_training("teacher", "digits").replace(epochs=80),
    )
