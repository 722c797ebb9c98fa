"""Files that are whole or absent, on this disk or in storage that hosts share: KD Lab saves through write_atomic.

A path is a pathlib.Path, or a UPath of universal_pathlib into any storage that fsspec knows, such as s3://bucket/lab.
Whatever a storage raises becomes an OSError here, so that its callers know one kind of trouble. No torch here.
"""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from kd_core.base.config import ConfigError, LabError
from kd_core.base.templates import said, said_by

if TYPE_CHECKING:
    from upath import UPath
    from upath.types import StatResultType

    AnyPath = Path | UPath
else:
    AnyPath = Path  # universal_pathlib is imported where storage elsewhere is named, and not before

Value = TypeVar("Value")


class SaveError(LabError):
    """Something could not be saved or read back; one sentence says what and what to do."""


class DamagedError(SaveError):
    """A file is there and is not what was written."""


def path_at(address: str) -> AnyPath:
    """Make a path of a folder as a user names it, or of storage as fsspec does, such as s3://bucket/lab.

    What it needs besides (keys, an endpoint) comes from the environment, as that storage's own package reads it. Raises
    ConfigError where no package here knows such storage, or its ~ is nobody's home.
    """
    if "://" not in address:
        try:
            return Path(address).expanduser()
        except RuntimeError:
            raise ConfigError(
                said("there is no folder {address}: nobody of that name has a home here", address=address)
            ) from None
    from upath import UPath

    try:
        # Other hosts write here as well: what it held a moment ago must not be taken for what it holds.
        path = UPath(address, use_listings_cache=False)
        if path.protocol in ("file", "local"):
            return Path(path.path)
        path.fs  # noqa: B018  asks for the package
    except (ImportError, ValueError, TypeError) as error:
        raise ConfigError(
            said("{address} cannot be used as storage: {why}", address=address, why=str(error))
        ) from error
    return path


def write_atomic(path: AnyPath, content: bytes) -> None:
    """Write content to path so that, whatever happens, path holds either what it held before or all of content.

    Storage elsewhere replaces whole objects by itself. Raises SaveError where the disk is full, the folder cannot be
    written, or path is a folder.
    """
    try:
        if isinstance(path, Path):
            _write_file(path, content)
        else:
            _elsewhere(path, lambda: path.write_bytes(content))
    except OSError as error:
        raise SaveError(disk_problem(error, path.parent)) from error


def _write_file(path: Path, content: bytes) -> None:
    if path.is_dir():
        raise SaveError(said("{path} is a folder: name a file in it.", path=path))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_whole(path) as partial:
        partial.write_bytes(content)


@contextlib.contextmanager
def replaced_whole(path: Path) -> Iterator[Path]:
    """Give a name beside path for the block to write to; the file then takes path's place. Nothing else stays."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def read_bytes(path: AnyPath) -> bytes:
    """Read a whole file. Raises FileNotFoundError where there is none, another OSError where it cannot be read."""
    content: bytes = _elsewhere(path, path.read_bytes)
    return content


def read_text(path: AnyPath) -> str:
    """Read a whole text file. Raises OSError as read_bytes does, UnicodeDecodeError where it is no text."""
    return read_bytes(path).decode("utf-8")


def sha256(path: AnyPath) -> str:
    """Compute the checksum of a file's content, in hexadecimal digits. Raises OSError as read_bytes does."""
    if not isinstance(path, Path):
        return hashlib.sha256(read_bytes(path)).hexdigest()
    with path.open("rb") as file:  # a data set may not fit in memory
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_file(path: AnyPath) -> bool:
    """Tell whether there is such a file. Raises OSError where its storage does not answer."""
    return _elsewhere(path, path.is_file)


def stat(path: AnyPath) -> "os.stat_result | StatResultType":
    """Read the size and times of a file. Raises OSError."""
    return _elsewhere(path, path.stat)


def state_of(path: AnyPath) -> str:
    """Make a text that changes with a file's content, as its size, times and place show. Raises OSError."""
    if isinstance(path, Path):
        facts = path.stat()
        return f"{facts.st_size} {facts.st_mtime_ns} {facts.st_ino}"
    return str(_elsewhere(path, lambda: path.fs.ukey(path.path)))


def remove(path: AnyPath) -> None:
    """Remove a file, if there is one. Raises OSError."""
    _elsewhere(path, lambda: path.unlink(missing_ok=True))


def keep_private(folder: Path, file: str, *others: str) -> None:
    """Make a folder that nobody else on this machine may enter, and keep a file and others in it from them.

    The file is made where it is missing, so that it is private from its first byte. One that is there is not opened:
    where it is a database that this process uses, closing it would end SQLite's locks. Of a folder that is there and in
    which others may write, somebody shares it on purpose, nothing is taken from them. Raises OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o022:
        return
    with contextlib.suppress(OSError):
        os.close(os.open(folder / file, os.O_CREAT | os.O_EXCL | os.O_RDONLY, 0o600))
    for name in (file, *others):
        with contextlib.suppress(OSError):  # it is missing, or somebody else's
            (folder / name).chmod((folder / name).stat().st_mode & 0o7700)


def claim(folder: AnyPath, name: str) -> bool:
    """Claim an empty folder for this caller alone; False where another has it. name: of its first file.

    Raises OSError.
    """
    if isinstance(folder, Path):
        folder.parent.mkdir(parents=True, exist_ok=True)
        make: Callable[[], None] = folder.mkdir
    else:
        path = folder / name

        def make() -> None:
            _elsewhere(path, lambda: path.fs.pipe_file(path.path, b"", mode="create"))

    try:
        make()
    except FileExistsError:
        return False
    return True


def remove_folder(folder: AnyPath) -> None:
    """Remove a folder with all that is in it, as far as that can be done."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            _elsewhere(folder, lambda: folder.fs.rm(folder.path, recursive=True))


class StoredFile(NamedTuple):
    """A file, when it was last written (seconds since 1970), and its size."""

    path: AnyPath
    written_at: float
    size_bytes: int


def paths_below(folder: AnyPath, pattern: str) -> list[AnyPath]:
    """List the files below a folder that match a glob pattern, in no order. Raises OSError."""
    paths: list[AnyPath] = _elsewhere(folder, lambda: [*folder.glob(pattern)])
    return paths


def files_below(folder: AnyPath, pattern: str) -> list[StoredFile]:
    """List the same with time and size, for which storage is asked about each file. Raises OSError."""
    files = []
    for path in paths_below(folder, pattern):
        with contextlib.suppress(FileNotFoundError):  # replaced or removed meanwhile
            facts = stat(path)
            files.append(StoredFile(path, facts.st_mtime, facts.st_size))
    return files


@contextlib.contextmanager
def on_this_machine(path: AnyPath) -> Iterator[Path]:
    """Give the file itself, or a copy for the length of the block, for libraries that read only local files.

    Raises OSError.
    """
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="kd-lab-") as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(read_bytes(path))
        yield copy


def _elsewhere(path: AnyPath, work: Callable[[], Value]) -> Value:
    """Return what work returns; what the storage of path raises of its own kind becomes an OSError."""
    try:
        return work()
    except OSError:
        raise
    except Exception as error:
        if isinstance(path, Path):
            raise
        why = said("its storage does not answer ({why})", why=str(error))
        raise OSError(errno.EIO, why, str(path)) from error


def disk_problem(error: OSError, folder: AnyPath) -> str:
    """Put an error of the file system into a sentence."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return said("The disk of {folder} is full: free some space; what was saved before is whole.", folder=folder)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return said(
            "{folder} cannot be written: give it write permission or set KD_HOME to another folder.", folder=folder
        )
    return said("{folder} cannot be used: {why}.", folder=folder, why=error.strerror or said_by(error))
