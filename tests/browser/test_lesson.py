"""A new machine without a network: what ships is something real to show, and the lesson leads through it."""

import asyncio
import contextlib
import json
import re
from pathlib import Path

import loops
import pytest
from load.session import Session
from playwright.sync_api import expect
from serving import TRAINED_MS, serve
from streamlit.proto.WidgetStates_pb2 import WidgetState
from waiting import wait_until

from kd_core.exchange import shipped
from kd_core.experiments.lesson.catalogue import STEPS, entry
from pages.shared import language

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
    expect(page.get_by_text("Moved by hand. ", exact=False).and_(page.locator("p"))).to_be_visible()
    assert bars.evaluate(PROBABILITIES) == [pytest.approx(row, abs=1e-3) for row in moved]


CHART = ".kd-chart .main-svg"
SHOWN = {
    "targets": ".kd-targets",
    "doubtful": ".kd-bars .groups",
    "sure": ".kd-bars .groups",
    "felt": ".kd-bars .groups",
    "distill": ".st-key-curves_lesson .main-svg",
}
"""By the view of a step, what its text speaks of; of all others a chart."""


def assert_shown(page, selector):
    """What a step speaks of stands in the first viewport."""
    shown = page.locator(selector).first

    def stands():
        box = shown.bounding_box()  # None in the moment in which a page draws it anew
        return box is not None and box["y"] + box["height"] <= 720

    wait_until(stands)


LEITMOTIF = "{models}: **{subject}**, and a little **{likest}**"
ERRORS = (
    "The baseline made **{baseline}** errors of {examples}, the student **{distilled}**, their teacher **{teacher}**."
)


def walk(page, address, likest, *, trains, code="en"):
    """Go through the lesson from first to last step, in a language: predict, and see what it speaks of."""
    say = language.translations(code).gettext
    leitmotif = say(LEITMOTIF).format(models="", subject=2, likest=likest).replace("**", "").lstrip(": ")
    page.goto(f"{address}/?lang={code}")
    page.get_by_role("link", name=say("Start the lesson")).click()
    for step in STEPS:
        expect(page.get_by_role("heading", name=say(step.title), level=1)).to_be_visible(timeout=TRAINED_MS)
        expect(page).to_have_url(re.compile(rf"lesson={step.name}"))
        expect(page.get_by_text(leitmotif)).to_be_visible()
        expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)
        if step.view == "distill" and trains:
            page.get_by_role("button", name=say("Distill now")).click()
        elif step.view not in ("distill", "missing", "end"):
            assert_shown(page, SHOWN.get(step.view, CHART))
        if step.ahead:
            page.locator(f".st-key-lesson_choice_{step.ahead} label").nth(1).click()
            expect(page.get_by_text(say("You predicted"))).to_be_visible()
            if trains:
                assert_shown(page, SHOWN["distill"])
                teacher = say(ERRORS).split("**")[-3].strip()  # the words before its number
                expect(page.get_by_text(teacher)).to_be_visible(timeout=TRAINED_MS)
        elif step.question:
            if step.view != "hot":  # predicted while it trained
                page.locator(f".st-key-lesson_choice_{step.question} label").nth(1).click()
            expect(page.locator(".st-key-lesson_truth")).to_be_visible()
            assert_shown(page, SHOWN[step.view] if step.view in ("targets", "sure") else CHART)
        if step.view != "end":
            expect(page.get_by_test_id("stBaseButton-primary")).to_have_count(1)
            page.locator(".st-key-lesson_next button").click()
    with language.spoken(code):
        prompt = language._(entry("questions.most_alike.prompt"), subject=2).replace("**", "")
    expect(page.get_by_role("row", name=prompt)).to_contain_text(likest)
    expect(page.get_by_text(say("no guess"))).to_have_count(0)


def test_the_lesson_is_walked_from_first_to_last_step_without_mnist(offline_address, new_page):
    page = new_page(height=720)
    walk(page, offline_address, "3", trains=True)
    with page.expect_download() as got:
        page.get_by_role("button", name="The same in 25 lines of PyTorch").click()
    assert b"soft_loss" in Path(got.value.path()).read_bytes()
    with page.expect_download() as got:
        page.get_by_role("button", name="The lesson on one page").click()
    assert "Four facts about temperature" in Path(got.value.path()).read_text(encoding="utf-8")
    page.get_by_role("link", name="Make a mistake on purpose").click()
    expect(page.get_by_text("The lesson goes on at its own page.")).to_be_visible()
    page.get_by_role("button", name="Back to the lesson").click()
    expect(page.get_by_role("heading", name="What you know now")).to_be_visible()
    expect(page.get_by_text("no guess")).to_have_count(0)  # what was predicted is kept
    page.get_by_role("button", name="Leave the lesson").click()
    expect(page.get_by_text("See what a teacher knows")).to_be_visible()
    expect(page.get_by_text("The lesson goes on")).to_have_count(0)


@pytest.mark.usefixtures("mnist")
@pytest.mark.parametrize("code", language.LANGUAGES)
def test_the_lesson_is_walked_with_mnist(server_as_it_ships, new_page, code):
    walk(new_page(height=720), server_as_it_ships, "7", trains=False, code=code)


def test_the_lesson_is_walked_in_korean_without_mnist(offline_address, new_page):
    page = new_page(height=720)
    walk(page, offline_address, "3", trains=True, code="ko")
    with page.expect_download() as got:
        page.get_by_role("button", name="한 장으로 보는 수업").click()
    assert 'lang="ko"' in Path(got.value.path()).read_text(encoding="utf-8")


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
        while "Labels or a teacher?" not in tab.titles():
            tab.page_hash = old  # as a browser says until it hears of the new page
            await tab.send(fragment=fragment)
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        new = tab.pages["lesson"]
        assert set(tab.runs_of[tab.runs_of.index(new) :]) == {new}
        assert "Labels or a teacher?" in tab.titles()


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


def test_shipped_mnist_models_offer_mnist_and_say_why_it_cannot_be_had(offline_address, new_page):
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
