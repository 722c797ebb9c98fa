"""Teacher and students side by side as their user sees them: the race, the hand-out, the files to take away."""

import itertools

import pytest
from measured import machine
from playwright.sync_api import expect
from serving import TRAINED_MS, serve
from tiny import tiny_story

from kd_core.data import load
from kd_core.evaluation.accuracy import predictions
from kd_core.experiments import story
from kd_core.jobs import execute
from kd_core.runs import artifacts
from kd_core.runs.run import folder_of
from kd_core.runs.store import Store
from pages.compare.figures import pareto
from pages.compare.report import Section, report
from pages.shared.figures import curves
from pages.shared.figures.curves import Curve


@pytest.fixture(scope="module")
def with_story(tmp_path_factory):
    """A server whose store holds a finished story, and its runs."""
    home = tmp_path_factory.mktemp("home")
    store = Store(home)
    ids = story.plan(tiny_story()).to_train
    store.create(ids)
    for run_id in ids:
        execute.run_here(store, run_id, lambda event: None, lambda: None)
    runs = store.some(list(ids))
    times = dict(zip(ids, (1.7, 1.0, 1.0), strict=True))  # ms; models so small take as long as each other
    store.save_finding("speed", [run.id for run in runs], machine(times))
    store.close()
    with serve(home) as server:
        yield server, runs


def test_the_race_runs_over_the_test_set_and_counts_each_models_own_errors(with_story, new_page):
    server, runs = with_story
    page = new_page()
    page.goto(f"{server.address}/compare?closer=The+race")
    page.get_by_role("button", name="Start the race").click(timeout=TRAINED_MS)
    expect(page.get_by_role("button", name="Race again")).to_be_visible(timeout=TRAINED_MS)
    labels = load.load("digits").test_labels.numpy()
    for lane, run in zip(page.locator(".lane").all(), runs, strict=True):
        wrong = int((predictions(artifacts.test_logits(folder_of(server.home, run.id))) != labels).sum())
        assert lane.get_attribute("data-done") == "445"
        assert lane.get_attribute("data-wrong") == str(wrong) == str(run.results["test_errors"])
    expect(page.locator(".result")).to_contain_text("1. ")
    assert page.locator(".result").inner_text().count("1. ") == 2  # no difference was measured between both students
    expect(page.locator(".result")).to_contain_text("3. teacher")


def test_the_report_opens_offline_with_its_figures_drawn(with_story, new_page, tmp_path):
    server, _ = with_story
    page = new_page(accept_downloads=True)
    page.goto(f"{server.address}/compare")
    expect(page.get_by_text("times as fast").first).to_be_visible(timeout=TRAINED_MS)
    with page.expect_download() as download:
        page.get_by_role("button", name="Report for a hand-out").click()
    path = tmp_path / "report.html"
    download.value.save_as(path)
    reader = new_page(offline=True)
    addresses = []
    reader.on("request", lambda request: addresses.append(request.url))
    reader.goto(path.as_uri())
    expect(reader.get_by_role("heading", name="Is the difference real?")).to_be_visible()
    drawn = reader.locator(".figure .main-svg").first
    expect(drawn).to_be_visible()
    assert [url for url in addresses if not url.startswith(("file:", "data:", "blob:"))] == []


def crowded(columns):
    """Figures whose lines end together and whose points lie together: six of each, two columns, mistakes, and seven."""
    ends = {f"{width} units": dict.fromkeys((1.0, 20.0), (70.0 + width / 99, 69.0, 75.0)) for width in range(6)}
    figures = [curves.errors_over_temperature(ends), curves.errors_over_temperature(ends | {"wide": ends["1 units"]})]
    kinds = ["teacher", "baseline", "distilled"], ["distilled", "mistake"] * 3
    for shown in kinds:
        figure = curves.learning_curves(
            [Curve(str(k), str(k), kind) for k, kind in enumerate(shown)], epochs=9, columns=columns
        )
        for place, line in enumerate(figure.data):
            line.update(x=[0, 9], y=[place, 1 + place / 999])
        figures.append(figure)
    costs = {"latency_ms": 1.0, "size_bytes": 5_106_968, "multiply_adds": 1_275_200}
    same = {"colour": "#123456", "accuracy": 0.99, "low": 0.98, "high": 0.995}
    figures.append(pareto([{"name": str(k), "label": f"student {k}", **same, **costs} for k in range(6)]))
    return figures


@pytest.mark.parametrize("width", [1280, 390])
def test_names_at_lines_overlap_nowhere_and_are_not_cut(new_page, tmp_path, width):
    path = tmp_path / "report.html"
    path.write_bytes(report("Crowded", [Section("Figures", figures=crowded(2 if width > 640 else 1))]))
    page = new_page(width=width)
    page.goto(path.as_uri())
    page.wait_for_function("() => [...document.querySelectorAll('.figure')].every((box) => box.kdLabels !== undefined)")
    boxes = page.evaluate(
        """() => [...document.querySelectorAll('.figure')].map((box) => {
          const place = (part) => ["left", "right", "top", "bottom"].map((side) => part.getBoundingClientRect()[side]);
          const names = [...box.querySelectorAll('.kd-labels span')].map((name) => [name.textContent, ...place(name)]);
          return { outer: place(box), legend: Boolean(box.querySelector('.legend')), names };
        })"""
    )  # fmt: skip
    assert [box["legend"] for box in boxes] == [False, True, False, False, False]
    assert [len({name for name, *_ in box["names"]}) for box in boxes] == [6, 0, 3, 2, 6]
    assert [len(box["names"]) for box in boxes] == [6, 0, 12, 8, 18]
    for box in boxes:
        left, right, top, bottom = box["outer"]
        for _, *(from_x, to_x, from_y, to_y) in box["names"]:
            assert left <= from_x < to_x <= right + 1
            assert top <= from_y < to_y <= bottom + 1
        for (_, *first), (_, *second) in itertools.combinations(box["names"], 2):
            aside = first[1] <= second[0] + 1 or second[1] <= first[0] + 1
            assert aside or first[3] <= second[2] + 1 or second[3] <= first[2] + 1, (first, second)


def test_a_file_is_there_though_pages_ran_before_its_browser_fetched_it(with_story, new_page):
    """As they do all the time: while something is measured, a part of the page runs twice a second."""
    server, _ = with_story
    page, other = new_page(), new_page()
    page.goto(f"{server.address}/compare")
    with page.expect_request(f"{server.address}/media/**") as fetched:
        page.get_by_role("button", name="Report for a hand-out").click(timeout=TRAINED_MS)
    for _ in range(3):
        other.goto(server.address)
        other.get_by_role("heading", level=1).wait_for()
        other.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    again = page.request.get(fetched.value.url)
    assert (again.status, b"Teacher and students, compared" in again.body()) == (200, True)


def test_a_students_files_are_made_checked_and_downloaded(with_story, new_page, tmp_path):
    server, runs = with_story
    page = new_page(accept_downloads=True)
    page.goto(f"{server.address}/export?run={runs[-1].id}")
    button = page.get_by_role("button", name="model.onnx")
    expect(button).to_be_visible(timeout=TRAINED_MS)
    with page.expect_download() as download:
        button.click()
    path = tmp_path / "model.onnx"
    download.value.save_as(path)
    kept = server.home / "runs" / runs[-1].id / "export" / "model.onnx"
    assert path.read_bytes() == kept.read_bytes()


def test_a_chart_whose_panels_are_stacked_is_whole_on_a_phone(with_story, new_page):
    server, _ = with_story
    page = new_page(width=390, height=844)
    page.goto(f"{server.address}/compare?closer=Cost")
    page.locator(".kd-chart[data-drawn]").first.wait_for(timeout=TRAINED_MS)
    page.wait_for_function(
        """() => [...document.querySelectorAll(".stElementContainer:has(.kd-chart)")]
          .every((box) => box.scrollHeight <= box.clientHeight + 1)"""
    )


@pytest.mark.parametrize("part", ["Cost", "Is it real?", "Calibration", "Classes", "Mistakes", "Disagreements"])
@pytest.mark.parametrize("dark", [False, True])
def test_compare_fits_a_phone_in_light_and_dark(with_story, new_page, part, dark):
    server, _ = with_story
    page = new_page(width=390, height=844, dark=dark)
    page.goto(f"{server.address}/compare?closer={part.replace(' ', '+')}")
    expect(page.get_by_role("radio", name=part)).to_be_checked()
    page.wait_for_timeout(500)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
