"""A new machine without a network: what ships is something real to show, and the lesson leads through it."""

import asyncio
import contextlib
import json
import re

import loops
import pytest
from load.session import Session
from playwright.sync_api import expect
from serving import TRAINED_MS, serve
from streamlit.proto.WidgetStates_pb2 import WidgetState

from kd_core.exchange import shipped
from pages.shared.tour import STEPS

HEADLINE = re.compile("^The distilled student makes")


@pytest.fixture(scope="module")
def offline_address(tmp_path_factory):
    """A server on a new machine that has neither MNIST nor a run of its own."""
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("KD_DATA_DIR", raising=False)
            patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
            running = stack.enter_context(serve(tmp_path_factory.mktemp("home"), ships=True))
        yield running.address


FIRST = "This 3 could be an 8, says the teacher: 34%, against 65% for the 3."
PROBABILITIES = "(bars) => JSON.parse(bars.dataset.probabilities)"
MOST_BYTES = 1_500_000
"""Of the first screen, beyond Streamlit's own frontend."""


def test_the_first_screen_is_alive_without_a_click_and_light(offline_address, new_page):
    page, sizes = new_page(height=720), []
    page.on("response", lambda answer: sizes.append((answer.url, int(answer.headers.get("content-length", 0)))))
    page.on("websocket", lambda socket: socket.on("framereceived", lambda data: sizes.append(("", len(data)))))
    page.goto(offline_address)
    expect(page.get_by_text(FIRST)).to_be_visible(timeout=TRAINED_MS)
    bars, slider = page.locator(".kd-opening .kd-bars"), page.get_by_role("slider", name="Temperature T")
    cold = bars.evaluate(PROBABILITIES)
    assert [max(row) for row in cold] == pytest.approx([0.655, 1.0, 0.843], abs=0.001)
    slider.focus()
    page.keyboard.press("PageUp")
    page.keyboard.press("PageUp")
    expect(page.get_by_text("Softened at T = 4, the teacher's first choice goes from 65% to 39%.")).to_be_visible()
    assert [max(row) for row in bars.evaluate(PROBABILITIES)] == pytest.approx([0.391, 0.929, 0.412], abs=0.001)
    page.wait_for_url("**T=4*")
    assert sum(size for address, size in sizes if "/static/" not in address) < MOST_BYTES
    for part in (bars, page.locator(".words"), slider):
        box = part.bounding_box()
        assert box["y"] + box["height"] <= 720


def test_bars_of_the_first_screen_follow_the_pen_while_it_moves(offline_address, new_page):
    page = new_page()
    page.goto(offline_address)
    expect(page.get_by_text(FIRST)).to_be_visible()
    bars, sheet = page.locator(".kd-opening .kd-bars"), page.locator(".kd-opening .sheet")
    box = sheet.bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    for step in range(1, 9):  # closes the 3 to an 8
        page.mouse.move(box["x"] + (0.2 + 0.02 * step) * box["width"], box["y"] + (0.3 + 0.05 * step) * box["height"])
        page.wait_for_timeout(30)
    expect(page.get_by_text("The teacher takes this for an 8")).to_be_visible()
    page.mouse.up()
    page.wait_for_url("**image=drawn-*")
    drawn = bars.evaluate(PROBABILITIES)
    assert [drawn[place].index(max(drawn[place])) for place in (0, 2)] == [8, 8]  # the baseline knows none so written
    elsewhere = new_page()
    elsewhere.goto(page.url)
    expect(elsewhere.get_by_text("The teacher takes this for an 8")).to_be_visible()
    again = elsewhere.locator(".kd-opening .kd-bars").evaluate(PROBABILITIES)
    assert again == [pytest.approx(row, abs=0.05) for row in drawn]
    page.get_by_role("link", name="Feel temperature").last.click()
    expect(page.get_by_text("teacher, shipped says 8")).to_be_visible()

    elsewhere.get_by_role("slider", name="teacher, class 0").press("ArrowUp")
    elsewhere.wait_for_url("**logits=*")
    moved = elsewhere.locator(".kd-opening .kd-bars").evaluate(PROBABILITIES)
    page.goto(elsewhere.url)
    expect(page.get_by_text("Moved by hand. ")).to_be_visible()
    assert bars.evaluate(PROBABILITIES) == [pytest.approx(row, abs=1e-3) for row in moved]


def test_the_lesson_leads_through_five_pages(offline_address, new_page):
    page = new_page()
    page.goto(offline_address)
    page.get_by_role("button", name="Start the ten-minute lesson").click()
    for number, step in enumerate(STEPS, 1):
        expect(page.get_by_text(f"{number} of {len(STEPS)}: {step.title}")).to_be_visible()
        expect(page).to_have_url(re.compile(rf"lesson={number}"))
        expect(page.get_by_text("The lesson goes on, on another page")).to_have_count(0)
        expect(page.locator("h1").first).to_be_visible()
        expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)
        if step.page == "compare":
            expect(page.get_by_role("radio", name="Is it real?")).to_be_visible()
            expect(page.get_by_role("button", name="Train 8 other seeds")).to_be_visible()
        expect(page.get_by_test_id("stBaseButton-primary")).to_have_count(1)  # what to press next, and nothing else
        if number < len(STEPS):
            page.get_by_role("button", name=f"Next: {STEPS[number].title}").click()
    page.get_by_role("button", name="Back", exact=True).click()
    expect(page.get_by_text(f"4 of {len(STEPS)}: {STEPS[3].title}")).to_be_visible()
    page.get_by_role("button", name="Library").click()
    page.get_by_role("menuitem", name="Runs").click()
    expect(page.get_by_text("The lesson goes on, on another page")).to_be_visible()
    page.get_by_role("button", name="Back to the lesson").click()
    expect(page.locator("h1")).to_contain_text("Compare honestly")
    page.get_by_role("button", name="Leave the lesson").click()
    expect(page.get_by_text(f"4 of {len(STEPS)}")).to_have_count(0)


def test_a_timer_of_the_page_before_leaves_a_page_that_a_button_opened_whole(offline_address):
    """A button of the lesson opens another page while the old one looks every half second whether a speed is measured.

    Streamlit ran that look after the new page, of which only the lesson was left.
    """
    loops.run(go_on_while_the_old_page_looks(offline_address))


class Tab(Session):
    """Notes of which page each run is."""

    def _forget(self):
        super()._forget()
        self.runs_of = []

    def _begin(self, message):
        super()._begin(message)
        self.runs_of.append(message.new_session.page_script_hash)

    def titles(self):
        return [element.heading.body for element in self.elements()]


async def go_on_while_the_old_page_looks(address):
    async with Tab(address) as tab:
        teacher = json.loads((shipped.FOLDER / "digits-teacher" / shipped.FACTS).read_text())["run"]["id"]
        await tab.open("compare", f"batch=shippeddigits&compared={teacher}&lesson=4")  # not measured alone before
        (fragment,) = tab._fragments
        old = tab.page_hash
        await tab.send(once=(WidgetState(id=tab.find("lesson_next").proto.id, trigger_value=True),))
        while "The paper, redone" not in tab.titles():
            tab.page_hash = old  # as a browser says until it hears of the new page
            await tab.send(fragment=fragment)
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        new = tab.pages["paper"]
        assert set(tab.runs_of[tab.runs_of.index(new) :]) == {new}
        assert "The paper, redone" in tab.titles()


def test_the_last_step_of_the_lesson_brings_the_threes_back(offline_address, new_page):
    page = new_page()
    page.goto(f"{offline_address}/paper?lesson=5&experiment=no_3&on=digits")
    expect(page.get_by_role("button", name="Run it")).to_be_visible()
    page.get_by_role("button", name="Run it").click()
    expect(page.get_by_text("Bring them back")).to_be_visible(timeout=TRAINED_MS)
    expect(page.get_by_text("as you set it (+0.00)").first).to_be_visible()


def test_the_shipped_mnist_teacher_reads_what_is_drawn_where_there_is_no_mnist(offline_address, new_page):
    page = new_page()
    page.goto(f"{offline_address}/temperature?batch=shippedmnist")
    sheet = page.locator(".kd-canvas canvas")
    sheet.wait_for()
    box = sheet.bounding_box()
    page.mouse.move(box["x"] + 0.52 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.8 * box["height"], steps=12)
    page.mouse.up()
    expect(page.locator(".kd-bars")).to_be_visible()
    expect(page.get_by_text("teacher, shipped says 1")).to_be_visible()
    expect(page.get_by_text("distilled, shipped says 1")).to_be_visible()


def test_shipped_digits_models_are_compared_like_any_others(offline_address, new_page):
    page = new_page()
    page.goto(f"{offline_address}/compare?batch=shippeddigits")
    expect(page.get_by_text(HEADLINE)).to_be_visible()
    expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)


def test_shipped_mnist_models_without_mnist_offer_it_and_say_why_it_cannot_be_had(offline_address, new_page):
    page = new_page()
    page.goto(f"{offline_address}/compare?batch=shippedmnist")
    expect(page.get_by_text(HEADLINE)).to_be_visible()
    page.get_by_role("button", name="Download it now").click()
    expect(page.get_by_text("no mirror answers")).to_be_visible(timeout=TRAINED_MS)
    expect(page.get_by_role("button", name="Download it now")).to_be_visible()


@pytest.mark.usefixtures("mnist")
def test_shipped_mnist_models_are_compared_where_mnist_is(server_as_it_ships, new_page):
    page = new_page()
    page.goto(f"{server_as_it_ships}/compare?batch=shippedmnist")
    expect(page.get_by_text(HEADLINE)).to_be_visible()
    page.get_by_text("Disagreements", exact=True).click()
    expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)
