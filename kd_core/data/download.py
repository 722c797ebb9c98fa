"""Downloading the data sets that torchvision knows: its mirrors and checksums, with progress, whole or not at all.

What lies in a folder under its final name is whole: files are checked, unpacked beside it, then moved there.
"""

import contextlib
import gzip
import secrets
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from kd_core.base.config import LabError
from kd_core.data import paths
from kd_core.data.catalogue import info_of

Progress = Callable[[str, float], None]
"""Called while a download runs, with a sentence and the share done, 0 to 1. It may raise to cancel."""


class DatasetError(LabError):
    """A data set that cannot be had; its text says why and what to do."""


class _Parcel(NamedTuple):
    """A file as mirrors offer it, and what it holds, by its place once unpacked (a file or a folder)."""

    file_name: str
    md5: str
    final: Path


def download(name: str, progress: Progress | None = None, mirrors: list[str] | None = None) -> Path:
    """Download a data set into the cache folder and return that folder. Mirrors, names and checksums are torchvision's.

    Each file is tried on every mirror, twice, and its MD5 compared before it takes its place: what lies in the folder
    under its final name is whole, and a second call goes on with what is missing.
    Raises DatasetError where no mirror gives a file.
    """
    import pooch
    import requests

    label, folder = info_of(name).label, paths.data_folders()[-1]
    parcels, its_mirrors = _offered(name, folder)
    failures: list[str] = []
    offline = True
    for index, parcel in enumerate(parcels):
        final, raw = parcel.final, parcel.final.parent
        _clear_away(raw)
        if final.exists():
            continue
        packed = None
        for mirror in 2 * list(mirrors or its_mirrors):
            report = _ProgressBar(progress, f"Downloading {label}, file {index + 1} of {len(parcels)}")
            try:
                packed = pooch.retrieve(
                    mirror.rstrip("/") + "/" + parcel.file_name,
                    known_hash=f"md5:{parcel.md5}",
                    fname=parcel.file_name,
                    path=raw,
                    downloader=pooch.HTTPDownloader(progressbar=report, timeout=20),
                )
                break
            except ValueError:  # pooch: the hash differs
                failures.append(f"{mirror} sent a damaged {parcel.file_name}")
                offline = False
            except requests.HTTPError as error:
                failures.append(f"{mirror} refused {parcel.file_name} (status {error.response.status_code})")
                offline = False
            except requests.RequestException:
                begun = report.total > 0
                failures.append(f"{mirror} broke off in {parcel.file_name}" if begun else f"{mirror} does not answer")
                offline = offline and not begun
            except OSError as error:
                if final.exists():  # another process has downloaded and unpacked it meanwhile
                    break
                raise DatasetError(f"{label} cannot be saved in {raw}: {error.strerror or error}.") from error
        if final.exists():
            (raw / parcel.file_name).unlink(missing_ok=True)
            continue
        if packed is None:
            raise DatasetError(_no_mirror(name, folder, failures, offline))
        _unpack(Path(packed), final, label)
    return folder


def _offered(name: str, folder: Path) -> tuple[list[_Parcel], list[str]]:
    """What has to be fetched for a data set, and from where."""
    from kd_core.base.torchvision import torchvision

    source = getattr(torchvision().datasets, paths.TORCHVISION[name])
    if name == "cifar10":
        mirror = source.url.rsplit("/", 1)[0]
        return [_Parcel(source.filename, source.tgz_md5, folder / source.base_folder)], [mirror]
    raw = folder / paths.TORCHVISION[name] / "raw"
    parcels = [_Parcel(packed, md5, raw / packed.removesuffix(".gz")) for packed, md5 in source.resources]
    return parcels, source.mirrors


def _no_mirror(name: str, folder: Path, failures: list[str], offline: bool) -> str:
    label = info_of(name).label
    if offline:
        holds = Path(paths.FILES[name][0]).parent
        return (
            f"{label} is not on this machine and no mirror answers: connect to the internet and try again, set"
            f" KD_DATA_DIR to a folder that holds {holds}, or choose digits, which needs no network."
            f" Looked in {folder}."
        )
    reasons = "; ".join(dict.fromkeys(failures))
    return f"{label} could not be downloaded: {reasons}. Try again; files that arrived whole are kept."


def _unpack(packed: Path, final: Path, label: str) -> None:
    """Unpack a .gz, or the folder of a .tar.gz, beside its final name, then move it there: that name is always whole.

    Several processes may do so at once: each has a name of its own until then. Raises DatasetError.
    """
    partial = final.with_name(f"{final.name}.{secrets.token_hex(6)}.partial")
    try:
        if packed.name.endswith(".tar.gz"):
            try:
                with tarfile.open(packed) as archive:
                    archive.extractall(partial, filter="data")
            except tarfile.TarError as error:
                raise OSError(f"{packed.name} is no archive") from error
            (partial / final.name).rename(final)
            partial.rmdir()
        else:
            with gzip.open(packed, "rb") as source, partial.open("wb") as target:
                shutil.copyfileobj(source, target)
            partial.replace(final)
        packed.unlink(missing_ok=True)
    except OSError as error:
        _remove(partial)
        if not final.exists():  # no other process was quicker
            raise DatasetError(f"{label} cannot be saved in {final.parent}: {error.strerror or error}.") from error


def _remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, as far as that can be done."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _clear_away(raw: Path) -> None:
    """Remove what downloads left that were killed more than a day ago."""
    for left in (*raw.glob("tmp*"), *raw.glob("*.partial")):
        with contextlib.suppress(OSError):
            if left.stat().st_mtime < time.time() - 86_400:
                _remove(left)


class _ProgressBar:
    """What pooch calls a progress bar, passing the share done on to a Progress."""

    def __init__(self, progress: Progress | None, text: str) -> None:
        self.total = 0
        self._progress, self._text, self._done = progress, text, 0

    def update(self, count: int) -> None:
        self._done += count
        if self._progress and self.total:
            self._progress(self._text, min(1.0, self._done / self.total))

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        """Nothing to release."""
