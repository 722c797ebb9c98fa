"""What the lesson needs and no visitor waits for: students of several seeds, and those that never saw a class.

FILE in the folder of what ships holds the test errors of students, LOGITS what the others say of the test set, in
float16: a fifth of their weights. write makes both.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd_core.base.files import write_atomic
from kd_core.exchange import shipped

FILE, LOGITS = "lesson.json", "lesson.safetensors"


class Unseen(NamedTuple):
    """A student that never saw some classes: its logits over the test set, (N, K), and the bias of their prior."""

    classes: tuple[int, ...]
    logits: NDArray[np.float32]
    prior_bias: float


class Shipped(NamedTuple):
    """What ships for a data set. errors: test errors of its students by line and seed; empty where none ship."""

    errors: Mapping[str, Sequence[int]]
    unseen: Unseen | None


def shipped_for(dataset: str) -> Shipped:
    """What ships for a data set; what is missing or damaged is left out, which the log says."""
    return _shipped(shipped.FOLDER, dataset)


@cache
def _shipped(folder: Path, dataset: str) -> Shipped:
    from safetensors.numpy import load

    try:
        own = json.loads((folder / FILE).read_text(encoding="utf-8")).get(dataset, {})
        unseen = own.get("unseen")
        if unseen is not None:
            logits = load((folder / LOGITS).read_bytes())[dataset].astype(np.float32)
            unseen = Unseen(tuple(unseen["classes"]), logits, float(unseen["prior_bias"]))
        return Shipped({line: [*map(int, errors)] for line, errors in own.get("errors", {}).items()}, unseen)
    except Exception as error:  # safetensors has exceptions of its own
        shipped.log.warning("the lesson lacks the students that ship: %s", error)
        return Shipped({}, None)


def write(made: Mapping[str, Shipped]) -> None:
    """Write FILE and LOGITS, of these data sets. Raises SaveError."""
    from safetensors.numpy import save

    unseen = {dataset: each.unseen for dataset, each in made.items() if each.unseen is not None}
    written = {
        dataset: {
            "errors": {line: [*errors] for line, errors in each.errors.items()},
            "unseen": None
            if each.unseen is None
            else {"classes": [*each.unseen.classes], "prior_bias": round(each.unseen.prior_bias, 3)},
        }
        for dataset, each in made.items()
    }
    write_atomic(shipped.FOLDER / LOGITS, save({name: each.logits.astype(np.float16) for name, each in unseen.items()}))
    write_atomic(shipped.FOLDER / FILE, json.dumps(written, indent=1).encode())
    _shipped.cache_clear()
