"""Which reading of a teacher's file is right, where its user did not say: tried on training images.

The right one is what the weights were trained for, so it fits them best. The test set has no say.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kd_core.exchange.teacher.readings import Reading, Ways, best_columns
from kd_core.exchange.teacher.trial import Question
from kd_core.exchange.teacher.weights import TeacherError
from kd_core.models import build

Tell = Callable[[str, float], None]
"""Hears what is being done, with the share done, 0 to 1."""
FEW_IMAGES, MOST_IMAGES, BLACK_BOX_IMAGES = 64, 1000, 256
"""Training images on which all readings are tried, and then the best; a black box tells nothing of its costs."""
MULTIPLY_ADDS = 2e12
"""That the second round may take: else it tries fewer images."""
FINALISTS, EACH_CLASS = 5, 5
SURE = 0.01
"""Below this chance of a difference so large among equals, one reading is better than another."""


class Score(NamedTuple):
    """Of the same N images: which it gets wrong, and its cross-entropy at the temperature that suits it best.

    A temperature of its own, because what is read in too large numbers would else look surer, not better.
    """

    wrong: NDArray[np.bool_]
    losses: NDArray[np.float64]

    @property
    def rank(self) -> tuple[int, float]:
        """The lower, the better."""
        return int(self.wrong.sum()), float(self.losses.mean())

    @property
    def sentence(self) -> str:
        """It as a count."""
        return f"{self.rank[0]:,} of {len(self.wrong):,} training images wrong"

    def beats(self, other: "Score") -> bool:
        """Whether it is better by more than chance: in errors (McNemar's exact test), or else in cross-entropy."""
        from scipy.stats import binomtest, ttest_rel

        mine, theirs = int((self.wrong & ~other.wrong).sum()), int((other.wrong & ~self.wrong).sum())
        if mine + theirs and binomtest(min(mine, theirs), mine + theirs).pvalue < SURE:
            return mine < theirs
        if mine > theirs or (self.losses >= other.losses).all() or np.ptp(other.losses - self.losses) == 0:
            return False
        return bool(ttest_rel(self.losses, other.losses, alternative="less").pvalue < SURE)


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
        """The reading that does best as its user answered; the usual one unless another is better by more than chance.

        Raises TeacherError where it can be asked in none.
        """
        ways, tried = self._ways, list(self._ways.all())
        ranked = self._ranked(tried, "Trying ways to read it", 0.0)
        usual = next((reading for reading in tried if reading in ranked and ways.allows(reading)), None)
        if usual is None:
            raise TeacherError(f"This file cannot be asked of such images ({self._problem}): state what it reads.")
        evaluations = 2 * FINALISTS + sum(map(len, ways.questions.values()))
        made = ways.made(usual)
        if made.model.opaque:
            self._draw(BLACK_BOX_IMAGES)
        else:
            once = build.multiply_adds(made.core, made.facts["shape"] or ways.dataset.image_shape)
            self._draw(int(min(MOST_IMAGES, max(FEW_IMAGES, MULTIPLY_ADDS / (once * evaluations)))))
        allowed = [reading for reading in ranked if ways.allows(reading)]
        others = self._ranked([usual, *allowed[:FINALISTS], *ranked[:FINALISTS]], "Comparing the best", 0.5)
        allowed = [reading for reading in others if ways.allows(reading)]
        taken = self._walked(self._better(allowed, usual))
        best, logits = self._better(others, taken), ways.logits(taken, self._images)
        columns, score = ways.columns(logits, self._labels), self._score(best)
        return Chosen(
            reading=taken,
            others=[reading for reading in allowed if reading != taken],
            questions=tuple(self._questions(taken)),
            columns=columns,
            better=None if best == taken or score is None else (best, score),
            order=self._order(logits) if columns is None else None,
        )

    def _walked(self, reading: Reading) -> Reading:
        """The reading after every change of one answer that makes it better."""
        for question, options in self._ways.questions.items():
            near = [{**reading, question: option} for option in options]
            reading = self._better(self._ranked(filter(self._ways.allows, near), "Comparing the best", 0.8), reading)
        return reading

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
        """Those that can be asked, the best first."""
        scored: list[tuple[tuple[int, float], Reading]] = []
        for done, reading in enumerate(readings):
            score = self._score(reading)
            if score is not None and not any(reading == other for _, other in scored):
                scored.append((score.rank, reading))
            self._tell(f"{words} ({done + 1:,})", begun)
        return [reading for _, reading in sorted(scored, key=lambda pair: pair[0])]

    def _better(self, ranked: Sequence[Reading], than: Reading) -> Reading:
        """The best of some if it beats another, else that."""
        best, other = self._score(ranked[0]), self._score(than)
        return ranked[0] if best is not None and (other is None or best.beats(other)) else than

    def _questions(self, taken: Reading) -> Iterable[Question]:
        for name, options in self._ways.questions.items():
            scores = {option: self._score({**taken, name: option}) for option in options}
            wrong = {option: score.rank[0] for option, score in scores.items() if score is not None}
            if len(wrong) > 1:
                yield Question(name, taken[name], wrong, len(self._images))

    def _order(self, logits: Tensor) -> tuple[list[int], Score] | None:
        """Another order of its classes, where that explains most of its errors; not told of a few images of each."""
        if len(self._labels) < EACH_CLASS * logits.shape[1]:
            return None
        order = best_columns(logits, self._labels, logits.shape[1])
        now, then = _scored(logits, self._labels), _scored(logits[:, order], self._labels)
        return (order, then) if 2 * then.rank[0] < now.rank[0] and then.beats(now) else None


def _scored(logits: Tensor, labels: NDArray[np.int64]) -> Score:
    truth, values = torch.from_numpy(labels), logits.double().nan_to_num(posinf=1e30, neginf=-1e30)
    wrong = (values.argmax(dim=1) != truth) | ~logits.isfinite().all(dim=1)
    values = (values - values.mean(dim=1, keepdim=True)) / values.std().clamp_min(1e-30)
    losses = [nn.functional.cross_entropy(values * 2.0**power, truth, reduction="none") for power in range(-3, 7)]
    return Score(wrong.numpy(), min(losses, key=lambda loss: float(loss.mean())).numpy())
