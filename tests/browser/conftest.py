"""A real server with a home of its own, and a real Chromium that looks at it."""

import contextlib
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError
from serving import Server

from kd_core.exchange import shipped
from kd_core.runs.store import Store

expect.set_options(timeout=30_000)  # how long a page may take on a machine that does other things beside
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
LOG_SHOWN = 20_000
"""Characters of a server's log that a failed test shows."""
_servers: list[Server] = []
_contexts: list[BrowserContext] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """A failed test shows what stood on its pages, and its servers' logs: pages say nothing of an exception."""
    report = yield
    if report.failed:
        for page in [page for context in _contexts for page in context.pages]:
            with contextlib.suppress(PlaywrightError):
                report.sections.append((f"Page {page.url}", page.locator("body").aria_snapshot(timeout=5_000)))
        for server in _servers:
            log = (server.home / "server.log").read_text(errors="replace")
            report.sections.append((f"Log of the server at {server.address}", log[-LOG_SHOWN:]))
    return report


@pytest.fixture(scope="session")
def chromium():
    """One browser process for all tests."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        message = "no Chromium on this machine: apt-get install chromium"
        pytest.fail(message) if os.environ.get("KD_NO_SKIPS") else pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@contextlib.contextmanager
def serve(home: Path, *, ships=False, **options):
    """A running Server for as long as the block lasts. ships: whether it offers the models that come with KD Lab."""
    if not ships:
        given = [json.loads(file.read_text())["run"]["id"] for file in shipped.FOLDER.glob("*/run.json")]
        store = Store(home)
        store.save_finding("shipped", (), {"ids": given})
        store.close()
    server = Server(home, **options)
    _servers.append(server)
    try:
        yield server
    finally:
        _servers.remove(server)
        server.process.terminate()
        server.process.wait(timeout=30)


@pytest.fixture
def fresh_server(tmp_path):
    """A server that no browser has visited."""
    with serve(tmp_path) as server:
        yield server.address


@pytest.fixture(scope="module")
def server_as_it_ships(tmp_path_factory):
    """The address of a server on a new machine, with the models that come with KD Lab."""
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


LEAVING = """() => {
  const found = [], prose = "[data-testid=stMarkdownContainer]";
  const control = "button, [role=button], [data-testid=stLinkButton]";
  const leaves = (address) => /^https?:/.test(address) && new URL(address).origin !== location.origin;
  const look = (root) => {
    for (const one of root.querySelectorAll("*")) {
      if (one.shadowRoot) look(one.shadowRoot);
      const address = String(one.href?.baseVal ?? one.href ?? one.action ?? one.src ?? "");
      const reference = one.matches("a") && one.closest(prose) && !one.closest(control);
      if (one.matches("a, form, iframe") && leaves(address) && !reference) found.push(address);
      if (one.matches(".modebar-btn")) found.push("a button of plotly's: " + one.dataset.title);
    }
  };
  look(document);
  return found;
}"""


def leaving(page):
    """The page's controls that lead off this machine, or could: a link in its prose is a reference, not a control."""
    return page.evaluate(LEAVING)


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
