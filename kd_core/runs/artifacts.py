"""The saved results of a run, and how they are read back: weights, logits, and a card that says what they are.

The card is written last and holds the checksums of the other two, so that logits of other weights are never used.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kd_core.base import tensors
from kd_core.base.config import ConfigError, LabError
from kd_core.base.files import SaveError, is_file, read_text, sha256, write_atomic
from kd_core.base.process import lacks_memory
from kd_core.base.templates import said
from kd_core.data import load
from kd_core.data.catalogue import info_of
from kd_core.data.dataset import Dataset
from kd_core.evaluation import accuracy, speed
from kd_core.models import build, pixels
from kd_core.models.config import ExternalConfig
from kd_core.runs.run import Results, RunFolder, folder_of
from kd_core.training.config import RunConfig, split_of

if TYPE_CHECKING:
    from kd_core.training.loop import Training
    from kd_core.training.together import Student


class ExternalTeacher(NamedTuple):
    """A teacher that was trained elsewhere, as save_results takes it; its validation split chose no epoch."""

    config: RunConfig
    dataset: Dataset
    model: nn.Module
    best_errors: int | None = None
    epochs_done: float = 0.0
    device: torch.device = torch.device("cpu")
    precision: str = "float32"
    history: Sequence[str] = ()

    @property
    def validation_images(self) -> Tensor:
        return self.dataset.train_images[split_of(self.dataset, self.config)[1]]

    @property
    def validation_labels(self) -> Tensor:
        return self.dataset.train_labels[split_of(self.dataset, self.config)[1]]

    def best_model(self) -> nn.Module:
        return self.model


def save_results(folder: RunFolder, run: "Training | Student | ExternalTeacher") -> Results:
    """Save the best weights of a run with their logits and card, and return its results.

    Test errors are counted here, after the weights are chosen. A teacher saves its logits over the training set as
    well: its students read them instead of computing them again. The history, of what was recorded, completes a list of
    runs that missed its end. Raises SaveError.
    """
    dataset, model = run.dataset, run.best_model()
    logits = _logits_by_part(model, dataset, run.validation_images.cpu())
    if run.config.role == "teacher":
        logits["train"] = build.logits_of(model, dataset.train_images, dataset.normalise)
    validation_errors, black_box = run.best_errors, run.config.model.opaque
    chosen_otherwise = not run.config.trained_here or run.config.mistake == "test_choice"
    if chosen_otherwise and "validation" in logits:
        validation_errors = accuracy.test_errors(logits["validation"].numpy(), run.validation_labels.cpu().numpy())
    costs = speed.costs_unknown(model) if black_box else speed.costs(model, dataset.image_shape)
    measured: Results = {
        "test_errors": accuracy.test_errors(logits["test"].numpy(), dataset.test_labels.numpy()),
        "test_examples": len(dataset.test_labels),
        "validation_errors": validation_errors,
        "validation_examples": len(run.validation_labels),
        "epochs": run.epochs_done,
        "classes": len(dataset.class_names),
    }
    results = cast(Results, {**measured, **costs})
    write_atomic(folder.history, "\n".join(run.history).encode())
    tensors.save_tensors(folder.weights, model.state_dict())
    tensors.save_tensors(folder.logits, logits)
    card = {
        "config": run.config.model_dump(mode="json"),
        "input": {"shape": list(dataset.image_shape), "mean": dataset.mean, "std": dataset.std},
        "class_names": list(dataset.class_names),
        "results": results,
        "torch": str(torch.__version__),
        "device": str(run.device),
        "precision": run.precision,
        "weights_sha256": sha256(folder.weights),
        "logits_sha256": sha256(folder.logits),
    }
    write_atomic(folder.card, json.dumps(card, indent=2).encode())
    return results


def saved_results(folder: RunFolder) -> Results | None:
    """Read the results of a run that has trained to its end and saved all files whole; None of any other.

    A run whose end was not entered in the store, because its server was killed, need not train again.
    """
    try:
        card = json.loads(read_text(folder.card))
        config = _config(folder)
        rows = map(json.loads, read_text(folder.history).splitlines()) if config.training.patience else ()
        complete = RunConfig.model_validate(card["config"]) == config
        complete = complete and config.complete_after(card["results"]["epochs"], rows)
        whole = complete and sha256(folder.weights) == card["weights_sha256"]
        whole = whole and sha256(folder.logits) == card["logits_sha256"]
    except (LabError, OSError, ValueError, KeyError, TypeError):
        return None
    results: Results | None = card["results"] if whole else None
    return results


def _logits_by_part(model: nn.Module, dataset: Dataset, validation_images: Tensor) -> dict[str, Tensor]:
    """Compute logits over the test set and over the validation split, if there is one."""
    parts = {"test": dataset.test_images} | ({"validation": validation_images} if len(validation_images) else {})
    return {part: build.logits_of(model, images, dataset.normalise) for part, images in parts.items()}


def _add_logits(folder: RunFolder) -> None:
    """Compute the logits of a run whose weights came alone. Raises as load_model does.

    Those over the training set are left out: a worker that needs them computes them itself.
    """
    dataset = load.load(_config(folder).dataset, storage=folder.storage)
    model = load_model(folder, dataset)
    validation_images = dataset.train_images[split_of(dataset, _config(folder))[1]]
    card = json.loads(read_text(folder.card))
    tensors.save_tensors(folder.logits, _logits_by_part(model, dataset, validation_images))
    write_atomic(folder.card, json.dumps({**card, "logits_sha256": sha256(folder.logits)}, indent=2).encode())


def load_model(folder: RunFolder, dataset: Dataset) -> nn.Module:
    """Load the trained model of a run, on the CPU, in eval mode, for images and classes of dataset.

    Raises ConfigError where the model has another number of classes or image shape, SaveError where its files are
    missing or damaged.
    """
    config = _config(folder)
    weights = tensors.load_tensors(folder.weights)
    classes, statistics = len(dataset.class_names), {"mean": dataset.mean, "std": dataset.std}
    if config.model.opaque:
        info = info_of(config.dataset)
        if (info.image_shape, info.classes) != (dataset.image_shape, classes):
            raise ConfigError(
                said(
                    "run {run_id} does not fit {dataset}: it was brought for {classes} classes of images {shape}",
                    run_id=folder.run_id,
                    dataset=dataset.name,
                    classes=info.classes,
                    shape=info.image_shape,
                )
            )
        return pixels.build(config.model, config.brought, weights, dataset.image_shape, classes, **statistics)
    if config.model.own:
        return pixels.build(config.model, config.brought, weights, dataset.image_shape, classes, **statistics)
    shape = config.brought.reads(dataset.image_shape) if config.brought else dataset.image_shape
    model = build.blueprint(config.model, shape, classes)
    expected = model.state_dict()
    for name, tensor in expected.items():
        if name not in weights or weights[name].shape != tensor.shape:
            facts = {
                "run_id": folder.run_id,
                "dataset": dataset.name,
                "classes": classes,
                "images": dataset.image_shape,
                "name": name,
                "shape": tuple(tensor.shape),
            }
            raise ConfigError(
                said(
                    "run {run_id} does not fit {dataset} ({classes} classes, images {images}): {name} needs shape"
                    " {shape}, found nothing",
                    **facts,
                )
                if name not in weights
                else said(
                    "run {run_id} does not fit {dataset} ({classes} classes, images {images}): {name} needs shape"
                    " {shape}, found shape {given}",
                    given=tuple(weights[name].shape),
                    **facts,
                )
            )
    state = {name: weights[name] for name in expected}
    return pixels.build(config.model, config.brought, state, dataset.image_shape, classes, **statistics)


class Trained(NamedTuple):
    """A trained model that needs no data set beside it. Call it with uint8 images (N, C, H, W): logits (N, K)."""

    model: nn.Module
    mean: float
    std: float
    class_names: tuple[str, ...]

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            inputs = torch.from_numpy(images.astype(np.float32)).sub_(255 * self.mean).div_(255 * self.std)
            logits: torch.Tensor = self.model(inputs)
        return logits.numpy()


def load_trained(folder: RunFolder) -> Trained:
    """Load the trained model of a run from its own files alone. Raises SaveError where they are missing or damaged."""
    try:
        card = json.loads(read_text(folder.card))
        shape, class_names = tuple(card["input"]["shape"]), tuple(card["class_names"])
        mean, std = float(card["input"]["mean"]), float(card["input"]["std"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SaveError(
            said(
                "The card of run {run_id} is missing or damaged in {folder}: run it again.",
                run_id=folder.run_id,
                folder=folder.path,
            )
        ) from error
    config, weights = _config(folder), tensors.load_tensors(folder.weights)
    try:
        model = pixels.build(config.model, config.brought, weights, shape, len(class_names), mean=mean, std=std)
    except RuntimeError as error:
        if lacks_memory(error):
            raise
        raise SaveError(
            said(
                "The weights of run {run_id} are not those that its card describes: run it again.",
                run_id=folder.run_id,
            )
        ) from error
    return Trained(model, mean, std, class_names)


def weights_sha256(folder: RunFolder) -> str:
    """Compute the checksum of a run's weights file. Raises SaveError where there is none."""
    try:
        return sha256(folder.weights)
    except OSError as error:
        raise SaveError(
            said(
                "The weights of run {run_id} are missing in {folder}: run it again.",
                run_id=folder.run_id,
                folder=folder.path,
            )
        ) from error


def external_input(folder: RunFolder) -> ExternalConfig | None:
    """Read what an external teacher expects of its images; None for a run that was trained here.

    Raises SaveError where its config is missing or damaged.
    """
    return _config(folder).brought


def training_logits(folders: Sequence[RunFolder], dataset_name: str) -> Tensor | None:
    """Read these teachers' logits over the training set of a data set, (M, N, K); None where one did not save them."""
    members = []
    for folder in folders:
        if not _logits_are_here(folder) or _config(folder).dataset != dataset_name:
            return None
        logits = tensors.load_tensors(folder.logits)
        if "train" not in logits:
            return None
        members.append(logits["train"])
    return torch.stack(members)


def test_logits(folder: RunFolder) -> NDArray[np.float32]:
    """Read a run's logits over the test set of its data set, (N, K). Raises SaveError where they are not whole."""
    return _logits(folder)["test"].numpy()


def test_logits_before_int8(folder: RunFolder) -> NDArray[np.float32] | None:
    """Read what the run that a run goes on from int8-aware says of the test set, (N, K): the nearest that was not so.

    None for a run that goes on from none. Raises SaveError where that run is gone.
    """
    config = _config(folder)
    while config.training.int8_aware and config.continues is not None:
        folder = folder_of(folder.storage, config.continues)
        config = _config(folder)
        if not config.training.int8_aware:
            return test_logits(folder)
    return None


def validation_logits(folder: RunFolder) -> tuple[NDArray[np.float32], NDArray[np.int64]] | None:
    """Read a run's logits over its validation split, (N, K), and the true labels, (N,); None where it saved none.

    The labels are the data set's own, even where the run was not shown them. Raises SaveError where the logits are not
    whole, DatasetError where the data set is not to be had.
    """
    logits = _logits(folder).get("validation")
    if logits is None:
        return None
    config = _config(folder)
    dataset = load.load(config.dataset, storage=folder.storage)
    labels = dataset.train_labels[split_of(dataset, config)[1]]
    if len(labels) != len(logits):
        raise SaveError(
            said(
                "The results of run {run_id} tell of another validation split than its config: run it again.",
                run_id=folder.run_id,
            )
        )
    return logits.numpy(), labels.numpy()


def _logits(folder: RunFolder) -> dict[str, Tensor]:
    if not _logits_are_here(folder):
        raise SaveError(
            said(
                "The results of run {run_id} are missing or damaged in {folder}: run it again.",
                run_id=folder.run_id,
                folder=folder.path,
            )
        )
    return tensors.load_tensors(folder.logits)


def _config(folder: RunFolder) -> RunConfig:
    try:
        return RunConfig.from_json(read_text(folder.config))
    except (OSError, UnicodeDecodeError):
        raise SaveError(
            said("{file} is missing or damaged: the run it belongs to cannot be used.", file=folder.config)
        ) from None


def _logits_are_here(folder: RunFolder) -> bool:
    """Check that logits and weights are those that the card was written for.

    A card without a checksum of logits stands beside weights that came alone (exchange.shipped): they are computed now.
    Raises DatasetError where that needs a data set that is not to be had.
    """
    try:
        card = json.loads(read_text(folder.card))
        whole, alone = sha256(folder.weights) == card["weights_sha256"], card["logits_sha256"] is None
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if whole and alone:
        _add_logits(folder)
        return True
    return bool(whole and is_file(folder.logits) and sha256(folder.logits) == card["logits_sha256"])
