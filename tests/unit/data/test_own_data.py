"""Data sets that users bring: what is taken in arrives as it was, and what cannot be is refused in a sentence."""

import io
import re
import stat
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from kd_core.base.config import ConfigError
from kd_core.data import load, paths
from kd_core.data.catalogue import info_of
from kd_core.data.dataset import Streamed
from kd_core.data.download import DatasetError
from kd_core.data.own import library, prepare
from kd_core.data.own import look as looking
from kd_core.data.own import source as own_source
from kd_core.data.own.library import Preparation
from kd_core.models.config import ModelConfig
from kd_core.training.config import RunConfig, TrainingConfig
from kd_core.training.loop import Training, train

CLASSES = ("ash", "birch", "cedar")
GREY_OF = {"ash": 40, "birch": 120, "cedar": 200}


def png(grey, size=(24, 20), mode="RGB", at=0):
    """A picture of one colour, with a corner of its own by `at`, so that no two are alike."""
    pixels = np.full((size[1], size[0], 3), grey, np.uint8)
    pixels[size[1] // 2, size[0] // 2] = (at % 256, at // 256, 255)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def files(count=10, prefix=""):
    return {f"{prefix}{name}/{at:03}.png": png(GREY_OF[name], at=at) for name in CLASSES for at in range(count)}


def zipped(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        for name, bytes_ in content.items():
            archive.writestr(name, bytes_)
    return path


def laid(folder, content):
    for name, bytes_ in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes_)
    return folder


@pytest.fixture
def storage(tmp_path):
    return tmp_path / "storage"


def left_in(storage):
    return sorted(path for path in storage.rglob("*") if path.is_file()) if storage.exists() else []


def loaded(name, storage):
    return load.load(name, storage=storage)


@pytest.mark.parametrize("packed", [True, False])
def test_a_zip_and_a_folder_of_class_folders_become_the_same_data_set(tmp_path, storage, packed):
    content = {**files(), "ash/notes.txt": b"no image", "__MACOSX/ash/._1.png": b"", ".DS_Store": b""}
    source = zipped(tmp_path / "trees.zip", content) if packed else laid(tmp_path / "trees", content)
    seen = looking.look(source)
    assert seen.train == dict.fromkeys(CLASSES, 10)
    assert (seen.test, seen.smallest, seen.largest, seen.colour, seen.ignored) == ({}, (24, 20), (24, 20), True, 1)
    name = prepare.prepare(source, Preparation(label="My Trees", side=16), storage)
    info = info_of(name)
    assert (info.label, info.classes, info.image_shape) == ("my trees", 3, (3, 16, 16))
    assert (info.train_examples, info.test_examples) == (24, 6)
    data = loaded(name, storage)
    assert data.class_names == CLASSES
    assert torch.bincount(data.train_labels).tolist() == [8, 8, 8]
    assert torch.bincount(data.test_labels).tolist() == [2, 2, 2]
    for images, labels in ((data.train_images, data.train_labels), (data.test_images, data.test_labels)):
        corners = images[:, 0, 0, 0].tolist()
        assert corners == [GREY_OF[CLASSES[label]] for label in labels.tolist()]
    normal = data.normalise(data.train_images).double()
    assert float(normal.mean()) == pytest.approx(0, abs=1e-5)
    assert float(normal.std(correction=0)) == pytest.approx(1, abs=1e-5)


def test_pixels_are_the_central_square_scaled_as_pillow_scales_it(tmp_path, storage):
    generator = np.random.default_rng(0)
    content = {}
    for name in CLASSES[:2]:
        for at in range(4):
            buffer = io.BytesIO()
            Image.fromarray(generator.integers(0, 256, (30, 50, 3), np.uint8)).save(buffer, "PNG")
            content[f"{name}/{at}.png"] = buffer.getvalue()
    name = prepare.prepare(zipped(tmp_path / "a.zip", content), Preparation(label="a", side=12), storage)
    parts = library.read(storage, name)
    ours = {image.tobytes() for images in parts.images for image in images}
    for bytes_ in content.values():
        scaled = Image.open(io.BytesIO(bytes_)).resize((20, 12), Image.Resampling.BILINEAR)
        expected = np.asarray(scaled.crop((4, 0, 16, 12))).transpose(2, 0, 1).astype(int)
        nearest = min(np.abs(np.frombuffer(pixels, np.uint8).reshape(3, 12, 12) - expected).max() for pixels in ours)
        assert nearest <= 1


def test_the_same_images_and_settings_give_the_same_name_and_others_another(tmp_path, storage):
    source = zipped(tmp_path / "trees.zip", files())
    settings = Preparation(label="trees", side=16)
    name = prepare.prepare(source, settings, storage)
    assert prepare.prepare(source, settings, storage) == name
    others = [
        prepare.prepare(source, settings.replace(seed=1), storage),
        prepare.prepare(source, settings.replace(channels=1), storage),
        prepare.prepare(zipped(tmp_path / "t.zip", {**files(), "ash/000.png": png(41)}), settings, storage),
    ]
    assert len({name, *others}) == 4
    assert library.names(storage) == sorted({name, *others})


def test_a_source_with_train_and_test_folders_keeps_its_own_split(tmp_path, storage):
    content = {**files(6, "data/train/"), **files(4, "data/val/")}
    seen = looking.look(zipped(tmp_path / "d.zip", content))
    assert (seen.train, seen.test) == (dict.fromkeys(CLASSES, 6), dict.fromkeys(CLASSES, 4))
    name = prepare.prepare(tmp_path / "d.zip", Preparation(label="d", side=16), storage)
    assert (info_of(name).train_examples, info_of(name).test_examples) == (18, 12)


def test_images_of_every_mode_orientation_depth_and_size_are_taken(tmp_path, storage):
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter
    Image.fromarray(np.full((9, 30, 3), 40, np.uint8)).save(turned, "JPEG", exif=exif)
    deep = io.BytesIO()
    Image.fromarray(np.full((20, 20), 40 * 257, np.uint16)).save(deep, "PNG")
    clear = io.BytesIO()
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(clear, "PNG")
    content = files(4) | {
        "ash/a.jpg": turned.getvalue(),
        "ash/b.png": deep.getvalue(),
        "ash/c.png": png(40, (300, 200), "L"),
        "birch/white.png": clear.getvalue(),
    }
    source = zipped(tmp_path / "m.zip", content)
    assert looking.look(source).smallest == (9, 20)
    assert looking.look(source).largest == (300, 200)
    name = prepare.prepare(source, Preparation(label="m", side=8), storage)
    parts = library.read(storage, name)
    images, labels = np.concatenate(parts.images), np.concatenate(parts.labels)
    assert np.abs(images[labels == 0][:, :, 0, 0].astype(int) - 40).max() <= 2
    assert 255 in images[labels == 1][:, 0, 0, 0]


def climbing():
    return {**files(), "../../evil/1.png": png(0)}


def link(path):
    with zipfile.ZipFile(path, "w") as archive:
        for name, bytes_ in files().items():
            archive.writestr(name, bytes_)
        member = zipfile.ZipInfo("ash/link.png")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")


def too_large(path):
    zipped(path, {**files(), "ash/bomb.png": b"\0" * (own_source.MAX_IMAGE_BYTES + 2)})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (climbing(), "holds '../../evil/1.png', a path that leads out of it"),
        ({**files(), "/etc/1.png": b""}, "a path that leads out of it"),
        ({**files(), "C:\\x\\1.png": b""}, "a path that leads out of it"),
        (
            {f"{at}/0.png": b"" for at in range(10_000)},
            "10,000 class folders, and 1,000 is the",
        ),
        ({f"ash/{at}.png": png(1, at=at) for at in range(9)}, "has one class only, 'ash'"),
        ({**files(), "dead/": b""}, "Class 'dead' holds no image: fill its folder"),
        ({**files(), "elm/1.png": png(1)}, "Class 'elm' has 1 of the 4 images that it needs"),
        ({**files(), "1.png": png(1)}, "1.png lies in no class folder"),
        ({"notes.txt": b"nothing"}, "holds no image: it needs one folder a class"),
        ({**files(4, "train/"), "test/ash/1.png": png(1)}, "'birch' is in one of them only"),
        ({**files(), "x" * 61 + "/1.png": png(1)}, "cannot be called so"),
    ],
)
def test_what_is_no_data_set_is_refused_before_anything_is_prepared(tmp_path, storage, content, sentence):
    source = zipped(tmp_path / "bad.zip", content)
    for refuse in (looking.look, lambda path: prepare.prepare(path, Preparation(label="bad"), storage)):
        with pytest.raises(DatasetError, match=re.escape(sentence)):
            refuse(source)
    assert left_in(storage) == []
    assert not (tmp_path.parent / "evil").exists()


def test_a_link_in_a_zip_is_refused(tmp_path):
    link(tmp_path / "l.zip")
    with pytest.raises(DatasetError, match=r"holds a link, 'ash/link\.png'"):
        looking.look(tmp_path / "l.zip")


@pytest.mark.parametrize("bytes_", [b"", b"PK\x03\x04 cut short", b"GIF89a"])
def test_what_is_no_zip_is_said_to_be_none(tmp_path, bytes_):
    (tmp_path / "no.zip").write_bytes(bytes_)
    with pytest.raises(DatasetError, match=r"no\.zip is no zip file, or it is cut short"):
        looking.look(tmp_path / "no.zip")


@pytest.mark.parametrize("bytes_", [b"", b"no image", png(1)[:40], b"\0" * (own_source.MAX_IMAGE_BYTES + 2)])
def test_an_unreadable_image_is_named_or_left_out_as_asked(tmp_path, storage, bytes_):
    source = zipped(tmp_path / "u.zip", {**files(), "birch/broken.png": bytes_})
    with pytest.raises(DatasetError, match=r"birch/broken\.png cannot be read as an image"):
        prepare.prepare(source, Preparation(label="u", side=8), storage)
    assert left_in(storage) == []
    name = prepare.prepare(source, Preparation(label="u", side=8, skip_unreadable=True), storage)
    info = info_of(name)
    assert info.train_examples + info.test_examples == 30
    assert len(loaded(name, storage).train_images) == info.train_examples


def test_an_eps_under_another_name_starts_no_other_program(tmp_path, monkeypatch):
    from PIL import EpsImagePlugin

    called = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args, **named: called.append(args))
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n"
    source = zipped(tmp_path / "e.zip", {f"{name}/{at}.png": eps for name in CLASSES for at in range(4)})
    with pytest.raises(DatasetError, match="cannot be read as images"):
        looking.look(source)
    assert called == []


def test_a_disk_without_room_is_said_before_it_is_full(tmp_path, storage, monkeypatch):
    monkeypatch.setattr(prepare, "SPARE_BYTES", 10**18)
    with pytest.raises(DatasetError, match="cannot be saved: No space left on device"):
        prepare.prepare(zipped(tmp_path / "f.zip", files()), Preparation(label="f", side=8), storage)
    assert left_in(storage) == []


def test_one_that_breaks_off_leaves_what_another_has_finished(tmp_path, storage, monkeypatch):
    source = zipped(tmp_path / "two.zip", files())
    settings = Preparation(label="two", side=8)
    name = prepare.prepare(source, settings, storage)
    seen = iter([False])
    monkeypatch.setattr(prepare, "is_file", lambda path: next(seen, True))
    monkeypatch.setattr(prepare, "_copy", lambda source, target: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare(source, settings, storage)
    monkeypatch.undo()
    assert library.names(storage) == [name]
    library.read.cache_clear()
    assert len(loaded(name, storage).train_images) == 24


def test_an_image_of_too_many_pixels_is_not_decoded(tmp_path, storage, monkeypatch):
    monkeypatch.setattr(own_source, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DatasetError, match="cannot be read as an image: "):
        prepare.prepare(zipped(tmp_path / "p.zip", files()), Preparation(label="p", side=8), storage)


def test_preparation_tells_how_far_it_is_and_can_be_broken_off(tmp_path, storage):
    class CancelledError(Exception):
        pass

    reports = []

    def cancel(text, share):
        reports.append((text, share))
        if share == 1:
            raise CancelledError

    with pytest.raises(CancelledError):
        prepare.prepare(zipped(tmp_path / "c.zip", files()), Preparation(label="c", side=8), storage, cancel)
    assert reports[-1] == ("Preparing images", 1.0)
    assert left_in(storage) == []


def test_a_damaged_or_missing_data_set_is_said_so(tmp_path, storage):
    name = prepare.prepare(zipped(tmp_path / "d.zip", files()), Preparation(label="d", side=8), storage)
    folder = paths.own_folder(storage, name)
    images = folder / "train_images.npy"
    whole = images.read_bytes()
    for damage in (whole[:-1], whole[:-1] + b"\0", b""):
        images.write_bytes(damage)
        library.read.cache_clear()
        with pytest.raises(DatasetError, match="The data set 'd' is damaged"):
            loaded(name, storage)
    library.remove(storage, name)
    with pytest.raises(DatasetError, match="The data set 'd' is not here"):
        loaded(name, storage)
    assert left_in(storage) == []


def test_a_name_says_what_a_config_needs_to_know_and_nothing_false(storage, tmp_path):
    name = prepare.prepare(zipped(tmp_path / "n.zip", files()), Preparation(label="n", side=8), storage)
    RunConfig(role="teacher", dataset=name)
    for wrong in (name + "1", name.replace("3x8x8", "3x7x7"), name.replace(".3.3x", ".1001.3x"), "own.x", "own../../a"):
        if wrong != name + "1":
            with pytest.raises(ConfigError, match="unknown data set"):
                RunConfig(role="teacher", dataset=wrong)
    more = name + "1"
    with pytest.raises(DatasetError, match="is not here"):
        loaded(more, storage)


def test_a_streamed_data_set_stays_on_disk_and_gives_the_same_images(tmp_path, storage, monkeypatch):
    name = prepare.prepare(zipped(tmp_path / "s.zip", files()), Preparation(label="s", side=8), storage)
    whole = library.read(storage, name)
    monkeypatch.setattr(library, "STREAMED_BYTES", 10)
    library.read.cache_clear()
    streamed = library.read(storage, name)
    assert isinstance(streamed.images[0], np.memmap)
    assert (streamed.streamed, whole.streamed) == (True, False)
    assert all(np.array_equal(first, second) for first, second in zip(streamed.images, whole.images, strict=True))
    library.read.cache_clear()


def weights_after(dataset, device="cpu"):
    training = TrainingConfig(epochs=2, batch_size=7, validation_fraction=0.1, jitter_pixels=1, device=device)
    config = RunConfig(role="teacher", dataset=dataset.name, model=ModelConfig(name="cnn"), training=training)
    run = Training(config, dataset)
    list(train(run))
    return run.model.state_dict()


def test_training_on_a_streamed_data_set_gives_the_same_weights_to_the_last_bit(tmp_path, storage, monkeypatch):
    name = prepare.prepare(zipped(tmp_path / "s.zip", files()), Preparation(label="s", side=8), storage)
    in_memory = weights_after(loaded(name, storage))
    monkeypatch.setattr(library, "STREAMED_BYTES", 10)
    library.read.cache_clear()
    dataset = loaded(name, storage)
    assert dataset.streamed
    streamed = weights_after(dataset)
    assert all(torch.equal(streamed[part], weights) for part, weights in in_memory.items())
    library.read.cache_clear()


def test_streamed_images_are_right_whether_they_were_read_ahead_or_not():
    images = torch.arange(20, dtype=torch.uint8).reshape(20, 1, 1, 1)
    streamed = Streamed(images, torch.tensor([5, 3, 9, 12, 7]), torch.device("cpu"))
    batches = [torch.tensor([4, 0]), torch.tensor([2, 1]), torch.tensor([3])]
    streamed.expect(batches)
    assert [streamed[batch].flatten().tolist() for batch in batches] == [[7, 5], [9, 3], [12]]
    streamed.expect(batches)
    assert streamed[torch.tensor([1, 1])].flatten().tolist() == [3, 3]
    assert streamed[:3].flatten().tolist() == [5, 3, 9]
    assert len(streamed) == 5


def test_each_test_image_knows_its_file_and_an_older_set_learns_it(tmp_path, storage):
    source, preparation = zipped(tmp_path / "trees.zip", files()), Preparation(label="trees", side=8)
    name = prepare.prepare(source, preparation, storage)
    named, parts = library.test_files(storage, name), library.read(storage, name)
    assert len(named) == len(parts.labels[1]) == len({*named})
    for file, label in zip(named, parts.labels[1], strict=True):
        assert file.split("/")[0] == parts.class_names[label]
    (paths.own_folder(storage, name) / library.TEST_FILES).unlink()
    assert library.test_files(storage, name) is None
    assert prepare.prepare(source, preparation, storage) == name
    assert library.test_files(storage, name) == named
    (paths.own_folder(storage, name) / library.TEST_FILES).write_text("[1]")
    assert library.test_files(storage, name) is None
    assert library.test_files(storage, "digits") is None
