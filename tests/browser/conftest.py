"""A real server with a home of its own, and a real Chromium that looks at it."""

import contextlib
import fcntl
import os
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError
from serving import SERVERS, serve
from tiny import tiny_config, tiny_story

from kd_core.experiments import story as experiments_story
from kd_core.experiments.sweep import SweepConfig
from kd_core.jobs import execute
from kd_core.runs.run import new_id
from kd_core.runs.store import Store

expect.set_options(timeout=60_000)  # how long a page may take on a machine that does other things beside
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

HERE = re.compile(r"(data|blob|file|about|chrome-error):|(http|ws)s?://(localhost|127\.0\.0\.1)[:/]")
HERE_LIES = Path(__file__).parent
LOG_SHOWN = 20_000
"""Characters of a server's log that a failed test shows."""
_contexts: list[BrowserContext] = []


def pytest_collection_modifyitems(items):
    """Let each test outlast its longest wait (TRAINED_MS)."""
    for item in items:
        if item.path.parent == HERE_LIES and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(600))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """A failed test shows what stood on its pages, and its servers' logs: pages say nothing of an exception."""
    report = yield
    if report.failed:
        for page in [page for context in _contexts for page in context.pages]:
            with contextlib.suppress(PlaywrightError):
                report.sections.append((f"Page {page.url}", page.locator("body").aria_snapshot(timeout=5_000)))
        for server in SERVERS:
            log = (server.home / "server.log").read_text(errors="replace")
            report.sections.append((f"Log of the server at {server.address}", log[-LOG_SHOWN:]))
    return report


@pytest.fixture(autouse=True, scope="module")
def _no_hosts(network_lock):
    """No host comes or goes while a page may be open."""
    fcntl.flock(network_lock, fcntl.LOCK_SH)
    yield
    fcntl.flock(network_lock, fcntl.LOCK_UN)


@pytest.fixture(scope="session")
def chromium():
    """One browser process for all tests; without a window it takes a third less of the processor."""
    path = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)
    if path is None:
        message = "no Chromium on this machine: apt-get install chromium"
        pytest.fail(message) if os.environ.get("KD_NO_SKIPS") else pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def korean_font(chromium):
    """Glyphs of Korean's own widths: without them each letter is a narrow box, and what is too long fits."""
    page = chromium.new_page()
    widths = page.evaluate("""() => {
      const context = document.createElement("canvas").getContext("2d");
      return ["\\uac00", "\\u0378"].map((letter) => context.measureText(letter).width);
    }""")
    page.close()
    if widths[0] == widths[1]:  # as wide as a letter that is none
        message = "no Korean font on this machine: apt-get install fonts-nanum"
        pytest.fail(message) if os.environ.get("KD_NO_SKIPS") else pytest.skip(message)


@pytest.fixture
def fresh_server(tmp_path):
    """A server that no browser has visited."""
    with serve(tmp_path) as server:
        yield server.address


@pytest.fixture(scope="session")
def server_as_it_ships(tmp_path_factory):
    """The address of a server with the models that come with KD Lab and what tests have trained on it."""
    with serve(tmp_path_factory.mktemp("home"), ships=True) as running:
        yield running.address


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server shared by the tests of one file."""
    with serve(tmp_path_factory.mktemp("home")) as running:
        yield running.address


@pytest.fixture(scope="module")
def own_server(tmp_path_factory):
    """A Server shared by the tests of one file, which may kill it as long as they start it again."""
    with serve(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture(scope="module")
def walked_address(tmp_path_factory):
    """Of a server with the models that ship, a finished story and two small sweeps."""
    home = tmp_path_factory.mktemp("home")
    store = Store(home)
    story = experiments_story.plan(tiny_story()).to_train
    teacher = next(iter(story))
    sweep = SweepConfig(
        dataset="digits",
        teachers=(teacher,),
        model=tiny_story().student,
        widths=(8,),
        temperatures=(1.0, 4.0),
        alphas=(0.9,),
        seeds=(0,),
        training=tiny_config(epochs=1).training,
    )
    sweeps = [{new_id(): cell for cell in sweep.replace(alphas=(alpha,)).cells()} for alpha in (0.5, 0.9)]
    for batch in (story, *sweeps):
        store.create(batch)
        for run_id in batch:
            execute.run_here(store, run_id, lambda event: None, lambda: None)
    store.close()
    with serve(home, ships=True) as server:
        yield server.address


@pytest.fixture
def new_page(chromium):
    """new_page(width=…, dark=…) -> a page in a browser context of its own.

    Script errors on it fail the test, and so do requests that leave this machine.
    """
    errors, elsewhere = [], []

    def open_it(width=1280, height=900, *, dark=False, **options):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", **options
        )
        _contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: HERE.match(request.url) or elsewhere.append(request.url))
        return page

    yield open_it
    while _contexts:
        _contexts.pop().close()
    assert not errors, errors
    assert not elsewhere, elsewhere
