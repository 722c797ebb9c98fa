"""The main journeys, as a person takes them."""

import io
import json
import math
import re
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from serving import TRAINED_MS
from walking import leaving, pages_of

from kd_core.evaluation.soft import softened

PAGES = {
    "Start": "",
    "Temperature": "temperature",
    "Train": "train",
    "Runs": "runs",
    "Compare": "compare",
    "Sweep": "sweep",
    "Paper": "paper",
    "Break it": "mistakes",
    "Export": "export",
}


def test_a_deep_link_to_a_fresh_server_opens_inside_the_app(fresh_server, new_page):
    page = new_page()
    page.goto(f"{fresh_server}/train")
    expect(page.get_by_role("heading", name="Distill live")).to_be_visible()
    for title in ("Start", "Temperature", "Train", "Compare"):
        expect(page.get_by_role("link", name=title).first).to_be_visible()
    expect(page).to_have_title("KD Lab")
    expect(page.get_by_text("Page not found")).to_have_count(0)


@pytest.fixture(scope="module")
def demo_address(server, chromium):
    """The shared server after its first visitor ran the quick demo on digits from a cold start to the comparison."""
    page = chromium.new_page()
    page.set_default_timeout(90_000)
    page.goto(server)
    page.get_by_role("radio", name="Digits").or_(page.get_by_role("button", name="Digits")).first.click()
    page.get_by_role("button", name="Run the quick demo").click()
    expect(page.get_by_text("The distilled student makes").first).to_be_visible(timeout=TRAINED_MS)
    page.get_by_role("link", name="Compare the three").click()
    expect(page.get_by_role("heading", name="Compare honestly")).to_be_visible()
    expect(page.get_by_text("latency p50").first).to_be_visible(timeout=TRAINED_MS)
    expect(page.get_by_text(re.compile("times as (fast|slow)|no difference in speed")).first).to_be_visible()
    expect(page.locator(".kd-chart .main-svg").first).to_be_visible()
    page.close()
    return server


def test_quick_demo_goes_from_a_cold_start_to_the_comparison(demo_address):
    assert demo_address  # the fixture is the journey


def test_curves_of_a_finished_run_are_drawn(demo_address, new_page):
    page = new_page()
    page.goto(f"{demo_address}/train?view=Watch")
    expect(page.locator(".kd-text", has_text="test errors of 445")).to_have_count(3)
    lines = page.locator(".kd-chart .scatterlayer .trace path.js-line")
    expect(lines).to_have_count(10)  # total, hard loss and accuracy of three runs, soft loss of one


def test_bars_in_the_browser_are_softmax_as_python_computes_it(demo_address, new_page):
    """For random and for extreme logits, over the slider's whole range, through the component's own code."""
    page = new_page()
    page.goto(f"{demo_address}/temperature")
    bars = page.locator(".kd-bars")
    bars.wait_for()
    models = bars.evaluate("(root) => root.kdView.data.models.map((model) => model.logits)")
    for temperature in (0.1, 1, 2, 20, 100):
        shown = bars.evaluate(
            "(root, T) => { root.kdView.draw({ T, lit: null }); return root.kdView.probabilities; }", temperature
        )
        for logits, probabilities in zip(models, shown, strict=True):
            assert probabilities == pytest.approx(list(softened(logits, temperature)), rel=1e-9, abs=1e-300)
    generator = np.random.default_rng(5)
    cases = [list(generator.normal(0, scale, 10)) for scale in (0.1, 3, 30, 1e4)]
    cases.append([1e4, -1e4, 0, 1e4, 0, 0, 0, 0, 0, 0])
    for logits in cases:
        for temperature in (0.1, 0.73, 4, 100):
            computed = bars.evaluate(
                """(root, [logits, T]) => {
                    root.kdView.data.models[0].logits = logits;
                    root.kdView.draw({ T, lit: null });
                    return root.kdView.probabilities[0];
                }""",
                [[float(z) for z in logits], temperature],
            )
            assert not any(math.isnan(p) for p in computed)
            assert computed == pytest.approx(list(softened(logits, temperature)), rel=1e-9, abs=1e-300)


def test_dragging_the_slider_redraws_without_asking_the_server(demo_address, new_page):
    page = new_page()
    cut = []  # anything in it cuts the way to the server

    def between(socket):
        server = socket.connect_to_server()
        socket.on_message(lambda message: cut or server.send(message))

    page.route_web_socket("**/_stcore/stream", between)
    page.goto(f"{demo_address}/temperature")
    bars, slider = page.locator(".kd-bars"), page.locator(".kd-temperature input[type=range]")
    slider.wait_for()
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    box = slider.bounding_box()
    before = drawn = bars.get_attribute("data-probabilities")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    cut.append("now")
    for step in range(1, 10):
        page.mouse.move(box["x"] + box["width"] * (0.5 + 0.04 * step), box["y"] + box["height"] / 2)
        expect(bars).not_to_have_attribute("data-probabilities", drawn)  # each move draws
        drawn = bars.get_attribute("data-probabilities")
    page.mouse.up()
    first, last = json.loads(before), json.loads(page.locator(".kd-bars").get_attribute("data-probabilities"))
    assert max(last[0]) < max(first[0]), "warmer is flatter"


VIEWS = """() => {
    const find = (name) => {
        for (const host of document.querySelectorAll("[data-testid=stMain] *"))
            for (const root of [host.shadowRoot, host]) {
                const found = root?.querySelector(name);
                if (found) return found;
            }
    };
    const [bars, map, felt] = [".kd-bars", ".kd-knowledge", ".kd-felt"].map((name) => find(name).kdView);
    const lit = [map, felt, bars].map(({ root }) => root.querySelectorAll(".lit").length);
    const { soft, loss } = felt.now, line = felt.line.getAttribute("transform"), T = __kdLabHand.state.T;
    return { bars: bars.probabilities, map: map.mean, tree: map.likeness.heights, gradient: soft, loss, line, T, lit };
}"""


def test_all_views_follow_t_and_alpha_while_the_hand_moves(demo_address, new_page):
    page, cut = new_page(), []

    def between(socket):
        server = socket.connect_to_server()
        socket.on_message(lambda message: cut or server.send(message))

    page.route_web_socket("**/_stcore/stream", between)
    open_temperature(page, demo_address, "?T=2")
    page.locator(".kd-felt .column").first.wait_for()
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    slider = page.get_by_role("slider", name="Temperature T")
    cut.append("now")
    slider.focus()
    seen = [page.evaluate(VIEWS)]
    for _ in range(3):
        page.keyboard.press("PageUp")
        page.wait_for_function("(T) => __kdLabHand.state.T > T", arg=seen[-1]["T"])
        page.wait_for_timeout(300)
        seen.append(page.evaluate(VIEWS))
    for name in ("bars", "map", "tree", "gradient", "loss", "line"):
        assert all(before[name] != after[name] for before, after in pairwise(seen)), name
    page.get_by_role("slider", name="alpha: weight of the soft loss").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(300)
    assert page.evaluate(VIEWS)["loss"] != seen[-1]["loss"]
    assert page.evaluate(VIEWS)["map"] == seen[-1]["map"]


def test_a_dragged_bar_changes_logit_and_losses_until_back_to_the_image(demo_address, new_page):
    page = new_page()
    open_temperature(page, demo_address, "?T=4")
    page.locator(".kd-felt .column").first.wait_for()
    before = page.evaluate(VIEWS)
    expect(page.get_by_role("button", name="Back to the image")).not_to_be_visible()
    bar = page.locator(".kd-bars .bar").first  # the teacher's of class 0
    bar.scroll_into_view_if_needed()
    box, area = bar.bounding_box(), page.locator(".kd-bars .area").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"])
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, area["y"] + 0.4 * area["height"], steps=4)
    page.mouse.up()
    page.wait_for_timeout(300)
    after = page.evaluate(VIEWS)
    assert after["bars"][0][0] == pytest.approx(0.6, abs=0.02)
    assert after["bars"][1:] == before["bars"][1:]
    assert after["loss"] > before["loss"]
    expect(page.get_by_text("Logits were moved by hand")).to_be_attached()
    bar.focus()
    page.keyboard.press("ArrowRight")  # to the next bar, the second model's
    page.keyboard.press("ArrowUp")
    page.wait_for_timeout(300)
    assert page.evaluate(VIEWS)["bars"][1][0] > before["bars"][1][0]
    page.get_by_role("button", name="Back to the image").click()
    page.wait_for_timeout(300)
    again = page.evaluate(VIEWS)
    assert (again["bars"], again["loss"]) == (before["bars"], before["loss"])


def test_a_class_that_is_pointed_at_lights_up_everywhere(demo_address, new_page):
    page = new_page()
    open_temperature(page, demo_address)
    page.locator(".kd-felt .column").first.wait_for()
    page.locator(".kd-bars .class").nth(7).hover()
    page.wait_for_function("() => __kdLabHand.state.lit === 7")
    page.wait_for_timeout(100)
    assert page.evaluate(VIEWS)["lit"] == [0, 1, 1]  # the map draws on its canvas
    page.locator(".kd-felt .column").nth(2).hover()
    page.wait_for_function("() => __kdLabHand.state.lit === 2")
    expect(page.locator(".kd-bars .lit .class")).to_have_text("2")


@pytest.mark.parametrize("title", PAGES)
@pytest.mark.parametrize("dark", [False, True])
def test_pages_fit_a_phone(demo_address, new_page, title, dark):
    page = new_page(width=390, height=844, dark=dark)
    page.goto(f"{demo_address}/{PAGES[title]}")
    page.get_by_role("heading", level=1).wait_for()
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.wait_for_timeout(500)
    widest = page.evaluate("() => document.querySelector('[data-testid=stMain]').scrollWidth")
    assert widest <= 390
    place = page.locator("[data-testid=stMainBlockContainer] > [data-testid=stVerticalBlock] > *").first
    assert place.locator(".st-key-room").count() == 1
    assert place.evaluate("(place) => [place.clientWidth, getComputedStyle(place).overflow]") == [0, "hidden"]


def test_no_control_of_any_page_leads_off_this_machine(demo_address, new_page):
    page = new_page()
    pages = dict(pages_of(page, demo_address))
    assert PAGES.keys() <= pages.keys()
    for address in pages.values():
        page.goto(address)
        page.get_by_role("heading", level=1).wait_for()
        page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
        page.wait_for_function(
            "() => [...document.querySelectorAll('.kd-chart')]"
            ".every((box) => !box.offsetParent || box.querySelector('svg'))"
        )
        assert leaving(page) == [], address


def test_a_sweep_is_trained_from_the_page_and_its_address_shows_it_elsewhere(demo_address, new_page):
    page = new_page()
    page.goto(f"{demo_address}/sweep")
    page.get_by_text("Students, seeds and budget").click()
    page.get_by_label("Epochs").fill("2")  # and the button pressed before the page has followed
    page.get_by_role("button", name="Train 18 students").click()
    expect(page.get_by_text("18 of 18 students trained")).to_be_visible(timeout=TRAINED_MS)
    expect(page.locator(".kd-chart .main-svg").first).to_be_visible()
    other = new_page()
    other.goto(page.url)
    expect(other.get_by_text("18 of 18 students trained")).to_be_visible()


LOOKED_AT = "(root) => [__kdLabHand.state.T, root.kdView.data.models.map((model) => model.logits)]"


def open_temperature(page, address, query=""):
    page.goto(f"{address}/temperature{query}")
    page.locator(".kd-bars").wait_for()


def draw_a_one(page):
    sheet = page.locator(".kd-canvas canvas")
    sheet.wait_for()
    sheet.scroll_into_view_if_needed()
    box = sheet.bounding_box()
    page.mouse.move(box["x"] + 0.52 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.48 * box["width"], box["y"] + 0.8 * box["height"], steps=8)
    page.mouse.up()


def test_a_drawing_gets_its_bars_and_its_address_shows_the_same_view_elsewhere(demo_address, new_page):
    page = new_page()
    page.goto(f"{demo_address}/temperature?T=7")
    page.get_by_text("Draw", exact=True).first.click()
    expect(page.get_by_text("There is nothing on it yet: draw a digit.")).to_be_visible()
    draw_a_one(page)
    bars = page.locator(".kd-bars")
    bars.wait_for()
    page.wait_for_url("**image=drawn-**")
    assert "T=7" in page.url
    shown = bars.evaluate(LOOKED_AT)
    elsewhere = new_page()
    elsewhere.goto(page.url)
    elsewhere.locator(".kd-bars").wait_for()
    again = elsewhere.locator(".kd-bars").evaluate(LOOKED_AT)
    assert again[0] == shown[0] == 7
    for left, right in zip(shown[1], again[1], strict=True):
        assert left == pytest.approx(right, abs=1e-5)
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_text("There is nothing on it yet: draw a digit.")).to_be_visible()

    moved = elsewhere.locator(".kd-bars")
    moved.get_by_role("slider").first.press("ArrowUp")
    elsewhere.wait_for_url("**logits=**")
    elsewhere.get_by_role("button", name="Share", exact=True).click()
    page.goto(elsewhere.get_by_label("Address of this view").input_value())
    expect(page.get_by_role("button", name="Back to the image")).to_be_visible()
    shared, shown = page.locator(".kd-bars").evaluate(LOOKED_AT), moved.evaluate(LOOKED_AT)
    assert shared[0] == shown[0] == 7
    for left, right in zip(shown[1], shared[1], strict=True):
        assert left == pytest.approx(right, abs=1e-3)  # the address has hundredths of a logit


def test_the_gallery_filters_by_class_and_a_click_changes_the_image(demo_address, new_page):
    page = new_page()
    open_temperature(page, demo_address, "?gallery_class=3")
    tiles = page.locator(".kd-grid").first.locator("button")
    expect(tiles.first).to_be_visible()
    captions = [tile.get_attribute("aria-label") for tile in tiles.all()]
    assert captions
    assert all(caption.endswith("a 3") for caption in captions)
    tiles.nth(5).click()
    expect(page.get_by_text(captions[5], exact=True)).to_be_visible()
    index = captions[5].split()[2].rstrip(",")
    page.wait_for_url(f"**image=test-{index}*")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("white.png", "white", "This picture is of one shade"),
        ("wide.png", "wide", "4,096 a side is the most"),
        ("fake.png", b"this is no picture", "This file is no picture that can be read"),
    ],
)
def test_an_upload_that_holds_no_digit_is_said_in_words(demo_address, new_page, name, content, sentence):
    if isinstance(content, str):
        buffer = io.BytesIO()
        Image.new("L", (10_000, 20) if content == "wide" else (60, 60), 255).save(buffer, "PNG")
        content = buffer.getvalue()
    page = new_page()
    page.goto(f"{demo_address}/temperature")
    page.get_by_text("Upload", exact=True).first.click()
    uploader = page.locator("input[type=file]")
    uploader.wait_for(state="attached")
    uploader.set_input_files({"name": name, "mimeType": "image/png", "buffer": content})
    expect(page.get_by_text(sentence)).to_be_visible()
    if name == "white.png":  # it can be cut, by keys too
        page.get_by_role("application", name="Uploaded picture").press("Shift+ArrowLeft")
        expect(page.locator(".kd-crop .said")).to_have_text("Cut from 0, 0, 98, 100 percent.")


def test_the_settled_temperature_reaches_the_map_and_the_lesson(demo_address, new_page):
    page = new_page()
    open_temperature(page, demo_address, "?T=2")
    page.get_by_role("button", name="Set temperature to 20").click()
    page.wait_for_url("**T=20*")
    expect(page.get_by_text("mean soft target at T = 20")).to_be_visible()
    expect(page.locator(".formula")).to_contain_text("20²")


def test_a_click_on_the_map_shows_the_images_behind_the_cell(demo_address, new_page):
    page = new_page()
    open_temperature(page, demo_address)
    page.wait_for_function(
        "() => document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning'"
    )
    canvas = page.locator(".kd-knowledge canvas").first
    behind = page.get_by_text("Images of 9 that the teacher finds most like a 4:")
    frame = page.locator(".kd-knowledge").evaluate("(root) => root.kdView.frame")
    cell = {"x": frame["left"] + 4.5 * frame["side"], "y": frame["top"] + 9.5 * frame["side"]}
    canvas.hover(position=cell)
    expect(page.get_by_text(re.compile("A 9 gets .* for 4"))).to_be_visible()
    canvas.click(position=cell)
    expect(behind).to_be_visible()
