"""What an objective is: what it may read of a batch, its numbers, and what it says of itself."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kd_core.base.templates import Said, said

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kd_core.models.taps import Taps

Needs = Literal["logits", "features", "maps"]


class Batch(NamedTuple):
    """What an objective may read of N examples.

    student_logits, teacher_logits: (N, K). labels: (N,) int64, or (N, K) shares of mixed images; None where the run
    reads none. indices: (N,) int64, the examples' positions in the run's training images, for an objective that
    remembers examples. The taps, the teacher's without gradient, and the projector are there where the objective asks
    for them.
    """

    student_logits: "Tensor"
    teacher_logits: "Tensor"
    labels: "Tensor | None"
    indices: "Tensor"
    student_taps: "Taps | None" = None
    teacher_taps: "Taps | None" = None
    projector: "nn.Module | None" = None

    @property
    def logits(self) -> "tuple[Tensor, Tensor]":
        """Logits of student and teacher."""
        return self.student_logits, self.teacher_logits

    @property
    def known_labels(self) -> "Tensor":
        """The labels, of an objective that reads them."""
        if self.labels is None:
            raise ValueError("this objective reads labels")
        return self.labels

    @property
    def taps(self) -> "tuple[Taps, Taps]":
        """What student and teacher show beside their logits."""
        if self.student_taps is None or self.teacher_taps is None:
            raise ValueError("this objective reads what networks show beside their logits")
        return self.student_taps, self.teacher_taps

    @property
    def features(self) -> "tuple[Tensor, Tensor]":
        """What feeds the last layer of student and teacher, (N, D) and (N, E)."""
        student, teacher = self.taps
        return student.features, teacher.features

    def projected(self, *inputs: "Tensor | None") -> "Tensor":
        """What the objective's projector makes of these."""
        if self.projector is None:
            raise ValueError("this objective has a projector")
        output: Tensor = self.projector(*inputs)
        return output


class Settings(NamedTuple):
    """The numbers of an objective, as they stand at this step."""

    temperature: float
    t_squared: bool
    weights: Mapping[str, float]

    @property
    def softening(self) -> dict[str, Any]:
        """Temperature and t_squared as keyword arguments."""
        return {"temperature": self.temperature, "t_squared": self.t_squared}

    @property
    def keywords(self) -> dict[str, Any]:
        """Temperature, t_squared and every weight but that of the hard loss as keyword arguments."""
        return self.softening | {name: weight for name, weight in self.weights.items() if name != "hard"}


class Sample(NamedTuple):
    """What a projector is made for: taps of a few examples, and how many examples the run trains on."""

    student: "Taps"
    teacher: "Taps"
    examples: int


class Weight(NamedTuple):
    """A number that an objective weighs a term by, from 0 to most. symbol: LaTeX, as in the objective's formula."""

    default: float
    symbol: str
    meaning: str
    most: float = 10_000.0


class ObjectiveInfo(NamedTuple):
    """An objective: what computes it, and what people read of it.

    soft_loss: its soft loss on a batch, a scalar. projector: builds the module that it trains beside the student, after
    the student, so that the student's first weights are those of its baseline. The module's parameters are trained with
    the student's, by one optimiser, and its whole state is in checkpoints; what is exported is the student alone. None
    for most. needs: "features" or "maps" run student and teacher through taps.tapped on every batch.
    formula: of the soft loss, in LaTeX as an aligned environment takes it, narrow enough for a phone. where: what its
    symbols mean, beside T, y, CE and p, which is softmax(z / T) of student s and teacher t. An objective whose weights
    name `hard` weighs the cross-entropy with the labels by it, loss = soft_loss + hard * hard_loss, and alpha plays no
    part; any other is mixed by alpha as Hinton's is.
    of_two_classes: what it cannot teach where there are two classes, in a sentence; empty where nothing is lost.
    differs: where it is not as in the authors' code, in a sentence; empty where nothing is known to differ.
    temperature: its own default, None where the data set's serves. matches_logits: it compares logits themselves, so
    that several teachers average these, whatever `ensemble` says. nats: the unit of its soft loss, which has none else.
    """

    label: str
    soft_loss: Callable[[Batch, Settings], "Tensor"]
    formula: str
    source: str
    when: str
    defaults_from: str
    weights: Mapping[str, Weight] = {}
    temperature: float | None = None
    uses_temperature: bool = True
    matches_logits: bool = False
    nats: bool = True
    needs_labels: bool = False
    needs: Needs = "logits"
    projector: Callable[[Sample], "nn.Module"] | None = None
    where: str = ""
    differs: str = ""
    of_two_classes: str = ""

    @property
    def mixed(self) -> bool:
        """Whether alpha weighs soft and hard loss, as in Hinton's; else the objective's own weights do."""
        return "hard" not in self.weights


def described(texts: Mapping[str, Any], soft_loss: Callable[[Batch, Settings], "Tensor"], **more: Any) -> ObjectiveInfo:
    """Return the objective that these texts describe: a section of the TOML files beside this module."""
    weights = {name: _weight(**weight) if weight else HARD for name, weight in texts.get("weights", {}).items()}
    sentences: dict[str, Any] = {name: Said(text) for name, text in texts.items() if name != "weights"}
    return ObjectiveInfo(soft_loss=soft_loss, weights=weights, **sentences, **more)


def _weight(meaning: str, **more: Any) -> Weight:
    return Weight(meaning=Said(meaning), **more)


HARD = Weight(1.0, r"w_\mathrm{hard}", said("weight of the cross-entropy with the labels"))
