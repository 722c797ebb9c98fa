"""Names in users' zips and folders, as Windows, macOS and a NAS write them, become the classes' names."""

import os
import struct
import zipfile
import zlib

import pytest

from kd_core.base.config import ConfigError
from kd_core.data.download import DatasetError
from kd_core.data.own import names, prepare
from kd_core.data.own.library import Naming, Preparation, card
from kd_core.data.own.look import look
from kd_core.data.own.source import Source
from tests.unit.data.test_own_data import laid, png, zipped


class Plain(zipfile.ZipInfo):
    """A member whose name is written as its bytes, without flag 0x800."""

    def _encodeFilenameFlags(self):  # noqa: N802
        return self.filename.encode("cp437"), self.flag_bits


def in_page(path, classes, page, *, extra=False, each=4):
    """A zip as a program writes it that knows no Unicode: names are bytes of a code page."""
    with zipfile.ZipFile(path, "w") as archive:
        for label, name in enumerate(classes):
            for at in range(each):
                raw, text = f"{name}/{at}.png".encode(page), f"{name}/{at}.png".encode()
                member = Plain(raw.decode("cp437"))
                if extra:
                    member.extra = struct.pack("<HHBL", 0x7075, 5 + len(text), 1, zlib.crc32(raw)) + text
                archive.writestr(member, png(40 * label, at=at))
    return path


@pytest.mark.parametrize(
    ("page", "classes"),
    [
        ("cp949", ("사과", "배", "포도")),
        ("cp932", ("りんご", "みかん")),
        ("cp932", ("犬", "猫", "鳥")),
        ("cp932", ("表", "ソース")),  # their second byte is a backslash
        ("cp936", ("苹果", "香蕉")),
        ("cp1251", ("собака", "кошка")),
        ("cp866", ("Яблоко", "Груша")),
        ("cp1252", ("Äpfel", "Löwe")),
        ("cp1252", ("niño", "año")),
        ("cp850", ("Grün", "Weiß")),
        ("utf-8", ("Äpfel", "사과")),
    ],
)
def test_names_in_a_code_page_are_read_as_they_were_written(tmp_path, page, classes):
    path = in_page(tmp_path / "a.zip", classes, page)
    seen = look(path)
    assert seen.train == dict.fromkeys(sorted(classes), 4)
    assert seen.code_page == page
    assert seen.code_pages[page] == sorted(classes)
    assert Source(path).read(f"{classes[0]}/0.png") == png(0)


def test_a_code_page_is_chosen_and_one_that_does_not_decode_is_refused_in_words(tmp_path):
    path = in_page(tmp_path / "a.zip", ("狗", "猫"), "cp936")  # these two read as Korean as well
    assert list(look(path, Naming(code_page="cp936")).train) == ["狗", "猫"]
    german = in_page(tmp_path / "b.zip", ("Äpfel", "Löwe"), "cp1252")
    with pytest.raises(DatasetError, match="not written in cp949: choose one of cp1252, "):
        look(german, Naming(code_page="cp949"))
    with pytest.raises(ConfigError, match="unknown code page 'latin9': choose one of utf-8, cp1252"):
        Naming(code_page="latin9")


def test_the_unicode_extra_field_says_the_names(tmp_path):
    seen = look(in_page(tmp_path / "a.zip", ("狗", "猫"), "cp936", extra=True))
    assert (list(seen.train), seen.code_page, seen.code_pages) == (["狗", "猫"], "", {})


def test_a_folder_unpacked_with_another_code_page_is_read_too(tmp_path):
    for name in ("собака", "кошка"):
        folder = tmp_path / "pets" / os.fsdecode(name.encode("cp1251"))
        laid(folder, {f"{at}.png": png(at) for at in range(4)})
    assert list(look(tmp_path / "pets").train) == ["кошка", "собака"]
    assert Source(tmp_path / "pets").read("кошка/1.png") == png(1)


def test_backslashes_separate_and_are_checked_for_climbing(tmp_path):
    content = {f"leaves\\{name}\\{at}.png": png(at) for name in ("oak", "ash") for at in range(4)}
    seen = look(zipped(tmp_path / "a.zip", {"leaves\\oak\\": b"", **content}))
    assert seen.train == {"ash": 4, "oak": 4}
    for name in ("..\\up.png", "\\\\host\\share.png", "oak\\..\\..\\up.png"):
        with pytest.raises(DatasetError, match="a path that leads out of it"):
            look(zipped(tmp_path / "b.zip", {**content, name: b""}))


def of(*classes, each=4):
    return {f"{name}/{at}.png": png(at + 8 * label) for label, name in enumerate(classes) for at in range(each)}


@pytest.mark.parametrize("joined", ["گربه\u200cها", "👩\u200d🔬 과학자", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"])
def test_joiners_belong_to_names(tmp_path, joined):
    assert joined in look(zipped(tmp_path / "a.zip", of(joined, "other"))).train


@pytest.mark.parametrize("invisible", ["\u200d", "a\u202eb", " ", "a\nb"])
def test_names_that_cannot_be_shown_are_refused(tmp_path, invisible):
    with pytest.raises(DatasetError, match="cannot be called so"):
        look(zipped(tmp_path / "a.zip", of(invisible, "other")))


def test_composed_decomposed_and_spaced_names_are_one_class_and_said(tmp_path):
    seen = look(zipped(tmp_path / "a.zip", of("cafe\u0301", "café", "oak", "oak ")))
    assert seen.train == {"café": 8, "oak": 8}
    assert seen.notices() == [
        "Class 'café' is made of 2 folders: 'cafe\u0301' (decomposed) and 'café'.",
        "Class 'oak' is made of 2 folders: 'oak' and 'oak '.",
    ]
    apart = look(tmp_path / "a.zip", Naming(rename={"oak ": "oak 2", "café": "coffee"}))
    assert apart.train == {"café": 4, "coffee": 4, "oak": 4, "oak 2": 4}


def test_names_that_differ_by_case_are_said_and_merged_where_that_is_asked(tmp_path):
    path = zipped(tmp_path / "a.zip", {**of("Oak", "birch"), **of("oak", each=6)})
    seen = look(path)
    assert (seen.train, seen.alike) == ({"Oak": 4, "birch": 4, "oak": 6}, [["Oak", "oak"]])
    assert seen.notices() == ["These classes differ by case alone, and can be merged: 'Oak' and 'oak'."]
    assert look(path, Naming(merge=True)).train == {"birch": 4, "oak": 10}


def test_train_and_test_may_write_their_classes_in_another_case(tmp_path):
    both = {f"train/{name}": content for name, content in of("Oak", "Ash").items()}
    both |= {f"test/{name}": content for name, content in of("oak", "ash").items()}
    seen = look(zipped(tmp_path / "a.zip", both))
    assert (seen.train, seen.test) == ({"Ash": 4, "Oak": 4}, {"Ash": 4, "Oak": 4})


def test_renamed_classes_are_called_so_in_the_data_set(tmp_path):
    path = zipped(tmp_path / "a.zip", of("1", "2", "3"))
    naming = {"1": "one", "3": "one"}
    name = prepare.prepare(path, Preparation(label="a", side=8, rename=naming), tmp_path)
    assert card(tmp_path, name).class_names == ("2", "one")
    with pytest.raises(DatasetError, match="There is no class '4' to rename: there are 1, 2 and 3"):
        look(path, Naming(rename={"4": "one"}))
    with pytest.raises(DatasetError, match="has one class only, 'one'"):
        look(path, Naming(rename={"1": "one", "2": "one", "3": "one"}))


@pytest.mark.parametrize("inside", ["@eaDir", "#recycle", "$RECYCLE.BIN", "__MACOSX", ".thumbs", "@Recycle"])
def test_what_programs_leave_beside_images_is_left_out_and_counted_by_ending(tmp_path, inside):
    left = {f"oak/{inside}/0.png/thumb.jpg": png(1), f"{inside}/oak/1.png": png(2), "Thumbs.db": b"", "README": b""}
    seen = look(zipped(tmp_path / "a.zip", {**of("oak", "ash"), **left}))
    assert seen.train == {"ash": 4, "oak": 4}
    assert seen.left_out == {".jpg": 1, ".png": 1, ".db": 1, "": 1}
    assert seen.ignored == 2
    (notice,) = seen.notices()
    assert notice.startswith("Left out: ")
    assert {"1 .jpg", "1 .png", "1 .db", "1 without ending"} == set(
        notice.removeprefix("Left out: ").removesuffix(".").replace(" and ", ", ").split(", ")
    )


def test_a_class_folder_of_backslashes_on_disk_keeps_its_name(tmp_path):
    seen = look(laid(tmp_path / "a", of("a\\b", "A: c")))
    assert list(seen.train) == ["A: c", "a\\b"]


def test_a_zip_that_says_its_names_is_not_guessed_at(tmp_path):
    assert look(zipped(tmp_path / "a.zip", of("Äpfel", "사과"))).code_pages == {}
    assert names.guess_page(["├ñ".encode("cp437")]) == "utf-8"
