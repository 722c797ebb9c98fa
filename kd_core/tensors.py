"""Tensors on disk: safetensors for weights and logits, checkpoints for the rest. Nothing read back can run code."""

import io
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from kd_core.files import AnyPath, SaveError, read_bytes, write_atomic


def save_tensors(path: AnyPath, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors. Raises SaveError."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomic(path, safetensors.torch.save(whole, metadata))


def load_tensors(path: AnyPath) -> dict[str, Tensor]:
    """Read safetensors. Raises SaveError where the file is missing or damaged."""
    try:
        return safetensors.torch.load(read_bytes(path))
    except FileNotFoundError:
        raise SaveError(f"{path} is missing.") from None
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise SaveError(f"{path} is damaged and cannot be read ({type(error).__name__}).") from error


def save_state(path: AnyPath, state: dict[str, Any]) -> None:
    """Write nested dicts and lists of tensors, numbers and strings. Raises SaveError."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomic(path, buffer.getvalue())


def load_state(path: AnyPath) -> dict[str, Any]:
    """Read what save_state wrote; refuses anything that would run code. Raises SaveError where it is damaged."""
    try:
        state = torch.load(io.BytesIO(read_bytes(path)), map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise SaveError(f"{path} is missing.") from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise SaveError(f"{path} is damaged and cannot be read ({type(error).__name__}).") from error
    if not isinstance(state, dict):
        raise SaveError(f"{path} does not hold a checkpoint.")
    return state
