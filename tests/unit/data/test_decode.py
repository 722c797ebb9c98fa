"""Values of every mode, depth and transparency that Pillow writes arrive as they are meant to be seen."""

import io

import numpy as np
import pytest
from PIL import Image

from kd_core.data.pictures.decode import is_flat, shown

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)
CLEAR = 40
"""The grey that is see-through where one is."""


def deep(dtype, times):
    return Image.fromarray((GREY.astype(np.float64) * times).astype(dtype))


def grey(mode):
    return Image.fromarray(GREY).convert(mode)


FADED = Image.merge("LA", [Image.fromarray(GREY)] * 2)
OPAQUE = {
    "L": grey("L"),
    "P": grey("P"),
    "RGB": grey("RGB"),
    "RGBX": grey("RGBX"),
    "CMYK": grey("RGB").convert("CMYK"),
    "YCbCr": grey("RGB").convert("YCbCr"),
    "16 bits": deep(np.uint16, 257),
    "12 bits in 16": deep(np.uint16, 4095 / 255),
    "10 bits in 16": deep(np.uint16, 1023 / 255),
    "8 bits in 16": deep(np.uint16, 1),
    "16 bits, last byte first": Image.frombytes("I;16B", (16, 16), (GREY.astype(">u2") * 257).tobytes()),
    "16 bits in 32": deep(np.int32, 257),
    "8 bits in 32": deep(np.int32, 1),
    "24 bits in 32": deep(np.int32, 65793),
    "fractions": deep(np.float32, 1 / 255),
    "floats to 255": deep(np.float32, 1),
}
FORMATS = {"PNG": 0, "TIFF": 0, "BMP": 0, "GIF": 0, "PPM": 0, "WEBP": 4, "JPEG": 4}
"""And by how many levels a picture may differ that has gone through one."""


def through(image, kind, **options):
    """What shown() makes of an image that was saved, or None where Pillow does not save it so."""
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, **{"lossless": True} if kind == "WEBP" else {"quality": 100}, **options)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    with Image.open(io.BytesIO(buffer.getvalue())) as opened:
        return shown(opened)


def close(seen, expected, within):
    pixels = np.asarray(seen.image).astype(int)
    assert seen.image.mode == "RGB"
    assert np.abs(pixels - np.asarray(expected).astype(int)[..., None]).max() <= within


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mode", OPAQUE)
def test_every_opaque_mode_and_depth_keeps_its_values(mode, kind):
    if OPAQUE[mode].mode[0] in "IF" and kind in ("WEBP", "GIF", "JPEG", "BMP"):
        return  # formats of eight bits, into which Pillow cuts values off
    if mode == "24 bits in 32" and kind == "PPM":
        return  # which holds 16
    seen = through(OPAQUE[mode], kind)
    if seen is not None:
        close(seen, GREY, max(FORMATS[kind], 2 if mode in ("CMYK", "YCbCr") else 1))
        assert seen.varied


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("mode", ["LA", "PA", "RGBA"])
def test_alpha_fades_into_white(mode, kind):
    faded = FADED.convert(mode)
    faded.putalpha(FADED.getchannel("A"))
    seen = through(faded, kind)
    if seen is not None:
        close(seen, 255 - GREY / 255 * (255 - GREY.astype(float)), 2)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
@pytest.mark.parametrize(
    ("mode", "clear"),
    [
        ("L", CLEAR), ("P", CLEAR), ("P", bytes([255] * CLEAR + [0])), ("RGB", (CLEAR,) * 3), ("16 bits", CLEAR * 257),
        ("8 bits in 16", CLEAR), ("12 bits in 16", int(CLEAR * 4095 / 255)),
    ],
)  # fmt: skip
def test_a_transparent_value_is_white_and_no_other_is(mode, clear, kind):
    if mode[0].isdigit() and kind == "GIF":
        return
    seen = through(OPAQUE[mode], kind, transparency=clear)
    if seen is not None:
        close(seen, np.where(GREY == CLEAR, 255, GREY), 1)


@pytest.mark.parametrize("clear", [0, 1])
def test_one_bit_of_ink_may_be_transparent(clear):
    ink = np.where(GREY < 128, 0, 255)
    seen = through(Image.fromarray(GREY).point(lambda value: 255 * (value >= 128)).convert("1"), "PNG")
    close(seen, ink, 0)
    seen = through(Image.fromarray(ink.astype(np.uint8)).convert("1"), "PNG", transparency=clear)
    close(seen, np.full_like(GREY, 255) if clear == 0 else ink, 0)


def test_lab_becomes_colour():
    lab = Image.merge("LAB", [Image.fromarray(GREY), Image.new("L", (16, 16), 128), Image.new("L", (16, 16), 128)])
    pixels = np.asarray(through(lab, "TIFF").image).astype(int)
    assert np.ptp(pixels, axis=2).max() <= 3
    assert (np.diff(pixels[:, :, 0].ravel()) >= 0).all()
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_a_dark_picture_of_known_depth_stays_dark():
    dark = deep(np.uint16, 4)  # up to 1020 of 65535
    assert shown(dark).white == 1023
    assert np.asarray(shown(dark, 65535).image).max() == 4


def test_numbers_without_a_known_range_are_refused():
    for values in (GREY - 5.0, GREY * 1e6, np.full((2, 2), np.nan), np.full((2, 2), np.inf)):
        with pytest.raises(OSError, match="no known range"):
            shown(Image.fromarray(values.astype(np.float32)))


def test_what_comes_out_of_one_colour_is_known_from_what_always_was():
    clear = Image.merge("LA", (Image.new("L", (16, 16), 255), Image.fromarray(GREY)))
    wild = Image.fromarray(np.where(GREY == 0, np.int32(2**30), GREY))
    for lost in (clear, wild):
        assert is_flat(np.asarray(shown(lost).image)[1:])
        assert shown(lost).varied
    assert not shown(Image.new("RGB", (9, 9), "red")).varied
    assert not shown(Image.new("P", (9, 9), 3)).varied
