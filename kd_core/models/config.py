"""What a network is, and where a teacher comes from that was trained elsewhere. Imports no torch."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, NoReturn, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from kd_core.base import paths
from kd_core.base.config import Config, ConfigError
from kd_core.base.templates import said
from kd_core.models.architectures import own, stock
from kd_core.models.architectures.architecture import Activation, Architecture, ImageShape
from kd_core.models.architectures.cnn import CNN
from kd_core.models.architectures.mlp import MLP
from kd_core.models.architectures.mobilenet_v3_small import MOBILENET_V3_SMALL
from kd_core.models.architectures.resnet18 import RESNET18

MODELS: dict[str, Architecture] = {
    "mlp": MLP,
    "cnn": CNN,
    "resnet18": RESNET18,
    "mobilenet_v3_small": MOBILENET_V3_SMALL,
}
"""The architectures by name, in the order in which forms offer them."""
BLACK_BOX = "black_box"
"""The name of a model that gives logits and nothing else: a program that a user uploaded, whatever is in it."""


def _cannot_be_built(*_: object) -> NoReturn:
    raise ConfigError(said("a black box cannot be built: it is what its user brought"))


_OPAQUE = Architecture(said("black box"), _cannot_be_built, features=lambda _: False)


class ModelConfig(Config):
    """An architecture: its name and, for the multilayer perceptron and the small convolutional network, its shape."""

    name: str = Field(
        "mlp",
        description=f"architecture: {', '.join(MODELS)}, one of a library: torchvision/NAME, timm/NAME, or a factory of"
        " your own code, which is then imported: my_pkg.nets:tiny",
    )
    hidden: tuple[Annotated[int, Field(ge=1, le=20_000)], ...] = Field(
        (800, 800), max_length=20, description="units of each hidden layer (mlp only)"
    )
    channels: tuple[Annotated[int, Field(ge=1, le=2048)], ...] = Field(
        (16, 32),
        min_length=1,
        max_length=3,
        description="channels of each 3x3 convolution, where the architecture leaves them free",
    )
    dropout_input: float = Field(0.0, ge=0, lt=1, description="share of inputs dropped in training (mlp only)")
    dropout_hidden: float = Field(0.0, ge=0, lt=1, description="share of hidden units dropped in training (mlp only)")
    batch_norm: bool = Field(False, description="batch normalisation after each hidden layer (mlp only)")
    activation: Activation = Field("relu", description="of the hidden layers (mlp and cnn)")
    norm_last: bool = Field(False, description="batch normalisation after the activation, not before (mlp and cnn)")
    pool: Literal["max", "average", "none"] = Field(
        "max", description="pooling (of a torchvision model: after its first layer); a cnn without has strides of 2"
    )
    first_kernel: int | None = Field(None, ge=1, le=32, description="of a torchvision model's first convolution")
    first_stride: int | None = Field(None, ge=1, le=32, description="of a torchvision model's first convolution")
    head: Literal["flat", "average"] = Field(
        "flat",  # as all runs had it before there was a choice
        description="what a cnn ends in: flat, a layer of 128 on all its pixels, or average, the mean of each map",
    )
    input_side: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="a library's network has images resized to this many pixels; by default as they are, or as its"
        " published weights were trained",
    )
    pretrained: str = Field(
        "",
        pattern=r"^(library|[\w.-]{1,100}@[0-9a-f]{12})?$",
        description="weights that a library's network starts from: library for those it publishes, or a file of"
        " KD_HOME/weights; by default random ones",
    )
    norm_momentum: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of a batch in batch normalisation's running statistics, at least; by default the network's"
        " own, 0.1 in a library's",
    )

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.name not in (*MODELS, BLACK_BOX) and not (self.stock or self.own):
            raise ConfigError(
                said(
                    "unknown model '{name}': choose one of {known}, or torchvision/NAME or timm/NAME",
                    name=self.name[:80],
                    known=", ".join(MODELS),
                )
            )
        if (self.pretrained or self.input_side) and not self.stock:
            raise ConfigError(
                said(
                    "{network} starts from random weights on images as they are: resize and published weights are for"
                    " torchvision's and timm's networks",
                    network=self.label,
                )
            )
        return self

    def named(self, name: str) -> Self:
        """Another architecture as a new run starts from it; the same one stays as it is."""
        if name == self.name:
            return self
        fields, anew = type(self).model_fields, type(self)(name=name).architecture.anew
        usual = {field: fields[field].default for field in ("head", *stock.ANEW)}
        return self.replace(**{**usual, **anew, "name": name})

    @property
    def architecture(self) -> Architecture:
        """What its name stands for."""
        if self.own:
            return own.architecture(self.name)
        return stock.architecture(self.name) if self.stock else MODELS.get(self.name, _OPAQUE)

    @property
    def opaque(self) -> bool:
        """Whether it gives logits and nothing else: no weights to count, export or go on from, no layers to look at."""
        return self.name == BLACK_BOX

    @property
    def stock(self) -> bool:
        """Whether it is one of torchvision's or timm's as it is."""
        return stock.known(self.name)

    @property
    def own(self) -> bool:
        """Whether it is of a user's own code, which is imported only where KD_NETWORKS lists it."""
        return own.known(self.name)

    @property
    def measurable(self) -> bool:
        """Whether its costs follow from it and the data set: not of what reads images in a way of its own."""
        return not (self.opaque or self.stock or self.own)

    @property
    def drops(self) -> bool:
        """Whether it has dropout that does something in training."""
        return self.architecture.drops(self)

    @property
    def label(self) -> str:
        """How people call it, e.g. 'mlp 800-800'."""
        short = self.architecture.short
        return self.architecture.label if short is None else short(self)

    @property
    def widened(self) -> Self | None:
        """The same with its free widths doubled; None where it has none, or they would be too large."""
        widths = self.architecture.widths
        sizes = getattr(self, widths.setting) if widths is not None else ()
        if widths is None or not sizes:
            return None
        try:
            return self.replace(**{widths.setting: tuple(2 * size for size in sizes)})
        except ConfigError:
            return None


WEIGHTS_ENDINGS = (".pth", ".pt", ".safetensors")


def weights_folder() -> Path:
    """Where files of weights lie that training may start from: the folder weights of KD_HOME."""
    return paths.home() / "weights"


def weights_files() -> list[str]:
    """The files there as ModelConfig.pretrained names them: NAME@the first 12 digits of the checksum."""
    folder = weights_folder()
    files = sorted(path for path in folder.glob("*") if path.suffix in WEIGHTS_ENDINGS) if folder.is_dir() else []
    return [f"{path.name}@{_digest(path, path.stat().st_mtime_ns)}" for path in files]


@lru_cache(maxsize=64)
def _digest(path: Path, changed: int) -> str:
    """The start of a file's checksum. changed: when, so that it is computed anew then."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


PAPER_TEACHER = ModelConfig(hidden=(1200, 1200), dropout_input=0.2, dropout_hidden=0.5)
"""The large net of Hinton et al., section 3: 784-1200-1200-10 with dropout."""
PAPER_STUDENT = ModelConfig(hidden=(800, 800))
"""The small net of Hinton et al., section 3: 784-800-800-10, no regularisation."""

PIXELS: dict[str, tuple[str, tuple[float, ...] | None, tuple[float, ...] | None]] = {
    "own": (said("normalised as KD Lab does"), None, None),
    "0..1": (said("from 0 to 1"), (0.0,), (1.0,)),
    "-1..1": (said("from -1 to 1"), (0.5,), (0.5,)),
    "0..255": (said("from 0 to 255"), (0.0,), (1 / 255,)),
    "imagenet": (said("normalised as ImageNet's"), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""What teachers are often trained to read: what it is in words, and mean and std as ExternalConfig has them."""


class ExternalConfig(Config):
    """Where a teacher comes from that was trained elsewhere, and how it wants its images (kd_core.models.pixels)."""

    kind: Literal["weights", "program", "onnx"] = Field(
        description="weights of an architecture of ours, or a black box: a torch.export program, an ONNX file"
    )
    file: Annotated[str, Field(min_length=1, max_length=100)] = Field(description="what its file was called")
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] = Field(description="checksum of that file")
    mean: tuple[float, ...] | None = Field(
        None, max_length=3, description="of pixels scaled to 0..1, one or one a channel; by default the data set's own"
    )
    std: tuple[float, ...] | None = Field(
        None, max_length=3, description="what is divided by after mean is subtracted; below 0 where dark is light"
    )
    gives: Literal["logits", "probabilities"] = Field("logits", description="of probabilities the logarithm is taken")
    shape: tuple[PositiveInt, PositiveInt, PositiveInt] | None = Field(
        None, description="(C, H, W) of the images it reads, made of ours; by default ours as they are"
    )
    weights: str = Field("", max_length=200, description="under which name its file keeps the weights that were taken")
    output: int = Field(0, ge=0, description="which of a black box's outputs is taken")
    classes: tuple[NonNegativeInt, ...] | None = Field(
        None, description="which of its classes are the data set's, in their order; by default all"
    )

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if (self.mean is None) != (self.std is None) or (
            self.mean is not None and self.std is not None and len(self.mean) != len(self.std)
        ):
            raise ConfigError(said("a normalisation has as many means as standard deviations: state both"))
        if self.std is not None and not all(self.std):
            raise ConfigError(said("a normalisation divides by its standard deviation: it cannot be 0"))
        return self

    def reads(self, image_shape: ImageShape) -> ImageShape:
        """(C, H, W) of what it is given of such images."""
        return self.shape or image_shape
