"""Zip files from anybody: what is read of them, and what is refused."""

import io
import stat
import struct
import warnings
import zipfile

import pytest

from kd_core.base.archive import Archive, DamagedError, FlawError, oddities


def zipped(*members, kind=zipfile.ZIP_DEFLATED):
    """A zip file of (name or ZipInfo, content) pairs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def link(name):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


def test_members_are_read_from_bytes_and_from_a_file(tmp_path):
    content = zipped(("a/b.txt", b"seven"))
    (tmp_path / "a.zip").write_bytes(content)
    for source in (content, tmp_path / "a.zip"):
        archive = Archive(source)
        assert archive.sizes == {"a/b.txt": 5}
        assert archive.read("a/b.txt", 5) == b"seven"
        assert [*oddities(archive.entries[0])] == []


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"no zip file", zipped(("a", b"1"))[:-4]], ids=len)
def test_what_is_no_zip_file_is_damaged(content):
    with pytest.raises(DamagedError, match="it is damaged"):
        Archive(content)


@pytest.mark.parametrize("name", ["/etc/passwd", "a/../../b", "C:/b", "a\\b"])
def test_a_path_that_leads_out_is_odd(name):
    assert [*oddities(Archive(zipped((name, b""))).entries[0])] == ["path"]


def test_a_member_without_a_name_is_damage():
    """Written by hand, as zipfile writes no such zip. ZipInfo.is_dir ends in an IndexError on it."""
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 0x21, 0, 0, 0, 0, 0)
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0x21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(local), 0)
    with pytest.raises(DamagedError, match="NoName"):
        Archive(local + entry + end)


def test_links_and_rare_packings_are_odd():
    assert [*oddities(Archive(zipped((link("a"), b"/etc/passwd"))).entries[0])] == ["link"]
    assert [*oddities(Archive(zipped(("a", b"1"), kind=zipfile.ZIP_BZIP2)).entries[0])] == ["packing"]


def test_sizes_names_and_members_are_bounded():
    archive = Archive(zipped(("a", bytes(3_000_000)), ("b", b""), ("b", b"")))
    archive.check_size(3, 3_000_000)
    for call, flaw in (
        (lambda: archive.check_size(2, 3_000_000), "it holds more than 2 members"),
        (lambda: archive.check_size(3, 2_000_000), "it unpacks to over 2 MB"),
        (archive.check_unique, "it holds b twice"),
        (lambda: archive.read("a", 2_999_999), "its a is too large"),
        (lambda: archive.read("c", 1), "it holds no c"),
    ):
        with pytest.raises(FlawError, match=flaw):
            call()


def test_a_member_of_another_size_than_stated_is_refused():
    content = bytearray(zipped(("a", bytes(1000))))
    start = content.rfind(b"PK\1\2")
    content[start + 24 : start + 28] = (10).to_bytes(4, "little")
    with pytest.raises(FlawError, match=r"it is damaged|is not of the size that it states"):
        Archive(bytes(content)).read("a", 10_000)
