"""Tensors on disk: safetensors for weights and logits, checkpoints for the rest. Nothing read back can run code."""

import hashlib
import io
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from kd_core.base.files import AnyPath, DamagedError, SaveError, read_bytes, write_atomic
from kd_core.base.process import lacks_memory
from kd_core.base.templates import said

DIGEST_BYTES = 32
"""Of the SHA-256 at the end of a checkpoint."""


def save_tensors(path: AnyPath, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors. Raises SaveError."""
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}  # layers may share
    write_atomic(path, safetensors.torch.save(whole, metadata))


def load_tensors(path: AnyPath) -> dict[str, Tensor]:
    """Read safetensors. Raises SaveError where the file is missing or damaged."""
    try:
        return safetensors.torch.load(_content(path))
    except (ValueError, safetensors.SafetensorError) as error:
        raise DamagedError(said("{path} is damaged and cannot be read.", path=path)) from error


def _content(path: AnyPath) -> bytes:
    try:
        return read_bytes(path)
    except FileNotFoundError:
        raise SaveError(said("{path} is missing.", path=path)) from None
    except OSError as error:
        raise SaveError(said("{path} cannot be read: {why}.", path=path, why=error.strerror or str(error))) from error


def save_state(path: AnyPath, state: dict[str, Any]) -> None:
    """Write nested dicts and lists of tensors, numbers and strings, and their checksum. Raises SaveError."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    write_atomic(path, content + hashlib.sha256(content).digest())


def load_state(path: AnyPath) -> dict[str, Any]:
    """Read what save_state wrote; refuses anything that would run code. Raises SaveError, DamagedError for one.

    torch itself takes a checkpoint whose numbers have changed for a good one: it does not look at the archive's CRCs.
    """
    whole = _content(path)
    content, checksum = whole[:-DIGEST_BYTES], whole[-DIGEST_BYTES:]
    try:
        if hashlib.sha256(content).digest() != checksum:
            raise ValueError("it was cut short or changed")
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise nearly anything
        if lacks_memory(error):  # it may be whole
            raise
        raise DamagedError(said("{path} is damaged and cannot be read.", path=path)) from error
    if not isinstance(state, dict):
        raise DamagedError(said("{path} does not hold a checkpoint.", path=path))
    return state
