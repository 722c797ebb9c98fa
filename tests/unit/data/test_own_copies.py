"""Copies in users' data are counted, said and left out; groups stay on one side of a split."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from kd_core.data import load
from kd_core.data.download import DatasetError
from kd_core.data.own import library, prepare
from kd_core.data.own.copies import Copies
from kd_core.data.own.library import Preparation
from kd_core.data.own.look import look
from kd_core.data.paths import OWN_CARD, own_folder
from tests.unit.data.test_decode import deep
from tests.unit.data.test_own_data import laid, zipped

GENERATOR = np.random.default_rng(0)


def noise(count):
    """Pictures of which no two are alike."""
    return [Image.fromarray(GENERATOR.integers(0, 256, (16, 16), np.uint8)) for _ in range(count)]


def content(images, kind="PNG"):
    buffer = io.BytesIO()
    images.save(buffer, kind)
    return buffer.getvalue()


def of(folder, pictures):
    return {f"{folder}/{at:02}.png": content(picture) for at, picture in enumerate(pictures)}


def made(path, storage, **settings):
    name = prepare.prepare(path, Preparation(label="a", side=16, **settings), storage)
    return library.card(storage, name), library.read(storage, name)


def test_copies_within_a_class_are_counted_and_left_out_before_the_split(tmp_path):
    six = noise(6)
    path = zipped(tmp_path / "a.zip", {**of("oak", 6 * six), **of("ash", noise(6))})
    assert Copies(**look(path).copies) == Copies(within=30)
    card, parts = made(path, tmp_path)
    assert card.copies.within + card.copies.leaked >= 24
    assert "images are copies of another of their class." in " ".join(card.sentences())
    card, parts = made(path, tmp_path, drop_copies=True)
    assert (card.copies, card.counts) == (Copies(), {"train": [5, 5], "test": [1, 1]})
    assert card.notices == ("30 images were left out as copies.",)
    assert len({image.tobytes() for images in parts.images for image in images}) == 12


def test_an_image_under_two_labels_is_said_and_left_out(tmp_path):
    both = noise(2)
    path = zipped(tmp_path / "a.zip", {**of("oak", both + noise(6)), **of("ash", both + noise(6))})
    assert look(path).doubts() == ["4 images lie under several classes: no answer to them can be right."]
    card, _ = made(path, tmp_path, drop_copies=True)
    assert sum(map(sum, card.counts.values())) == 12
    every = zipped(tmp_path / "b.zip", {**of("oak", 3 * both), **of("ash", 3 * both)})
    with pytest.raises(DatasetError, match=r"No image of class 'ash' in the data set .* is left without its copies"):
        made(every, tmp_path, drop_copies=True)


def test_leaked_test_images_are_counted_and_leave_the_training_set(tmp_path):
    leaked = noise(3)
    parts = {"train/oak": leaked + noise(5), "train/ash": noise(6), "test/oak": leaked + noise(3), "test/ash": noise(4)}
    path = zipped(tmp_path / "a.zip", {name: data for part in parts for name, data in of(part, parts[part]).items()})
    sentence = "3 of 10 test images are also training images: on them a model can have learned the answer by heart."
    assert look(path).doubts() == [sentence]
    card, _ = made(path, tmp_path)
    assert library.doubts(tmp_path, card.name) == [sentence]
    dropped, _ = made(path, tmp_path, drop_copies=True)
    assert dropped.counts == {"train": [6, 5], "test": [4, 6]}
    assert library.doubts(tmp_path, dropped.name) == []
    assert library.doubts(tmp_path, "digits") == []


def test_copies_are_counted_of_a_data_set_whose_card_is_older(tmp_path):
    path = zipped(tmp_path / "a.zip", {**of("oak", 2 * noise(6)), **of("ash", noise(8))})
    card, _ = made(path, tmp_path)
    file = own_folder(tmp_path, card.name) / OWN_CARD
    values = json.loads(file.read_text())
    before = library.doubts(tmp_path, card.name)
    del values["copies"], values["notices"]
    file.write_text(json.dumps(values))
    assert library.card(tmp_path, card.name).copies is None
    assert library.doubts(tmp_path, card.name) == before != []


def test_pixels_are_compared_after_preparation_and_near_copies_are_a_warning(tmp_path):
    smooth = [Image.fromarray(GENERATOR.integers(0, 256, (4, 4), np.uint8)).resize((16, 16)) for _ in range(8)]
    brighter = smooth[0].point(lambda value: min(255, value + 1))
    files = {**of("oak", smooth), **of("ash", noise(6)), "ash/near.png": content(brighter)}
    path = zipped(tmp_path / "a.zip", {**files, "oak/again.bmp": content(smooth[1], "BMP")})
    assert Copies(**look(path).copies) == Copies()  # equal pictures in unequal files
    card, _ = made(path, tmp_path)
    assert (card.copies.within + card.copies.leaked, card.copies.near) == (1, 2)
    assert "2 images are nearly like another" in " ".join(card.sentences())


def people(each=4):
    """Photographs of eight people, some of both classes."""
    files = {}
    for person in range(8):
        for name in ("smiling", "serious"):
            files |= {f"{name}/p{person}_{at}.png": content(picture) for at, picture in enumerate(noise(each))}
    return files


def of_people(images, files):
    """Who is on each image."""
    person = {np.asarray(Image.open(io.BytesIO(data))).tobytes(): name for name, data in files.items()}
    return [person[image[0].tobytes()].split("/")[1][:2] for image in images]


def sides(parts, files):
    """Which people have photographs in training and in test set."""
    return [set(of_people(images, files)) for images in parts.images]


def test_groups_by_file_name_stay_on_one_side(tmp_path):
    files = people()
    card, parts = made(zipped(tmp_path / "a.zip", files), tmp_path, group_prefix="_", test_fraction=0.25)
    train, test = sides(parts, files)
    assert (len(train), len(test), train & test) == (6, 2, set())
    assert card.counts == {"train": [24, 24], "test": [8, 8]}
    assert card.notices == ("The images are of 8 groups: each lies on one side.",)
    dataset = load.load(card.name, storage=tmp_path)
    people_of = of_people(dataset.train_images.numpy(), files)
    seen = set()
    for seed in range(6):
        learned, validates = ({people_of[at] for at in part} for part in dataset.split(1 / 6, seed))
        assert len(validates) == 1
        assert not learned & validates
        seen |= validates
    assert len(seen) > 1
    with pytest.raises(DatasetError, match="No file name holds '='"):
        made(tmp_path / "a.zip", tmp_path, group_prefix="=")


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_groups_of_a_table_stay_on_one_side(tmp_path, between):
    files = people(2)
    lines = [f"file{between}who", *(f"{name.split('/')[1]}{between}{name.split('/')[1][:2]}" for name in files)]
    table = tmp_path / "who.csv"
    table.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    settings = Preparation(label="a", side=16)
    name = prepare.prepare(laid(tmp_path / "a", files), settings, tmp_path, groups=table)
    train, test = sides(library.read(tmp_path, name), files)
    assert not train & test
    table.write_text("\n".join(line for line in lines if "p7_1.png" not in line))
    with pytest.raises(DatasetError, match=r"who\.csv names no group for serious/p7_1\.png|smiling/p7_1\.png"):
        prepare.prepare(tmp_path / "a", settings, tmp_path, groups=table)
    table.write_text("nothing")
    with pytest.raises(DatasetError, match="is no table of groups: save it as CSV"):
        prepare.prepare(tmp_path / "a", settings, tmp_path, groups=table)


def test_groups_that_leave_a_class_on_one_side_are_refused(tmp_path):
    files = {f"{name}/{name}_{at}.png": content(picture) for name in ("a", "b") for at, picture in enumerate(noise(5))}
    with pytest.raises(DatasetError, match="groups are too few or too large"):
        made(zipped(tmp_path / "a.zip", files), tmp_path, group_prefix="_")
    split = {f"{part}/{name}": data for part in ("train", "test") for name, data in people(2).items()}
    card, _ = made(zipped(tmp_path / "b.zip", split), tmp_path, group_prefix="_")
    assert "8 of them lie on both sides of the source's own split" in card.notices[0]


def test_a_data_set_has_one_scale_of_depth(tmp_path):
    dark, bright = deep(np.uint16, 4), deep(np.uint16, 257)  # of which the first alone could be of ten bits
    pictures = [dark, *(bright.point(lambda value, less=less: value - less) for less in range(5))]
    path = zipped(tmp_path / "a.zip", {**of("oak", pictures[:5]), **of("ash", [*noise(4), dark])})
    seen = look(path)
    assert seen.white == 65535
    card, parts = made(path, tmp_path)
    greatest = sorted(
        image.max()
        for images, labels in zip(parts.images, parts.labels, strict=True)
        for image, label in zip(images, labels, strict=True)
        if label == 1
    )
    assert greatest[0] == 4
    assert "Some files have more than eight bits; 65,535 was taken for white." in card.notices
    chosen, parts = made(path, tmp_path, white=1023)
    assert chosen.name != card.name


def test_what_came_out_of_one_colour_is_said_with_a_name(tmp_path):
    framed = Image.new("L", (64, 16), 0)
    framed.paste(255, (0, 0, 8, 16))  # outside of the middle that is kept
    path = zipped(tmp_path / "a.zip", {**of("oak", [*noise(4), framed]), **of("ash", noise(4))})
    card, _ = made(path, tmp_path)
    assert card.notices == ("1 images came out almost of one colour, such as oak/04.png.",)
