"""The trained models that come with KD Lab, one folder a run, for machines without a network.

They lie in checkpoints/shipped, and in a wheel in kd_core/shipped:

    weights.safetensors             float16 where that changes no test error, else float32
    run.json                        config, results, versions, what made it, MD5 of the data, SHA-256 of the weights
    history.json                    its records and what it said of the probe images as it learned
    README.md                       a model card

take_in enters them in a store as finished runs, once; ship writes them; verify measures anew what they claim. No torch
until one of the last two is called.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from kd_core.base.config import LabError
from kd_core.base.files import SaveError, read_text, write_atomic
from kd_core.base.paths import INSTALLED, ROOT
from kd_core.base.templates import said
from kd_core.data.paths import available
from kd_core.exchange.model_card import model_card
from kd_core.runs.run import RECORD_COLUMNS, Run, StoreError, shipped_name
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig
from kd_core.training.records import RecordRow

if TYPE_CHECKING:
    from torch import Tensor

    from kd_core.data.dataset import Dataset

log = logging.getLogger(__name__)

FOLDER = ROOT / ("kd_core/shipped" if INSTALLED else "checkpoints/shipped")
COMMAND = "python -m kd_core ship"
TAG = "shipped"
WEIGHTS, FACTS, HISTORY, README = "weights.safetensors", "run.json", "history.json", "README.md"
_KEPT = ("id", "created_at", "step", "total_steps", "started_at", "ended_at", "environment", "results")
_TAKEN_IN = "shipped"  # the finding that lists what a store was given before


def names() -> list[str]:
    """The folders of what ships, such as mnist-teacher."""
    return sorted(folder.parent.name for folder in FOLDER.glob(f"*/{FACTS}"))


# -------------------------------------------------------------------------------------------------------- taking in


def take_in(store: Store) -> list[str]:
    """Enter in a store, as finished runs, what ships and was not given to it before; returns their ids.

    What a user deleted stays deleted. Raises SaveError where a file of them is damaged or cannot be written.
    """
    given = (store.finding(_TAKEN_IN, ()) or {"ids": []})["ids"]
    new = []
    for name in names():
        facts = facts_of(name)
        if facts["run"]["id"] not in given:
            _enter(store, name, facts)
            new.append(facts["run"]["id"])
    if new:
        store.save_finding(_TAKEN_IN, (), {"ids": given + new})
    return new


def offer(store: Store) -> None:
    """take_in for whoever can do without: what goes wrong goes to the log alone."""
    try:
        take_in(store)
    except LabError as error:
        log.warning("the models that ship are not offered: %s", error)


def _enter(store: Store, name: str, facts: dict[str, Any]) -> None:
    from safetensors.numpy import save

    config = RunConfig.model_validate(facts["config"])
    run = Run(
        **facts["run"],
        config=config,
        status="finished",
        request=None,
        message=None,
        browser="",
        name=facts["name"],
        note=facts["note"],
        tags=(TAG,),
        deleted_at=None,
        attempt=1,
    )
    if any(run.id == known.id for known in store.some([run.id])):
        return  # where it was trained, or a crash between two lines below
    folder = store.folder(run.id)
    weights = save({key: value.astype(np.float32) for key, value in weights_of(name, facts).items()})
    card = {
        **facts["card"],
        "config": facts["config"],
        "results": run.results,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "logits_sha256": None,
    }
    history = _json(name, HISTORY)
    write_atomic(folder.config, config.model_dump_json(indent=2).encode())
    write_atomic(folder.weights, weights)
    write_atomic(folder.card, json.dumps(card, indent=2).encode())
    records = [cast(RecordRow, dict(zip(history["columns"], record, strict=True))) for record in history["records"]]
    try:
        store.adopt(run, records, [(epoch, logits) for epoch, logits in history["probes"]])
    except StoreError:
        if not store.some([run.id]):
            raise  # else another process that opened this home was quicker


def facts_of(name: str) -> dict[str, Any]:
    """What FACTS holds of a shipped model. Raises SaveError where it is damaged."""
    facts = _json(name, FACTS)
    if not {"run", "config", "card", "name", "note", "weights_sha256", "data_md5"} <= facts.keys():
        raise _damaged(FOLDER / name / FACTS)
    return facts


def weights_of(name: str, facts: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Its weights, as they are written. Raises SaveError where they are damaged or are not those of its facts."""
    from safetensors.numpy import load

    path = FOLDER / name / WEIGHTS
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _damaged(path) from error
    if hashlib.sha256(content).hexdigest() != facts["weights_sha256"]:
        raise _damaged(path)
    weights: dict[str, NDArray[Any]] = load(content)
    return weights


def _json(name: str, file: str) -> dict[str, Any]:
    path = FOLDER / name / file
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path) from error
    if not isinstance(content, dict):
        raise _damaged(path)
    return content


def _damaged(path: Path) -> SaveError:
    return SaveError(
        said(
            "{path} is missing or damaged: fetch KD Lab anew, or make it with '{command}'.", path=path, command=COMMAND
        )
    )


# --------------------------------------------------------------------------------------------------------- shipping


def ship(store: Store, run_id: str) -> Path:
    """Write a finished run's folder, and return it. Raises LabError, StoreError, SaveError or DatasetError."""
    from kd_core.base import tensors
    from kd_core.data import load as data_load
    from kd_core.evaluation import accuracy
    from kd_core.models import build
    from kd_core.runs import artifacts

    run = store.get(run_id)
    if run.status != "finished":
        raise LabError(f"{run.label} is {run.status}: only what has finished ships")
    dataset = data_load.load(run.config.dataset)
    model = artifacts.load_model(store.folder(run_id), dataset)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    halves = {name: tensor.half() for name, tensor in weights.items()}
    model.load_state_dict(halves)
    logits = build.logits_of(model, dataset.test_images, dataset.normalise)
    errors = accuracy.test_errors(logits.numpy(), dataset.test_labels.numpy())
    rounded = errors == run.results["test_errors"]
    written = json.loads(read_text(store.folder(run_id).card))
    name = f"{run.config.dataset}-{run.config.role}"
    folder = FOLDER / name
    tensors.save_tensors(folder / WEIGHTS, halves if rounded else weights)
    facts = {
        "name": shipped_name(run.config),
        "note": said("It comes with KD Lab. The weights were rounded to float16, which changed no test error.")
        if rounded
        else said("It comes with KD Lab, its weights in float32, as float16 changed test errors."),
        "command": COMMAND,
        "data_md5": data_md5(dataset),
        "weights_sha256": hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
        "config": run.config.model_dump(mode="json"),
        "card": {key: written[key] for key in ("input", "class_names", "torch", "device", "precision")},
        "run": {**{key: getattr(run, key) for key in _KEPT}, "batch": f"{TAG}{run.config.dataset}"},
    }
    records = sorted(
        [*store.records(run_id, "step"), *store.records(run_id, "epoch")], key=lambda record: record["step"]
    )
    history = {
        "columns": RECORD_COLUMNS,
        "records": [[_short(record.get(column)) for column in RECORD_COLUMNS] for record in records],
        "probes": [[epoch, np.round(rows, 2).tolist()] for epoch, rows in store.probes(run_id)],
    }
    write_atomic(folder / HISTORY, json.dumps(history, separators=(",", ":")).encode())
    write_atomic(folder / FACTS, json.dumps(facts, indent=2).encode())
    write_atomic(folder / README, _card(run, facts, written, str(model)).encode())
    return folder


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _card(run: Run, facts: dict[str, Any], written: dict[str, Any], layers: str) -> str:
    from dataclasses import replace

    return model_card(
        replace(run, name=facts["name"], note=facts["note"], tags=(TAG,)),
        image_shape=tuple(written["input"]["shape"]),
        class_names=written["class_names"],
        mean=written["input"]["mean"],
        std=written["input"]["std"],
        layers=layers,
        weights=WEIGHTS,
        command=COMMAND,
        data_md5=facts["data_md5"],
    )


def data_md5(dataset: "Dataset") -> dict[str, str]:
    """MD5 of a data set's pixels and labels as the engine holds them: uint8 (N, C, H, W) and int64 (N,)."""
    parts = ("train_images", "train_labels", "test_images", "test_labels")
    return {
        part: hashlib.md5(getattr(dataset, part).numpy().tobytes(), usedforsecurity=False).hexdigest() for part in parts
    }


# -------------------------------------------------------------------------------------------------------- verifying


class Verified(NamedTuple):
    """What a card claims and what was measured now. measured: test errors, None where its data are not here."""

    name: str
    claimed: int
    measured: int | None
    problem: str

    @property
    def holds(self) -> bool:
        """Whether the claim was measured and is true."""
        return not self.problem


def verify() -> Iterator[Verified]:
    """Load each shipped model by its own files, run it over its test set, and compare with its card.

    Raises SaveError where there is none, or a file of it is damaged.
    """
    if not names():
        raise SaveError(f"{FOLDER} holds no model: fetch KD Lab anew, or make them with '{COMMAND}'.")
    for name in names():
        facts = facts_of(name)
        weights, config = weights_of(name, facts), RunConfig.model_validate(facts["config"])
        claimed = facts["run"]["results"]["test_errors"]
        if not available(config.dataset):
            yield Verified(name, claimed, None, f"{config.dataset} is not on this machine")
            continue
        errors, same_data = _measured(config, weights, facts)
        problem = "" if errors == claimed else "other test errors than claimed"
        yield Verified(name, claimed, errors, problem if same_data else "other data than it was trained and tested on")


def _measured(config: RunConfig, weights: dict[str, NDArray[Any]], facts: dict[str, Any]) -> tuple[int, bool]:
    from kd_core.data import load as data_load
    from kd_core.evaluation import accuracy

    dataset = data_load.load(config.dataset)
    logits = _logits(config, weights, dataset.test_images, dataset.normalise, len(dataset.class_names))
    return accuracy.test_errors(logits, dataset.test_labels.numpy()), data_md5(dataset) == facts["data_md5"]


def logits_of(name: str, images: "Tensor", normalise: "Callable[[Tensor], Tensor]") -> NDArray[np.float32]:
    """What a shipped model says of images, (N, C, H, W) uint8: (N, K). Raises SaveError where its files are damaged."""
    facts = facts_of(name)
    config = RunConfig.model_validate(facts["config"])
    return _logits(config, weights_of(name, facts), images, normalise, len(facts["card"]["class_names"]))


def _logits(
    config: RunConfig,
    weights: dict[str, NDArray[Any]],
    images: "Tensor",
    normalise: "Callable[[Tensor], Tensor]",
    classes: int,
) -> NDArray[np.float32]:
    import torch

    from kd_core.models import build

    model = build.build(config.model, (images.shape[1], images.shape[2], images.shape[3]), classes)
    model.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
    return build.logits_of(model.eval(), images, normalise).numpy()
