"""How fast a distillation epoch is beside a plain DataLoader loop, in one run on one machine. Reports ratios.

    KD_DATA_DIR=... python tools/benchmarks/distillation.py [--epochs 12] [--teacher-epochs 20]

The plain loop is what a first implementation looks like: torchvision's transforms on every sample, batches of 64 from a
DataLoader, the teacher called on every batch, loss.item() at every step, torch.optim.Adam at 1e-3. Same student
784-800-800-10, same teacher 784-1200-1200-10, same T and alpha. The contenders take turns, epoch by epoch; a ratio is
of two epochs that lie side by side. What it prints goes into docs/measurements/speed.md.
"""

import argparse
import time

import torch
from measured import machine, ratios, spread, test_errors
from torch.nn import functional as F
from torch.utils.data import DataLoader

from kd_core.base.torchvision import torchvision
from kd_core.data import load, paths
from kd_core.experiments import defaults
from kd_core.losses.config import DistillationConfig
from kd_core.models import build
from kd_core.models.config import PAPER_STUDENT, PAPER_TEACHER
from kd_core.training.config import RunConfig
from kd_core.training.loop import Training, train
from kd_core.training.records import EpochRecord

TEMPERATURE, ALPHA = 4.0, 0.9


def plain_loop(teacher, dataset, epochs):
    """Yield seconds of each epoch; afterwards the student's test errors."""
    vision = torchvision()
    transform = vision.transforms.Compose(
        [vision.transforms.ToTensor(), vision.transforms.Normalize((dataset.mean,), (dataset.std,))]
    )
    data = vision.datasets.MNIST(root=str(paths.folder_of("mnist")), train=True, transform=transform)
    kept, _ = dataset.split(1 / 12, 0)
    loader = DataLoader(torch.utils.data.Subset(data, kept.tolist()), batch_size=64, shuffle=True)
    torch.manual_seed(0)
    student = build.build(PAPER_STUDENT, dataset.image_shape, 10)
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)
    for _ in range(epochs):
        start = time.perf_counter()
        total = 0.0
        for images, labels in loader:
            with torch.no_grad():
                teacher_logits = teacher(images)
            logits = student(images)
            targets = F.softmax(teacher_logits / TEMPERATURE, 1)
            soft = F.kl_div(F.log_softmax(logits / TEMPERATURE, 1), targets, reduction="batchmean")
            loss = ALPHA * TEMPERATURE**2 * soft + (1 - ALPHA) * F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        yield time.perf_counter() - start
    yield test_errors(student, dataset)


def ours(teacher_logits, dataset, training, role="distilled"):
    """The same for the engine, with a training config of its own."""
    distillation = DistillationConfig(teachers=("benchmark",), temperature=TEMPERATURE, alpha=ALPHA)
    run = Training(
        RunConfig(role=role, distillation=distillation if role == "distilled" else None, training=training),
        dataset,
        teacher_logits=teacher_logits,
    )
    start = time.perf_counter()
    for record in train(run):
        if isinstance(record, EpochRecord):
            yield time.perf_counter() - start
            start = time.perf_counter()
    yield test_errors(run.best_model(), dataset)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=defaults.STUDENT_TRAINING.epochs)
    parser.add_argument("--teacher-epochs", type=int, default=defaults.TEACHER_TRAINING.epochs)
    arguments = parser.parse_args()
    epochs, dataset = arguments.epochs, load.load("mnist")
    training = defaults.TEACHER_TRAINING.replace(epochs=arguments.teacher_epochs)
    teacher_run = Training(RunConfig(role="teacher", model=PAPER_TEACHER, training=training), dataset)
    for _ in train(teacher_run):
        pass
    teacher = teacher_run.best_model()
    start = time.perf_counter()
    teacher_logits = build.logits_of(teacher, dataset.train_images, dataset.normalise)[None]
    logits_seconds = time.perf_counter() - start

    default = defaults.STUDENT_TRAINING.replace(epochs=epochs)
    same_batch = default.replace(batch_size=64, precision="float32", optimizer="adam", learning_rate=1e-3)
    contenders = {
        "plain loop, batch 64, float32": plain_loop(teacher, dataset, epochs),
        "engine, batch 64, float32": ours(teacher_logits, dataset, same_batch),
        "engine, default settings": ours(teacher_logits, dataset, default),
        "engine, default, baseline": ours(None, dataset, default, role="baseline"),
    }
    seconds = {name: [] for name in contenders}
    for _ in range(epochs):
        for name, contender in contenders.items():
            seconds[name].append(next(contender))
    plain = seconds["plain loop, batch 64, float32"]
    print(f"MNIST, T = {TEMPERATURE:g}, alpha = {ALPHA:g}; {machine()}; medians of {epochs} epochs (range).")
    print(
        f"The teacher makes {test_errors(teacher, dataset)} test errors;"
        f" its logits take {logits_seconds:.1f} s, once.\n"
    )
    print("| loop | seconds an epoch | times as fast as the plain loop | test errors |\n| --- | --- | --- | --- |")
    for name, contender in contenders.items():
        faster = spread(ratios(plain, seconds[name]), 1)
        print(f"| {name} | {spread(seconds[name])} | {faster} | {next(contender)} |")
    cost = ratios(seconds["engine, default settings"], seconds["engine, default, baseline"])
    print(f"\nDistilling costs {spread(cost)} times the baseline's epoch.")


if __name__ == "__main__":
    main()
