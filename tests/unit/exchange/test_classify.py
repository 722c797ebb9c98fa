"""The program beside an export reads every picture as the app does, and a photograph as training did."""

import io
import runpy
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from kd_core.data import picture
from kd_core.data.own import prepare
from kd_core.data.own.library import Preparation
from kd_core.data.own.source import Source
from kd_core.exchange.export import checks, snippets
from tests.unit.data.test_decode import CLEAR, FADED, OPAQUE

SHAPES = ((3, 12, 12), (1, 8, 8))


@pytest.fixture
def pixels_of(tmp_path, monkeypatch):
    """What the real classify.py gives a model of images of this shape: (C, H, W), for a picture's content."""
    monkeypatch.chdir(tmp_path)

    def read(content, shape):
        flat = helper.make_node("Flatten", ["images"], ["logits"])
        shapes = [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", *shape])]
        shapes += [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", int(np.prod(shape))])]
        graph = helper.make_graph([flat], "pixels", shapes[:1], shapes[1:])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), "model.onnx")
        images = snippets.Images(shape, ["first", "second"], 0.5, 0.25, digits=False)
        (tmp_path / "classify.py").write_text(snippets.python_snippet(checks.ONNX, "model.onnx", images), "utf-8")
        (tmp_path / "picture").write_bytes(content)
        monkeypatch.setattr(sys, "argv", ["classify.py", "picture"])
        names = runpy.run_path("classify.py", run_name="__main__")
        assert names["logits"].tolist() == names["images"].ravel().tolist()
        return names["images"][0]

    return read


def saved(image, kind, **options):
    """A picture's content, or None where Pillow does not save it so."""
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, **{"lossless": True} if kind == "WEBP" else {}, **options)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return buffer.getvalue()


def pictures():
    """Pictures of every mode, depth and transparency that the app reads, by name."""
    made = {f"{mode} {kind}": saved(OPAQUE[mode], kind) for mode in OPAQUE for kind in picture.FORMATS}
    for mode in ("LA", "PA", "RGBA"):
        faded = FADED.convert(mode)
        faded.putalpha(FADED.getchannel("A"))
        made |= {f"{mode} {kind}": saved(faded, kind) for kind in ("PNG", "WEBP", "GIF")}
    clear = {"L": CLEAR, "P": CLEAR, "RGB": (CLEAR,) * 3, "16 bits": CLEAR * 257, "12 bits in 16": 642}
    made |= {f"{mode}, one clear": saved(OPAQUE[mode], "PNG", transparency=value) for mode, value in clear.items()}
    made["palette, some clear"] = saved(OPAQUE["P"], "PNG", transparency=bytes([255] * CLEAR + [0]))
    return {name: content for name, content in made.items() if content is not None}


def test_the_programs_pixels_are_the_apps_of_every_mode_depth_and_transparency(pixels_of):
    made = pictures()
    assert len(made) > 40
    for name, content in made.items():
        for shape in SHAPES:
            assert (pixels_of(content, shape) == picture.read_for(content, shape)).all(), name


def photograph(orientation):
    """A large photograph as a telephone held in this way saves it."""
    across, down = np.meshgrid(np.linspace(0, 1, 2600), np.linspace(0, 1, 1900))
    planes = [255 * across, 255 * down, 255 * (np.hypot(across - 0.3, down - 0.6) < 0.25)]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.fromarray(np.dstack(planes).astype(np.uint8)), "JPEG", exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_telephones_photograph_is_read_as_in_the_app_and_in_training(pixels_of, tmp_path, orientation):
    content = photograph(orientation)
    pixels = pixels_of(content, (3, 32, 32))
    assert (pixels == picture.read_for(content, (3, 32, 32))).all()
    (tmp_path / "images" / "one").mkdir(parents=True)
    (tmp_path / "images" / "one" / "1.jpg").write_bytes(content)
    source = Source(tmp_path / "images", "")
    trained = prepare._Prepared(source, ["one/1.jpg"], Preparation(label="photographs", side=32))[0].pixels
    assert np.abs(pixels - trained.astype(int)).mean() < 1
    assert pixels.shape == trained.shape
