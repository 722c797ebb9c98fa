"""Zip files from anybody, read within bounds that their directory is held to before anything is unpacked.

What is wrong with one is a FlawError whose text is a clause, such as "it holds README.md twice": the reader that knows
what the file should be makes a sentence of it.
"""

import io
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from kd_core.base.templates import said

_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError, NotImplementedError,
)  # fmt: skip
"""What zipfile raises for content that is cut short or made up."""

Oddity = Literal["path", "link", "password", "packing"]
"""Why a member is not to be unpacked: it leads out of the archive, is a link, is locked, or is packed in a rare way."""


class FlawError(Exception):
    """What is wrong with a file, as a clause."""


class DamagedError(FlawError):
    """The file is no zip file, or damaged."""


def expect(condition: bool, flaw: str) -> None:
    """Raise FlawError where the condition does not hold."""
    if not condition:
        raise FlawError(flaw)


def leads_out(name: str) -> bool:
    """Whether a path with '/' between its parts leads out of the folder that it starts from, or is none."""
    climbs = name.startswith("/") or ".." in PurePosixPath(name).parts or bool(re.match(r"[A-Za-z]:", name))
    return climbs or "\0" in name


def oddities(entry: zipfile.ZipInfo) -> Iterator[Oddity]:
    """Why a member is not to be unpacked; nothing where it is plain."""
    if leads_out(entry.orig_filename) or "\\" in entry.orig_filename:
        yield "path"
    if stat.S_ISLNK(entry.external_attr >> 16):
        yield "link"
    if entry.flag_bits & 1:
        yield "password"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        yield "packing"


class Archive:
    """A zip file, by its path or its bytes. Raises DamagedError for one that is none."""

    def __init__(self, source: Path | bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)
        except _DAMAGE as error:
            raise DamagedError(said("it is damaged ({kind})", kind=type(error).__name__)) from error
        self.entries = self._zip.infolist()
        if not all(entry.filename for entry in self.entries):  # which zipfile itself cannot work with
            raise DamagedError(said("it is damaged ({kind})", kind="NoName"))

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each member when unpacked, as the directory states them."""
        return {entry.filename: entry.file_size for entry in self.entries}

    def check_size(self, most_members: int, most_bytes: int) -> None:
        """Raise FlawError for more members, or more bytes when unpacked."""
        expect(len(self.entries) <= most_members, said("it holds more than {count:,} members", count=most_members))
        total = sum(entry.file_size for entry in self.entries)
        expect(total <= most_bytes, said("it unpacks to over {megabytes:,} MB", megabytes=most_bytes // 10**6))

    def check_unique(self) -> None:
        """Raise FlawError for a name that stands twice in the directory."""
        for name, count in Counter(entry.orig_filename for entry in self.entries).items():
            expect(count == 1, said("it holds {name} twice", name=name[:80]))

    def read(self, member: str | zipfile.ZipInfo, most_bytes: int) -> bytes:
        """Unpack a member, of just the size that the directory states, whatever would come after."""
        name = member if isinstance(member, str) else member.filename
        try:
            entry = self._zip.getinfo(member) if isinstance(member, str) else member
        except KeyError:
            raise FlawError(said("it holds no {name}", name=name[:80])) from None
        expect(entry.file_size <= most_bytes, said("its {name} is too large", name=name[:80]))
        try:
            with self._zip.open(entry) as file:
                content = file.read(entry.file_size + 1)
        except _DAMAGE as error:
            raise DamagedError(said("it is damaged ({kind})", kind=type(error).__name__)) from error
        expect(len(content) == entry.file_size, said("its {name} is not of the size that it states", name=name[:80]))
        return content
