"""What a worker finds out of finished runs: speed, what a network sees inside, the bias of a prior."""

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from kd_core.base.config import ConfigError
from kd_core.base.files import AnyPath, on_this_machine, path_at
from kd_core.jobs.worker import settle_in
from kd_core.runs.run import Run, folder_of

if TYPE_CHECKING:
    from kd_core.evaluation.speed import Speeds

Finding = Literal["speed", "export", "inside", "bias"]
"""What can be found out of trained runs, in a worker: their speed side by side, where nothing else goes on; one's
exported files; what one has inside; the bias that gives the classes missing from one's transfer set their prior."""


class Inside(TypedDict):
    """What a model computes before it decides, (images, 2) in the plane of largest variance, and the loss around it.

    width: of the layer that the features are taken from. losses: on a grid of steps along two directions, measured on
    this many images.
    """

    features: list[list[float]]
    width: int
    labels: list[int]
    steps: list[float]
    losses: list[list[float]]
    images: int


class PriorBias(TypedDict):
    """The bias with which a model calls as many training images one of the missing classes as there are."""

    classes: list[int]
    share: float
    bias: float


def find_on_worker(key: str, storage: str, kind: Finding, runs: list[Run], threads: int) -> Mapping[str, Any]:
    """Find something out of runs of one data set. key: of this piece of work. threads: 0 leaves torch's."""
    settle_in(threads)
    match kind:
        case "speed":
            return _measured_speed(path_at(storage), runs)
        case "export":
            from kd_core.exchange.export import write

            return write.export_run(path_at(storage), runs[0])
        case "inside":
            return _inside(path_at(storage), runs[0])
        case "bias":
            return _prior_bias(path_at(storage), runs[0])


def _measured_speed(storage: AnyPath, runs: list[Run]) -> "Speeds":
    import torch

    from kd_core.data import load
    from kd_core.evaluation import speed
    from kd_core.exchange.export import checks
    from kd_core.runs import artifacts

    dataset = load.load(runs[0].config.dataset, storage=storage)
    candidates = {run.id: artifacts.load_model(folder_of(storage, run.id), dataset) for run in runs}
    threads, pixels = torch.get_num_threads(), dataset.test_images[:512]
    with contextlib.ExitStack() as copies:
        exports = {
            run.id: {
                runtime: copies.enter_context(on_this_machine(file))
                for runtime, file in checks.for_runtime(folder_of(storage, run.id)).items()
            }
            for run in runs
        }
        return speed.measure(candidates, pixels, mean=dataset.mean, std=dataset.std, exports=exports, threads=threads)


def _inside(storage: AnyPath, run: Run) -> Inside:
    from kd_core.data import load
    from kd_core.evaluation import features, landscape
    from kd_core.runs import artifacts

    if run.config.model.opaque:
        raise ConfigError(f"{run.label} gives logits alone: it has no layer or weight to look at")
    dataset = load.load(run.config.dataset, storage=storage)
    model = artifacts.load_model(folder_of(storage, run.id), dataset)
    seen, labels = features.penultimate(model, dataset)
    valley = landscape.loss_landscape(model, dataset)
    return {
        "features": features.projected(seen).round(3).tolist(),
        "width": seen.shape[1],
        "labels": labels.tolist(),
        "steps": valley.steps.round(4).tolist(),
        "losses": [[float(f"{loss:.4g}") for loss in row] for row in valley.losses],
        "images": valley.images,
    }


def _prior_bias(storage: AnyPath, run: Run) -> PriorBias:
    import numpy as np

    from kd_core.data import load
    from kd_core.evaluation import bias
    from kd_core.models import build
    from kd_core.runs import artifacts

    dataset = load.load(run.config.dataset, storage=storage)
    missing = run.config.transfer_set.missing(len(dataset.class_names))
    share = float(np.isin(dataset.train_labels.numpy(), missing).mean())
    model = artifacts.load_model(folder_of(storage, run.id), dataset)
    logits = build.logits_of(model, dataset.train_images, dataset.normalise).numpy()
    return {"classes": list(missing), "share": share, "bias": bias.bias_for_share(logits, missing, share)}
