"""One call from two networks and two sets of examples to a trained student, its baseline, and how sure the gain is.

The losses, the loop and the statistics are those of the app; nothing of them is written twice here.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import index
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kd_core.base.config import ConfigError
from kd_core.evaluation.accuracy import Logits, test_errors
from kd_core.losses.config import DistillationConfig
from kd_core.losses.objectives.modules import settings_of
from kd_core.public.compared import LossesCompared
from kd_core.public.given import (
    Data,
    DataError,
    Given,
    Preprocess,
    check_classes,
    class_count,
    student_maker,
    teachers_of,
)
from kd_core.public.result import Result, Trained
from kd_core.training.config import Recipe, TrainingConfig
from kd_core.training.loop import Learning, train
from kd_core.training.records import EpochRecord, Record

Teacher = nn.Module | Sequence[nn.Module]
Student = nn.Module | Callable[[], nn.Module]


def distill(
    *,
    student: Student,
    teacher: Teacher,
    data: Data,
    temperature: float | None = None,
    alpha: float = 0.9,
    objective: str = "hinton",
    weights: Mapping[str, float] | None = None,
    seeds: int | Iterable[int] = 3,
    preprocess: Preprocess | None = None,
    class_names: Sequence[str] | None = None,
    progress: bool = True,
    **training: Any,
) -> Result:
    """Train a student with a teacher and without, for several seeds, and say what the teacher was worth.

    student: a module, whose weights every seed starts from, or a function or class that makes one, by torch's global
    generator, for first weights of each seed's own. teacher: a trained module, or several, whose average teaches. Both
    give logits (N, K); they are copied, so that yours stay as they are.
    data: (train, test), each a pair of inputs (N, …) and labels (N,), or a Dataset or DataLoader of such pairs, which
    is read once, into memory; or what photographs gives. preprocess: inputs (B, …) -> what the networks read, on every
    batch, such as lambda images: images / 255 of uint8 images.
    temperature: T, by default the objective's own, or 4. alpha: weight of the soft loss. objective, weights: as in
    docs/objectives.md. seeds: how many, counted from 0, or which. training: settings of
    kd_core.training.config.TrainingConfig, such as epochs=12, batch_size=128, learning_rate=1e-3, device="cuda".
    Baseline and distilled student of a seed have the same first weights and the same order of examples, and each takes
    the weights of its best epoch on a split of the training set; the test set chooses nothing.
    Raises LabError, in a sentence, for what cannot be trained.
    """
    chosen = settings_of(objective, temperature=temperature, alpha=alpha, weights=weights)
    pair = Pair.of(student, teacher, data, preprocess, class_names, training, progress)
    baselines, students = {}, {}
    for seed in _seeds(seeds):
        baselines[seed] = pair.trained(seed)
        students[seed] = pair.trained(seed, chosen)
    return Result(
        data=pair.data,
        settings=Recipe(distillation=chosen, training=pair.training),
        teacher_logits=pair.teacher_test_logits,
        teacher_parameters=sum(parameter.numel() for each in pair.teachers for parameter in each.parameters()),
        same_start=isinstance(student, nn.Module),
        taught_in_train_mode=any(each.training for each in ([teacher] if isinstance(teacher, nn.Module) else teacher)),
        baseline_runs=baselines,
        student_runs=students,
    )


def which_loss(
    *,
    student: Student,
    teacher: Teacher,
    data: Data,
    objectives: str | Sequence[str] = ("hinton", "logit_standardisation", "dkd", "dist", "nkd"),
    alpha: float = 0.9,
    seeds: int | Iterable[int] = 3,
    preprocess: Preprocess | None = None,
    class_names: Sequence[str] | None = None,
    progress: bool = True,
    **training: Any,
) -> LossesCompared:
    """Train a student with each of these objectives at its own settings, and without a teacher, on the same seeds.

    Arguments are those of distill. The result says which of them make fewer errors than the baseline or than Hinton's,
    after Holm's correction for so many comparisons.
    """
    objectives = (objectives,) if isinstance(objectives, str) else tuple(objectives)
    if not objectives:
        raise ConfigError("objectives names at least one, such as dkd")
    if "hinton" not in objectives:
        objectives = ("hinton", *objectives)
    settings = {
        name: settings_of(name, temperature=None, alpha=alpha, weights=None) for name in dict.fromkeys(objectives)
    }
    pair = Pair.of(student, teacher, data, preprocess, class_names, training, progress)
    lines: dict[str, dict[int, Trained]] = {name: {} for name in ("baseline", *settings)}
    for seed in _seeds(seeds):
        lines["baseline"][seed] = pair.trained(seed)
        for name, chosen in settings.items():
            lines[name][seed] = pair.trained(seed, chosen)
    wrong = test_errors(pair.teacher_test_logits, pair.data.test_labels.numpy())
    return LossesCompared(lines, pair.data, wrong)


class Pair(NamedTuple):
    """A student that can be made, its teachers, and what they learn from and are counted on.

    known: logits of the teachers over the training set, (M, N, K), in its order.
    """

    data: Given
    make: Callable[[], nn.Module]
    teachers: list[nn.Module]
    known: Tensor
    teacher_test_logits: Logits
    training: TrainingConfig
    progress: bool

    @classmethod
    def of(
        cls,
        student: Student,
        teacher: Teacher,
        data: Data,
        preprocess: Preprocess | None,
        class_names: Sequence[str] | None,
        training: Mapping[str, Any],
        progress: bool,
    ) -> "Pair":
        """Check that all of it fits together, and ask the teachers. Raises LabError."""
        settings = _training(training)
        with torch.random.fork_rng(devices=[]):
            make, teachers = student_maker(student), teachers_of(teacher)
            given = Given.of(data, preprocess, class_names)
            counts = {"student": class_count(make(), given, "student")}
            counts |= {f"teacher{i or ''}": class_count(each, given, "teacher") for i, each in enumerate(teachers)}
        given = check_classes(given, counts)
        _check_augmentation(settings, given)
        _say(progress, "the teacher looks at all examples")
        with torch.inference_mode():
            known = torch.stack([given.logits(each, given.train_images) for each in teachers])
            tested = torch.stack([given.logits(each, given.test_images) for each in teachers]).mean(dim=0)
        if not bool(known.isfinite().all()):
            raise DataError("the teacher gives logits that are no numbers for some of the training inputs")
        return cls(given, make, teachers, known.clone(), tested.numpy(), settings, progress)

    def trained(self, seed: int, distillation: DistillationConfig | None = None) -> Trained:
        """Train one student with this seed, or its baseline."""
        recipe = Recipe(distillation=distillation, training=self.training, seed=seed)
        role = "baseline" if distillation is None else f"distilled ({distillation.label})"
        taught = {} if distillation is None else {"teachers": self.teachers, "teacher_logits": self.known}
        start = time.perf_counter()
        with torch.random.fork_rng(devices=[]):
            learning = Learning(recipe, self.data, network=self.make, **taught)  # type: ignore[arg-type]
            epochs = []
            for record in self._recorded(learning):
                if isinstance(record, EpochRecord):
                    epochs.append(record)
                    self._say_epoch(seed, role, record, len(learning.validation_labels))
            model = learning.best_model()
        logits = self.data.logits(model.to(learning.device), self.data.test_images)
        _say(self.progress, "")
        return Trained(model.cpu(), logits.numpy(), tuple(epochs), learning.best_errors, time.perf_counter() - start)

    def _recorded(self, learning: Learning) -> Iterator[Record]:
        try:
            yield from train(learning)
        except ValueError as error:  # of torch's batch norm, most of all
            left = len(learning.images) % self.training.batch_size
            alone = (
                f": the last batch of an epoch holds {left} example, so choose another batch_size" if left == 1 else ""
            )
            raise DataError(f"the student cannot learn from a batch of these examples ({error}){alone}") from error

    def _say_epoch(self, seed: int, role: str, record: EpochRecord, validated: int) -> None:
        wrong = "" if record.validation_errors is None else f", {record.validation_errors} of {validated} wrong"
        _say(self.progress, f"seed {seed}, {role}: epoch {record.epoch} of {self.training.epochs}{wrong}")


def _training(settings: Mapping[str, Any]) -> TrainingConfig:
    """The app's defaults but for the batch, which suits sets of a few hundred examples too."""
    values = {"precision": "float32", "batch_size": 128, **settings}
    if "auto" in (values["precision"], values.get("memory_format")):
        raise ConfigError("auto follows from networks that KD Lab knows: choose precision float32 or bfloat16")
    return TrainingConfig(**values)


def _check_augmentation(settings: TrainingConfig, given: Given) -> None:
    """Raise DataError where inputs are no images that can be changed so."""
    names = ("jitter_pixels", "flip", "colour", "randaugment", "mixup", "cutmix")
    for name in (name for name in names if getattr(settings, name)):
        if given.train_images.ndim != 4:
            raise DataError(f"{name} changes images, (N, C, H, W), and these inputs are none: leave it out")
        if name in ("colour", "randaugment") and given.train_images.dtype != torch.uint8:
            raise DataError(
                f"{name} changes colours from 0 to 255: give uint8 images, and normalise them in preprocess"
            )


def _seeds(seeds: int | Iterable[int]) -> list[int]:
    try:
        chosen = list(range(seeds)) if isinstance(seeds, int) else [index(seed) for seed in dict.fromkeys(seeds)]
    except TypeError as error:
        raise ConfigError(f"seeds is how many, such as 3, or which, such as [0, 1], not {seeds!r}") from error
    if not chosen:
        raise ConfigError("seeds must be at least 1")
    return chosen


def _say(progress: bool, text: str) -> None:
    """Write over the line that stands there, on standard error."""
    if progress:
        print(f"\r{text:<100}", end="" if text else "\r", file=sys.stderr, flush=True)
