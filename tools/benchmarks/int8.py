"""What int8 costs networks in test errors, and what training on int8-aware gives back. Prints a table in Markdown.

    python tools/benchmarks/int8.py --dataset mnist --images 6000 --models "cnn 4-8-16" --epochs 6 --more 2 --seeds 8

Each network is trained, and its weights go on twice, for as many more epochs at a tenth of the rate: plainly, and
rounded as an int8 file is. Below a network's seeds stand means with Student's 95% interval. What it prints goes into
docs/measurements/int8.md. torch.set_num_threads stays torch's.
"""

import argparse
import copy
import dataclasses
import math
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from torch.nn import functional as F

from kd_core.base import paths
from kd_core.data import load
from kd_core.data.own import library
from kd_core.evaluation.statistics import mean_interval
from kd_core.exchange.export import graphs, write
from kd_core.experiments.defaults import network
from kd_core.models import build
from kd_core.models.arithmetic import rounding_to_int8

RATE, BATCH = 3e-3, 64


def train(model, dataset, epochs, rate):
    """AdamW with a cosine, on labels alone."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    steps = epochs * math.ceil(len(dataset.train_labels) / BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(dataset.train_labels)).split(BATCH):
            logits = model(dataset.normalise(dataset.train_images[batch]))
            loss = F.cross_entropy(logits, dataset.train_labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def verdict(model, dataset, folder):
    """How the model's int8 file does beside the model, on the test set."""
    model.eval()
    with torch.inference_mode():
        original = np.concatenate([model(dataset.normalise(part)).numpy() for part in dataset.test_images.split(250)])
    path = Path(folder) / "int8.onnx"
    path.write_bytes(graphs.to_int8(graphs.to_onnx(write.trace(model, dataset)), dataset))
    run = write.run_onnx(path)
    logits = np.concatenate([run(part.to(torch.float32).numpy()) for part in dataset.test_images.split(250)])
    return write.judge(original, logits, dataset.test_labels.numpy(), rounded=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--models", default="cnn 4-8-16", help="as a sweep takes them, commas between")
    for name, value in (("images", 1_000_000), ("epochs", 10), ("more", 3), ("seeds", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    dataset = load.load(library.find(paths.storage(), given.dataset))
    part = {"train_images": dataset.train_images[: given.images], "train_labels": dataset.train_labels[: given.images]}
    dataset = dataclasses.replace(dataset, **part)
    print("| network | seed | float32 | int8 | p | plainly on: float32, int8 | int8-aware on: float32, int8 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in given.models.split(","):
        lost = []
        for seed in range(given.seeds):
            torch.manual_seed(seed)
            model = build.build(network(name), dataset.image_shape, len(dataset.class_names))
            train(model, dataset, given.epochs, RATE)
            plain, aware = copy.deepcopy(model), rounding_to_int8(copy.deepcopy(model))
            for more in (plain, aware):
                train(more, dataset, given.more, RATE / 10)
            saved = copy.deepcopy(model)
            saved.load_state_dict(aware.state_dict())
            with tempfile.TemporaryDirectory() as folder:
                first, then, learned = (verdict(each, dataset, folder) for each in (model, plain, saved))
            pairs = [f"{each.original_test_errors}, {each.test_errors}" for each in (then, learned)]
            errors = f"{first.original_test_errors} | {first.test_errors} | {first.p_value:.2g}"
            print(f"| {name} | {seed} | {errors} | {' | '.join(pairs)} |", flush=True)
            on = first.original_test_errors
            lost.append(
                [each.test_errors - on for each in (first, then, learned)] + [learned.test_errors - then.test_errors]
            )
        whats = ("int8", "plainly on, int8", "int8-aware on, int8")
        whats = (*(f"{what} less float32 before" for what in whats), "int8-aware on less plainly on, int8")
        for what, differences in zip(whats, zip(*lost, strict=True), strict=True):
            mean, low, high = mean_interval(differences)
            print(f"{name}, {what}: {mean:+.1f} ({low:+.1f} to {high:+.1f})", flush=True)


if __name__ == "__main__":
    main()
