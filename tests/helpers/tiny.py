"""Runs so small that a test can afford them."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from kd_core.base import tensors
from kd_core.data import load
from kd_core.data.catalogue import TransferSetConfig
from kd_core.exchange import shipped
from kd_core.experiments.limits.catalogue import Scale
from kd_core.experiments.story import StoryConfig
from kd_core.jobs import execute
from kd_core.losses.config import DistillationConfig
from kd_core.models import build
from kd_core.models.config import ModelConfig
from kd_core.runs.run import new_id
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig, TrainingConfig

TINY = ModelConfig(hidden=(16,))


def tiny_config(role: str = "teacher", *, teachers: tuple[str, ...] = (), seed: int = 0, **training) -> RunConfig:
    """A run on digits that takes a fraction of a second an epoch."""
    settings = {"epochs": 2, "batch_size": 128, "learning_rate": 5e-3, "precision": "float32", **training}
    return RunConfig(
        role=role,
        dataset="digits",
        model=TINY,
        distillation=DistillationConfig(teachers=teachers, temperature=2.0) if teachers else None,
        training=TrainingConfig(**settings),
        seed=seed,
    )


LONG_NAMES = (
    "Atlantic puffin", "bougainvillea", "crème brûlée", "double-decker bus", "emperor penguin", "flowering dogwood",
    "golden retriever", "hot-air balloon", "<b>Icelandic horse", "jack-o'-lantern", "king of *hearts*",
    "lighthouse at the end of the world",
)  # fmt: skip
"""Of twelve classes, some of them unkind to Markdown, HTML and narrow windows."""


def coloured_classes(folder: Path, names: Sequence[str] = LONG_NAMES, *, count: int = 12, size=(40, 32)) -> Path:
    """A folder of class folders with coloured stripes in them: each class has a colour and a width of its own."""
    generator = np.random.default_rng(0)
    across = np.arange(size[0])
    for label, name in enumerate(names):
        colour = [127 + 120 * np.cos(2 * np.pi * (label / len(names) + third / 3)) for third in range(3)]
        for number in range(count):
            stripes = 0.6 + 0.4 * np.sin(across / (1 + label % 5) + generator.uniform(0, 6))
            pixels = np.outer(stripes, colour)[None] + generator.normal(0, 15, (size[1], size[0], 3))
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number:03}.png")
    return folder


def photographed(digit: np.ndarray) -> Image.Image:
    """A digit (28, 28), light on black, as somebody's photo: dark on grey paper, in a corner, in uneven light."""
    large = Image.fromarray(digit).resize((196, 196), Image.Resampling.BICUBIC)
    ink = np.zeros((480, 640))
    ink[250:446, 30:226] = np.asarray(large) / 255
    light = np.linspace(225, 190, 640) + np.random.default_rng(0).normal(0, 3, (480, 640))
    grey = (light * (1 - 0.8 * ink)).clip(0, 255).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(grey)] * 3)


def colour_story(dataset: str, **changes) -> StoryConfig:
    """Teacher, baseline and distilled student, small cnns, on a data set of colour images."""
    return StoryConfig.default(dataset).replace(
        teacher=ModelConfig(name="cnn"),
        teacher_training=tiny_config(epochs=4, batch_size=32).training,
        student=ModelConfig(name="cnn"),
        training=tiny_config(epochs=2, batch_size=32).training,
        **changes,
    )


def shipped_logits(dataset: str) -> list[np.ndarray]:
    """Logits of the teacher, baseline and distilled student that ship over their test set, in float64; its labels."""
    data, of_roles = load.load(dataset), []
    for role in ("teacher", "baseline", "distilled"):
        folder = shipped.FOLDER / f"{dataset}-{role}"
        config = RunConfig.model_validate(json.loads((folder / "run.json").read_text(encoding="utf-8"))["config"])
        model = build.build(config.model, data.image_shape, len(data.class_names))
        model.load_state_dict(tensors.load_tensors(folder / "weights.safetensors"))
        logits = build.logits_of(model.eval(), data.test_images, data.normalise)
        of_roles.append(logits.double().numpy())
    return [*of_roles, data.test_labels.numpy()]


def tiny_story() -> StoryConfig:
    """Teacher, baseline and distilled student on digits, in a second or two."""
    return StoryConfig.default("digits").replace(
        teacher=TINY,
        teacher_training=tiny_config(epochs=3).training,
        student=ModelConfig(hidden=(8,)),
        training=tiny_config(epochs=2).training,
        temperature=2.0,
    )


def seal(checkpoint: Path) -> None:
    """Give a file the checksum of a checkpoint, as somebody who means harm would."""
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content + hashlib.sha256(content).digest())


def train_here(store: Store, config: RunConfig, *, requested=lambda: None, on_event=lambda event: None) -> str:
    """Do one run in this process and return its id."""
    run_id = new_id()
    store.create({run_id: config})
    execute.run_here(store, run_id, on_event, requested)
    return run_id


def undisturbed_weights(home: Path, config: RunConfig) -> dict[str, torch.Tensor]:
    """What the same config leaves when nobody interferes."""
    other = Store(home / "undisturbed")
    run_id = train_here(other, config)
    weights = tensors.load_tensors(other.folder(run_id).weights)
    other.close()
    return weights


def assert_same_weights(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    """Bit by bit."""
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


PAPER = StoryConfig(
    dataset="digits",
    new_teachers=2,
    teacher=ModelConfig(hidden=(16,), dropout_hidden=0.5),
    teacher_training=TrainingConfig(epochs=2, batch_size=128, jitter_pixels=2, validation_fraction=0),
    student=ModelConfig(hidden=(8,)),
    training=TrainingConfig(epochs=2, batch_size=128, validation_fraction=0),
    temperature=20.0,
    alpha=1.0,
)
"""The paper's experiments on digits, in a second each."""

BUDGET = StoryConfig.default("digits").replace(
    teacher=PAPER.teacher,
    teacher_training=PAPER.teacher_training,
    student=PAPER.student,
    training=PAPER.training,
    transfer_set=TransferSetConfig(fraction=0.5),
)
"""What the comparison of objectives gives each of them, in a fraction of a second."""

_BRIEF = TrainingConfig(epochs=2, batch_size=128, learning_rate=5e-3, validation_fraction=0, precision="float32")
LIMITS = Scale(
    student=PAPER.student,
    small=PAPER.student,
    dwarf=ModelConfig(hidden=(4,)),
    assistant=ModelConfig(hidden=(6,)),
    teacher=TINY,
    teacher_training=_BRIEF,
    hasty=1,
    training=_BRIEF,
    whole=_BRIEF,
    part=TransferSetConfig(fraction=0.5),
    few=TransferSetConfig(fraction=0.2),
    short=1,
    long=2,
    jitter_pixels=1,
)
"""The experiments on the limits of distillation, in a fraction of a second a run."""
