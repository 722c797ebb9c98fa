"""The students over which the lesson's questions are decided where no single run can: trained once, and shipped."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor, nn

from kd_core.data.catalogue import TransferSetConfig
from kd_core.data.dataset import Dataset
from kd_core.evaluation import accuracy, bias
from kd_core.evaluation.accuracy import Logits
from kd_core.experiments import paper, presets
from kd_core.experiments.lesson.material import COLD_STUDENT, FEW, HOT_STUDENT, UNITS
from kd_core.experiments.story import StoryConfig
from kd_core.models import build
from kd_core.models.config import ModelConfig
from kd_core.training import together
from kd_core.training.config import RunConfig

SEEDS, STORY_SEEDS = 5, 9
NEVER_SEEN = 3
_TEACHER = "the teacher that ships"


def lines() -> dict[str, list[RunConfig]]:
    """Return the students to train on digits, by line, a run for each seed.

    baseline, cold, hot: students of UNITS at two temperatures; story_baseline, story: of the story that ships; few,
    twice, taught: with FEW of the images, with twice as many, and with FEW and the teacher.
    """
    story = presets.digits_story()
    wide = story.replace(student=ModelConfig(hidden=(UNITS,)), alpha=1.0)
    few, twice = (story.replace(transfer_set=TransferSetConfig(fraction=times * FEW)) for times in (1, 2))
    return {
        "baseline": _baselines(wide, SEEDS),
        "cold": _distilled(wide.replace(temperature=float(COLD_STUDENT)), SEEDS),
        "hot": _distilled(wide.replace(temperature=float(HOT_STUDENT)), SEEDS),
        "story_baseline": _baselines(story, STORY_SEEDS),
        "story": _distilled(story, STORY_SEEDS),
        "few": _baselines(few, SEEDS),
        "twice": _baselines(twice, SEEDS),
        "taught": _distilled(few.replace(temperature=float(COLD_STUDENT)), SEEDS),
    }


def never_saw() -> RunConfig:
    """Return the student on digits that never sees a NEVER_SEEN."""
    others = tuple(label for label in range(10) if label != NEVER_SEEN)
    (student,) = _distilled(paper.SMALL.replace(transfer_set=TransferSetConfig(only_classes=others)), 1)
    return student


def _baselines(story: StoryConfig, seeds: int) -> list[RunConfig]:
    make, _ = story.students()
    return [make(seed, ()) for seed in range(seeds)]


def _distilled(story: StoryConfig, seeds: int) -> list[RunConfig]:
    _, make = story.students()
    return [make(seed, (_TEACHER,)) for seed in range(seeds)]


def trained(
    configs: Sequence[RunConfig], dataset: Dataset, teacher_logits: Tensor
) -> Iterator[tuple[RunConfig, nn.Module]]:
    """Train students of a teacher, whose logits over the training set are (N, K); yields each with its model."""
    for group in together.groups(configs):
        state = together.Together(group, dataset, teacher_logits[None])
        for _ in together.train_together(state):
            pass
        for place, config in enumerate(state.configs):
            yield config, state.student(place).best_model()


def errors_by_line(dataset: Dataset, teacher_logits: Tensor) -> dict[str, list[int]]:
    """Train all lines, and return their test errors by seed. teacher_logits: over the training set, (N, K)."""
    wanted = lines()
    every = list(dict.fromkeys(config for configs in wanted.values() for config in configs))
    errors = {}
    for config, model in trained(every, dataset, teacher_logits):
        logits = build.logits_of(model, dataset.test_images, dataset.normalise)
        errors[config] = accuracy.test_errors(logits.numpy(), dataset.test_labels.numpy())
    return {line: [errors[config] for config in configs] for line, configs in wanted.items()}


def logits_and_prior(model: nn.Module, dataset: Dataset, missing: Sequence[int]) -> tuple[Logits, float]:
    """Return a model's logits over the test set, (N, K), and the bias that gives missing classes their prior."""
    logits = build.logits_of(model, dataset.train_images, dataset.normalise).numpy()
    share = float(np.isin(dataset.train_labels.numpy(), [*missing]).mean())
    test = build.logits_of(model, dataset.test_images, dataset.normalise).numpy()
    return test, bias.bias_for_share(logits, [*missing], share)
