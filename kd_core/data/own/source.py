"""A folder or a zip file: its files by name, and their bytes."""

import io
import os
import warnings
import zipfile
from pathlib import Path

from PIL import Image

from kd_core.base.archive import Archive, DamagedError, FlawError, leads_out, oddities
from kd_core.base.templates import said
from kd_core.data.download import DatasetError
from kd_core.data.own import names
from kd_core.data.pictures.decode import Shown, shown

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""That Pillow decodes by itself; an EPS, whatever its name, would start Ghostscript."""
MAX_IMAGES = 2_000_000
MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS = 50_000_000, 50_000_000

_REFUSED = {
    "path": said("{file} holds '{name}', a path that leads out of it: pack the class folders themselves."),
    "link": said("{file} holds a link, '{name}': pack the images themselves."),
    "password": said("{file} is locked with a password: pack it without one."),
}
"""Why a zip file is not taken, by the oddity of a member. How it is packed does not matter here."""

Raw = str | bytes
"""A name as it was found: bytes where nothing says how it is encoded."""


class Source:
    """A folder or a zip file: its files by name, and their bytes. Names have '/' between their parts.

    code_page: what names are decoded with that do not say how they are encoded; empty for the likeliest, and in the
    attribute where there is none. Raises DatasetError where the source is damaged, a name leads out of it, or the code
    page does not decode the names.
    """

    def __init__(self, path: Path, code_page: str = "") -> None:
        self.path = path
        self._archive: Archive | None = None
        self._opened_in = -1  # a worker of a DataLoader is another process, and needs a file position of its own
        files, folders = self._walked() if path.is_dir() else self._members()
        self._unclear = [name for name in [*files, *folders] if isinstance(name, bytes)]
        self.code_page = (code_page or names.guess_page(self._unclear)) if self._unclear else ""
        self._files = {self._decoded(name, self.code_page): where for name, where in files.items()}
        self.files = sorted(self._files)
        self.folders = sorted(self._decoded(name, self.code_page) for name in folders)
        outside = next(filter(leads_out, [] if path.is_dir() else [*self.files, *self.folders]), None)
        if outside is not None:
            raise DatasetError(said(_REFUSED["path"], file=path.name, name=outside[:80]))

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_archive": None, "_opened_in": -1}

    def code_pages(self) -> dict[str, list[str]]:
        """Return each code page that decodes all names -> the folders that some names show in it."""
        some = self._unclear[:1000]

        def folders(page: str) -> set[str]:
            return {part for name in some for part in self._decoded(name, page).split("/")[:-1] if not part.isascii()}

        return {page: sorted(folders(page))[:4] for page in names.readable(self._unclear)} if some else {}

    def _opened(self) -> Archive:
        if self._archive is None or self._opened_in != os.getpid():
            try:
                self._archive = Archive(self.path)
            except DamagedError as error:
                raise DatasetError(
                    said(
                        "{file} is no zip file, or it is cut short: pack the class folders again.", file=self.path.name
                    )
                ) from error
            self._opened_in = os.getpid()
        return self._archive

    def _walked(self) -> tuple[dict[Raw, Path | zipfile.ZipInfo], list[Raw]]:
        """Files by their raw names, and the names of folders."""
        files: dict[Raw, Path | zipfile.ZipInfo] = {}
        folders: list[Raw] = []
        for folder, below, inside in os.walk(self.path):
            here = Path(folder).relative_to(self.path)
            folders += [_raw(here / name) for name in below]
            files |= {_raw(here / name): here / name for name in inside}
            if len(files) > 2 * MAX_IMAGES:
                break
        return files, folders

    def _members(self) -> tuple[dict[Raw, Path | zipfile.ZipInfo], list[Raw]]:
        """As _walked, of a zip. Raises DatasetError for a member that is a link or locked."""
        files: dict[Raw, Path | zipfile.ZipInfo] = {}
        folders: list[Raw] = []
        for entry in self._opened().entries:
            refused = next((oddity for oddity in oddities(entry) if oddity in ("link", "password")), None)
            if refused is not None:
                raise DatasetError(said(_REFUSED[refused], file=self.path.name, name=entry.orig_filename[:80]))
            name = names.raw_name(entry)
            if entry.is_dir() or name[-1:] in ("\\", b"\\"):
                folders.append(name)
            else:
                files[name] = entry
        return files, folders

    def _decoded(self, name: Raw, page: str) -> str:
        if isinstance(name, bytes):
            try:
                name = name.decode(page)
            except (UnicodeDecodeError, LookupError):
                raise DatasetError(
                    said(
                        "The names in {file} are not written in {page}: choose one of {pages}.",
                        file=self.path.name,
                        page=page,
                        pages=", ".join(names.readable(self._unclear)),
                    )
                ) from None
        return (name if self.path.is_dir() else name.replace("\\", "/")).rstrip("/")

    def size(self, name: str) -> tuple[int, int]:
        """Two numbers that files of equal content share: bytes, and a zip's checksum or 0."""
        where = self._files[name]
        if isinstance(where, Path):
            return (self.path / where).lstat().st_size, 0
        return where.file_size, where.CRC

    def read(self, name: str) -> bytes:
        """The content of a file. Raises OSError where it cannot be read, or is larger than MAX_IMAGE_BYTES."""
        where = self._files[name]
        if isinstance(where, Path):
            with (self.path / where).open("rb") as file:
                content = file.read(MAX_IMAGE_BYTES + 1)
            if len(content) > MAX_IMAGE_BYTES:
                raise OSError("it is too large")
            return content
        try:
            return self._opened().read(where, MAX_IMAGE_BYTES)
        except FlawError as flaw:
            raise OSError(str(flaw)) from flaw


def _raw(path: Path) -> Raw:
    name = path.as_posix()
    try:
        name.encode()
    except UnicodeEncodeError:  # the file system has bytes there that are no text in UTF-8
        return os.fsencode(name)
    return name


def opened_image(source: Source, name: str, white: int | None = None) -> Shown:
    """An image as it is meant to be seen. white: as decode.shown has it. Raises OSError where it is none."""
    content = source.read(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
            if image.width * image.height > MAX_IMAGE_PIXELS:
                raise OSError("it has too many pixels")
            return shown(image, white)
    except OSError:
        raise
    except Exception as error:  # a hostile file finds every way in which a decoder can fail
        raise OSError(str(error)) from error
