"""The ways in which a teacher's file can be read, where names and shapes leave that open.

An activation, a stride, what its pixels were, which of several sets of weights: none of it stands in the file. Each is
a question with options. Whoever brings the file may answer it; kd_core.exchange.teacher.search tries the others.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kd_core.base.config import LabError
from kd_core.base.templates import said
from kd_core.data.dataset import Dataset
from kd_core.exchange.teacher.trial import Ask
from kd_core.exchange.teacher.weights import Fitted, TeacherError, Weights, fitted, read_weights, recognised
from kd_core.models import black_box, build, pixels
from kd_core.models.architectures import stock
from kd_core.models.black_box import BlackBox
from kd_core.models.config import BLACK_BOX, PIXELS, ExternalConfig, ModelConfig

Reading = Mapping[str, str]
"""Question -> option."""
STATED, ITS_OWN = "stated", "its own"
"""Options: the mean and deviation that a user states; what the file has no name for."""
STATEMENTS = ("classes", "side")
"""Answers that are no choice among options."""
MAX_OUTPUTS, MAX_SIDE = 8, 512
FEW = 64
"""Images at once of a network that has them resized."""
_OURS = {"resnet18": (3, 1, "none"), "mobilenet_v3_small": (None, 1, "max")}
"""First kernel, stride and pooling by which torchvision's networks are KD Lab's."""


class Made(NamedTuple):
    """A network as a reading has it: core gives logits of so many classes. facts: fields of ExternalConfig."""

    model: ModelConfig
    facts: dict[str, Any]
    core: nn.Module
    state: dict[str, Tensor]
    classes: int
    notes: tuple[str, ...] = ()


class Ways:
    """All readings of a file. questions: with their options, the usual one first. answers: of the file's user.

    Raises LabError where the file cannot be read, or an answer is none of the options.
    """

    def __init__(self, content: bytes, kind: Any, ask: Ask, dataset: Dataset) -> None:
        self.content, self.kind, self.ask, self.dataset = content, kind, ask, dataset
        self.answers = dict(ask.answers)
        self._checksum = hashlib.sha256(content).hexdigest()
        self._sets: dict[str, Weights] = {}
        self._outputs: dict[str, int] = {}
        self._made: dict[tuple[str, ...], Made] = {}
        own = self._of_weights() if kind == "weights" else self._of_black_box()
        self.questions = {**own, "pixels": [*PIXELS], "inverted": ["no", "yes"]}
        if ask.mean is not None or ask.std is not None:
            self.answers["pixels"] = STATED
        for question, answer in self.answers.items():
            options = self.questions.get(question)
            if options is None and question not in STATEMENTS:
                raise TeacherError(
                    said(
                        "This file leaves no {question} open: it asks for {questions}.",
                        question=question,
                        questions=", ".join(self.questions),
                    )
                )
            if options is not None and answer not in options:
                if not (answer.isdigit() or answer == STATED):
                    raise TeacherError(
                        said(
                            "{question} can be {options} here, got '{answer}'.",
                            question=question,
                            options=", ".join(options),
                            answer=answer[:60],
                        )
                    )
                options.append(answer)

    def _of_weights(self) -> dict[str, list[str]]:
        sets = read_weights(self.content)
        model = self.ask.model or recognised(sets[0].tensors)
        if model.name in _OURS:
            kernel, stride, pool = _OURS[model.name]
            self.answers = {"first_stride": str(stride), "pool": pool, **self.answers}
            model = ModelConfig(name=stock.PREFIX + model.name, first_kernel=kernel)
        elif self.ask.model is not None and model.stock:
            guess = recognised(sets[0].tensors)
            model = guess if guess.name == model.name else model
        self._model, problem = model, None
        for weights in sets:
            try:
                self._fit(weights, model)
                self._sets[weights.name or ITS_OWN] = weights
            except TeacherError as error:
                problem = problem or error
        if not self._sets:
            raise problem or TeacherError(said("This file holds no weights."))
        options = {name: [_word(value) for value in values] for name, values in self._left_open.items()}
        return {"weights": [*self._sets], **options}

    @property
    def _left_open(self) -> dict[str, tuple[Any, ...]]:
        return self._model.architecture.leaves_open(self._model)

    @property
    def _shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images, resized where a side is stated."""
        shape, side = self.dataset.image_shape, self.answers.get("side")
        if side is None:
            return shape
        if not side.isdigit() or not 4 <= int(side) <= MAX_SIDE:
            raise TeacherError(
                said("side must be a number of pixels from 4 to {most}, got '{side}'.", most=MAX_SIDE, side=side[:60])
            )
        return shape[0], int(side), int(side)

    def _fit(self, weights: Weights, model: ModelConfig) -> Fitted:
        return fitted(weights.tensors, model, self._shape, self.dataset)

    def _of_black_box(self) -> dict[str, list[str]]:
        """Its outputs that may be logits: of as many classes as the data set has, or else of more."""
        if self.ask.model is not None:
            raise TeacherError(said("This file holds a whole program, not weights: leave the architecture to it."))
        widths: dict[str, int] = {}
        problem: LabError = TeacherError(said("This file gives nothing."))
        for index, name in enumerate(black_box.outputs_of(self.content, self.kind)[:MAX_OUTPUTS]):
            try:
                widths[name] = self._box(index).classes
                self._outputs[name] = index
            except LabError as error:
                problem = error
        classes = len(self.dataset.class_names)
        exact = [name for name, width in widths.items() if width == classes]
        more = [name for name, width in widths.items() if width > classes]
        if widths and not exact and not more:
            raise TeacherError(
                said(
                    "This file gives {given:,} classes, the data set has {classes:,}: choose the data set it was made"
                    " for.",
                    given=max(widths.values()),
                    classes=classes,
                )
            )
        if not widths:
            raise problem
        return {"output": exact or more}

    # ------------------------------------------------------------------------------------------------ one reading

    def all(self) -> Iterator[Reading]:
        """Every reading, the usual one first."""
        for options in product(*self.questions.values()):
            yield dict(zip(self.questions, options, strict=True))

    def allows(self, reading: Reading) -> bool:
        """Whether it is as its user answered."""
        return all(reading.get(question, answer) == answer for question, answer in self.answers.items())

    def made(self, reading: Reading) -> Made:
        """The network of a reading. Raises LabError."""
        key = tuple(option for question, option in reading.items() if question not in ("pixels", "inverted"))
        if key not in self._made:
            self._made[key] = self._network(reading) if self._sets else self._box(self._outputs[reading["output"]])
        return self._made[key]

    def _network(self, reading: Reading) -> Made:
        weights = self._sets[reading["weights"]]
        model = _as_ours(self._model.replace(**{name: _value(reading[name]) for name in self._left_open}))
        state, shape, classes, left_out = self._fit(weights, model)
        core = build.blueprint(model, shape, classes)
        core.load_state_dict(state, assign=True)
        notes: list[str] = [*weights.notes]
        if left_out:
            notes.append(said("Not of this network, and left out: {names}.", names=left_out))
        if len(self._sets) > 1:
            notes.append(said("Of its weights, '{name}' were taken.", name=reading["weights"]))
        facts = {"shape": None if shape == self.dataset.image_shape else shape, "weights": weights.name}
        if facts["shape"]:
            side = "x".join(map(str, shape))
            notes.append(said("It is given images of {shape}, made of the data set's.", shape=side))
        notes.append(said("It is taken for {model}.", model=model.label))
        return Made(model, facts, core.eval(), state, classes, tuple(notes))

    def _box(self, output: int) -> Made:
        external = self._external({"pixels": "own"}, output=output)
        run = black_box.open_file(self.content, external)
        shape = black_box.shape_read(run.axes.rest, self._shape)
        facts = {"output": output, "shape": None if shape == self.dataset.image_shape else shape, "gives": "logits"}
        core = BlackBox(self.content, shape, None, external).eval()
        images = self.dataset.test_images[:FEW]
        answers = build.logits_of(core, images, self._preparing(external.replace(shape=facts["shape"])))
        notes: list[str] = [_KINDS[self.kind]]
        if bool((answers >= 0).all()) and torch.allclose(answers.sum(dim=1), torch.ones(len(answers)), atol=1e-3):
            facts["gives"] = "probabilities"
            notes.append(said("It gives probabilities; their logarithms serve as its logits, which says the same."))
            core.external = external.replace(gives="probabilities")
        return Made(ModelConfig(name=BLACK_BOX), facts, core, core.state_dict(), answers.shape[1], tuple(notes))

    def external(self, reading: Reading) -> ExternalConfig:
        """How the images of a reading are made, and what is taken of what it gives."""
        return self._external(reading, **self.made(reading).facts)

    def _external(self, reading: Reading, **facts: Any) -> ExternalConfig:
        mean, std = (self.ask.mean, self.ask.std) if reading["pixels"] == STATED else PIXELS[reading["pixels"]][1:]
        if reading["pixels"] == "imagenet" and (facts.get("shape") or self.dataset.image_shape)[0] == 1:
            mean, std = ((sum(values) / 3,) for values in PIXELS["imagenet"][1:] if values)
        if reading.get("inverted") == "yes":
            mean, std = _inverted(mean or (self.dataset.mean,), std or (self.dataset.std,))
        return ExternalConfig(
            kind=self.kind, file=self.ask.file[-100:], sha256=self._checksum, mean=mean, std=std, **facts
        )

    def _preparing(self, external: ExternalConfig) -> Callable[[Tensor], Tensor]:
        prepared = pixels.preparation(external, mean=self.dataset.mean, std=self.dataset.std)
        return lambda images: prepared(self.dataset.normalise(images))

    def prepared(self, reading: Reading, images: Tensor) -> Tensor:
        """What it is given of images (N, C, H, W) uint8."""
        return self._preparing(self.external(reading))(images)

    def logits(self, reading: Reading, images: Tensor) -> Tensor:
        """What it says of images (N, C, H, W) uint8: (N, classes that it knows). Raises LabError."""
        made = self.made(reading)
        size = black_box.BATCH if made.facts["shape"] is None else FEW
        return build.logits_of(made.core, images, self._preparing(self.external(reading)), batch_size=size)

    def columns(self, logits: Tensor, labels: NDArray[np.int64]) -> list[int] | None:
        """Which of its classes are the data set's: as answered, or as suits images best where it knows more."""
        classes, answer = len(self.dataset.class_names), self.answers.get("classes")
        if answer is None:
            return best_columns(logits, labels, classes) if logits.shape[1] > classes else None
        columns = [int(part) if part.strip().isdigit() else -1 for part in answer.split(",")]
        if len(columns) != classes or not all(0 <= column < logits.shape[1] for column in columns):
            raise TeacherError(
                said(
                    "classes must be {classes:,} numbers from 0 to {last:,} with commas between: which of the file's"
                    " classes are the data set's, in the order of {names}.",
                    classes=classes,
                    last=logits.shape[1] - 1,
                    names=", ".join(self.dataset.class_names)[:200],
                )
            )
        return columns


_KINDS = {
    "program": said("It is a torch.export program: a black box, asked for its logits alone."),
    "onnx": said("It is an ONNX file: a black box, asked for its logits alone."),
}


def _word(value: Any) -> str:
    """An option of a setting as a word."""
    return "yes" if value is True else "no" if value is False else ITS_OWN if value is None else str(value)


def _value(word: str) -> Any:
    return {"yes": True, "no": False, ITS_OWN: None}.get(word, int(word) if word.isdigit() else word)


def _as_ours(model: ModelConfig) -> ModelConfig:
    """The same network by KD Lab's own name for it, where it has one."""
    name = model.name.removeprefix(stock.PREFIX)
    same = _OURS.get(name) == (model.first_kernel, model.first_stride, model.pool)
    return ModelConfig(name=name) if same else model


def _inverted(mean: Sequence[float], std: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The same normalisation after dark and light are exchanged: ((1 - x) - mean) / std is (x - (1 - mean)) / -std."""
    return tuple(1 - value for value in mean), tuple(-value for value in std)


def best_columns(logits: Tensor, labels: NDArray[np.int64], classes: int) -> list[int]:
    """Which column each class has, where the mean probabilities of images are the largest together."""
    from scipy.optimize import linear_sum_assignment

    soft = logits.double().nan_to_num().softmax(dim=1).numpy()
    sums = np.stack([soft[labels == label].sum(axis=0) for label in range(classes)])
    return [int(column) for column in linear_sum_assignment(sums, maximize=True)[1]]


def of_columns(state: Mapping[str, Tensor], columns: Sequence[int]) -> dict[str, Tensor]:
    """Weights of a network whose last layer gives these of its classes alone."""
    last = [name for name, tensor in state.items() if tensor.ndim in (2, 4)][-1].removesuffix("weight")
    return {name: tensor[list(columns)] if name.startswith(last) else tensor for name, tensor in state.items()}
