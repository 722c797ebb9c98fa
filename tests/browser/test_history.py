"""The history as its user takes it: select, lay over each other, carry away, bring in elsewhere."""

import pytest
from playwright.sync_api import expect
from serving import serve
from tiny import tiny_story

from kd_core.experiments import story
from kd_core.jobs import execute
from kd_core.runs.store import Store


@pytest.fixture(scope="module")
def with_runs(tmp_path_factory):
    """A server whose store holds a finished story."""
    home = tmp_path_factory.mktemp("home")
    store = Store(home)
    runs = story.plan(tiny_story()).to_train
    store.create(runs)
    for run_id in runs:
        execute.run_here(store, run_id, lambda event: None, lambda: None)
    store.close()
    with serve(home) as server:
        yield server, list(runs)


def select_row(page, row):
    """Tick a row of the table, which is one canvas."""
    table = page.get_by_test_id("stDataFrame").first
    table.wait_for()
    box = table.bounding_box()
    page.mouse.click(box["x"] + 16, box["y"] + 52 + 35 * row)


def test_a_phone_has_rows_of_two_lines_to_select_from(with_runs, new_page):
    server, runs = with_runs
    page = new_page(width=390, height=844, has_touch=True)
    page.goto(f"{server.address}/runs")
    rows = page.locator(".kd-rows-of-runs .row")
    expect(rows).to_have_count(len(runs))
    expect(page.get_by_test_id("stDataFrame").first).to_be_hidden()
    expect(rows.first).to_contain_text("finished")
    expect(rows.first.locator("small")).to_contain_text("test errors")
    boxes = rows.get_by_role("checkbox")
    for place, selected in ((0, 1), (1, 2), (0, 1), (0, 2), (1, 1), (0, 0), (1, 1)):
        rows.nth(place).click()
        expect(page.locator(".kd-run")).to_have_count(selected)
    expect(boxes.nth(1)).to_be_checked()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.reload()
    expect(boxes.nth(1)).to_be_checked()
    expect(boxes.nth(0)).not_to_be_checked()
    boxes.nth(0).press(" ")
    expect(page.locator(".kd-run")).to_have_count(2)
    page.set_viewport_size({"width": 1280, "height": 900})  # the table has the selection too
    expect(rows.first).to_be_hidden()
    select_row(page, 0)
    expect(page.locator(".kd-run")).to_have_count(1)


def test_selected_runs_are_overlaid_compared_and_carried_to_another_machine(
    with_runs, fresh_server, new_page, tmp_path
):
    server, runs = with_runs
    page = new_page(accept_downloads=True)
    page.goto(f"{server.address}/runs")
    select_row(page, 0)
    expect(page.locator(".kd-run")).to_have_count(1)
    select_row(page, 1)
    expect(page.locator(".kd-run")).to_have_count(2)
    expect(page.get_by_role("heading", name="What they differ in")).to_be_visible()
    expect(page.locator(".kd-chart .scatterlayer .trace").first).to_be_visible()

    other = new_page()
    other.goto(page.url)  # the address brings the selection back
    expect(other.locator(".kd-run")).to_have_count(2)

    page.goto(f"{server.address}/runs?runs={runs[0]}")
    expect(page.locator(".kd-run")).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("button", name="Bundle").click()
    bundle = tmp_path / "bundle.zip"
    download.value.save_as(bundle)

    elsewhere = new_page()
    elsewhere.goto(f"{fresh_server}/runs")
    elsewhere.get_by_text("Bring a run from another machine").click()
    elsewhere.locator("input[type=file]").set_input_files(bundle)
    expect(elsewhere.locator(".kd-run")).to_have_count(1, timeout=30_000)
    expect(elsewhere.locator(".kd-text")).to_contain_text("test errors of 445")


def test_a_file_that_is_no_bundle_is_refused_in_a_sentence(with_runs, new_page, tmp_path):
    server, _ = with_runs
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"PK\x03\x04 this is not one")
    page = new_page()
    page.goto(f"{server.address}/runs")
    page.get_by_text("Bring a run from another machine").click()
    page.locator("input[type=file]").set_input_files(bad)
    expect(page.get_by_test_id("stAlert")).to_be_visible()
    expect(page.get_by_text("Traceback")).to_have_count(0)
