"""Teachers' logits over a whole training set, computed once and kept: by the teacher's run, or in storage/logits.

A file there is named by all that its numbers depend on: the teacher's weights, the data set's images and labels in
their order, and how pixels are made ready, for all and for a teacher that was trained on others. So logits of another
teacher, other data, another order or another normalisation are never found under the same name; and a file that was
renamed or damaged is not believed.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from kd_core.base import tensors
from kd_core.base.files import AnyPath, SaveError, files_below, is_file, remove
from kd_core.data.dataset import Dataset
from kd_core.models import build
from kd_core.runs import artifacts
from kd_core.runs.run import RunFolder

log = logging.getLogger(__name__)

FOLDER = "logits"
MOST_BYTES = 2_000_000_000
"""Of all files there; the oldest beyond go."""


def of_all(teachers: Sequence[RunFolder], dataset: Dataset, model_of: Callable[[RunFolder], nn.Module]) -> Tensor:
    """Return each teacher's logits of each training image of a data set, in its order: (M, N, K).

    model_of: gives the model of a run, on the CPU; called for those alone whose logits have to be computed.
    Raises SaveError where a run's files are missing or damaged.
    """
    known = artifacts.training_logits(teachers, dataset.name)
    if known is not None:
        return known
    return torch.stack([_computed_once(teacher, dataset, model_of) for teacher in teachers])


def key(teacher: RunFolder, dataset: Dataset) -> str:
    """Make 64 hexadecimal digits that change with the teacher's weights, the data, its order and its normalisations."""
    content = hashlib.sha256(dataset.train_labels.numpy().tobytes())
    for images in () if dataset.streamed else dataset.train_images.split(5000):  # a streamed one's name has its digest
        content.update(images.numpy().tobytes())
    external = artifacts.external_input(teacher)
    facts = {
        "weights": artifacts.weights_sha256(teacher),
        "data": [dataset.name, dataset.class_names, list(dataset.train_images.shape), content.hexdigest()],
        "normalisation": [dataset.mean, dataset.std],
        "brought": external and external.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _computed_once(teacher: RunFolder, dataset: Dataset, model_of: Callable[[RunFolder], nn.Module]) -> Tensor:
    """Return (N, K), from the cache or into it. A cache that cannot be written is done without."""
    name = key(teacher, dataset)
    path = teacher.storage / FOLDER / f"{name}.safetensors"
    mark = torch.tensor(list(bytes.fromhex(name)), dtype=torch.uint8)
    shape = (len(dataset.train_labels), len(dataset.class_names))
    try:
        if is_file(path):
            kept = tensors.load_tensors(path)
            logits, checksum = kept["logits"], kept["checksum"]
            whole = torch.equal(kept["key"], mark) and logits.shape == shape
            if whole and torch.equal(checksum, _checksum(logits)):
                return logits
            log.warning("%s does not hold what its name says: its logits are computed anew", path)
    except (SaveError, OSError, KeyError) as error:
        log.warning("%s cannot be read (%s): its logits are computed anew", path, error)
    logits = build.logits_of(model_of(teacher), dataset.train_images, dataset.normalise)
    try:
        tensors.save_tensors(path, {"logits": logits, "key": mark, "checksum": _checksum(logits)})
        _prune(teacher.storage)
    except (SaveError, OSError) as error:
        log.warning("logits of run %s are not kept: %s", teacher.run_id, error)
    return logits


def _checksum(logits: Tensor) -> Tensor:
    return torch.tensor(list(hashlib.sha256(logits.contiguous().numpy().tobytes()).digest()), dtype=torch.uint8)


def _prune(storage: AnyPath) -> None:
    files = sorted(files_below(storage / FOLDER, "*.safetensors"), key=lambda file: file.written_at, reverse=True)
    size = 0
    for place, file in enumerate(files):
        size += file.size_bytes
        if place and size > MOST_BYTES:
            with suppress(OSError):
                remove(file.path)
