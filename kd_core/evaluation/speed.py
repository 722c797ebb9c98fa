"""What a model costs to run: latency and throughput measured side by side, size and multiply-adds counted."""

import os
import platform
import random
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from importlib import metadata
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kd_core.base.templates import said
from kd_core.models import build
from kd_core.models.architectures.architecture import ImageShape

BATCH_SIZES = (1, 8, 64, 512)
SECONDS_PER_CANDIDATE = 0.25
"""For each batch size."""
SECONDS = 15.0
"""For everything. Batch sizes that would not fit are left out, but never the first."""
FEWEST_ROUNDS, MOST_ROUNDS = 11, 2000
WARM_UP_ROUNDS = 3


class Timing(TypedDict):
    """Of the repeats of one call. spread: the median absolute deviation times 1.4826, to read as a deviation."""

    latency_ms_p05: float
    latency_ms_p50: float
    latency_ms_p95: float
    latency_ms_spread: float
    images_per_second: float
    repeats: int


class Conditions(TypedDict):
    """What a measurement was made on and with."""

    processor: str
    threads: int
    precision: str
    torch: str
    onnxruntime: str | None
    python: str
    input: str
    order: str


class Speeds(TypedDict):
    """Models measured side by side, as JSON holds it: names of models and runtimes, batch sizes as text.

    runtimes: name -> runtime -> batch -> Timing. ratios: runtime -> batch -> name -> other name -> [how many times as
    long, low, high], as ratio says it. itself: batch -> the same of the first model against itself.
    """

    runtimes: dict[str, dict[str, dict[str, Timing]]]
    ratios: dict[str, dict[str, dict[str, dict[str, list[float]]]]]
    itself: dict[str, list[float]]
    conditions: Conditions


Pixels = NDArray[np.float32]
"""(N, C, H, W), 0 to 255."""
Candidate = Callable[[Pixels], Any]
Key = TypeVar("Key", bound=Hashable)


def size_bytes(model: nn.Module) -> int:
    """Count the bytes of the model's parameters and buffers as they are stored."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def costs(model: nn.Module, image_shape: ImageShape) -> dict[str, int]:
    """Count the parameters, bytes and multiply_adds (of one image) of a model."""
    return {
        "parameters": build.parameter_count(model),
        "size_bytes": size_bytes(model),
        "multiply_adds": build.multiply_adds(model, image_shape),
    }


def costs_unknown(black_box: nn.Module) -> dict[str, int | None]:
    """Return the costs of a model of which only the size of its file is known."""
    return {"parameters": None, "size_bytes": size_bytes(black_box), "multiply_adds": None}


def measure(
    candidates: Mapping[str, nn.Module],
    images: torch.Tensor,
    *,
    mean: float = 0.0,
    std: float = 1.0,
    exports: Mapping[str, Mapping[str, Path]] | None = None,
    threads: int | None = None,
) -> Speeds:
    """Time several models on the CPU, side by side, from the pixels of their images to their logits.

    candidates: name -> model. images: (N, C, H, W) pixels, N >= 1; a batch repeats them as needed. mean, std: of pixels
    scaled to 0..1, by which the models want them normalised. exports: name -> runtime ("onnx", "onnx_int8") -> file
    that does the same, normalisation included. Every runtime computes in `threads` threads.

    Each candidate is warmed up, then all take turns in rounds whose order is shuffled anew (by seed), so that whatever
    else the machine does hits them alike. The first model takes part twice, as "itself": what the measurement says of
    two things that are the same.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        threads = torch.get_num_threads()
        timed: dict[tuple[str, str], Candidate] = {}
        for name, model in candidates.items():
            timed[name, "pytorch"] = eager(model, mean, std)
            for runtime, path in (exports or {}).get(name, {}).items():
                timed[name, runtime] = onnx_session(path, threads)
        timed["", "itself"] = next(iter(timed.values()))
        seconds = in_rounds(timed, images.to(torch.float32).numpy(), BATCH_SIZES)
    finally:
        torch.set_num_threads(before)
    return speeds_of(list(candidates), seconds, threads)


def eager(model: nn.Module, mean: float, std: float) -> Candidate:
    """Run the model in PyTorch as it stands, operator by operator."""
    model = model.cpu().eval()

    @torch.inference_mode()
    def run(pixels: Pixels) -> Any:
        return model(torch.from_numpy(pixels).sub(255 * mean).div_(255 * std))

    return run


def onnx_session(path: Path, threads: int) -> Candidate:
    """Run an exported model (input "images", output "logits") in ONNX Runtime, on the CPU.

    Its threads sleep once a call has ended: spinning, as they would, they take the cores from whose turn is next.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(pixels: Pixels) -> Any:
        return session.run(["logits"], {"images": pixels})[0]

    return run


def in_rounds(
    candidates: Mapping[Key, Candidate], pixels: Pixels, batch_sizes: Sequence[int], seed: int = 0
) -> dict[int, dict[Key, list[float]]]:
    """Time each call: batch size -> candidate -> its seconds in each round; a round calls every candidate once."""
    deadline = time.perf_counter() + SECONDS
    rng = random.Random(seed)  # noqa: S311 (no secret)
    order = list(candidates)
    taken: dict[int, dict[Key, list[float]]] = {}
    a_round, last_size = 0.0, 0
    for size in sorted(batch_sizes):
        if last_size and a_round * size / last_size * (FEWEST_ROUNDS + WARM_UP_ROUNDS) > deadline - time.perf_counter():
            break  # a batch takes at most as much longer as it is larger
        batch = np.ascontiguousarray(pixels[np.arange(size) % len(pixels)])
        warm_up = []
        for _ in range(WARM_UP_ROUNDS):  # the first calls allocate and choose kernels
            start = time.perf_counter()
            for candidate in candidates.values():
                candidate(batch)
            warm_up.append(time.perf_counter() - start)
        a_round, last_size = min(warm_up), size  # what else the machine did just then is not the candidates' time
        affordable = min(SECONDS_PER_CANDIDATE * len(order), deadline - time.perf_counter(), SECONDS / len(batch_sizes))
        rounds = min(MOST_ROUNDS, max(FEWEST_ROUNDS, int(affordable / max(a_round, 1e-9))))
        seconds: dict[Key, list[float]] = {key: [] for key in order}
        for _ in range(rounds):
            rng.shuffle(order)
            for key in order:
                start = time.perf_counter()
                candidates[key](batch)
                seconds[key].append(time.perf_counter() - start)
        taken[size] = seconds
    return taken


class Ratio(NamedTuple):
    """A ratio and its 95% confidence interval."""

    ratio: float
    low: float
    high: float


def ratio(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """Estimate how many times as long as the second the first takes, from their seconds in the same rounds.

    The median over the rounds of first / second, with the interval between two order statistics that the binomial
    distribution gives it, whatever the shape of the noise (Conover, Practical Nonparametric Statistics, 3.2; scipy's
    quantile_test). Swapping the two inverts it. Raises ValueError for fewer than six rounds, which have no interval.
    """
    from scipy.stats import quantile_test

    if len(first) != len(second) or len(first) < 6:
        raise ValueError(f"a ratio needs six rounds of both or more, got {len(first)} and {len(second)}")
    logs = np.log(first) - np.log(second)
    interval: Any = quantile_test(logs).confidence_interval(0.95)
    return Ratio(*(float(np.exp(value)) for value in (np.median(logs), interval.low, interval.high)))


def speeds_of(names: list[str], seconds: dict[int, dict[tuple[str, str], list[float]]], threads: int) -> Speeds:
    """Sum up the seconds that each (name, runtime) took at each batch size."""
    sizes = list(seconds)
    runtimes: dict[str, dict[str, dict[str, Timing]]] = {name: {} for name in names}
    ratios: dict[str, dict[str, dict[str, dict[str, list[float]]]]] = {}
    for name, runtime in seconds[sizes[0]]:
        if runtime != "itself":
            runtimes[name][runtime] = {str(size): _summary(seconds[size][name, runtime], size) for size in sizes}
            ratios[runtime] = {str(size): {} for size in sizes}
    for runtime, by_size in ratios.items():
        sharing = [name for name in names if runtime in runtimes[name]]
        for size in sizes:
            by_size[str(size)] = {name: {} for name in sharing}
            for name, other in permutations(sharing, 2):
                pair = ratio(seconds[size][name, runtime], seconds[size][other, runtime])
                by_size[str(size)][name][other] = list(pair)
    return {
        "runtimes": runtimes,
        "ratios": ratios,
        "itself": {
            str(size): list(ratio(seconds[size]["", "itself"], seconds[size][names[0], "pytorch"])) for size in sizes
        },
        "conditions": _conditions(threads),
    }


def _summary(seconds: Sequence[float], batch_size: int) -> Timing:
    from scipy.stats import median_abs_deviation

    latency_ms = 1e3 * np.asarray(seconds)
    p05, p50, p95 = (float(value) for value in np.quantile(latency_ms, (0.05, 0.5, 0.95)))
    return {
        "latency_ms_p05": p05,
        "latency_ms_p50": p50,
        "latency_ms_p95": p95,
        "latency_ms_spread": float(median_abs_deviation(latency_ms, scale="normal")),
        "images_per_second": 1e3 * batch_size / p50,
        "repeats": len(latency_ms),
    }


def _conditions(threads: int) -> Conditions:
    try:
        onnxruntime: str | None = metadata.version("onnxruntime")
    except metadata.PackageNotFoundError:
        onnxruntime = None
    return {
        "processor": processor(),
        "threads": threads,
        "precision": "float32",
        "torch": str(torch.__version__),
        "onnxruntime": onnxruntime,
        "python": platform.python_version(),
        "input": "pixels, normalised as part of the work",
        "order": said("turns, shuffled in every round"),
    }


def environment(device: str, precision: str) -> dict[str, str | int]:
    """Describe what a run is trained on."""
    return {
        "device": device,
        "precision": precision,
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }


@cache
def processor() -> str:
    """Return the processor's name, as people know it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {os.cpu_count()} cores"
    except OSError:
        pass
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
