"""What a distilled run and the runs around it left, read from the store for kd_core.experiments.advice.after.

Nothing is judged here. What is not there, or cannot be compared, is None.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd_core.base.config import LabError
from kd_core.base.templates import said
from kd_core.data.paths import available
from kd_core.evaluation import accuracy, statistics
from kd_core.evaluation.accuracy import Labels, Logits
from kd_core.evaluation.statistics import McNemar
from kd_core.experiments.story import StoryConfig, baseline_of, pairs, repeats
from kd_core.runs.run import ACTIVE, Run
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig, split_of

SAMPLE = 2000
"""Images of the transfer set whose soft targets are looked at: a mean over them is off by 1 / sqrt(2000) of its
spread."""
ASKED = 500
"""As many where the teacher has to be asked, because it left no logits over the training set."""


class Shown(NamedTuple):
    """What the teacher says of images that the student learns from, (N, K), with their labels, (N,)."""

    teacher_logits: Logits
    labels: Labels


class Judged(NamedTuple):
    """Logits over the student's validation split, (N, K), with its labels, (N,)."""

    labels: Labels
    student: Logits
    baseline: Logits | None
    teacher: Logits | None


class OnTheTestSet(NamedTuple):
    """A teacher beside its pupil without it, the baseline or else the student itself, on so many test images."""

    errors: int
    pupil_errors: int
    images: int
    compared: McNemar


class Evidence(NamedTuple):
    """A distilled run by its own numbers.

    story: what was done, its teachers being the trained runs. epochs: the run's epoch records. parameters: of the
    student, and of the largest of its teachers. teacher_errors: how many of how many images that it has not learned
    from the teacher gets wrong. teacher_tested: where that is not known, as of an external one: teacher_external.
    teacher_stopped: Run.stopped_said of its teachers, where any was.
    compared: baseline and student on the test set. pairs: their test errors by seed.
    """

    run: RunConfig
    story: StoryConfig
    finished: bool
    epochs: Sequence[Mapping[str, Any]]
    epochs_done: float
    parameters: tuple[int, int | None]
    shown: Shown | None = None
    judged: Judged | None = None
    teacher_errors: tuple[int, int] | None = None
    teacher_tested: OnTheTestSet | None = None
    teacher_external: bool = False
    teacher_stopped: str = ""
    compared: McNemar | None = None
    pairs: Mapping[int, tuple[int, int]] = {}


def can_be_read(run: Run) -> bool:
    """Return whether advice is possible: on a distilled student that has ended and left weights.

    Not of one that was made with a mistake on purpose: what is wrong with it is known.
    """
    meant = run.config.distillation is not None and run.config.mistake is None
    return meant and run.usable and run.status not in ACTIVE


def related(store: Store, run: Run) -> list[Run]:
    """Return the run, its baseline, its teachers and its repeats: what evidence_of reads."""
    known = store.listing()
    teachers = store.some(run.config.distillation.teachers) if run.config.distillation else []
    baseline = baseline_of(run, known)
    others = [] if baseline is None else [baseline, *repeats(baseline, known)]
    return [*{other.id: other for other in (run, *teachers, *repeats(run, known), *others)}.values()]


def evidence_of(store: Store, run: Run) -> Evidence:
    """Read the evidence on a run of which can_be_read. Raises LabError where its files cannot be read."""
    if not can_be_read(run) or run.config.distillation is None:
        raise LabError(
            said(
                "run {id} is no distilled student that was trained as it should be: there is nothing to advise on",
                id=run.id,
            )
        )
    known = store.listing()
    teachers = store.some(run.config.distillation.teachers)
    baseline = baseline_of(run, known)
    configs = [run.settled] if baseline is None else [baseline.settled, run.settled]
    sizes = [size for teacher in teachers if (size := teacher.results.get("parameters"))]  # of a black box unknown
    is_here = available(run.config.dataset)  # advice is no reason to download anything
    shown, judged, own = _logits(store, run, baseline, teachers) if is_here else (None, None, None)
    return Evidence(
        run=run.config,
        story=StoryConfig.of_runs(configs, [teacher.settled for teacher in teachers]),
        finished=run.status == "finished",
        epochs=store.records(run.id, "epoch"),
        epochs_done=run.results["epochs"],
        parameters=(run.results["parameters"] or 0, max(sizes, default=None)),
        shown=shown,
        judged=judged,
        teacher_errors=own,
        teacher_tested=_tested(store, teachers, baseline or run) if is_here and own is None else None,
        teacher_external=any(not teacher.config.trained_here for teacher in teachers),
        teacher_stopped=next((teacher.stopped_said for teacher in teachers if teacher.stopped_said), ""),
        compared=_compared(store, run, baseline) if is_here and baseline is not None else None,
        pairs={} if baseline is None else pairs(baseline, run, known),
    )


def _compared(store: Store, run: Run, baseline: Run) -> McNemar:
    return statistics.mcnemar(*_on_the_test_set(store, baseline, run))


def _tested(store: Store, teachers: Sequence[Run], pupil: Run) -> OnTheTestSet | None:
    """Compare a single teacher of the same data set with its pupil; None of any other."""
    if len(teachers) != 1 or teachers[0].config.dataset != pupil.config.dataset or not teachers[0].usable:
        return None
    first, second, labels = _on_the_test_set(store, teachers[0], pupil)
    errors, pupil_errors = (accuracy.test_errors(logits, labels) for logits in (first, second))
    return OnTheTestSet(errors, pupil_errors, len(labels), statistics.mcnemar(first, second, labels))


def _on_the_test_set(store: Store, first: Run, second: Run) -> tuple[Logits, Logits, Labels]:
    from kd_core.data import load
    from kd_core.runs import artifacts

    labels = load.load(second.config.dataset, storage=store.storage).test_labels.numpy()
    return artifacts.test_logits(store.folder(first.id)), artifacts.test_logits(store.folder(second.id)), labels


def _logits(
    store: Store, run: Run, baseline: Run | None, teachers: Sequence[Run]
) -> tuple[Shown | None, Judged | None, tuple[int, int] | None]:
    """Read logits over the transfer set and the validation split, and the teacher's errors."""
    from kd_core.data import load
    from kd_core.runs import artifacts

    dataset = load.load(run.config.dataset, storage=store.storage)
    learned, chosen_by = (part.numpy() for part in split_of(dataset, run.config))
    kept = artifacts.validation_logits(store.folder(run.id))
    rows = np.arange(len(chosen_by))
    teaching = _teaching(store, run, teachers)
    if teaching is not None:
        rows = _spread_over(rows, teaching.most_judged)
        learned = _spread_over(learned, teaching.most_shown)
    shown = None if teaching is None else Shown(teaching.of(learned), dataset.train_labels.numpy()[learned])
    judged = None
    if kept is not None:
        theirs = None if baseline is None else artifacts.validation_logits(store.folder(baseline.id))
        judged = Judged(
            kept[1][rows],
            kept[0][rows],
            None if theirs is None else theirs[0][rows],
            None if teaching is None else teaching.of(chosen_by[rows]),
        )
    return shown, judged, _errors_unseen(run, teachers, judged)


def _errors_unseen(run: Run, teachers: Sequence[Run], judged: Judged | None) -> tuple[int, int] | None:
    """Return (errors, images) of the teacher on images that it has not learned from.

    On the student's validation split where it is a part of the teacher's own: a split of the same seed, and a larger
    one holds the smaller (Dataset.split). Else, of one teacher, as its own validation split counted them. None of an
    external teacher, or of one that went on from another run: this one cannot say what it learned from.
    """
    if any(not teacher.config.trained_here or teacher.config.continues is not None for teacher in teachers):
        return None

    def left_out(teacher: RunConfig) -> bool:
        same = teacher.dataset == run.config.dataset and teacher.seed == run.config.seed
        return same and teacher.training.validation_fraction >= run.config.training.validation_fraction

    if judged is not None and judged.teacher is not None and all(left_out(teacher.config) for teacher in teachers):
        return accuracy.test_errors(judged.teacher, judged.labels), len(judged.labels)
    results = teachers[0].results if len(teachers) == 1 else {}
    errors, examples = results.get("validation_errors"), results.get("validation_examples")
    return (errors, examples) if errors is not None and examples else None


class _Teaching(NamedTuple):
    """What the teachers together say of training images: of maps their indices (N,) to logits (N, K)."""

    of: Callable[[NDArray[np.int64]], Logits]
    most_shown: int
    most_judged: int


def _teaching(store: Store, run: Run, teachers: Sequence[Run]) -> _Teaching | None:
    """Read the teachers' logits, or compute them where there are none. None where a teacher is gone."""
    import torch

    from kd_core.data import load
    from kd_core.losses import hinton
    from kd_core.models import build
    from kd_core.runs import artifacts

    distillation = run.config.distillation
    if distillation is None or len(teachers) < len(set(distillation.teachers)):
        return None
    temperature, average = distillation.temperature, distillation.average
    dataset = load.load(run.config.dataset, storage=store.storage)
    left = artifacts.training_logits([*map(store.folder, distillation.teachers)], run.config.dataset)

    models = (
        [] if left is not None else [artifacts.load_model(store.folder(teacher.id), dataset) for teacher in teachers]
    )

    def logits(indices: NDArray[np.int64]) -> Logits:
        chosen = torch.from_numpy(indices)
        if left is not None:
            members = left[:, chosen]
        else:
            images = dataset.train_images[chosen]
            members = torch.stack([build.logits_of(model, images, dataset.normalise) for model in models])
        return hinton.ensemble_logits(members, temperature=temperature, average=average).numpy()

    return _Teaching(logits, ASKED, ASKED) if models else _Teaching(logits, SAMPLE, len(dataset.train_labels))


def _spread_over(indices: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return at most so many of the indices, evenly spread."""
    return indices if len(indices) <= most else indices[np.linspace(0, len(indices) - 1, most).astype(np.int64)]
