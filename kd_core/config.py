"""What a run is: frozen, validated on construction, JSON both ways.

It must not import torch, so that a page, a form or a command line can build and check a run at once.
Every rule a value breaks becomes one plain sentence in a ConfigError, which the page and the shell show as it is.
"""

import hashlib
import re
from collections.abc import Sequence
from itertools import product
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

Role = Literal["teacher", "baseline", "distilled"]
Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["cosine", "constant", "one-cycle"]
Precision = Literal["auto", "float32", "bfloat16"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Average = Literal["probabilities", "logits"]


class DatasetInfo(NamedTuple):
    """What can be said of a data set without loading it."""

    label: str
    classes: int
    image_shape: tuple[int, int, int]
    train_examples: int
    test_examples: int


DATASETS = {
    "digits": DatasetInfo("Digits (scikit-learn)", 10, (1, 28, 28), 1352, 445),
    "mnist": DatasetInfo("MNIST", 10, (1, 28, 28), 60_000, 10_000),
    "fashion_mnist": DatasetInfo("Fashion-MNIST", 10, (1, 28, 28), 60_000, 10_000),
    "kmnist": DatasetInfo("KMNIST", 10, (1, 28, 28), 60_000, 10_000),
    "cifar10": DatasetInfo("CIFAR-10", 10, (3, 32, 32), 50_000, 10_000),
}
"""Those that everybody knows by name; users' own are named by own_name."""
MAX_CLASSES = 1000
SIDES = (8, 224)
"""Least and greatest height and width of an image, in pixels."""
_OWN = re.compile(
    r"own\.([a-z0-9]+(?:-[a-z0-9]+)*)\.([0-9a-f]{12})"
    r"\.([1-9][0-9]{0,3})\.([13])x([1-9][0-9]{0,2})x([1-9][0-9]{0,2})\.([1-9][0-9]{0,8})\.([1-9][0-9]{0,8})"
)
MODELS = {
    "mlp": "Multilayer perceptron",
    "cnn": "Small convolutional network",
    "resnet18": "ResNet-18",
    "mobilenet_v3_small": "MobileNetV3 small",
}
MAX_ENSEMBLE = 20
MAX_CELLS = 500


class LabError(Exception):
    """Base of all errors that a user can cause or meet: its text is a sentence to show as it is."""


class ConfigError(LabError, ValueError):
    """A setting that cannot be used."""


def own_name(slug: str, digest: str, info: DatasetInfo) -> str:
    """The name of a user's data set. slug: words of a-z and 0-9 with '-' between. digest: 12 hexadecimal digits.

    It says what a config has to know, so that a run can be listed and checked where the data set itself is not; and
    other content has another digest, so that nothing learned of the one is ever taken for the other.
    """
    shape = "x".join(map(str, info.image_shape))
    return f"own.{slug}.{digest}.{info.classes}.{shape}.{info.train_examples}.{info.test_examples}"


def is_own(dataset: str) -> bool:
    """Whether a data set is one that a user brought."""
    return dataset.startswith("own.")


def info_of(dataset: str) -> DatasetInfo:
    """What its name says of a data set, one of DATASETS or a user's own. Raises ConfigError for any other name."""
    if dataset in DATASETS:
        return DATASETS[dataset]
    found = _OWN.fullmatch(dataset)
    if found:
        slug, _, *numbers = found.groups()
        classes, channels, height, width, train_examples, test_examples = map(int, numbers)
        if 2 <= classes <= MAX_CLASSES and all(SIDES[0] <= side <= SIDES[1] for side in (height, width)):
            return DatasetInfo(
                slug.replace("-", " "), classes, (channels, height, width), train_examples, test_examples
            )
    raise ConfigError(f"unknown data set '{dataset[:80]}': choose one of {', '.join(DATASETS)}")


class Config(BaseModel):
    """Frozen base of all configs: unknown fields are refused, and problems read as sentences.

    Raises ConfigError on construction when any value breaks its rule.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(_as_sentences(error)) from None
        except UnicodeEncodeError:  # pydantic cannot quote what a shell handed over as bytes of another encoding
            raise ConfigError("a setting holds what is no text in UTF-8") from None

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what model_dump_json wrote. Raises ConfigError on anything else."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigError(_as_sentences(error)) from None

    def replace(self, **changes: Any) -> Self:
        """A validated copy with some fields changed."""
        return type(self)(**{**{name: getattr(self, name) for name in type(self).model_fields}, **changes})


class ModelConfig(Config):
    """An architecture: its name and, for the multilayer perceptron, its shape."""

    name: str = Field("mlp", description="architecture, one of kd_core.config.MODELS")
    hidden: tuple[Annotated[int, Field(ge=1, le=20_000)], ...] = Field(
        (800, 800), max_length=20, description="units of each hidden layer (mlp only)"
    )
    dropout_input: float = Field(0.0, ge=0, lt=1, description="share of inputs dropped in training (mlp only)")
    dropout_hidden: float = Field(0.0, ge=0, lt=1, description="share of hidden units dropped in training (mlp only)")
    batch_norm: bool = Field(False, description="batch normalisation after each hidden layer (mlp only)")

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.name not in MODELS:
            raise ConfigError(f"unknown model '{self.name}': choose one of {', '.join(MODELS)}")
        return self

    @property
    def label(self) -> str:
        """How people call it, e.g. 'mlp 800-800'."""
        return f"mlp {'-'.join(map(str, self.hidden)) or 'linear'}" if self.name == "mlp" else MODELS[self.name]


PAPER_TEACHER = ModelConfig(hidden=(1200, 1200), dropout_input=0.2, dropout_hidden=0.5)
"""The large net of Hinton et al., section 3: 784-1200-1200-10 with dropout."""
PAPER_STUDENT = ModelConfig(hidden=(800, 800))
"""The small net of Hinton et al., section 3: 784-800-800-10, no regularisation."""


class DistillationConfig(Config):
    """How a student learns from its teacher (Hinton et al., arXiv:1503.02531, section 2)."""

    teachers: tuple[str, ...] = Field(
        min_length=1, max_length=MAX_ENSEMBLE, description="run ids of the teacher, several for an ensemble"
    )
    temperature: float = Field(
        4.0, gt=0, le=1000, description="T in softmax(z / T), for teacher and student alike in the soft loss"
    )
    alpha: float = Field(0.9, ge=0, le=1, description="weight of the soft loss; 1 - alpha weighs the hard one")
    t_squared: bool = Field(True, description="multiply the soft loss by T², so that its gradients keep their size")
    ensemble: Average = Field("probabilities", description="what is averaged over several teachers")


class TrainingConfig(Config):
    """How weights are found. Times and rates carry their units in the description."""

    epochs: int = Field(12, ge=1, le=10_000, description="passes over the training set")
    batch_size: int = Field(512, ge=1, le=65_536, description="examples a step")
    optimizer: Optimizer = Field("adamw", description="update rule; sgd has momentum 0.9")
    learning_rate: float = Field(1e-3, gt=0, le=100, description="peak learning rate")
    schedule: Schedule = Field("cosine", description="learning rate over the steps")
    warmup_epochs: float = Field(0.5, ge=0, description="epochs over which the rate rises from 0 (not for one-cycle)")
    weight_decay: float | None = Field(
        None, ge=0, le=10, description="decoupled for adamw, L2 for adam and sgd; by default 0.01 for adamw, else 0"
    )
    jitter_pixels: int = Field(0, ge=0, le=8, description="each image shifts by up to this many pixels, both ways")
    validation_fraction: float = Field(
        1 / 12, ge=0, le=0.5, description="share of the training set kept to choose the best epoch; 0 takes the last"
    )
    precision: Precision = Field(
        "auto", description="arithmetic of the model; auto takes bfloat16 where it is measured faster"
    )
    device: Device = Field("auto", description="auto takes a GPU where there is one")


class TransferSetConfig(Config):
    """The part of the training set that a student sees, and whether with its labels (Hinton et al., section 3).

    The baseline beside a distilled student sees the same images, so that the teacher alone is the difference.
    """

    fraction: float = Field(1.0, gt=0, le=1, description="share of each class's training images that is used")
    only_classes: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None, min_length=1, description="indices of the classes whose images are used; by default all"
    )
    labelled: bool = Field(True, description="off: no label is read, not even to choose the best epoch")

    @field_validator("only_classes")
    @classmethod
    def _in_order(cls, classes: tuple[int, ...] | None) -> tuple[int, ...] | None:
        return None if classes is None else tuple(sorted(set(classes)))

    def missing(self, classes: int) -> tuple[int, ...]:
        """Which of so many classes have no image in it."""
        return () if self.only_classes is None else tuple(sorted({*range(classes)} - {*self.only_classes}))

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self == TransferSetConfig()


class RunConfig(Config):
    """One training run, complete: the same config, device and seed give the same weights."""

    role: Role = Field(description="teacher, baseline (a student without a teacher) or distilled")
    dataset: str = Field("mnist", description="one of kd_core.config.DATASETS, or a user's own")
    model: ModelConfig = PAPER_STUDENT
    distillation: DistillationConfig | None = Field(None, description="set for role distilled, and only for it")
    transfer_set: TransferSetConfig = TransferSetConfig()
    training: TrainingConfig = TrainingConfig()
    continues: str | None = Field(None, description="run whose weights training starts from, instead of random ones")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of weights, split, order, dropout and jitter")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        info_of(self.dataset)
        if self.role == "distilled" and self.distillation is None:
            raise ConfigError("a distilled student needs a teacher: name a teacher run")
        if self.role != "distilled" and self.distillation is not None:
            raise ConfigError(f"a {self.role} learns without a teacher: leave the distillation settings out")
        self._check_transfer_set()
        if self.training.warmup_epochs >= self.training.epochs:
            raise ConfigError(
                f"warmup_epochs must be below epochs ({self.training.epochs}), got {self.training.warmup_epochs:g}"
            )
        return self

    def _check_transfer_set(self) -> None:
        info, part = info_of(self.dataset), self.transfer_set
        if self.role == "teacher" and not part.whole:
            raise ConfigError("a teacher learns from the whole training set: a transfer set is for its students")
        if part.only_classes is not None and max(part.only_classes) >= info.classes:
            raise ConfigError(f"{self.dataset} has classes 0 to {info.classes - 1}, got class {max(part.only_classes)}")
        if not part.labelled and (self.distillation is None or self.distillation.alpha != 1):
            raise ConfigError("without labels only a distilled student with alpha = 1 can learn: set alpha to 1")

    @property
    def label(self) -> str:
        """A short name for tables and legends, e.g. 'distilled mlp 800-800, T 4, alpha 0.9'."""
        text = f"{self.role} {self.model.label}"
        if self.distillation is not None:
            text += f", T {self.distillation.temperature:g}, alpha {self.distillation.alpha:g}"
        return text

    @property
    def examples(self) -> int:
        """About how many images an epoch sees: exact but for rounding and for what classes differ in size."""
        info, part = info_of(self.dataset), self.transfer_set
        classes = 1.0 if part.only_classes is None else len(set(part.only_classes)) / info.classes
        kept = 1 - self.training.validation_fraction
        return max(1, round(info.train_examples * classes * part.fraction * kept))


class SweepConfig(Config):
    """Students that differ in temperature, alpha, seed and width, each with its baseline. Every cell is a run."""

    dataset: str = Field("mnist", description="one of kd_core.config.DATASETS, or a user's own")
    teachers: tuple[str, ...] = Field(description="run ids of the trained teacher, several for an ensemble")
    model: ModelConfig = Field(ModelConfig(hidden=(30,)), description="the student, an mlp; widths replace its own")
    widths: tuple[int, ...] = Field((30,), description="units of every hidden layer, one student each")
    temperatures: tuple[float, ...] = Field((1.0, 2.0, 4.0, 8.0), description="T of the soft loss")
    alphas: tuple[float, ...] = Field((0.9,), description="weight of the soft loss")
    seeds: tuple[int, ...] = Field((0,), description="seed of weights, split and order")
    training: TrainingConfig = TrainingConfig()
    transfer_set: TransferSetConfig = TransferSetConfig()

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.model.name != "mlp" or not self.model.hidden:
            raise ConfigError("a sweep's student must be an mlp with a hidden layer, so that its width can change")
        for name in ("widths", "temperatures", "alphas", "seeds"):
            values = getattr(self, name)
            if not values:
                raise ConfigError(f"{name} is empty: name at least one value")
            twice = [value for value in values if values.count(value) > 1]
            if twice:
                raise ConfigError(f"{name} names {twice[0]:g} more than once: name each value once")
        if self.cell_count > MAX_CELLS:
            raise ConfigError(f"a sweep has at most {MAX_CELLS} cells, these would be {self.cell_count}: name fewer")
        self.cells()  # each cell checks its own values
        return self

    @property
    def cell_count(self) -> int:
        """How many runs these are, baselines included."""
        distilled = len(self.temperatures) * len(self.alphas)
        return len(self.widths) * len(self.seeds) * (distilled + self.transfer_set.labelled)

    def cells(self) -> list[RunConfig]:
        """Its runs: for each width and seed the baseline, then each temperature and alpha.

        Without labels there is no baseline, as it would have nothing to learn from.
        """
        cells = []
        for width, seed in product(self.widths, self.seeds):
            shared: dict[str, Any] = {
                "dataset": self.dataset,
                "model": self.model.replace(hidden=(width,) * len(self.model.hidden)),
                "training": self.training,
                "transfer_set": self.transfer_set,
                "seed": seed,
            }
            if self.transfer_set.labelled:
                cells.append(RunConfig(role="baseline", **shared))
            for temperature, alpha in product(self.temperatures, self.alphas):
                distillation = DistillationConfig(teachers=self.teachers, temperature=temperature, alpha=alpha)
                cells.append(RunConfig(role="distilled", distillation=distillation, **shared))
        return cells


def cell_key(config: RunConfig) -> str:
    """16 hexadecimal digits that name a run's settings: the same in every process, other settings give others."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:16]


def differences(configs: Sequence[Config]) -> dict[str, list[Any]]:
    """The settings in which configs differ: dotted name -> one value a config, None where it has no such setting."""
    flat = [_flattened(config.model_dump(mode="json")) for config in configs]
    names = list(dict.fromkeys(name for values in flat for name in values))
    columns = {name: [values.get(name) for values in flat] for name in names}
    return {name: values for name, values in columns.items() if any(value != values[0] for value in values)}


def _flattened(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flattened(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _as_sentences(error: ValidationError) -> str:
    """What pydantic found, one clause a problem, each naming the field, the rule and what was given."""
    clauses = []
    for problem in error.errors():
        message = problem["msg"]
        if problem["type"] == "value_error":
            clauses.append(message.removeprefix("Value error, "))
            continue
        names = [part for part in problem["loc"] if isinstance(part, str)]
        field = names[-1] if names else "the config"
        if problem["type"] == "json_invalid":
            clauses.append(f"this is not a config: {message}")
        elif problem["type"] == "missing":
            clauses.append(f"{field} is missing")
        elif problem["type"] == "extra_forbidden":
            clauses.append(f"there is no setting called {field if field.isidentifier() else _shown(field)}")
        else:
            for theirs, ours in _PLAIN_WORDS:
                message = message.replace(theirs, ours)
            given = problem["input"]
            clauses.append(f"{field} {message}, got {_shown(given)}")
    return "; ".join(clauses)


def _shown(given: object) -> str:
    try:
        return (repr(given) if isinstance(given, str) else str(given))[:80]
    except ValueError:
        return "a number of thousands of digits"


_PLAIN_WORDS = (
    ("Input should be", "must be"),
    ("greater than or equal to", "at least"),
    ("less than or equal to", "at most"),
    ("greater than", "above"),
    ("less than", "below"),
    ("a valid integer", "a whole number"),
    ("a valid ", "a "),
    ("Tuple should have", "must have"),
    (" after validation", ""),
)
