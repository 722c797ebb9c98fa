"""Screenshots of every page at four sizes, and how much each page moved while it opened.

    KD_DATA_DIR=... python tools/screenshots/screenshots.py [FOLDER] [--page TITLE ...] [--switches]

Starts a server of its own with the models that ship, opens each page of the navigation with an empty home, and writes
FOLDER/<page>-<size>.webp (docs/images/screens without one). Prints the cumulative layout shift of each opening as a
Markdown table (web.dev/cls: below 0.1 is good); with --switches that of each switch within a page instead, and writes
no pictures. Ends with 1 where a page shows an error.
"""

import argparse
import contextlib
import io
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers"), str(ROOT / "tests" / "browser")]

from conftest import CHROMIUM_FLAGS  # noqa: E402
from serving import serve  # noqa: E402
from shifting import SETTLED, SHIFTS  # noqa: E402

from pages.shared.navigation import LISTED  # noqa: E402

SIZES = {
    "1280x720": {"viewport": {"width": 1280, "height": 720}},
    "1920x1080-stage": {"viewport": {"width": 1920, "height": 1080}},
    "1400x900-dark": {"viewport": {"width": 1400, "height": 900}, "color_scheme": "dark"},
    "390x844": {"viewport": {"width": 390, "height": 844}, "has_touch": True},
}
"""A laptop or projector, a room (stage view), a laptop in the dark, a telephone."""
PATIENCE_MS = 120_000
AWAITED_MS = 5_000
QUALITY = 60
"""Of WebP; text stays sharp, and all of them together stay below 3 MB."""


SWITCHES = {
    "Temperature": [("radio", "Draw"), ("radio", "Test images"), ("combobox", "Story")],
    "Train": [("radio", "One that is trained"), ("combobox", "Data set"), ("radio", "Watch"), ("radio", "Set up")],
    "Compare": [("radio", name) for name in ("Calibration", "Speed", "Disagreements", "Cost")]
    + [("combobox", "Story")],
    "Objectives": [("radio", "5")],
    "Paper": [("radio", "5"), ("combobox", "Experiment"), ("radio", "Digits (scikit-learn)")],
    "Break it": [("combobox", "Mistake"), ("radio", "3"), ("radio", "Digits (scikit-learn)")],
    "Data": [("combobox", "Data set")],
    "Runs": [("combobox", "Order")],
    "Export": [("tab", "In a web page of yours"), ("tab", "In a file that you can mail"), ("combobox", "Model")],
}
"""By page: role and name of what is pressed, one after the other; of a list another option is taken."""
PAGES = {listed.title: listed.path for listed in LISTED} | {"Train, Watch": "train?view=Watch"}
"""Path of each page, and of the other side of Train."""


def photograph(browser: Browser, address: str, size: str) -> tuple[Image.Image, float, bool]:
    """A page as it stands once it has come to rest, its layout shift, and whether it shows an error."""
    with opened(browser, address, size) as page:
        shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        return shot, page.evaluate("shifted"), page.get_by_test_id("stAlertContentError").count() > 0


@contextlib.contextmanager
def opened(browser: Browser, address: str, size: str) -> Iterator[Page]:
    """A page that has come to rest, in a context of its own."""
    context = browser.new_context(**SIZES[size])
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.add_init_script(SHIFTS)
    page.goto(address)
    page.locator("h1").first.wait_for(state="attached")  # the stage may show another part
    rest(page)
    yield page
    context.close()


def rest(page: Page) -> None:
    """Wait until nothing of the page is still to move."""
    page.wait_for_timeout(500)
    page.wait_for_function(SETTLED)
    page.wait_for_timeout(1_000)


def switched(page: Page, role: str, name: str) -> str:
    """The layout shift of a switch; a dash where the page does not have it in this size or with these runs."""
    control = page.get_by_role(role, name=name, exact=True).first
    if not control.is_visible():
        page.evaluate("document.querySelectorAll('details:not([open]) > summary').forEach((title) => title.click())")
    try:
        control.wait_for(timeout=AWAITED_MS)
    except PlaywrightTimeoutError:
        return "–"
    rest(page)
    page.evaluate("window.shifted = 0")
    if role == "combobox":
        control.press("ArrowDown")
        page.get_by_role("option").first.wait_for()
        control.press("ArrowDown")
        control.press("Enter")
    else:
        control.click()
    rest(page)
    return f"{page.evaluate('shifted'):.3f}"


def print_switches(browser: Browser, address: str, titles: Sequence[str]) -> None:
    """Print a table of the layout shift of each switch of these pages at each size."""
    print(f"| page | switch | {' | '.join(SIZES)} |\n| --- | --- |{' --- |' * len(SIZES)}")
    for title in titles:
        moved = []
        for size in SIZES if title in SWITCHES else ():
            with opened(browser, addressed(address, title, size), size) as page:
                moved.append([switched(page, role, name) for role, name in SWITCHES[title]])
        for (_, name), row in zip(SWITCHES.get(title, ()), zip(*moved, strict=True), strict=True):
            print(f"| {title} | {name} | {' | '.join(row)} |", flush=True)


def addressed(address: str, title: str, size: str) -> str:
    """Where a page is at this size."""
    path = PAGES[title]
    return f"{address}/{path}" + (("&" if "?" in path else "?") + "stage=1" if size.endswith("stage") else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "docs" / "images" / "screens")
    parser.add_argument("--page", action="append", help="its title; may be given again", choices=[*PAGES])
    parser.add_argument("--switches", action="store_true", help="measure what switches within pages move")
    options = parser.parse_args()
    failed, bytes_written = [], 0
    with (
        tempfile.TemporaryDirectory() as home,
        serve(Path(home), ships=True) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=playwright_chromium(), args=CHROMIUM_FLAGS)
        if options.switches:
            print_switches(browser, server.address, options.page or PAGES)
            return
        options.folder.mkdir(parents=True, exist_ok=True)
        print(f"| page | {' | '.join(SIZES)} |\n| --- |{' --- |' * len(SIZES)}")
        for title in options.page or PAGES:
            moved = []
            for size in SIZES:
                shot, shifted, wrong = photograph(browser, addressed(server.address, title, size), size)
                file = options.folder / f"{title.lower().replace(', ', '-').replace(' ', '-')}-{size}.webp"
                shot.save(file, quality=QUALITY, method=6)
                bytes_written += file.stat().st_size
                moved.append(f"{shifted:.3f}")
                failed += [file.name] if wrong else []
            print(f"| {title} | {' | '.join(moved)} |", flush=True)
        browser.close()
    print(f"{bytes_written / 1e6:.1f} MB in {options.folder}", file=sys.stderr)
    if failed:
        sys.exit(f"an error stands on {', '.join(failed)}")


def playwright_chromium() -> str:
    """Debian's Chromium, or an end with what is missing."""
    import shutil

    chromium = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)
    return chromium or sys.exit("no Chromium on this machine: apt-get install chromium")


if __name__ == "__main__":
    main()
