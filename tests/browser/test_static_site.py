"""The static site, opened from its folder with the network cut: every part of every page, in both languages."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from accessible import assert_accessible
from playwright.sync_api import expect
from sites import written_site

from tests.browser.test_playground import IN_SHADOW, distill_digits, errors, trained


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Its folder."""
    return written_site(tmp_path_factory)


@pytest.fixture
def open_page(site, new_page):
    """open_page("temperature", "T=2") -> that page, without a network; what it asks for is of the site alone."""
    requests = []

    def open_it(name, at="", **look):
        page = new_page(**look)
        page.add_init_script(IN_SHADOW.replace("[data-testid=stBidiComponentIsolated]", "main > div"))
        page.on("request", lambda request: requests.append(request.url))
        page.context.set_offline(True)
        page.goto(f"{(site / f'{name}.html').as_uri()}#{at}")
        return page

    yield open_it
    assert all(address.startswith(("file:", "blob:", "data:")) for address in requests), requests


def draw(page, times=8):
    """Draw a stroke by the keyboard."""
    sheet = page.get_by_role("application", name="Canvas to draw a digit on").first
    sheet.focus()
    for key in (" ", *["ArrowDown"] * times, " "):
        page.keyboard.press(key)


def temperature(page, degree):
    page.get_by_role("button", name=f"Set temperature to {degree}", exact=True).click()
    page.wait_for_function(f"new URLSearchParams(location.hash.slice(1)).get('T') === '{degree}'")


def test_the_first_screen_answers_a_pen_and_hands_on_what_it_shows(open_page):
    page = open_page("index")
    expect(page.locator(".words")).to_contain_text("The label says 8, the teacher rather 1")
    for degree in (2, 8, 4):
        temperature(page, degree)
        expect(page.locator(".words")).to_contain_text(f"Softened at T = {degree}")
    page.get_by_role("button", name="test image 387, a 0").click()
    page.wait_for_function("location.hash.includes('image=test-387')")
    page.locator(".doors").get_by_role("link", name="Temperature").click()
    expect(page.locator("#subject")).to_contain_text("test image 387, a 0")
    assert "T=4" in page.url

    page.go_back()
    draw(page)
    expect(page.locator(".caption")).to_contain_text("Your drawing")
    page.wait_for_function("location.hash.includes('image=drawn-')")
    drawn = page.locator(".kd-bars").get_attribute("data-probabilities")
    page.reload()
    expect(page.locator(".caption")).to_contain_text("Your drawing")
    expect(page.locator(".kd-bars")).to_have_attribute("data-probabilities", drawn)


def test_temperature_shows_images_drawings_the_map_and_what_a_student_feels(open_page):
    page = open_page("temperature", "image=test-190&T=2")
    subject, bars = page.locator("#subject"), page.locator(".kd-bars")
    expect(subject).to_contain_text("teacher says 1 ✗")
    expect(subject).to_contain_text("distilled says 8 ✓")
    expect(bars.locator(".bar.free")).to_have_count(30)
    for kind, digit in (("teacher wrong", "8"), ("test order", "any"), ("most ambiguous for the teacher", "3")):
        page.get_by_label("Show").first.select_option(kind)
        page.get_by_label("True class").select_option(digit)
        page.locator("#choice .kd-grid button").last.click()
        expect(page.locator("#choice .kd-grid [aria-pressed=true]")).to_have_count(1)
        page.wait_for_function(
            "document.querySelector('#subject').textContent.includes(`image ${location.hash.match(/test-(\\d+)/)[1]},`)"
        )
    expect(subject).to_contain_text("a 3")

    page.get_by_label("Student", exact=True).select_option("baseline")
    page.get_by_label("Multiply the soft loss by T²").uncheck()
    expect(page.locator(".formula")).to_contain_text("1T²")
    page.wait_for_function("location.hash.includes('t_squared=false')")

    cells = page.get_by_role("application", name="Dark knowledge map")
    cells.focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
    expect(page.locator("#behind")).to_contain_text("Images of 3 that the teacher finds most like a 1")
    page.locator("#behind .kd-grid button").first.click()
    expect(subject).to_contain_text("a 3")

    page.get_by_role("button", name="Draw", exact=True).click()
    draw(page)
    expect(subject).to_contain_text("as the models see it")
    expect(page.get_by_label("Label", exact=True)).to_be_visible()
    page.wait_for_function("location.hash.includes('image=drawn-')")
    shown = bars.get_attribute("data-probabilities")
    page.reload()
    expect(bars).to_have_attribute("data-probabilities", shown)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Draw", exact=True)).to_have_attribute("aria-pressed", "true")


def test_the_playground_and_the_digits_train(open_page):
    page = open_page("playground", "speed=64&shape=spirals&overlap=0.1&T=2")
    trained(page)
    assert errors(page)["teacher"] < 50
    page.get_by_role("button", name="Twenty seeds").click()
    expect(page.locator(".kd-playground .verdict")).to_contain_text("95% interval")
    page.get_by_role("button", name="Noisy labels").click()
    page.get_by_role("button", name="The distilled student").click()
    expect(page.locator(".reply")).to_contain_text("So it is")
    page.wait_for_function("location.hash.includes('situation=noisy')")
    distill_digits(page)


def test_questions_say_what_is_true_once_they_are_answered(open_page):
    page = open_page("questions")
    item = page.locator(".item").first
    for _ in range(3):
        expect(item.locator(".truth")).to_be_empty()
        item.get_by_label("9").check()
        expect(item.locator(".right")).to_contain_text("3")
        expect(item.locator(".truth")).to_contain_text("Nobody labelled that")
        expect(item.locator("small:not([hidden])", has_text="You predicted")).to_have_count(1)
        item.get_by_role("button", name="Ask it again").click()
    items = page.locator(".item")
    for place in range(items.count()):
        items.nth(place).get_by_role("button", name="Show me without a guess").click()
    expect(page.locator(".truth:not(:empty)")).to_have_count(8)


@pytest.mark.parametrize("name", ["index", "temperature", "playground", "questions"])
def test_a_page_reads_in_korean_on_a_phone_in_the_dark(open_page, name):
    page = open_page(name, "T=8", width=390, height=844, dark=True)
    page.get_by_role("link", name="한국어").click()
    page.wait_for_function("document.documentElement.lang === 'ko' && location.hash.includes('T=8')")
    expect(page.get_by_role("link", name="English")).to_be_visible()
    if name != "questions":
        expect(page.get_by_text("온도 T =")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert_accessible(page, name)


def test_from_a_host_it_is_kept_and_opens_without_a_network(site, new_page):
    handler = partial(SimpleHTTPRequestHandler, directory=str(site.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        page = new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/{site.name}/index.html")
        manifest = page.evaluate("fetch(document.querySelector('link[rel=manifest]').href).then((file) => file.json())")
        assert manifest["start_url"] == "index.html"
        page.evaluate("navigator.serviceWorker.ready.then(() => 1)")
        page.reload()  # now it is the worker that answers
        page.wait_for_function("navigator.serviceWorker.controller !== null")
        server.shutdown()
    page.reload()
    expect(page.locator(".words")).to_contain_text("The label says 8")
    page.locator(".doors").get_by_role("link", name="Temperature").click()
    expect(page.locator("#subject")).to_contain_text("teacher says")
    page.get_by_role("link", name="한국어").click()
    expect(page.get_by_role("link", name="English")).to_be_visible()
