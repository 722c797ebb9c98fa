"""What the first screen shows without a data set, a store or torch: doubtful test images, and the models that ship.

FILE in the folder of what ships holds the images with what each model says of them; write makes it. browser_models
packs the three networks for a browser, so that bars follow a pen.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd_core.base.config import LabError
from kd_core.base.files import write_atomic
from kd_core.exchange import shipped

FILE = "opening.json"
ROLES = ("teacher", "baseline", "distilled")
IMAGES = {"mnist": (18, 2326, 659, 5997, 3762, 6625, 4761, 1522), "digits": (190, 387, 324, 391, 127, 338, 194, 270)}
"""Test images of which the teacher that ships is unsure, by data set; the first is shown first. MNIST's 18 is a 3 that
could be an 8; of digits' first the teacher is least sure of all."""


@dataclass(frozen=True)
class Example:
    """A test image: its index, label and pixels, (28 * 28) uint8 in base64; and for each role its logits."""

    index: int
    label: int
    pixels: str
    logits: dict[str, list[float]]


class Network(NamedTuple):
    """A network to pack: its model's config, its weights by name, and the mean and std of the pixels that it sees."""

    model: Mapping[str, Any]
    weights: Mapping[str, NDArray[Any]]
    mean: float
    std: float


class Opening(NamedTuple):
    """The images of a data set whose three models ship."""

    dataset: str
    examples: list[Example]


def opening(preferred: str = "mnist") -> Opening | None:
    """What there is to show, of a preferred data set first; None where nothing of it ships."""
    return _opening(shipped.FOLDER, preferred)


@cache
def _opening(folder: Path, preferred: str) -> Opening | None:
    try:
        written = json.loads((folder / FILE).read_text(encoding="utf-8"))
        for dataset in sorted(IMAGES, key=lambda dataset: dataset != preferred):
            if _ships(dataset):
                return Opening(dataset, [Example(**example) for example in written[dataset]])
    except (OSError, ValueError, KeyError, TypeError) as error:
        shipped.log.warning("the first screen has no images: %s", error)
    return None


def _ships(dataset: str) -> bool:
    return {f"{dataset}-{role}" for role in ROLES} <= {*shipped.names()}


def write() -> None:
    """Write FILE anew, of those data sets whose models ship. Raises DatasetError, SaveError."""
    from kd_core.data import load as data_load

    made = {}
    for dataset, indices in IMAGES.items():
        if not _ships(dataset):
            continue
        loaded = data_load.load(dataset)
        images = loaded.test_images[list(indices)]
        logits = {role: shipped.logits_of(f"{dataset}-{role}", images, loaded.normalise) for role in ROLES}
        made[dataset] = [
            {
                "index": index,
                "label": int(loaded.test_labels[index]),
                "pixels": base64.b64encode(images[place].numpy().tobytes()).decode(),
                "logits": {role: np.round(logits[role][place], 4).tolist() for role in ROLES},
            }
            for place, index in enumerate(indices)
        ]
    write_atomic(shipped.FOLDER / FILE, json.dumps(made, indent=1).encode())


def browser_models(dataset: str) -> bytes:
    """The three models of a data set as one safetensors file: their weights in int8, a scale for each unit.

    Its metadata hold `program`, the nodes by role that the interpreter of kd_core/exchange/javascript runs. Pixels of 0
    to 255 go in: the first layer has the normalisation in it. Raises LabError where these do not ship or are no plain
    mlp, and SaveError where a file is damaged.
    """
    return _browser_models(shipped.FOLDER, dataset)


@cache
def _browser_models(_folder: Path, dataset: str) -> bytes:
    return browser_file({role: shipped_network(f"{dataset}-{role}") for role in ROLES})


def shipped_network(name: str) -> Network:
    """A model that ships, to be packed. Raises LabError where it does not ship, and SaveError."""
    if name not in shipped.names():
        raise LabError(f"no {name} ships")
    facts = shipped.facts_of(name)
    seen = facts["card"]["input"]
    return Network(facts["config"]["model"], shipped.weights_of(name, facts), seen["mean"], seen["std"])


def is_plain(model: Mapping[str, Any]) -> bool:
    """Whether a model's config is that of a plain mlp, which can be packed."""
    return model["name"] == "mlp" and not model.get("batch_norm") and model.get("activation", "relu") == "relu"


def browser_file(networks: Mapping[str, Network]) -> bytes:
    """Networks by name, as browser_models has them by role. Raises LabError where one is no plain mlp."""
    from safetensors.numpy import save

    tensors, program = packed(networks)
    return save(tensors, {"program": json.dumps(program)})


def packed(
    networks: Mapping[str, Network],
) -> tuple[dict[str, NDArray[Any]], dict[str, list[dict[str, Any]]]]:
    """Tensors and program of browser_file. Raises as it does."""
    tensors: dict[str, NDArray[Any]] = {}
    program: dict[str, list[dict[str, Any]]] = {}
    for role, (model, weights, mean, std) in networks.items():
        if not is_plain(model):
            raise LabError(f"{role} is no plain mlp")
        layers = _layers(weights, mean, std)
        nodes: list[dict[str, Any]] = []
        for place, (weight, bias) in enumerate(layers):
            scale = np.abs(weight).max(axis=1) / 127
            scale[scale == 0] = 1
            parts = {"weight": np.round(weight / scale[:, None]).astype(np.int8), "scale": scale, "bias": bias}
            own = {part: f"{role}.{place}.{part}" for part in parts}
            tensors |= {
                own[part]: value if part == "weight" else value.astype(np.float32) for part, value in parts.items()
            }
            last, unpacked = place == len(layers) - 1, f"{own['weight']}.float"
            given = nodes[-1]["output"] if nodes else "images"
            nodes.append({"op": "DequantizeLinear", "inputs": [own["weight"], own["scale"]], "output": unpacked})
            output = "logits" if last else f"{role}.{place}"
            nodes.append({"op": "Gemm", "inputs": [given, unpacked, own["bias"]], "output": output})
            if not last:
                nodes.append({"op": "Relu", "inputs": [output], "output": f"{output}.relu"})
        program[role] = nodes
    return tensors, program


def _layers(
    weights: Mapping[str, NDArray[Any]], mean: float, std: float
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Weight (O, I) and bias (O,) of each layer of an mlp, the first one for pixels of 0 to 255."""
    names = sorted((name for name in weights if name.endswith(".weight")), key=lambda name: int(name.split(".")[0]))
    layers = [
        (weights[name].astype(np.float64), weights[name.replace("weight", "bias")].astype(np.float64)) for name in names
    ]
    weight, bias = layers[0]
    layers[0] = weight / (255 * std), bias - weight.sum(axis=1) * mean / std
    return layers
