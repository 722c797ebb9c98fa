"""What the benchmarks share: the engine on the path, the machine in words, numbers with their spread.

A benchmark imports it first: started as `python tools/benchmarks/...` it finds nothing but what lies beside it.
"""

import datetime
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

_TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(folder) for folder in (_TOP, _TOP / "tests" / "helpers", _TOP / "tools")]


def machine() -> str:
    """Processor, threads, torch and day, as a table of a document names its conditions."""
    import torch

    from kd_core.evaluation import speed

    return f"{speed.processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {datetime.date.today()}"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median and range, such as '3.90 (3.71 to 4.02)'."""
    middle, low, high = (f"{value:.{digits}f}" for value in (median(values), min(values), max(values)))
    return f"{middle} ({low} to {high})"


def ratios(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """Of turns that lie side by side in time, so that a machine that slows down slows both."""
    return [left / right for left, right in zip(first, second, strict=True)]


def test_errors(model, dataset) -> int:
    """Of a model over a data set's test images."""
    from kd_core.models import build

    logits = build.logits_of(model, dataset.test_images, dataset.normalise)
    return int((logits.argmax(1) != dataset.test_labels).sum())
