"""Which reading of a teacher's file is right, where its user did not say: tried on training images.

The test set has no say. The usual reading stands unless another makes far fewer errors. Where several do, the
gradient of the loss tells: weights were trained until it was small, so read otherwise it is larger. Measured on 28 mlps
of 64-64 units on digits (7 activations, two pixel conventions, label smoothing 0 and 0.1; torch 2.13): among readings
with about the fewest errors, the one of the smallest gradient had the pixels right 28 times, pixels and activation 15
times, and the one of the smallest loss both 10 times. The activations missed were siblings (ReLU, GELU, SiLU), which
make as many errors.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kd_core.base.templates import Said, said
from kd_core.exchange.teacher.readings import Reading, Ways, best_columns
from kd_core.exchange.teacher.trial import Question
from kd_core.exchange.teacher.weights import TeacherError
from kd_core.models import build

COMPARING = said("Comparing the best ({count:,})")
Tell = Callable[[str, float], None]
"""Hears what is being done, with the share done, 0 to 1."""
FEW_IMAGES, MOST_IMAGES, BLACK_BOX_IMAGES = 64, 1000, 256
"""Training images on which all readings are tried, and then the best; a black box tells nothing of its costs."""
MULTIPLY_ADDS = 2e12
"""That the second round may take: else it tries fewer images."""
FINALISTS, EACH_CLASS = 8, 5
GRADIENT_IMAGES = 256
SMOOTHING = 0.1
"""Of the labels for the gradient: without it, it is 0 wherever logits are large enough."""
SURE = 0.01
"""Below this chance of a difference so large among equals, one reading is better than another."""


class Score(NamedTuple):
    """Which of the same N images a reading gets wrong."""

    wrong: NDArray[np.bool_]

    @property
    def errors(self) -> int:
        return int(self.wrong.sum())

    @property
    def sentence(self) -> Said:
        """It as a count."""
        return said("{errors:,} of {images:,} training images wrong", errors=self.errors, images=len(self.wrong))

    def beats(self, other: "Score") -> bool:
        """Whether it makes fewer errors by more than chance: McNemar's exact test."""
        from scipy.stats import binomtest

        mine, theirs = int((self.wrong & ~other.wrong).sum()), int((other.wrong & ~self.wrong).sum())
        return mine < theirs and bool(binomtest(mine, mine + theirs).pvalue < SURE)

    def explains(self, other: "Score") -> bool:
        """Whether it leaves at most half of the other's errors, and beats it."""
        return 2 * self.errors <= other.errors and self.beats(other)


class Chosen(NamedTuple):
    """The reading that is taken, and others, the best first. questions: with their numbers.

    columns: which of its classes are the data set's, None for all. better: a reading that its user's answers exclude,
    though it does better. order: of its classes, in which it does better. Each with its score.
    """

    reading: Reading
    others: list[Reading]
    questions: tuple[Question, ...]
    columns: list[int] | None
    better: tuple[Reading, Score] | None
    order: tuple[list[int], Score] | None


class Search:
    """Readings of a file, scored on training images drawn once."""

    def __init__(self, ways: Ways, tell: Tell) -> None:
        self._ways, self._tell = ways, tell
        self._drawn = torch.randperm(len(ways.dataset.train_labels), generator=torch.Generator().manual_seed(0))
        self._problem = ""
        self._draw(FEW_IMAGES)

    def _draw(self, count: int) -> None:
        rows = self._drawn[:count].sort().values
        self._images = self._ways.dataset.train_images[rows]
        self._labels = self._ways.dataset.train_labels[rows].numpy()
        self._scores: dict[tuple[str, ...], Score | None] = {}

    def choose(self) -> Chosen:
        """The reading that does best as its user answered, usual in all that makes no difference.

        Raises TeacherError where it can be asked in none.
        """
        ways, tried = self._ways, list(self._ways.all())
        ranked = self._ranked(tried, said("Trying ways to read it ({count:,})"), 0.0)
        usual = next((reading for reading in tried if reading in ranked and ways.allows(reading)), None)
        if usual is None:
            raise TeacherError(
                said("This file cannot be asked of such images ({why}): state what it reads.", why=self._problem)
            )
        evaluations = 2 * FINALISTS + sum(map(len, ways.questions.values()))
        made = ways.made(usual)
        if made.model.opaque:
            self._draw(BLACK_BOX_IMAGES)
        else:
            once = build.multiply_adds(made.core, made.facts["shape"] or ways.dataset.image_shape)
            self._draw(int(min(MOST_IMAGES, max(FEW_IMAGES, MULTIPLY_ADDS / (once * evaluations)))))
        allowed = [reading for reading in ranked if ways.allows(reading)]
        others = self._ranked([usual, *allowed[:FINALISTS], *ranked[:FINALISTS]], COMPARING, 0.5)
        taken = self._better(filter(ways.allows, others), usual)
        for question, options in ways.questions.items():
            changed = [{**taken, question: option} for option in options]
            near = self._ranked(filter(ways.allows, changed), COMPARING, 0.8)
            taken = self._better(near, {**taken, question: usual[question]})
            others += [reading for reading in near if reading not in others]
        best, logits = self._better(others, taken), ways.logits(taken, self._images)
        columns, now, then = ways.columns(logits, self._labels), self._score(taken), self._score(best)
        others = self._ranked(filter(ways.allows, others), COMPARING, 0.9)
        return Chosen(
            reading=taken,
            others=[reading for reading in others if reading != taken],
            questions=tuple(self._questions(taken)),
            columns=columns,
            better=(best, then) if now and then and then.explains(now) else None,
            order=self._order(logits) if columns is None else None,
        )

    def _score(self, reading: Reading) -> Score | None:
        """None where it cannot be asked so."""
        key = tuple(reading.values())
        if key not in self._scores:
            self._scores[key] = None
            try:
                logits = self._ways.logits(reading, self._images)
                columns = self._ways.columns(logits, self._labels)
                score = _scored(logits if columns is None else logits[:, columns], self._labels)
                order = self._order(logits) if columns is None else None
                self._scores[key] = score if order is None else order[1]
            except (RuntimeError, ValueError, AssertionError) as error:  # images too small for it, say
                if "memory" in str(error):
                    raise
                self._problem = self._problem or " ".join(str(error).split())[:160]
        return self._scores[key]

    def _ranked(self, readings: Iterable[Reading], words: str, begun: float) -> list[Reading]:
        """Those that can be asked, the fewest errors first."""
        scored: list[tuple[int, Reading]] = []
        for done, reading in enumerate(readings):
            score = self._score(reading)
            if score is not None and not any(reading == other for _, other in scored):
                scored.append((score.errors, reading))
            self._tell(said(words, count=done + 1), begun)
        return [reading for _, reading in sorted(scored, key=lambda pair: pair[0])]

    def _better(self, readings: Iterable[Reading], than: Reading) -> Reading:
        """A reading, or where it is beaten the one of the smallest gradient among those that are as good as the best.

        Fewer errors alone do not beat it: a network that has learned little may err somewhat less as what it is not
        (386 times for 418 as GELU for ReLU). They have to be half as many, or the gradient half as large.
        """
        known = self._score(than)
        scores = [(reading, score) for reading in [than, *readings] if (score := self._score(reading)) is not None]
        best, errors = min(scores, key=lambda pair: pair[1].errors)
        as_good = [reading for reading, score in scores if not errors.beats(score)]
        if known is not None and than in as_good:
            return than
        best = min(as_good, key=self._gradient)
        if known is None or errors.explains(known) or 2 * self._gradient(best) <= self._gradient(than):
            return best
        return than

    def _gradient(self, reading: Reading) -> float:
        """The length of the gradient of the cross-entropy by all weights; 0 of a black box, which shows none."""
        made = self._ways.made(reading)
        if made.model.opaque:
            return 0.0
        made.core.zero_grad()
        images = self._ways.prepared(reading, self._images[:GRADIENT_IMAGES])
        labels = torch.from_numpy(self._labels[:GRADIENT_IMAGES])
        loss = nn.functional.cross_entropy(made.core(images), labels, label_smoothing=SMOOTHING)
        gradients = torch.autograd.grad(loss, [*made.core.parameters()], allow_unused=True)
        return float(sum(part.square().sum() for part in gradients if part is not None) ** 0.5)

    def _questions(self, taken: Reading) -> Iterable[Question]:
        for name, options in self._ways.questions.items():
            scores = {option: self._score({**taken, name: option}) for option in options}
            wrong = {option: score.errors for option, score in scores.items() if score is not None}
            if len(wrong) > 1:
                yield Question(name, taken[name], wrong, len(self._images))

    def _order(self, logits: Tensor) -> tuple[list[int], Score] | None:
        """Another order of its classes, where that explains most of its errors; not told of a few images of each."""
        if len(self._labels) < EACH_CLASS * logits.shape[1]:
            return None
        order = best_columns(logits, self._labels, logits.shape[1])
        now, then = _scored(logits, self._labels), _scored(logits[:, order], self._labels)
        return (order, then) if then.explains(now) else None


def _scored(logits: Tensor, labels: NDArray[np.int64]) -> Score:
    right = (logits.argmax(dim=1) == torch.from_numpy(labels)) & logits.isfinite().all(dim=1)
    return Score(~right.numpy())
