"""What a run is: frozen, validated on construction, JSON both ways.

It must not import torch, so that a page, a form or a command line can build and check a run at once.
Every rule a value breaks becomes one plain sentence in a ConfigError, which the page and the shell show as it is.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from kd_core.base.config import Config, ConfigError
from kd_core.base.templates import Said, said
from kd_core.data.catalogue import TransferSetConfig, info_of
from kd_core.losses.catalogue import check_shows
from kd_core.losses.config import DistillationConfig
from kd_core.models.config import PAPER_STUDENT, ExternalConfig, ModelConfig
from kd_core.training import mistakes
from kd_core.training.records import waited

if TYPE_CHECKING:
    from torch import Tensor

    from kd_core.data.dataset import Dataset

Role = Literal["teacher", "baseline", "distilled"]
Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["cosine", "constant", "one-cycle"]
Precision = Literal["auto", "float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
MemoryFormat = Literal["auto", "contiguous", "channels_last"]
MEMORY_FORMATS: tuple[MemoryFormat, ...] = ("contiguous", "channels_last")
Device = Literal["auto", "cpu", "cuda", "mps"]
ROLES: dict[Role, Said] = {"teacher": said("teacher"), "baseline": said("baseline"), "distilled": said("distilled")}
"""What each role is called."""


class TrainingConfig(Config):
    """How a network is trained. Times and rates carry their units in the description."""

    epochs: int = Field(12, ge=1, le=10_000, description="passes over the training set")
    batch_size: int = Field(512, ge=1, le=65_536, description="examples a step")
    optimizer: Optimizer = Field("adamw", description="update rule; sgd has momentum 0.9")
    learning_rate: float = Field(1e-3, gt=0, le=100, description="peak learning rate")
    schedule: Schedule = Field("cosine", description="learning rate over the steps")
    warmup_epochs: float = Field(0.5, ge=0, description="epochs over which the rate rises from 0 (not for one-cycle)")
    weight_decay: float | None = Field(
        None, ge=0, le=10, description="decoupled for adamw, L2 for adam and sgd; by default 0.01 for adamw, else 0"
    )
    jitter_pixels: int = Field(
        0,
        ge=0,
        le=32,
        description="each image shifts by up to this many pixels, both ways: a crop after padding with zeros",
    )
    flip: bool = Field(False, description="each image is mirrored left to right half of the time")
    colour: float = Field(
        0.0, ge=0, le=1, description="brightness, contrast and saturation change by up to this share, both ways"
    )
    randaugment: int = Field(
        0, ge=0, le=8, description="operations of RandAugment on each image (Cubuk et al. 2020), at magnitude 9"
    )
    mixup: float = Field(
        0.0, ge=0, le=10, description="alpha of mixup: pairs of images are blended (Zhang et al. 2018); 0 for none"
    )
    cutmix: float = Field(
        0.0, ge=0, le=10, description="alpha of CutMix: a part of one image in another (Yun et al. 2019); 0 for none"
    )
    class_weights: bool = Field(
        False,
        description="an example counts in the hard loss by how rare its class is: all classes count alike",
    )
    clip_norm: float = Field(0.0, ge=0, description="longest gradient of a step, all weights together; 0 for any")
    patience: int = Field(
        0, ge=0, le=10_000, description="training ends after so many epochs without a better one; 0 trains all epochs"
    )
    validation_fraction: float = Field(
        1 / 12, ge=0, le=0.5, description="share of the training set kept to choose the best epoch; 0 takes the last"
    )
    precision: Precision = Field(
        "auto",
        description="arithmetic; auto: bfloat16 for large networks where the machine has it; settled before queueing",
    )
    memory_format: MemoryFormat = Field(
        "contiguous",  # as all runs were computed before there was a choice
        description="order of images in memory; auto: channels_last for convolutional networks, which it speeds up",
    )
    device: Device = Field("auto", description="where it is computed; auto takes a GPU where there is one")
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of each hard target spread over all classes (Szegedy et al. 2016, section 7)",
    )
    int8_aware: bool = Field(False, description="weights and activations rounded in training as an int8 file has them")

    @model_validator(mode="after")
    def _can_wait(self) -> Self:
        if self.patience and not self.validation_fraction:
            raise ConfigError(said("patience needs a validation split to tell a better epoch: set patience to 0"))
        return self

    @property
    def changes(self) -> bool:
        """Whether each epoch shows the images themselves changed, beyond a shift."""
        return self.flip or self.colour > 0 or self.randaugment > 0 or self.mixes

    @property
    def mixes(self) -> bool:
        """Whether images are mixed with others, and their labels with theirs."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def augments(self) -> bool:
        """Whether a network sees each image anew in each epoch."""
        return self.jitter_pixels > 0 or self.changes

    def for_epochs(self, epochs: int) -> Self:
        """Train for so many epochs instead, without a warm-up that would be longer."""
        return self.replace(epochs=epochs, warmup_epochs=self.warmup_epochs if self.warmup_epochs < epochs else 0.0)


class Recipe(Config):
    """What the loop reads of a run: how a network learns, whatever network and images it is for."""

    distillation: DistillationConfig | None = None
    transfer_set: TransferSetConfig = TransferSetConfig()
    training: TrainingConfig = TrainingConfig(precision="float32")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of weights, split, order, dropout and jitter")


class RunConfig(Config):
    """One training run, complete: the same config, device and seed give the same weights."""

    role: Role = Field(description="teacher, baseline (a student without a teacher) or distilled")
    dataset: str = Field("mnist", description="one of kd_core.data.catalogue.DATASETS, or a user's own")
    model: ModelConfig = PAPER_STUDENT
    distillation: DistillationConfig | None = Field(None, description="set for role distilled, and only for it")
    transfer_set: TransferSetConfig = TransferSetConfig()
    training: TrainingConfig = TrainingConfig()
    continues: str | None = Field(None, description="run whose weights training starts from, instead of random ones")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of weights, split, order, dropout and jitter")
    brought: ExternalConfig | None = Field(None, description="set for a teacher that was trained elsewhere")
    mistake: str | None = Field(
        None, description="one of kd_core.training.mistakes.MISTAKES, made on purpose, for the lesson"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_external()
        info_of(self.dataset)
        if self.role == "distilled" and self.distillation is None:
            raise ConfigError(said("a distilled student needs a teacher: name a teacher run"))
        if self.role != "distilled" and self.distillation is not None:
            raise ConfigError(
                said("a {role} learns without a teacher: leave the distillation settings out", role=ROLES[self.role])
            )
        self._check_transfer_set()
        mistakes.check(self)
        self._check_views()
        if self.distillation is not None:
            check_shows(self.model, self.distillation.objective, "student")
        if self.training.warmup_epochs >= self.training.epochs:
            raise ConfigError(
                said(
                    "warmup_epochs must be below epochs ({epochs}), got {warmup:g}",
                    epochs=self.training.epochs,
                    warmup=self.training.warmup_epochs,
                )
            )
        return self

    def _check_external(self) -> None:
        """An opaque model is always external, and an external model is always a teacher."""
        if self.model.opaque != (self.brought is not None and self.brought.kind != "weights"):
            raise ConfigError(said("a black box gives logits alone, so it cannot be trained: bring it as a teacher"))
        if self.brought is None:
            return
        if self.role != "teacher" or self.continues is not None:
            raise ConfigError(said("what its user brought is a teacher as it is: it continues no run"))
        channels = self.brought.reads(info_of(self.dataset).image_shape)[0]
        if self.brought.mean is not None and len(self.brought.mean) not in (1, channels):
            raise ConfigError(
                said(
                    "images of {data} have {channels} channels: state one mean, or one for each",
                    data=self.dataset,
                    channels=channels,
                )
            )

    def _check_views(self) -> None:
        """Mixed images have no label and no place of their own; a teacher cannot have seen them before."""
        distillation = self.distillation
        if distillation is None or not self.training.mixes:
            return
        if distillation.teacher_view == "original":
            raise ConfigError(
                said(
                    "mixed images are new in every step, so that the teacher has to look at them: let it see what the"
                    " student sees, or leave mixup and cutmix at 0"
                )
            )
        if distillation.info.needs_labels or distillation.objective == "crd":
            raise ConfigError(
                said(
                    "{objective} reads the one label of an image, and mixed images have two: leave mixup and cutmix at"
                    " 0, or choose another objective",
                    objective=distillation.objective,
                )
            )

    def _check_transfer_set(self) -> None:
        info, part = info_of(self.dataset), self.transfer_set
        if self.role == "teacher" and not part.whole:
            raise ConfigError(said("a teacher learns from the whole training set: a transfer set is for its students"))
        if part.only_classes is not None and max(part.only_classes) >= info.classes:
            raise ConfigError(
                said(
                    "{data} has classes 0 to {last}, got class {given}",
                    data=self.dataset,
                    last=info.classes - 1,
                    given=max(part.only_classes),
                )
            )
        if not part.labelled and (self.distillation is None or self.distillation.reads_labels):
            raise ConfigError(_how_without_labels(self.distillation))

    def computed_in(self, precision: Precision, memory_format: MemoryFormat = "auto") -> Self:
        """Replace precision auto, and memory format auto, by these."""
        chosen = {"precision": precision, "memory_format": memory_format}
        changes = {name: value for name, value in chosen.items() if getattr(self.training, name) == "auto" != value}
        return self.replace(training=self.training.replace(**changes)) if changes else self

    @property
    def trained_here(self) -> bool:
        """Whether KD Lab trains it; an external teacher is taken as it is."""
        return self.brought is None

    def complete_after(self, epochs: float, recorded: Iterable[Mapping[str, Any]] = ()) -> bool:
        """Whether a run that trained so many epochs did all of its training; an external teacher has none to do.

        recorded: what it recorded, which says whether it waited for a better epoch as long as it was to.
        """
        if not self.trained_here or epochs >= self.training.epochs:
            return True
        return bool(self.training.patience) and waited(recorded) >= self.training.patience

    @property
    def network(self) -> str:
        """The network's label, with its origin where that is external, e.g. 'mlp 800-800 (brought)'."""
        return said("{network} (brought)", network=self.model.label) if self.brought is not None else self.model.label

    @property
    def label(self) -> str:
        """A short name for tables and legends, e.g. 'distilled mlp 800-800, T 4, alpha 0.9'.

        A run that makes a mistake on purpose says so, that nobody takes it for a result.
        """
        label = said("{role} {network}", role=ROLES[self.role], network=self.model.label)
        if self.distillation is not None:
            label = said("{label}, {setting}", label=label, setting=self.distillation.label)
        elif self.training.label_smoothing:
            label = said("{label}, label smoothing {share:g}", label=label, share=self.training.label_smoothing)
        if self.training.int8_aware:
            label = said("{label}, int8-aware", label=label)
        if self.brought is not None:
            label = said("{label}, brought by its user", label=label)
        if self.mistake is not None:
            label = said("{label}{mistake}", label=label, mistake=self.mistake_said)
        return label

    @property
    def mistake_said(self) -> str:
        """The end of a run's label where it makes a mistake, e.g. ', mistake: T² left out'; else nothing."""
        if self.mistake is None:
            return ""
        return said(", mistake: {mistake}", mistake=mistakes.MISTAKES[self.mistake].label)

    @property
    def kind(self) -> str:
        """The key of its colour in figures: its role, or 'mistake' where it makes one on purpose."""
        return self.role if self.mistake is None else "mistake"

    @property
    def reads_teacher_logits(self) -> bool:
        """Whether the teacher's logits over the unchanged training set are needed: computed once for all epochs.

        Where images change and the teacher sees them so, or features are compared, the teacher looks at each batch;
        without labels its logits still stand in for them on the validation split.
        """
        if self.distillation is None:
            return False
        anew = looks_anew(self)
        anew = anew or (self.mistake is not None and not mistakes.MISTAKES[self.mistake].keeps_logits)
        return not (anew and self.transfer_set.labelled)

    @property
    def examples(self) -> int:
        """Images of an epoch, estimated: classes are taken to be of one size."""
        info, part = info_of(self.dataset), self.transfer_set
        classes = 1.0 if part.only_classes is None else len(set(part.only_classes)) / info.classes
        kept = 1 - self.training.validation_fraction
        return max(1, round(info.train_examples * classes * part.fraction * kept))


def looks_anew(config: RunConfig | Recipe) -> bool:
    """Whether the teacher looks at every batch: it sees images changed as its student does, or shows its features."""
    distillation = config.distillation
    if distillation is None:
        return False
    return distillation.info.needs != "logits" or (config.training.augments and distillation.teacher_view == "same")


def _how_without_labels(distillation: DistillationConfig | None) -> str:
    if distillation is None or distillation.info.mixed:
        return said("without labels only a distilled student with alpha = 1 can learn: set alpha to 1")
    objective = distillation.objective
    if distillation.info.needs_labels:
        return said(
            "{objective} reads the label of every example: choose another objective, or keep the labels",
            objective=objective,
        )
    if distillation.info.needs != "logits":
        return said(
            "{objective} teaches the last layer by labels alone: choose hinton, or keep the labels", objective=objective
        )
    return said("without labels {objective} can only learn with its weight hard at 0: set it to 0", objective=objective)


def split_of(dataset: "Dataset", config: RunConfig | Recipe) -> "tuple[Tensor, Tensor]":
    """Indices into the training set: the images that a run learns from, and those that choose its best weights.

    Raises ConfigError where its transfer set holds no image of either.
    """
    parts = dataset.split(config.training.validation_fraction, config.seed)
    if config.transfer_set.whole:
        return parts
    learned, chosen_by = (dataset.transfer_set(part, config.transfer_set, config.seed) for part in parts)
    return learned, chosen_by
