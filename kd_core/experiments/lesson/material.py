"""What the lesson speaks of, computed from the models on screen: logits over a test set, and runs of several seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd_core.base.templates import said
from kd_core.data.catalogue import info_of
from kd_core.evaluation.accuracy import Labels, Logits, likest, predictions
from kd_core.evaluation.soft import entropy_bits, mean_soft_targets, softened

WARM = 4.0
"""The T at which likeness of classes is read."""
LEITMOTIF = 2
"""The class that the lesson follows where there are ten digits; elsewhere the one with the most to tell."""
SURE = 0.99
HOT_STUDENT, COLD_STUDENT = 100, 4
"""The temperatures of the students that ship."""
UNITS, FEW = 100, 0.1
"""Their hidden units; and the share of the training images of those that have few."""
PRINTED = (1010 - 133, 1010 - 14)
"""Of MNIST's threes, those that the student of Hinton et al. (section 3) knows that saw none, before and after."""
GRID = tuple(float(T) for T in np.geomspace(1, 100, 41))
MULTIPLY_ADD_PICOJOULES = 4.6
"""A float32 multiplication (3.7) and addition (0.9) in 45 nm: Horowitz, Computing's Energy Problem, ISSCC 2014."""


class Seeds(NamedTuple):
    """A story over seeds: test errors of baseline and student by seed, of so many examples; this: the seed shown."""

    data: str
    examples: int
    this: int
    errors: Mapping[int, tuple[int, int]]


class Missing(NamedTuple):
    """A student that never saw some classes of a data set: its logits over the test set, (N, K), and its labels.

    prior_bias: the one that the classes' prior asks for. printed: how many of them the paper's knows, and how many with
    its bias raised; None on other data.
    """

    dataset: str
    classes: tuple[int, ...]
    logits: Logits
    labels: Labels
    prior_bias: float
    printed: tuple[int, int] | None = None


class Students(NamedTuple):
    """Test errors of students that ship, by line and seed, of so many examples. fraction: of the images, of the few."""

    data: str
    examples: int
    fraction: float
    units: int
    errors: Mapping[str, Sequence[int]]


@dataclass(frozen=True, eq=False)
class Material:
    """The models of a lesson: logits over the test set, (N, K), of a teacher and of its student; labels (N,).

    digits: whether the classes are the ten digits. Without a student, the questions on it are not asked; nor are those
    on seeds, students and a missing class where these are None.
    """

    class_names: tuple[str, ...]
    labels: Labels
    teacher: Logits
    student: Logits | None
    digits: bool = False
    seeds: Seeds | None = None
    students: Students | None = None
    missing: Missing | None = None

    @cached_property
    def mean_soft(self) -> NDArray[np.float64]:
        """Mean soft targets of each class at WARM, (K, K)."""
        return mean_soft_targets(self.teacher, self.labels, WARM)

    @cached_property
    def subject(self) -> int:
        """The class that the lesson follows."""
        if self.digits:
            return LEITMOTIF
        shared = np.where(np.eye(len(self.mean_soft), dtype=bool), -1.0, np.nan_to_num(self.mean_soft, nan=-1.0))
        return int(shared.max(axis=1).argmax())

    @cached_property
    def by_likeness(self) -> list[int]:
        """The other classes, that most like the subject first."""
        row = self.mean_soft[self.subject]
        return [int(k) for k in np.argsort(-row, kind="stable") if k != self.subject]

    @cached_property
    def sure(self) -> int:
        """The first test image of the subject of which the teacher is SURE, and finds its likest class second.

        Where there is none, the one of which it is surest.
        """
        cold = softened(self.teacher, 1)
        order = np.argsort(-cold, axis=1, kind="stable")
        of_it = (self.labels == self.subject) & (order[:, 0] == self.subject)
        fits = of_it & (cold.max(axis=1) > SURE) & (order[:, 1] == likest(self.mean_soft)[self.subject])
        return int(np.flatnonzero(fits)[0] if fits.any() else np.where(of_it, cold[:, self.subject], -1).argmax())

    @cached_property
    def doubtful(self) -> int:
        """The test image, rightly classified, of which the teacher is least sure at T = 1."""
        entropy = entropy_bits(softened(self.teacher, 1))
        return int(np.where(predictions(self.teacher) == self.labels, entropy, -1).argmax())

    @cached_property
    def gradients(self) -> tuple[list[float], list[float]]:
        """Median size of the soft gradient over the test images at each T of GRID, bare and times T², as 1 at T = 1.

        Raises ValueError without a student.
        """
        bare = np.array([np.median(self.bare_gradient(T)) for T in GRID])
        bare /= max(bare[0], np.finfo(float).tiny)
        return bare.tolist(), (bare * np.square(GRID)).tolist()

    def bare_gradient(self, temperature: float) -> NDArray[np.float64]:
        """Norm of each image's soft gradient on the student's logits, without T², (N,): equation 2 of the paper."""
        if self.student is None:
            raise ValueError("there is no student to have a gradient")
        apart = softened(self.student, temperature) - softened(self.teacher, temperature)
        return np.asarray(np.linalg.norm(apart, axis=1) / temperature)

    @property
    def values(self) -> dict[str, object]:
        """Values for the placeholders of the steps' texts."""
        students, missing = self.students, self.missing
        return {
            "subject": self.class_names[self.subject],
            "likest": self.class_names[self.by_likeness[0]],
            "sure_share": f"{(softened(self.teacher, 1).max(axis=1) > SURE).mean():.0%}",
            "missing": said("class") if missing is None else listed(missing.classes),
            "missing_data": "" if missing is None else info_of(missing.dataset).label,
            "data": "" if students is None else students.data,
            "units": said("few") if students is None else students.units,
            "fraction": said("few") if students is None else f"{students.fraction:.0%}",
        }

    @property
    def alike(self) -> tuple[int, int, int]:
        """The subject, the class most like it, and that least like it."""
        return self.subject, self.by_likeness[0], self.by_likeness[-1]


def listed(classes: Sequence[int]) -> str:
    """Return classes in words: "3", "3 and 5"."""
    return reduce(lambda first, second: said("{first} and {second}", first=first, second=second), map(str, classes))


def microjoules(multiply_adds: int) -> float:
    """Return the energy of so many multiply-adds in float32, arithmetic alone."""
    return multiply_adds * MULTIPLY_ADD_PICOJOULES / 1e6
