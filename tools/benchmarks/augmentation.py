"""Measure what augmentation gains where images are few, and write docs/measurements/augmentation.md.

    KD_HOME=... KD_DATA_DIR=... python tools/benchmarks/augmentation.py [--seeds 5] [--document]

Takes signs/signs.zip of KD_DATA_DIR at 32 pixels and a fifth of its training images, and trains a student for every
row and seed; a run that is done is kept in KD_HOME/augmentation.json, so that a second call goes on. Students of a seed
start from the same weights and see the same images in the same order. --document writes the document of what is there
alone.
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import measured
import torch

from kd_core.base import paths
from kd_core.base.config import LabError
from kd_core.base.files import write_atomic
from kd_core.data import load
from kd_core.data import paths as data_paths
from kd_core.data.catalogue import TransferSetConfig
from kd_core.data.own import library, prepare
from kd_core.data.own.library import Preparation
from kd_core.evaluation.statistics import mean_interval
from kd_core.experiments.defaults import OTHER_STUDENT, OTHER_TEACHER
from kd_core.losses.config import DistillationConfig
from kd_core.models import build
from kd_core.models.config import ModelConfig
from kd_core.training.config import RunConfig, TrainingConfig
from kd_core.training.loop import Training, train

DOCUMENT = paths.ROOT / "docs" / "measurements" / "augmentation.md"
LABEL, SHARE, NORM_SEEDS = "signs32", 0.2, 2
TRAINING = TrainingConfig(
    epochs=120, batch_size=32, learning_rate=2e-3, precision="float32", memory_format="channels_last"
)
CROP = {"jitter_pixels": 3, "colour": 0.3}


class Row(NamedTuple):
    """A way to train. settings: of TrainingConfig. view: of a distilled student's teacher, None for a baseline."""

    label: str
    settings: Mapping[str, object] = MappingProxyType({})
    view: str | None = None
    model: ModelConfig = OTHER_STUDENT
    beside: str = "none"


ROWS = {
    "none": Row("labels, no augmentation"),
    "crop": Row("labels, crop after padding (3 pixels) and colour (0.3)", CROP),
    "randaugment": Row("labels, RandAugment of 2 operations", {"randaugment": 2}),
    "mixup": Row("labels, mixup (alpha 0.2)", {"mixup": 0.2}),
    "cutmix": Row("labels, CutMix (alpha 1)", {"cutmix": 1.0}),
    "distilled": Row("distilled, no augmentation", {}, "same"),
    "same": Row("distilled, crop and colour, the same view for both", CROP, "same", beside="distilled"),
    "original": Row("distilled, crop and colour, the teacher's logits of the images as they are", CROP, "original",
                    beside="distilled"),
}  # fmt: skip
NORM = {
    f"norm {momentum}": Row(
        f"mobilenet_v3_small, 15 epochs, momentum {momentum}",
        {"epochs": 15},
        model=ModelConfig(name="mobilenet_v3_small", norm_momentum=momentum),
    )
    for momentum in (0.01, 0.1)
}
OPENING = """\
# Augmentation

<!-- Written by tools/benchmarks/augmentation.py: change that, and make this anew. -->

What changing the images in training gains where they are few: photographs of hands that sign digits, 32 pixels, a fifth
of the {images:,} training images of the split, {test} to test. The student is a {student}, trained for {epochs} epochs
at batch {batch}; distilled ones at T 4 and alpha 0.9, from a {teacher} that was trained on all training images
({teacher_errors} test errors). The students of a seed start from the same weights and see images in the same order. A
difference is paired by seed, with its 95% interval (Student's t); one that leaves out 0 is set in bold. Few seeds, so
wide intervals. {machine}.

Ten seeds of four of these rows, on a fifth that is the same for all seeds: [Few photographs](signs.md).

Augmentation wants time. With 40 epochs instead of {epochs}, on one seed, labels alone made 57 errors, with crop and
colour 63, with RandAugment 92, with mixup 57 and with CutMix 84; distilled 47, and with crop and colour 100. The
length was set to {epochs} after that look, before any other run, and no setting was changed since.
"""


def signs() -> str:
    """Return the name of the data set, prepared if it is not there yet."""
    try:
        return library.find(paths.storage(), LABEL)
    except LabError:
        source = next(folder / "signs" / "signs.zip" for folder in data_paths.data_folders())
        return prepare.prepare(Path(source), Preparation(label=LABEL, side=32), paths.storage())


def errors_of(config: RunConfig, dataset, teacher=None) -> tuple[int, torch.nn.Module]:
    """Train a run; return its test errors and its best model."""
    run = Training(config, dataset, teachers=[] if teacher is None else [teacher])
    for _ in train(run):
        pass
    best = run.best_model()
    logits = build.logits_of(best, dataset.test_images, dataset.normalise)
    return int((logits.argmax(dim=1) != dataset.test_labels).sum()), best


def config_of(row: Row, name: str, seed: int) -> RunConfig:
    """Return the run of a row and seed."""
    distillation = row.view and DistillationConfig(teachers=("teacher",), teacher_view=row.view)
    return RunConfig(
        role="distilled" if row.view else "baseline",
        dataset=name,
        model=row.model,
        distillation=distillation,
        transfer_set=TransferSetConfig(fraction=SHARE),
        training=TRAINING.replace(**row.settings),
        seed=seed,
    )


def measure(seeds: int, kept: Path) -> None:
    """Train what is missing, seed by seed."""
    name = signs()
    dataset, done = load.load(name, storage=paths.storage()), json.loads(kept.read_text()) if kept.exists() else {}
    training = TRAINING.replace(epochs=20, jitter_pixels=2)
    errors, teacher = errors_of(
        RunConfig(role="teacher", dataset=name, model=OTHER_TEACHER, training=training), dataset
    )
    done["teacher"] = errors
    runs = [(key, seed) for rows, most in ((ROWS, seeds), (NORM, NORM_SEEDS)) for seed in range(most) for key in rows]
    for key, seed in runs:
        if f"{key} {seed}" in done:
            continue
        start, row = time.perf_counter(), (ROWS | NORM)[key]
        done[f"{key} {seed}"] = errors_of(config_of(row, name, seed), dataset, teacher if row.view else None)[0]
        write_atomic(kept, json.dumps(done).encode())
        print(key, seed, done[f"{key} {seed}"], f"{time.perf_counter() - start:.0f} s", flush=True)


def document(kept: Path) -> str:
    """Return the document of what was measured."""
    done, dataset = json.loads(kept.read_text()), load.load(signs(), storage=paths.storage())
    by_row = {
        key: {seed: done[f"{key} {seed}"] for seed in range(100) if f"{key} {seed}" in done} for key in ROWS | NORM
    }
    lines = [
        OPENING.format(
            images=len(dataset.train_labels), test=len(dataset.test_labels), student=OTHER_STUDENT.label,
            epochs=TRAINING.epochs, batch=TRAINING.batch_size, teacher=OTHER_TEACHER.label,
            teacher_errors=done["teacher"], machine=measured.machine(),
        ),
        "| training | test errors, mean | by seed | difference |", "| --- | --- | --- | --- |",
    ]  # fmt: skip
    for key, row in ROWS.items():
        lines.append(_line(row.label, by_row[key], {} if key == row.beside else by_row[row.beside], row.beside))
    lines += [
        "",
        "## Batch norms in short runs",
        "",
        "Torchvision's MobileNetV3 takes up a hundredth of a batch into its running statistics. The same images:",
        "",
        "| network | test errors, mean | by seed |",
        "| --- | --- | --- |",
    ]
    lines += [_line(row.label, by_row[key], None) for key, row in NORM.items()]
    return "\n".join(lines) + "\n"


def _line(label: str, errors: dict[int, int], others: dict[int, int] | None, beside: str = "") -> str:
    cells = [label, f"{sum(errors.values()) / max(1, len(errors)):.1f}", ", ".join(map(str, errors.values()))]
    if others is not None:
        cells.append("")
    differences = [errors[seed] - others[seed] for seed in errors if seed in others] if others else []
    if len(differences) > 1:
        mean, low, high = mean_interval(differences)
        text = f"{mean:+.1f} ({low:+.1f} to {high:+.1f}) against *{ROWS[beside].label}*"
        cells[-1] = f"**{text}**" if low * high > 0 else text
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--document", action="store_true")
    given = parser.parse_args()
    kept = paths.home() / "augmentation.json"
    if not given.document:
        measure(given.seeds, kept)
    write_atomic(DOCUMENT, document(kept).encode())


if __name__ == "__main__":
    main()
