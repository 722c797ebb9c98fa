"""What a worker finds out of finished runs: speed, what a network sees inside, the bias of a prior."""

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from kd_core.base.config import ConfigError
from kd_core.base.files import on_this_machine, path_at
from kd_core.base.templates import said
from kd_core.jobs.worker import settle_in
from kd_core.runs.run import Run, RunFolder, folder_of
from kd_core.training.config import RunConfig

if TYPE_CHECKING:
    from torch import nn

    from kd_core.data.dataset import Dataset
    from kd_core.evaluation.speed import Speeds

Finding = Literal["speed", "export", "inside", "bias"]
"""What can be found out of trained runs, in a worker: their speed side by side, where nothing else goes on; one's
exported files; what one has inside; the bias that gives the classes missing from one's transfer set their prior."""
CALLED: dict[Finding, str] = {
    "speed": said("speed"),
    "export": said("export"),
    "inside": said("inside"),
    "bias": said("bias"),
}


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
    from kd_core.data import load
    from kd_core.exchange.export import write
    from kd_core.runs import artifacts

    folders = [folder_of(path_at(storage), run.id) for run in runs]
    if kind == "export":
        return write.export_run(folders[0].storage, runs[0]).model_dump(mode="json")
    if kind == "inside" and runs[0].config.model.opaque:
        raise ConfigError(said("{run} gives logits alone: it has no layer or weight to look at", run=runs[0].label))
    dataset = load.load(runs[0].config.dataset, storage=folders[0].storage)
    models = {folder: artifacts.load_model(folder, dataset) for folder in folders}
    if kind == "speed":
        return _measured_speed(models, dataset)
    if kind == "inside":
        return _inside(models[folders[0]], dataset)
    return _prior_bias(models[folders[0]], dataset, runs[0].config)


def _measured_speed(models: Mapping[RunFolder, "nn.Module"], dataset: "Dataset") -> "Speeds":
    import torch

    from kd_core.evaluation import speed
    from kd_core.exchange.export import checks

    candidates = {folder.run_id: model for folder, model in models.items()}
    threads, pixels = torch.get_num_threads(), dataset.test_images[:512]
    with contextlib.ExitStack() as copies:
        exports = {
            folder.run_id: {
                runtime: copies.enter_context(on_this_machine(file))
                for runtime, file in checks.for_runtime(folder).items()
            }
            for folder in models
        }
        return speed.measure(candidates, pixels, mean=dataset.mean, std=dataset.std, exports=exports, threads=threads)


def _inside(model: "nn.Module", dataset: "Dataset") -> Inside:
    from kd_core.evaluation import inside

    seen, labels = inside.penultimate(model, dataset)
    valley = inside.loss_landscape(model, dataset)
    return {
        "features": inside.projected(seen).round(3).tolist(),
        "width": seen.shape[1],
        "labels": labels.tolist(),
        "steps": valley.steps.round(4).tolist(),
        "losses": [[float(f"{loss:.4g}") for loss in row] for row in valley.losses],
        "images": valley.images,
    }


def _prior_bias(model: "nn.Module", dataset: "Dataset", config: RunConfig) -> PriorBias:
    import numpy as np

    from kd_core.evaluation import bias
    from kd_core.models import build

    missing = config.transfer_set.missing(len(dataset.class_names))
    share = float(np.isin(dataset.train_labels.numpy(), missing).mean())
    logits = build.logits_of(model, dataset.train_images, dataset.normalise).numpy()
    return {"classes": list(missing), "share": share, "bias": bias.bias_for_share(logits, missing, share)}
