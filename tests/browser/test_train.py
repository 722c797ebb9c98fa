"""Distillation as a live show, as its user sees it: set up, watch, steer, and survive what happens to laptops."""

import contextlib
import itertools
import json
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs

import loops
import pytest
from load.session import Listener, Session
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import expect
from serving import TRAINED_MS
from streamlit.proto.WidgetStates_pb2 import WidgetState

from kd_core.data.catalogue import info_of
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.runs.run import ACTIVE
from kd_core.runs.store import Store
from pages.shared.components.chart.chart import LABELS_JS, PLOTLY_JS
from pages.shared.components.common.browser import COMMON_JS
from pages.shared.live import live
from pages.shared.session import story as session_story

SCRIPT = COMMON_JS + PLOTLY_JS + LABELS_JS + Path(live.__file__).with_suffix(".js").read_text(encoding="utf-8")

LONG, SHORT = 4000, 20
"""Epochs of a baseline on digits: minutes, and less than a second."""
SEEDS = itertools.count(1)


def set_up(page, address, *, epochs, seed=0, teacher_epochs=2):
    """Fill the form for digits with a short teacher, and wait until the page has taken it in."""
    page.goto(f"{address}/train?view=Set+up")
    page.get_by_label("Data set").first.click()
    page.get_by_role("option", name="Digits").click()
    fill(page, "Epochs of each student", epochs, was="60")
    unfold(page, "Teacher's training", "Epochs of a new teacher")
    fill(page, "Epochs of a new teacher", teacher_epochs, was="40")
    unfold(page, "Loss and seed", "Seed")
    fill(page, "Seed", seed, was="0")


def unfold(page, title, label):
    """Open a part of the form, as often as it takes: where the page is drawn anew just then, it is closed again."""
    field = page.get_by_label(label, exact=True)
    for _ in range(3):
        page.get_by_text(title).click()
        with contextlib.suppress(PlaywrightTimeout):
            field.wait_for(timeout=10_000)
            return
    expect(field).to_be_visible()


def fill(page, label, value, *, was):
    field = page.get_by_label(label, exact=True)
    expect(field).to_have_value(was)
    if str(value) != was:
        field.fill(str(value))
        field.press("Enter")
        page.wait_for_function(
            "() => !document.querySelector('[data-testid=stApp]')?.dataset.testScriptState?.includes('running')"
        )


def press_train(page):
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_role("radio", name="Watch")).to_be_checked()


def state(page, role):
    """The line that says how the run of a role stands."""
    return page.locator(".kd-run", has=page.locator(".kd-who b", has_text=re.compile(f"^{role}$"))).locator(".kd-text")


def rows_of(server):
    with closing(sqlite3.connect(server.home / "lab.sqlite")) as database:
        database.row_factory = sqlite3.Row
        return {json.loads(row["config"])["role"]: dict(row) for row in database.execute("SELECT * FROM runs")}


@pytest.fixture
def long_story(own_server, new_page):
    """A story on a page of its own, whose baseline trains for minutes; ended afterwards."""
    page = new_page()
    set_up(page, own_server.address, epochs=LONG, seed=next(SEEDS))
    press_train(page)
    expect(state(page, "baseline")).to_contain_text("running: epoch", timeout=TRAINED_MS)
    yield page
    store = Store(own_server.home)
    deadline = time.monotonic() + 30
    while active := store.runs(statuses=ACTIVE):
        assert time.monotonic() < deadline, "the runs of this test do not stop"
        for run in active:
            store.ask(run.id, "stop")
        time.sleep(0.2)
    store.close()


def test_one_button_trains_the_story_to_its_end_and_the_replay_shows_how(own_server, new_page):
    page = new_page()
    set_up(page, own_server.address, epochs=SHORT)
    press_train(page)
    for role in ("teacher", "baseline", "distilled"):
        expect(state(page, role)).to_contain_text("test errors of 445", timeout=TRAINED_MS)
    replay = page.locator(".kd-bars")
    expect(replay.locator("output.when")).to_have_text(f"epoch {SHORT} of {SHORT}")
    heights = "(root) => [...root.querySelectorAll('.bar')].map((bar) => parseFloat(bar.style.height))"
    page.wait_for_function(
        "([root, last]) => [...root.kdView.told.values()].filter((run) => run.epochs.at(-1) === last).length === 2",
        arg=[replay.element_handle(), SHORT],
    )
    expect(replay.locator(".bar")).to_have_count(30)  # ten classes of three models
    expect(replay.locator("output.when")).to_have_text(f"epoch {SHORT} of {SHORT}")
    learned = replay.evaluate(heights)
    for model in range(3):
        assert sum(learned[model::3]) == pytest.approx(100, abs=0.2)
    replay.locator("input[type=range]").evaluate("(one) => { one.value = 0; one.dispatchEvent(new Event('input')); }")
    expect(replay.locator("output.when")).to_have_text("before training")
    before = replay.evaluate(heights)
    assert before[0::3] == learned[0::3]  # the teacher stands still
    assert from_teacher(before) > from_teacher(learned)  # and the student has come nearer to it


def from_teacher(heights):
    """How far the distilled student's bars are from the teacher's."""
    return sum(abs(a - b) for a, b in zip(heights[2::3], heights[0::3], strict=True))


def test_the_same_story_trains_nothing_and_another_t_only_the_student(own_server, new_page):
    page = new_page()
    set_up(page, own_server.address, epochs=SHORT)
    expect(page.get_by_text("All of this is trained already.")).to_be_visible()
    slider = page.get_by_role("slider", name="Temperature T")
    slider.focus()
    slider.press("ArrowRight")
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_visible()
    press_train(page)
    expect(state(page, "distilled")).to_contain_text("test errors of 445", timeout=TRAINED_MS)
    expect(state(page, "teacher")).to_contain_text("finished")
    assert sum(1 for _ in own_server.home.glob("runs/*")) == 4


def test_form_survives_a_page_change_and_a_reload_and_is_in_the_address(own_server, new_page):
    page = new_page()
    page.goto(f"{own_server.address}/train?view=Set+up")
    page.get_by_role("button", name="Never saw a 3").click()
    expect(page.get_by_text("The transfer set has no 3")).to_be_visible()
    page.get_by_role("link", name="Start").first.click()
    expect(page.get_by_role("heading", name="See what a teacher knows")).to_be_visible()
    page.get_by_role("link", name="Train").first.click()
    expect(page.get_by_text("The transfer set has no 3")).to_be_visible()
    page.reload()
    expect(page.get_by_text("The transfer set has no 3")).to_be_visible()
    other = new_page()
    other.goto(page.url)
    expect(other.get_by_text("The transfer set has no 3")).to_be_visible()


def test_zoom_and_hidden_curves_survive_the_updates_of_a_run_that_trains(long_story):
    page = long_story
    chart = page.locator(".kd-chart").first
    page.wait_for_function("() => document.querySelector('.kd-chart')?.layout?.xaxis?.range?.[1] > 100")
    chart.scroll_into_view_if_needed()
    area = page.locator(".kd-chart .nsewdrag").first.bounding_box()
    page.mouse.move(area["x"] + 0.2 * area["width"], area["y"] + 0.5 * area["height"])
    page.mouse.down()
    page.mouse.move(area["x"] + 0.6 * area["width"], area["y"] + 0.5 * area["height"], steps=5)
    page.mouse.up()
    zoomed = page.evaluate("() => document.querySelector('.kd-chart').layout.xaxis.range")
    assert zoomed == pytest.approx([0.2 * LONG, 0.6 * LONG], rel=0.05)
    page.get_by_role("button", name="Show or hide the curves of the teacher").click()
    drawn = int(chart.get_attribute("data-drawn"))
    page.wait_for_function(f"() => Number(document.querySelector('.kd-chart').dataset.drawn) > {drawn + 2}")
    assert page.evaluate("() => document.querySelector('.kd-chart').layout.xaxis.range") == zoomed
    hidden = "() => document.querySelector('.kd-chart').data.filter((line) => line.visible === false).length"
    assert page.evaluate(hidden) == 7


def test_a_tab_that_still_sends_a_form_it_left_is_shown_what_it_asks_for(own_server):
    """A browser does so where a run changes its state just after Train was pressed; the page broke, and the story's
    temperature would have been set back."""
    loops.run(watch_and_tell_of_the_form(own_server.address))


class Ear(Listener):
    """Hears of error pages."""

    def __init__(self):
        self.heard = []

    def wrong(self, what):
        self.heard.append(what)


async def watch_and_tell_of_the_form(address):
    ear = Ear()
    async with Session(address, ear) as tab:
        await tab.open("train", "view=Set+up")
        fields = {"form_dataset": info_of("digits").label, "form_objective": OBJECTIVES["dkd"].label}
        for key, value in fields.items():
            await tab.change(key, value, "the form")
        await tab.change("form_temperature", "8", "the form")
        kept = [WidgetState(id=tab.find(key).proto.id, string_value=value) for key, value in fields.items()]
        await tab.change("view", "Watch", "watch")
        tab._states |= {state.id: state for state in kept}
        await tab.change("view", "Watch", "watch")
        assert ear.heard == []
        await tab.change("view", "Set up", "the form")
        story = session_story.of_address(parse_qs(tab.query)["setup"][0])
        assert (story.dataset, story.objective, story.temperature) == ("digits", "dkd", 8)


def test_a_time_is_told_in_whole_units(own_server, new_page):
    """119.7 s read "1 min 60 s"."""
    page = new_page()
    page.goto(own_server.address)
    durations = page.evaluate(
        """async ([script, times]) => {
        const module = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
        return times.map(module.duration); }""",
        [SCRIPT, [0.2, 59.7, 119.7, 3599.8, 7199.9]],
    )
    assert durations == ["1 s", "1 min 0 s", "2 min 0 s", "1 h 0 min", "2 h 0 min"]


def test_smoothing_in_the_browser_is_the_debiased_moving_average(long_story):
    page = long_story
    page.get_by_role("button", name="pause baseline").click()
    expect(state(page, "baseline")).to_contain_text("paused")
    lines = """() => Object.fromEntries(document.querySelector('.kd-chart').data.filter((line) =>
        line.meta.panel === 'loss' && line.name.startsWith('baseline')).map((line) => [line.meta.raw, line.y]))"""
    values = page.evaluate(lines)["false"]
    page.locator(".kd-tools input[type=range]").evaluate(
        "(one) => { one.value = 0.9; one.dispatchEvent(new Event('input')); }"
    )
    page.wait_for_function(
        "() => document.querySelector('.kd-chart').data.some((line) => line.meta.raw && line.y.length)"
    )
    shown = page.evaluate(lines)
    assert shown["true"] == values
    weights = [0.9**age for age in range(len(values))]
    for place in (0, 1, len(values) // 2, len(values) - 1):
        part = values[place::-1]
        mean = sum(w * v for w, v in zip(weights, part, strict=False)) / sum(weights[: len(part)])
        assert shown["false"][place] == pytest.approx(mean, rel=1e-6)


def test_a_paused_run_waits_for_its_user_to_come_back_and_resumes(own_server, long_story, new_page):
    page = long_story
    page.get_by_role("button", name="stop distilled").click()  # or it would go first when the baseline makes room
    page.get_by_role("button", name="pause baseline").click()
    expect(state(page, "baseline")).to_contain_text("paused: epoch")
    address = page.url
    page.context.close()
    step = rows_of(own_server)["baseline"]["step"]
    page = new_page()
    page.goto(address)
    expect(state(page, "baseline")).to_contain_text("paused: epoch")
    page.get_by_role("button", name="resume baseline").click()
    expect(state(page, "baseline")).to_contain_text("running: epoch", timeout=30_000)
    page.wait_for_timeout(500)
    assert rows_of(own_server)["baseline"]["step"] > step


def test_a_request_that_is_lost_on_its_way_is_made_again(long_story):
    page = long_story
    page.evaluate(
        """() => { let told = document.querySelector('.kd-live').kdView.ask, lost = 0;
        Object.defineProperty(document.querySelector('.kd-live').kdView, 'ask', {
          set(ask) { told = ask; }, get() { return (requests) => { lost += 1; if (lost > 1) told(requests); }; } });
        window.requestsSent = () => lost; }"""
    )
    page.get_by_role("button", name="pause baseline").click()
    expect(state(page, "baseline")).to_contain_text("paused: epoch")
    assert page.evaluate("() => window.requestsSent()") > 1


def test_two_browsers_see_one_run_and_either_stops_it_with_weights_kept(own_server, long_story, new_page):
    other = new_page()
    other.goto(long_story.url)
    expect(state(other, "baseline")).to_contain_text("running: epoch")
    other.get_by_role("button", name="stop baseline").click()
    for page in (other, long_story):
        expect(state(page, "baseline")).to_contain_text("stopped: ")
        expect(state(page, "baseline")).to_contain_text("test errors of 445")
    folder = own_server.home / "runs" / rows_of(own_server)["baseline"]["id"]
    assert (folder / "weights.safetensors").exists()
    assert (folder / "checkpoint.pt").exists()
    expect(long_story.get_by_role("button", name="resume baseline")).to_be_visible()


def test_a_killed_worker_costs_time_only(own_server, long_story):
    page = long_story
    page.wait_for_timeout(6000)  # past the first checkpoint
    started = rows_of(own_server)["baseline"]["attempt"]
    (worker,) = own_server.workers()
    worker.kill()
    page.wait_for_function(
        "(attempt) => [...document.querySelector('.kd-live').kdView.runs.values()].some((run) =>"
        " run.role === 'baseline' && run.attempt > attempt && run.status === 'running')",
        arg=started,
        timeout=TRAINED_MS,
    )
    runs = "[...document.querySelector('.kd-live').kdView.runs.values()]"
    steps = page.evaluate(f"() => {runs}.find((run) => run.role === 'baseline').steps.loss[0]")
    assert steps == sorted(steps)


def test_after_a_killed_server_the_run_reads_interrupted_and_resumes(own_server, long_story):
    page = long_story
    page.wait_for_timeout(6000)
    own_server.kill()
    expect(page.get_by_text("The server does not answer").first).to_be_visible(timeout=20_000)
    expect(page.get_by_text("KD Lab's server does not answer").first).to_be_visible(timeout=20_000)
    expect(page.get_by_text("yourscript")).to_have_count(0)
    own_server.start()
    page.goto(page.url)
    expect(state(page, "baseline")).to_contain_text("interrupted: epoch")
    expect(page.get_by_text("Resume goes on from the last checkpoint").first).to_be_visible()
    page.get_by_role("button", name="resume baseline").click()
    expect(state(page, "baseline")).to_contain_text("running: epoch", timeout=TRAINED_MS)
    row = rows_of(own_server)["baseline"]
    assert row["attempt"] == 2


def test_a_run_is_named_continued_deleted_and_brought_back(own_server, new_page):
    page = new_page()
    set_up(page, own_server.address, epochs=SHORT)
    page.get_by_role("button", name="Train", exact=True).or_(page.get_by_role("button", name="Show it")).click()
    expect(state(page, "distilled")).to_contain_text("test errors of 445", timeout=TRAINED_MS)
    menu = page.locator("[data-testid=stPopover] button", has_text="distilled")
    menu.click()
    page.get_by_label("Name", exact=True).fill("my first student")
    page.get_by_label("Name", exact=True).press("Enter")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".kd-who b", has_text="my first student")).to_be_visible()

    page.locator("[data-testid=stPopover] button", has_text="my first student").click()
    page.get_by_label("More epochs").fill("7")  # and the button pressed at once
    page.get_by_role("button", name="Continue", exact=True).click()
    expect(page.locator(".kd-who", has_text="goes on from")).to_be_visible()
    expect(page.locator(".kd-run", has_text="goes on from").locator(".kd-text")).to_contain_text(
        "test errors of 445", timeout=TRAINED_MS
    )
    with closing(sqlite3.connect(own_server.home / "lab.sqlite")) as database:
        (newest,) = database.execute("SELECT config FROM runs ORDER BY created_at DESC LIMIT 1").fetchone()
    assert json.loads(newest)["training"]["epochs"] == 7

    page.locator("[data-testid=stPopover] button", has_text="distilled").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_text("Deleted:")).to_be_visible()
    expect(page.locator(".kd-who", has_text="goes on from")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Deleted:")).to_have_count(0)
    with closing(sqlite3.connect(own_server.home / "lab.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM runs WHERE deleted_at NOT NULL").fetchone() == (0,)
