"""What a browser needs to distill a data set by itself: images, labels, and the logits of the teacher that ships."""

import json
from functools import cache
from pathlib import Path

from kd_core.evaluation.accuracy import predictions
from kd_core.exchange import opening, shipped

TEACHER = "teacher"


def browser_lesson(dataset: str) -> bytes:
    """Return all of it as one safetensors file.

    train_images, test_images: (N, pixels) uint8; train_labels, test_labels: (N,) uint8; teacher_logits: (N, K) float32
    of the training images; and the teacher itself, as opening.browser_models packs it. Metadata: `program`, and
    `teacher_errors` on the test images. Raises LabError where no such teacher ships, DatasetError and SaveError.
    """
    return _browser_lesson(shipped.FOLDER, dataset)


@cache
def _browser_lesson(_folder: Path, dataset: str) -> bytes:
    from safetensors.numpy import save

    from kd_core.data import load as data_load

    name = f"{dataset}-{TEACHER}"
    tensors, program = opening.packed({TEACHER: opening.shipped_network(name)})
    loaded = data_load.load(dataset)
    train, test = loaded.train_images, loaded.test_images
    wrong = predictions(shipped.logits_of(name, test, loaded.normalise)) != loaded.test_labels.numpy()
    tensors |= {
        "train_images": train.flatten(1).numpy(),
        "train_labels": loaded.train_labels.numpy().astype("uint8"),
        "test_images": test.flatten(1).numpy(),
        "test_labels": loaded.test_labels.numpy().astype("uint8"),
        "teacher_logits": shipped.logits_of(name, train, loaded.normalise),
    }
    return save(tensors, {"program": json.dumps(program), "teacher_errors": str(int(wrong.sum()))})
