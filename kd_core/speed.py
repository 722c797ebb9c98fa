"""What a model costs to run: latency and throughput measured side by side, size and multiply-adds counted."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kd_core import models

THROUGHPUT_BATCH = 512
SECONDS_PER_MODEL = 0.5


def size_bytes(model: nn.Module) -> int:
    """Bytes of the model's parameters and buffers as they are stored."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def costs(model: nn.Module, image_shape: models.ImageShape) -> dict[str, int]:
    """parameters, size_bytes and multiply_adds (of one image) of a model."""
    return {
        "parameters": models.parameter_count(model),
        "size_bytes": size_bytes(model),
        "multiply_adds": models.multiply_adds(model, image_shape),
    }


@torch.inference_mode()
def measure(candidates: Mapping[str, nn.Module], images: Tensor, *, threads: int | None = None) -> dict[str, Any]:
    """Latency of one image and throughput of a batch, for several models side by side on the CPU.

    candidates: name -> model. images: (N, C, H, W) float32, normalised, N >= 1. Each model is warmed up, then all take
    turns, so that whatever else the machine does hits them alike. Returns {"models": {name: {latency_ms_p50,
    latency_ms_p95, images_per_second, batch_size, repeats}}, "conditions": {...}}.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        timed: dict[str, Callable[[Tensor], Tensor]] = {name: model.cpu().eval() for name, model in candidates.items()}
        one = images[:1]
        batch = images[torch.arange(THROUGHPUT_BATCH) % len(images)]
        latencies = _in_turns(timed, one, least=50)
        batches = _in_turns(timed, batch, least=5)
        return {
            "models": {
                name: {
                    "latency_ms_p50": 1e3 * median(latencies[name]),
                    "latency_ms_p95": 1e3 * float(np.quantile(latencies[name], 0.95)),
                    "images_per_second": THROUGHPUT_BATCH / median(batches[name]),
                    "batch_size": THROUGHPUT_BATCH,
                    "repeats": len(latencies[name]),
                }
                for name in timed
            },
            "conditions": {
                "processor": processor(),
                "threads": torch.get_num_threads(),
                "torch": str(torch.__version__),
                "precision": "float32",
            },
        }
    finally:
        torch.set_num_threads(before)


def _in_turns(timed: Mapping[str, Callable[[Tensor], Tensor]], inputs: Tensor, least: int) -> dict[str, list[float]]:
    """Seconds of each call, model after model, for as many rounds as SECONDS_PER_MODEL allows but at least `least`."""
    for model in timed.values():  # the first calls allocate and choose kernels
        model(inputs)
        model(inputs)
    start = time.perf_counter()
    for model in timed.values():
        model(inputs)
    one_round = time.perf_counter() - start
    rounds = min(2000, max(least, int(SECONDS_PER_MODEL * len(timed) / one_round)))

    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(rounds):
        for name, model in timed.items():
            start = time.perf_counter()
            model(inputs)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def processor() -> str:
    """The processor's name, as people know it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {os.cpu_count()} cores"
    except OSError:
        pass
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
