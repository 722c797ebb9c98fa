"""How much memory runs take at their peak, beside what kd_core.training.memory expects. Prints a table in Markdown.

    KD_DATA_DIR=... python tools/benchmarks/memory.py

Each run trains in a process of its own, with a checkpoint after its first record; it is paused after three, read back
from its checkpoint, and goes on to its end. What it prints goes into docs/measurements/memory.md.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from measured import machine

from kd_core.base.process import let_threads_sleep
from kd_core.data.catalogue import TransferSetConfig
from kd_core.jobs import execute
from kd_core.losses.config import DistillationConfig
from kd_core.models.config import PAPER_TEACHER, ModelConfig
from kd_core.runs.run import new_id
from kd_core.runs.store import Store
from kd_core.training import memory
from kd_core.training.config import RunConfig, TrainingConfig

RECORDS = 3


def baseline(dataset, model, share=1.0, **training):
    """A run without a teacher, on a share of its data set: an epoch is to be short, and its batches whole."""
    settings = TrainingConfig(epochs=1, memory_format="auto", **training)
    part = TransferSetConfig(fraction=share)
    return RunConfig(role="baseline", dataset=dataset, model=model, training=settings, transfer_set=part)


def distilled(objective, **training):
    """A run that learns from PAPER_TEACHER."""
    distillation = DistillationConfig(teachers=("teacher",), objective=objective)
    settings = TrainingConfig(epochs=1, memory_format="auto", **training)
    return RunConfig(role="distilled", dataset="mnist", distillation=distillation, training=settings)


WIDE, RESNET = ModelConfig(hidden=(8000, 8000)), ModelConfig(name="resnet18")
RUNS = {
    "digits, mlp 32": baseline("digits", ModelConfig(hidden=(32,))),
    "digits, mlp 10000-10000": baseline("digits", ModelConfig(hidden=(10_000, 10_000))),
    "MNIST, mlp 1200-1200": baseline("mnist", PAPER_TEACHER, 0.2),
    "MNIST, mlp 8000-8000": baseline("mnist", WIDE, 0.03),
    "MNIST, mlp 8000-8000, sgd": baseline("mnist", WIDE, 0.03, optimizer="sgd"),
    "MNIST, mlp 800-800, batch 40,000": baseline("mnist", ModelConfig(), batch_size=40_000),
    "MNIST, ResNet-18, batch 512": baseline("mnist", RESNET, 0.02),
    "MNIST, MobileNetV3 small, batch 2,048": baseline(
        "mnist", ModelConfig(name="mobilenet_v3_small"), 0.1, batch_size=2048
    ),
    "MNIST, cnn 16-32": baseline("mnist", ModelConfig(name="cnn"), 0.2),
    "MNIST, cnn 64-128-256, batch 2,048": baseline(
        "mnist", ModelConfig(name="cnn", channels=(64, 128, 256)), 0.1, batch_size=2048
    ),
    "MNIST, ResNet-18, batch 128": baseline("mnist", RESNET, 0.01, batch_size=128),
    "MNIST, ResNet-18, batch 512, float32": baseline("mnist", RESNET, 0.02, precision="float32"),
    "MNIST, 800-800 from 1200-1200": distilled("hinton"),
    "MNIST, 800-800 from 1200-1200, jitter": distilled("hinton", jitter_pixels=2),
    "MNIST, 800-800 from 1200-1200, CRD": distilled("crd"),
}


def train(store, run_id):
    """Carry a run out in this process: until a pause after a few records, and from there to its end."""
    execute.CHECKPOINT_SECONDS = 0
    for most in (RECORDS, sys.maxsize):
        seen = []
        execute.run_here(store, run_id, seen.append, lambda: "pause" if len(seen) > most else None)  # noqa: B023
        if store.get(run_id).status == "paused":
            store.take_up(run_id)
    assert store.get(run_id).status == "finished", store.get(run_id)


def peak_bytes(config, home):
    """Train in a process that does nothing else, and return its peak."""
    store = Store(home)
    run_id = new_id()
    store.create({run_id: config})
    store.close()
    command = [sys.executable, __file__, "--home", str(home), "--run", run_id]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main():
    """Measure all runs, or in its own process train the one that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="of a run that this process is to train")
    parser.add_argument("--run")
    parser.add_argument("--only", default="", help="of RUNS, those whose names hold this")
    given = parser.parse_args()
    let_threads_sleep()  # as workers do
    if given.run:
        train(Store(given.home), given.run)
        print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    print(f"{machine()}\n\n| run | expected | peak | expected / peak |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        store = Store(home)
        teacher = RunConfig(
            role="teacher", dataset="mnist", model=PAPER_TEACHER, training=TrainingConfig(epochs=1, batch_size=4096)
        )
        store.create({"teacher": teacher})
        store.close()
        subprocess.run(
            [sys.executable, __file__, "--home", folder, "--run", "teacher"], check=True, stdout=subprocess.DEVNULL
        )
        for name, config in RUNS.items():
            if given.only not in name:
                continue
            expected = memory.memory_of(config, [PAPER_TEACHER] if config.distillation else []).total
            peak = peak_bytes(config, home)
            print(f"| {name} | {expected / 1e9:.2f} GB | {peak / 1e9:.2f} GB | {expected / peak:.2f} |", flush=True)


if __name__ == "__main__":
    main()
