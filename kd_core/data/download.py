"""Downloading data sets from the mirrors that they offer: checksums compared, with progress, whole or not at all.

What lies in a folder under its final name is whole: files are checked, unpacked beside it, then moved there.
"""

import contextlib
import gzip
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kd_core.base.config import LabError, in_a_row
from kd_core.base.templates import said, said_by
from kd_core.data import paths
from kd_core.data.catalogue import info_of
from kd_core.data.sets.definition import DatasetInfo, Parcel

Progress = Callable[[str, float], None]
"""Called while a download runs, with a sentence and the share done, 0 to 1. It may raise to cancel."""


class DatasetError(LabError):
    """A data set that cannot be had; its text says why and what to do."""


def download(name: str, progress: Progress | None = None, mirrors: list[str] | None = None) -> Path:
    """Download a data set into the cache folder and return that folder. mirrors: instead of those that it offers.

    Each file is tried on every mirror, twice, and its MD5 compared before it takes its place: what lies in the folder
    under its final name is whole, and a second call goes on with what is missing.
    Raises DatasetError where no mirror gives a file.
    """
    info, folder = info_of(name), paths.data_folders()[-1]
    if info.offer is None:
        raise DatasetError(
            said("{label} cannot be downloaded: set KD_DATA_DIR to a folder that holds it.", label=info.label)
        )
    parcels, offered = info.offer()
    attempts = _Attempts(info, folder, 2 * list(mirrors or offered), progress)
    for index, parcel in enumerate(parcels):
        final = folder / parcel.place
        _clear_away(final.parent)
        if final.exists():
            continue
        numbers = {"number": index + 1, "count": len(parcels)}
        text = said("Downloading {label}, file {number} of {count}", label=info.label, **numbers)
        packed = attempts.fetch(parcel, text)
        if packed is None:  # another process was quicker
            (final.parent / parcel.file_name).unlink(missing_ok=True)
            continue
        _unpack(packed, final, info.label)
    return folder


class _Attempts:
    """Tries the mirrors of a data set, and remembers how they failed."""

    def __init__(self, info: DatasetInfo, folder: Path, mirrors: list[str], progress: Progress | None) -> None:
        self._info, self._folder, self._mirrors, self._progress = info, folder, mirrors, progress
        self._failures: list[str] = []
        self._offline = True

    def fetch(self, parcel: Parcel, text: str) -> Path | None:
        """Fetch a file from the first mirror that gives it; None where its content has appeared meanwhile.

        Raises DatasetError.
        """
        final = self._folder / parcel.place
        for mirror in self._mirrors:
            packed = self._fetch_from(mirror, parcel, final, text)
            if final.exists():
                return None
            if packed is not None:
                return packed
        raise DatasetError(self._no_mirror())

    def _fetch_from(self, mirror: str, parcel: Parcel, final: Path, text: str) -> Path | None:
        import pooch
        import requests

        report = _ProgressBar(self._progress, text)
        try:
            packed = pooch.retrieve(
                mirror.rstrip("/") + "/" + parcel.file_name,
                known_hash=f"md5:{parcel.md5}",
                fname=parcel.file_name,
                path=final.parent,
                downloader=pooch.HTTPDownloader(progressbar=report, timeout=20),
            )
            return Path(packed)
        except ValueError:  # pooch: the hash differs
            self._fail(said("{mirror} sent a damaged {file}", mirror=mirror, file=parcel.file_name), answered=True)
        except requests.HTTPError as error:
            facts = {"mirror": mirror, "file": parcel.file_name, "status": error.response.status_code}
            self._fail(said("{mirror} refused {file} (status {status})", **facts), answered=True)
        except requests.RequestException:
            begun = report.total > 0
            broke_off = said("{mirror} broke off in {file}", mirror=mirror, file=parcel.file_name)
            self._fail(broke_off if begun else said("{mirror} does not answer", mirror=mirror), begun)
        except OSError as error:
            if not final.exists():  # else another process has downloaded and unpacked it meanwhile
                raise DatasetError(_not_saved(self._info.label, final, error)) from error
        return None

    def _fail(self, sentence: str, answered: bool) -> None:
        self._failures.append(sentence)
        self._offline = self._offline and not answered

    def _no_mirror(self) -> str:
        label = self._info.label
        if self._offline:
            holds = Path(self._info.files[0]).parent
            return said(
                "{label} is not on this machine and no mirror answers: connect to the internet and try again, set"
                " KD_DATA_DIR to a folder that holds {holds}, or choose digits, which needs no network."
                " Looked in {folder}.",
                label=label,
                holds=holds,
                folder=self._folder,
            )
        reasons = in_a_row([*dict.fromkeys(self._failures)])
        return said(
            "{label} could not be downloaded: {reasons}. Try again; files that arrived whole are kept.",
            label=label,
            reasons=reasons,
        )


def _not_saved(label: str, final: Path, error: OSError) -> str:
    why = error.strerror or said_by(error)
    return said("{label} cannot be saved in {folder}: {why}.", label=label, folder=final.parent, why=why)


def _unpack(packed: Path, final: Path, label: str) -> None:
    """Unpack a .gz, or the folder of a .tar.gz, beside its final name, then move it there: that name is always whole.

    Several processes may do so at once. Raises DatasetError.
    """
    try:
        with tempfile.TemporaryDirectory(".partial", dir=final.parent, ignore_cleanup_errors=True) as folder:
            unpacked = Path(folder) / final.name
            if packed.name.endswith(".tar.gz"):
                try:
                    with tarfile.open(packed) as archive:
                        archive.extractall(folder, filter="data")
                except tarfile.TarError as error:
                    raise OSError(said("{file} is no archive", file=packed.name)) from error
            else:
                with gzip.open(packed, "rb") as source, unpacked.open("wb") as target:
                    shutil.copyfileobj(source, target)
            unpacked.replace(final)
        packed.unlink(missing_ok=True)
    except OSError as error:
        if not final.exists():  # no other process was quicker
            raise DatasetError(_not_saved(label, final, error)) from error


def _remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, as far as that can be done."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _clear_away(raw: Path) -> None:
    """Remove files of downloads that were killed more than a day ago."""
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
