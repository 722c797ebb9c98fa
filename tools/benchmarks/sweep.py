"""How fast 16 small students train together beside one after another, in one run on one machine. Reports the ratio.

    KD_DATA_DIR=... python tools/benchmarks/sweep.py [--epochs 20] [--seeds 2] [--rounds 3]

The grid that the Sweep page starts with: students of 784-30-10 at 4 temperatures and 2 alphas with 2 seeds each, on
MNIST, from one teacher 784-100-10; more seeds and fewer alphas on request (--seeds 4: 4 temperatures, 1 alpha). What
is shared is a seed's batches: the more students a seed has, the more there is to gain.

One after another goes through training.train with the same config and the same teacher logits, known beforehand to
both. Both times hold everything from the configs to the last epoch's validation. The contenders take turns: the first
half of the students one by one, then all together, then the other half, so that a machine that slows down slows both;
the ratio is of each round, its spread over the rounds. What it prints goes into docs/measurements/speed.md.
"""

import argparse
import time

from measured import machine, ratios, spread, test_errors

from kd_core.data import load
from kd_core.experiments.sweep import SweepConfig
from kd_core.models import build
from kd_core.models.config import ModelConfig
from kd_core.training.config import RunConfig, TrainingConfig
from kd_core.training.loop import Training, train
from kd_core.training.together import Together, train_together


def trained(config, dataset, teacher_logits=None):
    run = Training(config, dataset, teacher_logits=teacher_logits)
    for _ in train(run):
        pass
    return run.best_model()


def one_by_one(configs, dataset, teacher_logits):
    start = time.perf_counter()
    students = [trained(config, dataset, teacher_logits) for config in configs]
    return time.perf_counter() - start, [test_errors(student, dataset) for student in students]


def together(configs, dataset, teacher_logits):
    start = time.perf_counter()
    state = Together(configs, dataset, teacher_logits)
    for _ in train_together(state):
        pass
    return time.perf_counter() - start, state.test_errors()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, choices=(1, 2, 4), default=2)
    parser.add_argument("--width", type=int, default=30)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    dataset = load.load("mnist")
    teacher = trained(
        RunConfig(role="teacher", model=ModelConfig(hidden=(100,)), training=TrainingConfig(epochs=2)), dataset
    )
    teacher_logits = build.logits_of(teacher, dataset.train_images, dataset.normalise)[None]

    sweep = SweepConfig(
        teachers=("benchmark",),
        widths=(arguments.width,),
        alphas=(0.3, 0.5, 0.7, 0.9)[-4 // arguments.seeds :],
        seeds=tuple(range(arguments.seeds)),
        training=TrainingConfig(epochs=arguments.epochs, precision=arguments.precision),
    )
    configs = [config for config in sweep.cells() if config.role == "distilled"]
    half = len(configs) // 2
    alone, joined, errors = [], [], []
    for _ in range(arguments.rounds):
        first, first_errors = one_by_one(configs[:half], dataset, teacher_logits)
        seconds, errors_together = together(configs, dataset, teacher_logits)
        second, second_errors = one_by_one(configs[half:], dataset, teacher_logits)
        alone.append(first + second)
        joined.append(seconds)
        errors = [first_errors + second_errors, errors_together]
    print(
        f"{len(configs)} students 784-{arguments.width}-10 of {arguments.seeds} seeds, {arguments.epochs} epochs of"
        f" MNIST; {machine()}; medians of {arguments.rounds} rounds (range)."
    )
    print(f"The teacher makes {test_errors(teacher, dataset)} test errors.\n")
    print("| students | seconds | times as fast | test errors |\n| --- | --- | --- | --- |")
    print(f"| one after another | {spread(alone, 1)} | 1 | {' '.join(map(str, errors[0]))} |")
    print(f"| together | {spread(joined, 1)} | {spread(ratios(alone, joined), 1)} | {' '.join(map(str, errors[1]))} |")


if __name__ == "__main__":
    main()
