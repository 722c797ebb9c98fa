"""Names in a source: the code page that a zip's names are written in, and what classes are called after their folders.

A zip keeps names as bytes. Only flag 0x800 or the Unicode extra field says that they are UTF-8; otherwise the program
that wrote them used the code page of its computer, which nothing in the file names.
"""

import struct
import unicodedata
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping

from kd_core.base.config import in_words
from kd_core.base.templates import said
from kd_core.data.download import DatasetError

PAGES = {
    "utf-8": said("Unicode"), "cp1252": said("Western European"), "cp949": said("Korean"), "cp932": said("Japanese"),
    "cp936": said("Chinese"), "cp950": said("Chinese, traditional"), "cp1251": said("Cyrillic"),
    "cp866": said("Cyrillic, DOS"), "cp1250": said("Central European"), "cp850": said("Western European, DOS"),
    "cp852": said("Central European, DOS"), "cp437": said("United States, DOS"), "cp1254": said("Turkish"),
    "cp1253": said("Greek"), "cp1255": said("Hebrew"), "cp1256": said("Arabic"), "cp874": said("Thai"),
}  # fmt: skip
"""Code pages by their names; of two that suit alike, the first is taken."""
_UTF8_FLAG, _UNICODE_PATH = 0x800, 0x7075
_COMMON = {
    "cp949": ("euc_kr", ((0xB0, 0xC8, 1.0),)),
    "cp936": ("gb2312", ((0xB0, 0xD7, 0.8), (0xD8, 0xF7, 0.4))),
    "cp932": ("shift_jis", ((0x82, 0x83, 1.0), (0x88, 0x97, 0.85), (0x98, 0xEA, 0.3))),
    "cp950": ("big5", ((0xA4, 0xC6, 0.75), (0xC9, 0xF9, 0.3))),
}
"""Double-byte page -> its older core, and how likely a character is by its first byte there: standards put the common
characters first."""
_RARE = 0.1
_JOINERS = dict.fromkeys([0x200C, 0x200D, *range(0xE0020, 0xE0080)])
"""Invisible characters that Persian words and emoji need."""


def raw_name(entry: zipfile.ZipInfo) -> str | bytes:
    """Return a member's name, as bytes where the zip does not say how it is encoded."""
    if entry.flag_bits & _UTF8_FLAG or entry.orig_filename.isascii():
        return entry.orig_filename
    raw, extra = entry.orig_filename.encode("cp437"), entry.extra  # zipfile decoded it so, one character a byte
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and field[1:5] == struct.pack("<L", zlib.crc32(raw)):
            return field[5:].decode("utf-8", "replace")
    return raw


def guess_page(names: Iterable[bytes]) -> str:
    """Return the code page in which these names read most like words."""
    names = list(names)
    parts = sorted({part for name in names for part in name.split(b"/") if not part.isascii()})[:1000]
    return max(readable(names), key=lambda page: sum(_likelihood(part, page) for part in parts))


def readable(names: Iterable[bytes]) -> list[str]:
    """Return the pages that decode all names into printable text, or cp437, which decodes anything."""
    together = b"/".join(names)

    def decodes(page: str) -> bool:
        try:
            return clean(together.decode(page)) is not None
        except UnicodeDecodeError:
            return False

    return [page for page in PAGES if decodes(page)] or ["cp437"]


def _likelihood(name: bytes, page: str) -> float:
    """Estimate how much a name reads like words: from 0 to 1, the mean over its bytes."""
    if page == "utf-8":
        return 1.0  # other text is hardly ever valid UTF-8
    text = f" {name.decode(page)} "
    values = (
        len(char.encode(page)) * _likelihood_of(char, text[at], text[at + 2], page)
        for at, char in enumerate(text[1:-1])
    )
    return sum(values) / len(name)


def _likelihood_of(char: str, before: str, after: str, page: str) -> float:
    beside = [other for other in (before, after) if other.isalpha()]
    mixed = any(other.isascii() for other in beside)
    if char.isascii():
        return 0.9 if char.isalnum() or char in " -_.()" else 0.0
    if page in _COMMON:
        core, ranges = _COMMON[page]
        encoded = char.encode(core, "ignore")
        values = (value for first, last, value in ranges if len(encoded) > 1 and first <= encoded[0] <= last)
        return _RARE if mixed else next(values, _RARE)
    if not char.isalpha():
        return _RARE if unicodedata.category(char).startswith(("M", "P")) else 0.0
    if char.isupper() and before.islower():
        return _RARE
    if unicodedata.name(char).startswith("LATIN"):  # an accent stands alone among plain letters
        return 0.2 if any(not other.isascii() for other in beside) else 0.7 if char <= "\xff" else 0.5
    return _RARE if mixed else 0.9


def clean(name: str) -> str | None:
    """Return a name as classes are called: composed, without space at its ends; None where it cannot be shown."""
    name = unicodedata.normalize("NFC", name).strip()
    visible = name.translate(_JOINERS)
    return name if visible and visible.isprintable() else None


def class_names(folders: Mapping[str, int], rename: Mapping[str, str], *, merge: bool) -> dict[str, str]:
    """Name the classes of folders; folders of one name are one class.

    folders: name as it was found -> images. rename: a folder's name, as found or cleaned, -> the class's.
    merge: whether names that differ by case alone are one class, called as the folder with most images.
    Raises DatasetError for a name that renames nothing, or that no class can have.
    """
    cleaned = {folder: clean(folder) or folder for folder in folders}
    unknown = sorted(rename.keys() - folders.keys() - set(cleaned.values()))
    if unknown:
        raise DatasetError(
            said(
                "There is no class '{name}' to rename: there are {names}.",
                name=unknown[0][:60],
                names=in_words(sorted(folders)),
            )
        )
    known = {folder: name if name in folders else rename.get(name, name) for folder, name in cleaned.items()}
    named = {folder: rename.get(folder, name) for folder, name in known.items()}
    named = {folder: clean(name) or name for folder, name in named.items()}
    if merge:
        largest: dict[str, str] = {}
        for folder in sorted(folders, key=lambda folder: (-folders[folder], folder)):
            largest.setdefault(named[folder].casefold(), named[folder])
        named = {folder: largest[name.casefold()] for folder, name in named.items()}
    return named


def alike(names: Iterable[str]) -> list[list[str]]:
    """Group the names that differ by case alone."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        groups[name.casefold()].append(name)
    return [group for group in groups.values() if len(group) > 1]
