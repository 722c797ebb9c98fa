"""Where teachers, students and their training start from, for each data set: docs/measurements/choices.md says why.

The browser's forms and the shell's options both start from here.
"""

import re
from collections.abc import Iterable

from kd_core.base.config import ConfigError
from kd_core.base.templates import said
from kd_core.data.catalogue import info_of
from kd_core.data.paths import available
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.models.architectures import own
from kd_core.models.config import PAPER_STUDENT, PAPER_TEACHER, ModelConfig
from kd_core.training.config import TrainingConfig

TEACHER_TRAINING = TrainingConfig(epochs=20, learning_rate=2e-3, jitter_pixels=2)
"""A teacher of the paper's shape: about 105 test errors on MNIST in under a minute on two cores."""
STUDENT_TRAINING = TrainingConfig(epochs=12, learning_rate=3e-3)
"""A student of the paper's shape: about 130 test errors on MNIST, distilled at T = 4, in a quarter of a minute."""

LIGHT_TEACHER = PAPER_TEACHER.replace(dropout_input=0.1, dropout_hidden=0.3)
"""Beside images that shift, half of the hidden units is too many to drop."""
PAPER_TEACHER_TRAINING = TrainingConfig(
    epochs=100, learning_rate=1e-3, weight_decay=0.5, jitter_pixels=2, validation_fraction=0
)
"""Chosen by hand, by errors on 10,000 training images kept apart; then trained on all 60,000, as the paper's."""
PAPER_STUDENT_TRAINING = TrainingConfig(
    epochs=80, batch_size=256, learning_rate=3e-3, weight_decay=0, validation_fraction=0
)
"""For baseline and distilled student alike, without any regularisation, as the paper's. Chosen as the teacher's."""

DIGITS_TEACHER_TRAINING = TrainingConfig(epochs=40, batch_size=64, jitter_pixels=1)
DIGITS_STUDENT_TRAINING = TrainingConfig(epochs=60, batch_size=64, learning_rate=1e-2)

DIGITS_STUDENT = ModelConfig(hidden=(30,))
"""Small enough for 1,352 training images: one hidden layer of 30 units."""

OTHER_TEACHER_STEPS, OTHER_STUDENT_STEPS = 3000, 3000
"""Steps that teach a network of the engine a data set that nobody has tuned it for: minutes on two cores."""
OTHER_STUDENT = ModelConfig().named("cnn")
OTHER_TEACHER = OTHER_STUDENT.replace(channels=(32, 64, 128))
"""24,000 and 95,000 numbers whatever the images' size."""


def default_dataset(among: Iterable[str] = ("mnist", "digits")) -> str:
    """Return the first of these data sets that is on this machine, else the last."""
    names = [*among]
    return next((name for name in names if available(name)), names[-1])


def default_model(role: str, dataset: str) -> ModelConfig:
    """Return the network of a role that a data set's stories start from."""
    if dataset != "digits" and not _like_mnist(dataset):
        return OTHER_TEACHER if role == "teacher" else OTHER_STUDENT
    if role == "teacher":
        return PAPER_TEACHER
    return DIGITS_STUDENT if dataset == "digits" else PAPER_STUDENT


_NETWORK = re.compile(r"([^\s:]+?)(?:[\s:-]+(linear|[0-9]{1,5}(?:[\s,x-]+[0-9]{1,5})*))?")


def network(text: str) -> ModelConfig:
    """Return the network that is written as 'mlp 800-800', 'cnn 8-16' or 'resnet18', or as an import path.

    Raises ConfigError, also for own code that may not be imported.
    """
    if own.is_path(text.strip()):
        return ModelConfig().named(own.named(text.strip()))
    written = _NETWORK.fullmatch(text.strip())
    if written is None:
        raise ConfigError(
            said("a network is written as mlp 800-800, cnn 8-16 or resnet18, got '{text}'", text=text[:40])
        )
    name, sizes = written.groups()
    model = ModelConfig().named(name)
    if sizes is None:
        return model
    widths = model.architecture.widths
    if widths is None:
        raise ConfigError(said("{network} has no widths to choose: write its name alone", network=name))
    return model.replace(**{widths.setting: tuple(map(int, re.findall(r"[0-9]+", sizes)))})


def written(model: ModelConfig) -> str:
    """Return a network as network() reads it, by its name and widths alone."""
    widths = model.architecture.widths
    return (
        own.path_of(model.name)
        if widths is None
        else f"{model.name} {'-'.join(map(str, getattr(model, widths.setting))) or 'linear'}"
    )


def default_training(role: str, dataset: str) -> TrainingConfig:
    """Return the default training of a role on a data set: about a minute on two cores.

    For data sets that it was not measured on, so many epochs that the number of steps is about the same for all.
    """
    return _default_training(role == "teacher", dataset).replace(memory_format="auto")


def _default_training(teaches: bool, dataset: str) -> TrainingConfig:
    if dataset == "digits":
        return DIGITS_TEACHER_TRAINING if teaches else DIGITS_STUDENT_TRAINING
    if _like_mnist(dataset):
        return TEACHER_TRAINING if teaches else STUDENT_TRAINING
    examples = info_of(dataset).train_examples
    batch_size = 128 if examples > 5000 else 32
    steps = OTHER_TEACHER_STEPS if teaches else OTHER_STUDENT_STEPS
    epochs = max(4, min(60, round(steps * batch_size / examples)))
    return TrainingConfig(epochs=epochs, batch_size=batch_size, learning_rate=2e-3, jitter_pixels=2 if teaches else 0)


def default_temperature(dataset: str, objective: str = "hinton") -> float:
    """Return the objective's own temperature, or one that serves the default student."""
    own = OBJECTIVES[objective].temperature
    return own if own is not None else 2.0 if dataset == "digits" else 4.0


TEMPERATURES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 16.0, 20.0, 30.0, 50.0, 100.0)
"""Those that are worth trying, to choose from."""


def _like_mnist(dataset: str) -> bool:
    """Return whether a data set suits an mlp: grey images of MNIST's size, and as many."""
    info = info_of(dataset)
    return info.image_shape == (1, 28, 28) and info.train_examples > 10_000
