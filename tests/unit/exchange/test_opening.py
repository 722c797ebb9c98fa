"""The first screen has what ships: images with what each model says of them, and the models for a browser."""

import base64
import json

import numpy as np
import pytest

from kd_core.base.config import LabError
from kd_core.data import load
from kd_core.exchange import opening, shipped

OPERATIONS = {
    "DequantizeLinear": lambda weight, scale: weight * scale[:, None],
    "Gemm": lambda x, weight, bias: x @ weight.T + bias,
    "Relu": lambda x: np.maximum(x, 0),
}
"""As kd_core/exchange/javascript/interpreter.js has them."""


def pixels_of(example):
    return np.frombuffer(base64.b64decode(example.pixels), np.uint8).reshape(28, 28)


def test_images_of_mnist_ship_first_among_them_the_3_that_could_be_an_8():
    shown = opening.opening()
    assert shown.dataset == "mnist"
    first = shown.examples[0]
    assert (first.index, first.label) == (18, 3)
    assert {role: int(np.argmax(row)) for role, row in first.logits.items()} == dict.fromkeys(opening.ROLES, 3)
    assert int(np.argsort(first.logits["teacher"])[-2]) == 8


def test_without_mnists_models_the_digits_open_and_without_any_nothing(tmp_path, monkeypatch):
    for name in [f"digits-{role}" for role in opening.ROLES]:
        (tmp_path / name).symlink_to(shipped.FOLDER / name)
    (tmp_path / opening.FILE).symlink_to(shipped.FOLDER / opening.FILE)
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    shown = opening.opening()
    digits = load.load("digits")
    assert shown.dataset == "digits"
    for example in shown.examples:
        image = digits.test_images[[example.index]]
        assert example.label == digits.test_labels[example.index]
        assert (pixels_of(example) == image[0, 0].numpy()).all()
        computed = shipped.logits_of("digits-teacher", image, digits.normalise)[0]
        np.testing.assert_allclose(example.logits["teacher"], computed, atol=1e-3)
    with pytest.raises(LabError, match="no mnist-teacher ships"):
        opening.browser_models("mnist")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(shipped, "FOLDER", tmp_path / "nothing")
        assert opening.opening() is None
    assert opening.opening().dataset == "digits", "what was shown of another folder is not remembered for this one"


def test_a_browsers_models_say_what_the_shipped_ones_say_to_a_percent():
    from safetensors.numpy import load as unpacked

    content = opening.browser_models("digits")
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    program, tensors = json.loads(header["__metadata__"]["program"]), unpacked(content)
    digits = load.load("digits")
    images = digits.test_images[:100]
    for role, nodes in program.items():
        known = {"images": images.numpy().reshape(100, -1).astype(np.float64), **tensors}
        for node in nodes:
            known[node["output"]] = OPERATIONS[node["op"]](*(known[name] for name in node["inputs"]))
        expected = shipped.logits_of(f"digits-{role}", images, digits.normalise)
        shares = [np.exp(rows - rows.max(axis=1, keepdims=True)) for rows in (known["logits"], expected)]
        here, there = (share / share.sum(axis=1, keepdims=True) for share in shares)
        assert np.abs(here - there).max() < 0.03
        assert (here.argmax(axis=1) == there.argmax(axis=1)).all()
