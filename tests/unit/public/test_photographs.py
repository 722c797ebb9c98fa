"""From a folder of photographs to a program that says what is on a phone's, in the ten lines of the notebook."""

import json
import runpy
import sys

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from torch import nn

import kd_core as kd
from kd_core.base import paths
from kd_core.data.own import library

BRIEF = {"epochs": 3, "batch_size": 8, "learning_rate": 1e-2, "seeds": 1, "progress": False}


def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 2))


@pytest.fixture
def folder(home, tmp_path):
    """Photographs that are light above, and others that are light on their left."""
    generator = np.random.default_rng(0)
    for name in ("above", "left"):
        (tmp_path / "lights" / name).mkdir(parents=True)
        for number in range(15):
            pixels = generator.integers(0, 60, (40, 40, 3), dtype=np.uint8)
            pixels[:20] += 190
            upright = pixels if name == "above" else pixels.transpose(1, 0, 2)
            Image.fromarray(upright).save(tmp_path / "lights" / name / f"{number}.png")
    return tmp_path / "lights"


@pytest.fixture
def result(folder):
    return kd.distill(student=net, teacher=net(), data=kd.photographs(folder, side=12), **BRIEF)


def test_the_app_knows_the_photographs_from_then_on(folder):
    photographs = kd.photographs(folder, side=12)
    assert library.names(paths.storage()) == [photographs.name]
    assert photographs.image_shape == (3, 12, 12)
    assert photographs.class_names == ("above", "left")


def test_what_is_left_out_is_as_the_photographs_are(folder):
    for path in folder.glob("*/*.png"):
        Image.open(path).convert("L").save(path)
    assert kd.photographs(str(folder)).image_shape == (1, 32, 32)


def test_networks_read_photographs_as_the_app_normalises_them(result, folder):
    photographs = kd.photographs(folder, side=12)
    images = photographs.test_images
    assert np.allclose(result.data.normalise(images), photographs.normalise(images), atol=1e-5)
    assert result.data.class_names == photographs.class_names
    assert repr(photographs).endswith("test examples of 2 classes, each (3, 12, 12)>")


def test_a_lying_phones_photograph_is_classified(result, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    result.export("student.onnx", classify=True)
    notes = onnxruntime.InferenceSession("student.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(notes["class_names"]) == ["above", "left"]
    assert json.loads(notes["image_shape"]) == [3, 12, 12]
    pixels = np.full((300, 300, 3), 30, np.uint8)
    pixels[:150] = 220
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).transpose(Image.Transpose.ROTATE_90).save("photo.jpg", exif=exif)
    monkeypatch.setattr(sys, "argv", ["classify.py", "photo.jpg"])
    runpy.run_path("classify.py", run_name="__main__")
    says = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert float(says["above"]) > 0.5
    assert [*says] == ["above", "left"]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)  # of which Pillow refuses twice as many
    for words, sentence in (
        ([], "usage: python classify.py"),
        (["none.jpg"], "none.jpg cannot be read as a picture"),
        (["photo.jpg"], "photo.jpg cannot be read as a picture: Image size"),
        (["photo.jpg", "warm"], "the temperature must be a number above 0, got warm"),
        (["photo.jpg", "0"], "the temperature must be a number above 0, got 0"),
        (["photo.jpg", "nan"], "the temperature must be a number above 0, got nan"),
    ):
        monkeypatch.setattr(sys, "argv", ["classify.py", *words])
        with pytest.raises(SystemExit, match=sentence):
            runpy.run_path("classify.py", run_name="__main__")


def test_a_place_without_photographs_ends_in_a_sentence(tmp_path):
    with pytest.raises(kd.LabError, match="name a folder with a folder of images for each class"):
        kd.photographs(tmp_path / "none.zip")


def test_a_preprocess_that_wraps_bytes_around_is_not_exported(folder, tmp_path):
    photographs = kd.photographs(folder, side=12)
    wrapping = {"preprocess": lambda images: (images - 127) / 128}
    wrapped = kd.distill(student=net, teacher=net(), data=photographs, **BRIEF, **wrapping)
    with pytest.raises(kd.LabError, match="bytes wrap around"):
        wrapped.export(tmp_path / "student.onnx")


def test_classify_wants_images_of_bytes(folder, tmp_path):
    photographs = kd.photographs(folder, side=12)
    data = [(photographs.normalise(photographs.train_images), photographs.train_labels)] * 2
    floats = kd.distill(student=net, teacher=net(), data=data, **BRIEF)
    with pytest.raises(kd.LabError, match="train on uint8 images"):
        floats.export(tmp_path / "student.onnx", classify=True)
