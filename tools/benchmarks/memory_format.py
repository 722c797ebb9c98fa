"""How much faster convolutional networks train with channels last, side by side. Prints a table in Markdown.

    python tools/benchmarks/memory_format.py

Whole training steps on one thread, in processor time, both formats in turns. What it prints goes into
docs/measurements/choices.md.
"""

import argparse
import time

import torch
from measured import machine, ratios, spread
from torch.nn import functional as F

from kd_core.models import build
from kd_core.models.arithmetic import autocast, quick_float32
from kd_core.models.config import ModelConfig
from kd_core.training.config import PRECISIONS

CPU, ROUNDS, SECONDS = torch.device("cpu"), 7, 0.15
NETWORKS = {
    "cnn 16-32": (ModelConfig(name="cnn"), (512, 128, 16)),
    "cnn 64-128-256": (ModelConfig(name="cnn", channels=(64, 128, 256)), (64, 32, 4)),
    "MobileNetV3 small": (ModelConfig(name="mobilenet_v3_small"), (64, 64, 8)),
    "ResNet-18": (ModelConfig(name="resnet18"), (16, 8, 2)),
}
"""Each with a batch size for each of SHAPES."""
SHAPES = ((1, 28, 28), (3, 64, 64), (3, 224, 224))


def prepared(config, shape, memory_format):
    """A network in train mode, and its optimiser."""
    torch.manual_seed(0)
    network = build.build(config, shape, 10).train().to(memory_format=memory_format)
    return network, torch.optim.AdamW(network.parameters(), fused=True)


def seconds_of_a_step(network, optimizer, images, labels, precision):
    """Processor time of a step, over as many as SECONDS hold."""
    start, steps = time.process_time(), 0
    while time.process_time() - start < SECONDS:
        with quick_float32(CPU):
            with autocast(precision, CPU):
                logits = network(images)
            loss = F.cross_entropy(logits.float(), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        optimizer.step()
        steps += 1
    return (time.process_time() - start) / steps


def main():
    """Measure all networks."""
    torch.set_num_threads(1)
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(f"{machine()}\n\n| network | images, batch | precision | contiguous / channels last |")
    print("| --- | --- | --- | --- |")
    for name, (config, sizes) in NETWORKS.items():
        for shape, size in zip(SHAPES, sizes, strict=True):
            images, labels = torch.randn(size, *shape), torch.randint(0, 10, (size,))
            for precision in PRECISIONS:
                formats = torch.contiguous_format, torch.channels_last
                networks = [(*prepared(config, shape, kind), images.contiguous(memory_format=kind)) for kind in formats]
                taken = [[seconds_of_a_step(*each, labels, precision) for each in networks] for _ in range(ROUNDS + 1)]
                row = f"{name} | {'x'.join(map(str, shape))}, {size} | {precision}"
                print(f"| {row} | {spread(ratios(*zip(*taken[1:], strict=True)))} |", flush=True)


if __name__ == "__main__":
    main()
