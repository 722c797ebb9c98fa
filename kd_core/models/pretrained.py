"""The weights that training starts from: those that torchvision and timm publish, or a file of KD_HOME/weights.

They are looked for on this machine first, under the name that their library gives the file, then fetched. Nothing read
can run code: safetensors, or torch.load with weights_only.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kd_core.base.config import ConfigError
from kd_core.base.templates import said, said_by
from kd_core.base.torchvision import torchvision
from kd_core.models.architectures import stock
from kd_core.models.config import ModelConfig, weights_folder

_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
"""As torchvision's DenseNets were named when their weights were published."""
_WRAPPED = ("state_dict", "model_state_dict", "model", "state_dict_ema")
NAMED = 3


def load(model: nn.Module, config: ModelConfig) -> None:
    """Give a fresh model the weights that its config names; a last layer of another size keeps what it drew.

    Raises ConfigError where they cannot be had, or are of another network.
    """
    weights, own = _weights(config), model.state_dict()
    last = [name for name, tensor in own.items() if tensor.ndim in (2, 4)][-1].rpartition(".")[0] + "."
    fitting = {
        name: tensor
        for name, tensor in weights.items()
        if name in own and (own[name].shape == tensor.shape or not name.startswith(last))
    }
    missing = [name for name in own if name not in fitting and not name.startswith(last)]
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    other = [name for name, tensor in fitting.items() if own[name].shape != tensor.shape]
    if missing or other:
        raise ConfigError(
            said(
                "the weights {file} are not those of {network}: {names} differ; choose the network that they were"
                " trained as, on images of the same size",
                file=config.pretrained.partition("@")[0],
                network=config.label,
                names=", ".join([*missing, *other][:NAMED]),
            )
        )
    model.load_state_dict(fitting, strict=False)


def _weights(config: ModelConfig) -> Mapping[str, Tensor]:
    if config.pretrained != stock.LIBRARY:
        return _of_file(config.pretrained)
    return _of_timm(config.name) if config.name.startswith(stock.TIMM) else _of_torchvision(config.name)


def _of_file(named: str) -> Mapping[str, Tensor]:
    """The weights in a file of the folder, by its name and the start of its checksum."""
    name, _, digest = named.partition("@")
    path = weights_folder() / name
    try:
        content = path.read_bytes()
    except OSError:
        raise ConfigError(
            said("the weights {file} are not in {folder}: put the file there", file=name, folder=path.parent)
        ) from None
    if not hashlib.sha256(content).hexdigest().startswith(digest):
        raise ConfigError(
            said(
                "{file} in {folder} has changed since this run was set up: choose it again",
                file=name,
                folder=path.parent,
            )
        )
    return _read(path)


def _read(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a state dict. Raises ConfigError where the file is none."""
    try:
        if path.suffix == ".safetensors":
            import safetensors.torch

            return safetensors.torch.load_file(path)
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
        while isinstance(state, dict) and (inner := next((key for key in _WRAPPED if key in state), None)):
            state = state[inner]
        tensors = {str(key).removeprefix("module."): value for key, value in state.items()}
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ConfigError(
            said("{file} holds no state dict that can be read: save model.state_dict()", file=path.name)
        ) from error
    return {_DENSE_LAYER.sub(r"\1\2", key): value for key, value in tensors.items() if torch.is_tensor(value)}


def _of_torchvision(name: str) -> Mapping[str, Tensor]:
    url = torchvision().models.get_model_weights(name.removeprefix(stock.PREFIX)).DEFAULT.url
    file = url.rpartition("/")[2]
    for path in _lying(file):
        return _read(path)
    path = weights_folder() / file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = file.removesuffix(".pth").rpartition("-")[2]
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digest, progress=False)
    except (OSError, RuntimeError) as error:  # no network, or another file than was meant
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise _not_here(file, url, error) from error
    return _read(path)


def _lying(file: str) -> Iterator[Path]:
    """Where a published file may lie already."""
    for folder in (weights_folder(), Path(torch.hub.get_dir()) / "checkpoints"):
        if (folder / file).is_file():
            yield folder / file


def _of_timm(name: str) -> Mapping[str, Tensor]:
    """The weights as timm itself loads and renames them."""
    timm, called = stock.timm(), name.removeprefix(stock.TIMM)
    config = timm.get_pretrained_cfg(called)
    if config is None or not (config.hf_hub_id or config.url):
        raise ConfigError(
            said("timm publishes no weights of {name}: choose random ones, or another network", name=called)
        )
    file = f"{config.architecture}.{config.tag}.safetensors"
    overlay = {"file": str(path)} if (path := next(_lying(file), None)) else {}
    state = torch.get_rng_state()
    try:
        model = timm.create_model(called, pretrained=True, pretrained_cfg_overlay=overlay)
    except (OSError, RuntimeError, ValueError) as error:  # of the hub: no network, or no such file
        raise _not_here(file, f"https://huggingface.co/{config.hf_hub_id}", error) from error
    finally:
        torch.set_rng_state(state)
    weights: Mapping[str, Tensor] = model.state_dict()
    return weights


def _not_here(file: str, source: str, error: Exception) -> ConfigError:
    return ConfigError(
        said(
            "the published weights {file} are not on this machine and {source} does not give them ({why}): connect to"
            " the internet, put the file into {folder}, or start from random weights",
            file=file,
            source=source,
            why=said_by(error)[:80],
            folder=weights_folder(),
        )
    )
