"""What users draw and upload, against MNIST's own statistics; and everything that is no digit, in words."""

import base64
import io
import zlib

import numpy as np
import pytest
from PIL import Image

from kd_core.data import picture as data_picture
from kd_core.data.picture import PictureError


def png(pixels, mode="L", kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def data_url(pixels):
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()


def test_the_result_fits_a_box_of_20_about_its_centre_of_mass():
    generator = np.random.default_rng(1)
    for _ in range(50):
        sheet = np.zeros((280, 280), np.uint8)
        top, left = generator.integers(0, 200, 2)
        height, width = generator.integers(20, 80, 2)
        sheet[top : top + height, left : left + width] = 255
        image = data_picture.as_mnist(sheet)
        rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
        mass = image.astype(float)
        middle = (np.arange(28) * mass.sum(1)).sum() / mass.sum(), (np.arange(28) * mass.sum(0)).sum() / mass.sum()
        assert middle == pytest.approx((14, 14), abs=0.51)
        assert (np.ptp(columns) + 1) / (np.ptp(rows) + 1) == pytest.approx(width / height, rel=0.15)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("dark_on_light", [True, False])
def test_an_upload_is_read_whichever_way_round_its_shades_are(kind, dark_on_light):
    sheet = np.full((90, 120), 235 if dark_on_light else 20, np.uint8)
    sheet[20:70, 50:62] = 30 if dark_on_light else 240
    image = data_picture.read_picture(png(sheet, kind=kind))
    assert image[14, 14] > 200
    assert image[14, 4] < 40
    assert image[2].max() < 40


def test_an_upload_with_a_clear_background_is_read_as_ink_on_paper():
    sheet = np.zeros((60, 60, 4), np.uint8)
    sheet[10:50, 25:32, 3] = 255
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "PNG")
    assert data_picture.read_picture(buffer.getvalue())[14, 14] > 200


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (png(np.full((50, 50), 255, np.uint8)), "This picture is of one shade"),
        (png(np.zeros((50, 50), np.uint8)), "This picture is of one shade"),
        (png(np.zeros((20, 10_000), np.uint8)), "This picture is 10,000 by 20 pixels; 4,096 a side is the most"),
        (b"not a picture at all", "This file is no picture that can be read"),
        (b"", "This file is no picture that can be read"),
        (png(np.zeros((50, 50), np.uint8))[:60], "This file is no picture that can be read"),
    ],
)
def test_an_upload_that_holds_no_digit_is_said_in_words(content, sentence):
    with pytest.raises(PictureError, match=sentence):
        data_picture.read_picture(content)


def test_a_drawing_comes_from_the_canvas_and_an_empty_one_is_said_in_words():
    sheet = np.zeros((280, 280), np.uint8)
    with pytest.raises(PictureError, match="nothing on it yet: draw a digit"):
        data_picture.read_canvas(data_url(sheet))
    sheet[60:220, 130:150] = 255
    assert data_picture.read_canvas(data_url(sheet))[14, 14] == 255


@pytest.mark.parametrize("text", ["", "data:,", "data:image/png;base64,AAAA", "data:image/png;base64,%%%", "x" * 99])
def test_what_is_no_drawing_is_said_in_words(text):
    with pytest.raises(PictureError, match="did not arrive whole"):
        data_picture.read_canvas(text)


@pytest.mark.parametrize(
    "text",
    ["", "AAAA", "ÄÖ", "../../etc/passwd", base64.urlsafe_b64encode(zlib.compress(b"\0" * 10**7)).decode(), "A" * 5000],
)
def test_an_address_that_holds_no_image_is_said_in_words(text):
    with pytest.raises(PictureError, match="is damaged: draw it again"):
        data_picture.from_address(text)


def test_an_address_without_end_is_not_even_unpacked(monkeypatch):
    monkeypatch.setattr(data_picture.base64, "urlsafe_b64decode", lambda _: pytest.fail("it was unpacked"))
    with pytest.raises(PictureError, match="is damaged: draw it again"):
        data_picture.from_address("A" * 1_000_000)


def uploaded(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def test_a_photo_is_turned_as_its_camera_says():
    upright = Image.new("L", (90, 120), 235)
    upright.paste(20, (20, 20, 30, 100))
    upright.paste(20, (20, 90, 70, 100))  # an L
    tags = Image.Exif()
    tags[0x0112] = 6  # turn it clockwise
    lying = uploaded(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=tags, quality=95)
    image, expected = data_picture.read_picture(lying), data_picture.read_picture(uploaded(upright))
    assert np.abs(image.astype(int) - expected).mean() < 10


def test_a_large_picture_shows_the_same_digit_as_a_small_one():
    large = Image.new("RGB", (4096, 3000), "white")
    large.paste((20, 20, 60), (1800, 400, 2200, 2600))
    expected = data_picture.read_picture(uploaded(large.reduce(4)))
    for kind in ("PNG", "JPEG"):
        image = data_picture.read_picture(uploaded(large, kind))
        assert np.abs(image.astype(int) - expected).mean() < 4


def test_a_photograph_larger_than_is_unpacked_is_read():
    large = Image.new("L", (5712, 4284), 230)
    large.paste(20, (2400, 800, 3000, 3600))
    expected = data_picture.read_picture(uploaded(large.reduce(8)))
    assert np.abs(data_picture.read_picture(uploaded(large, "JPEG")).astype(int) - expected).mean() < 6
    with pytest.raises(PictureError, match="5,712 by 4,284 pixels; 4,096 a side is the most"):
        data_picture.read_picture(uploaded(large))


def test_only_formats_that_pillow_reads_by_itself_are_read():
    """For PostScript it would start Ghostscript on what a visitor wrote."""
    for content in (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n",
        uploaded(Image.new("RGB", (50, 50)), "TIFF"),
    ):
        with pytest.raises(PictureError, match="no picture that can be read: upload a PNG, JPEG or WebP"):
            data_picture.read_picture(content)


def shaded(edge):
    """A bar on paper that lies in shadow right of an edge, a quarter as light."""
    sheet = np.full((120, 160), 230, np.float64)
    sheet[30:90, 60:70] = 40
    sheet[:, edge:] /= 4
    return png(sheet.round().astype(np.uint8))


@pytest.mark.parametrize("edge", [20, 100, 130])
def test_a_shadow_is_no_ink(edge):
    image, even = (data_picture.read_picture(shaded(at)) for at in (edge, 160))
    assert np.abs(image.astype(int) - even).mean() < 6
    assert (image[:, :8] == 0).all()


def test_ruled_lines_and_far_dirt_are_no_part_of_the_digit():
    sheet = np.full((120, 160), 230, np.uint8)
    sheet[10::20] = 200
    sheet[5:12, 5:12] = 40
    sheet[30:90, 80:90] = 40
    image = data_picture.read_picture(png(sheet))
    assert np.ptp(np.flatnonzero(image.any(1))) + 1 == 20
    assert np.ptp(np.flatnonzero(image.any(0))) + 1 <= 6


def test_a_box_cuts_the_picture_and_one_without_a_pixel_is_the_whole():
    sheet = np.full((100, 200), 230, np.uint8)
    sheet[20:80, 30:40] = 40
    sheet[45:55, 120:180] = 40
    left, right = (data_picture.read_picture(png(sheet), box) for box in ((0, 0, 0.5, 1), (0.5, 0, 1, 1)))
    assert (np.ptp(np.flatnonzero(left.any(1))), np.ptp(np.flatnonzero(right.any(0)))) == (19, 19)
    assert data_picture.read_rgb(png(sheet), (0.5, 0, 1, 1)).size == (100, 100)
    for nothing in ((0.5, 0.5, 0.5, 0.5), (0.9, 0, 0.1, 1), (-1, 0, 2, 1)):
        assert data_picture.read_rgb(png(sheet), nothing).size == (200, 100)
