"""Whole files or none: everything KD Lab saves goes through write_atomic. No torch here."""

import contextlib
import errno
import os
import secrets
from pathlib import Path

from kd_core.config import LabError


class SaveError(LabError):
    """Something could not be saved or read back; one sentence says what and what to do."""


def write_atomic(path: Path, content: bytes) -> None:
    """Write content to path so that, whatever happens, path holds either what it held before or all of content.

    Raises SaveError where the disk is full or the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise SaveError(disk_problem(error, path.parent)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def disk_problem(error: OSError, folder: Path) -> str:
    """The sentence for an error of the file system."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk of {folder} is full: free some space, then resume; what was saved before is whole."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{folder} cannot be written: give it write permission or set KD_HOME to another folder."
    return f"{folder} cannot be used: {error.strerror or error}."
