"""The self-contained page of an exported student: it says what PyTorch says, looks up nothing, and is usable by all."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect
from tiny import LONG_NAMES, coloured_classes, photographed, tiny_config, train_here

from kd_core.data import load
from kd_core.data.own import library, prepare
from kd_core.data.own.library import Preparation
from kd_core.data.picture import as_mnist, read_for, read_picture
from kd_core.exchange.export import checks, offline_page, snippets, write
from kd_core.models.config import ModelConfig
from kd_core.runs import artifacts
from kd_core.runs.run import folder_of
from kd_core.runs.store import Store

IMAGES = 40
STAND_IN = """
const ort = {
  Tensor: class { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } },
  InferenceSession: { create: async (file) => ({ run: async ({ images }) => {
    window.given = [file, images.dims, Array.from(images.data)];
    return { logits: { data: Float32Array.from({ length: 10 }, (_, i) => i) } };
  } }) },
};"""
"""Of onnxruntime-web, what the snippet calls."""
COLOURED = (*LONG_NAMES, *(f"kind {number}" for number in range(18)))
LOGITS = "images => images.map(image => kdLab.logitsOf(image))"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A home, and run ids in it: exported mlps and a cnn on digits, and a cnn on coloured pictures."""
    store = Store(tmp_path_factory.mktemp("home"))
    runs = {}
    models = {
        "mlp": ModelConfig(hidden=(32, 16), batch_norm=True, dropout_hidden=0.2),
        "plain": ModelConfig(hidden=()),
        "cnn": ModelConfig(name="cnn"),
    }
    for name, model in models.items():
        runs[name] = train_here(store, tiny_config(epochs=6).replace(model=model))
        write.export_run(store.home, store.get(runs[name]))
    patch = pytest.MonkeyPatch()
    patch.setenv("KD_HOME", str(store.home))
    source = coloured_classes(tmp_path_factory.mktemp("source"), COLOURED, count=6)
    dataset = prepare.prepare(source, Preparation(label="many things", side=16), store.home)
    config = tiny_config(epochs=2, batch_size=32).replace(dataset=dataset, model=models["cnn"])
    runs["colour"] = train_here(store, config)
    write.export_run(store.home, store.get(runs["colour"]))
    yield store.home, runs
    patch.undo()
    store.close()


@pytest.fixture
def open_page(made, tmp_path, new_page, monkeypatch):
    """open_page(name, file) -> the page of a run, opened from disk, that runs this ONNX file; no request may leave."""
    home, runs = made
    requests = []

    def open_it(name, file=checks.ONNX, **options):
        monkeypatch.setattr(offline_page.export_checks, "ONNX_INT8", file)  # the one that it prefers
        path = tmp_path / "draw.html"
        path.write_bytes(offline_page.browser_page(folder_of(home, runs[name])))
        page = new_page(**options)
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        expect(page.locator("#bars li")).not_to_have_count(0)
        return page

    yield open_it
    assert requests
    assert all(url.startswith("file://") and url.endswith("/draw.html") for url in requests), requests


@pytest.mark.parametrize("name", ["mlp", "plain", "cnn"])
def test_the_page_gives_the_logits_of_pytorch(open_page, made, digits, name):
    home, runs = made
    images = digits.test_images[:IMAGES].numpy()
    logits = open_page(name).evaluate(LOGITS, images.reshape(IMAGES, -1).tolist())
    original = artifacts.load_trained(folder_of(home, runs[name]))(images)
    assert np.abs(np.array(logits) - original).max() < 1e-3


@pytest.mark.parametrize("name", ["mlp", "plain", "cnn"])
def test_the_int8_page_gives_the_logits_of_onnx_runtime_to_a_step_of_its_grid(open_page, made, digits, name):
    home, runs = made
    images = digits.test_images[:IMAGES]
    page = open_page(name, "model_int8.onnx")
    assert "numbers of model_int8.onnx" in page.inner_text("body").replace("\n", " ")
    logits = np.array(page.evaluate(LOGITS, images.reshape(IMAGES, -1).tolist()))
    runtime = write.run_onnx(home / "runs" / runs[name] / "export" / "model_int8.onnx")(
        images.to(torch.float32).numpy()
    )
    assert (logits.argmax(axis=1) == runtime.argmax(axis=1)).mean() >= 0.97
    assert np.abs(logits - runtime).max() < 0.01 * np.abs(runtime).max()


def test_drawings_are_centred_as_python_centres_them(open_page):
    page = open_page("plain")
    generator = np.random.default_rng(0)
    for height, width in ((280, 280), (280, 60), (9, 40), (48, 48), (20, 20), (5, 3), (33, 31)):
        ink = np.zeros((height, width), np.uint8)
        rows, columns = sorted(generator.integers(0, height, 2)), sorted(generator.integers(0, width, 2))
        area = (slice(rows[0], rows[1] + 1), slice(columns[0], columns[1] + 1))
        ink[area] = generator.integers(0, 256, ink[area].shape)
        ink[rows[0], columns[0]] = 255
        made_here = page.evaluate(
            "([ink, h, w]) => Array.from(kdLab.asMnist(Uint8Array.from(ink), h, w))",
            [ink.ravel().tolist(), height, width],
        )
        off = np.abs(np.array(made_here) - as_mnist(ink).ravel().astype(int))
        assert off.max() <= 4  # grey levels of 255: Pillow rounds its weights to fewer digits
        assert off.mean() < 0.1
    assert page.evaluate("kdLab.asMnist(new Uint8Array(100), 10, 10)") is None


def shares(page):
    return [float(text.strip("< %")) for text in page.locator(".share").all_inner_texts() if text != "–"]


def test_a_drawn_digit_is_classified_softened_and_cleared(open_page):
    page = open_page("cnn")
    assert shares(page) == []
    box = page.locator("#sheet").bounding_box()
    page.mouse.move(box["x"] + 140, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 220, steps=8)
    page.mouse.up()
    expect(page.locator("li.top")).to_have_count(1)
    cold = max(shares(page))
    page.locator("#temperature").focus()
    page.keyboard.press("End")
    assert page.inner_text("#degree") == "100"
    assert max(shares(page)) < min(cold, 30)
    expect(page.locator("#said")).to_contain_text("The model says")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("li.top")).to_have_count(0)


def test_a_digit_can_be_drawn_by_keyboard_alone(open_page):
    page = open_page("mlp")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "sheet"
    for key in ["ArrowUp"] * 6 + [" "] + ["ArrowDown"] * 14:
        page.keyboard.press(key)
    expect(page.locator("li.top")).to_have_count(1)
    page.keyboard.press("Delete")
    expect(page.locator("li.top")).to_have_count(0)


def test_a_finger_draws(open_page):
    page = open_page("mlp", has_touch=True, width=390)
    page.locator("#sheet").tap()
    expect(page.locator("li.top")).to_have_count(1)


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_narrow_phone_and_honours_light_and_dark(open_page, dark):
    page = open_page("mlp", width=320, height=640, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(16, 22, 20)" if dark else "rgb(255, 255, 255)")


def test_of_coloured_pictures_the_page_gives_the_logits_of_pytorch(open_page, made):
    home, runs = made
    (dataset,) = library.names(home)
    images = load.load(dataset, storage=home).test_images[:20].numpy()
    logits = open_page("colour").evaluate(LOGITS, images.reshape(len(images), -1).tolist())
    assert np.abs(np.array(logits) - artifacts.load_trained(folder_of(home, runs["colour"]))(images)).max() < 1e-3


def test_a_chosen_picture_is_cut_as_in_python_and_its_classes_are_named(open_page, made, tmp_path):
    home, runs = made
    page = open_page("colour")
    expect(page.locator("#sheet")).not_to_be_visible()
    expect(page.locator("#said")).to_have_text("Choose a picture.")
    small = np.random.default_rng(3).integers(0, 256, (6, 9, 3), np.uint8)
    smooth = Image.fromarray(small).resize((90, 60), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "picture.png")
    page.locator("#file").set_input_files(tmp_path / "picture.png")
    expect(page.locator("li.top")).to_have_count(1)
    read = read_for((tmp_path / "picture.png").read_bytes(), (3, 16, 16))
    made_here = page.evaluate(
        "([rgba, h, w]) => kdLab.asImage(rgba, h, w)", [np.asarray(smooth.convert("RGBA")).ravel().tolist(), 60, 90]
    )
    off = np.abs(np.array(made_here).reshape(read.shape) - read.astype(int))
    assert off.max() <= 2  # grey levels of 255: Pillow rounds its weights to fewer digits
    trained = artifacts.load_trained(folder_of(home, runs["colour"]))
    best = trained.class_names[int(trained(read[None])[0].argmax())]
    expect(page.locator("li.top .class")).to_have_text(best)
    assert page.locator("li .class").all_inner_texts()[-1] == "19 others"
    assert page.locator("li").count() == 12
    assert sum(shares(page)) == pytest.approx(100, abs=1.5)


def test_the_browser_snippet_reads_a_photographed_digit_as_the_app_does(made, new_page, digits, tmp_path):
    """As it is offered, but for the library, which a test cannot fetch: a stand-in keeps what it is given."""
    home, runs = made
    trained = artifacts.load_trained(folder_of(home, runs["cnn"]))
    file = checks.download_name(runs["cnn"], checks.ONNX)
    images = snippets.Images(digits.image_shape, trained.class_names, trained.mean, trained.std, digits=True)
    snippet, libraries = re.subn(
        r"<script src=.*?</script>", f"<script>{STAND_IN}</script>", snippets.browser_snippet(file, images), flags=re.S
    )
    assert libraries == 1
    (tmp_path / "snippet.html").write_text(snippet, encoding="utf-8")
    page = new_page()
    page.goto((tmp_path / "snippet.html").as_uri())
    right = [
        index
        for index in range(50)
        if trained(digits.test_images[[index]].numpy()).argmax() == digits.test_labels[index]
    ]
    agreed = 0
    shadow = np.where(np.indices((1, 1000))[1] > 500, 0.45, 1.0)[..., None]  # with an edge, over one half
    for index in right[:5]:
        photo = np.asarray(photographed(digits.test_images[index][0].numpy()).convert("RGB"))
        lit = photo * shadow[:, : photo.shape[1]] if index != right[0] else photo
        Image.fromarray(lit.astype(np.uint8)).save(tmp_path / f"{index}.jpg")
        read = read_picture((tmp_path / f"{index}.jpg").read_bytes())
        page.evaluate("window.given = null")
        page.locator("#picture").set_input_files(tmp_path / f"{index}.jpg")
        page.wait_for_function("window.given && document.getElementById('shares').textContent")
        opened, dims, pixels = page.evaluate("window.given")
        assert (opened, dims) == (file, [1, 1, 28, 28])
        pixels = np.array(pixels, np.uint8).reshape(1, 1, 28, 28)
        off = np.abs(pixels[0, 0] - read.astype(int))
        assert off.max() <= 10  # grey levels of 255: Pillow rounds its weights to fewer digits
        assert off.mean() < 0.5
        agreed += trained(pixels).argmax() == trained(read[None, None]).argmax()
    assert agreed == 5
    Image.new("RGB", (60, 60), "white").save(tmp_path / "paper.png")
    page.locator("#picture").set_input_files(tmp_path / "paper.png")
    expect(page.locator("#shares")).to_contain_text("This picture is of one shade")


def test_a_file_that_is_no_picture_is_said_to_be_none(open_page, tmp_path):
    (tmp_path / "picture.png").write_bytes(b"nothing")
    page = open_page("colour")
    page.locator("#file").set_input_files(tmp_path / "picture.png")
    expect(page.locator("#said")).to_contain_text("no picture that can be read")


def test_the_page_of_pictures_fits_a_narrow_phone(open_page):
    page = open_page("colour", width=320, height=640)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
