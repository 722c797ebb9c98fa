"""Screenshots of every page at four sizes, and how much each page moved while it opened.

    KD_DATA_DIR=... python tools/screenshots/screenshots.py [FOLDER] [--page TITLE ...]

Starts a server of its own with the models that ship, opens each page of the navigation with an empty home, and writes
FOLDER/<page>-<size>.webp (docs/images/screens without one). Prints the cumulative layout shift of each opening as a
Markdown table (web.dev/cls: below 0.1 is good). Ends with 1 where a page shows an error.
"""

import argparse
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers"), str(ROOT / "tests" / "browser")]

from conftest import CHROMIUM_FLAGS  # noqa: E402
from serving import serve  # noqa: E402

from pages.shared.navigation import LISTED  # noqa: E402

SIZES = {
    "1280x720": {"viewport": {"width": 1280, "height": 720}},
    "1920x1080-stage": {"viewport": {"width": 1920, "height": 1080}},
    "1400x900-dark": {"viewport": {"width": 1400, "height": 900}, "color_scheme": "dark"},
    "390x844": {"viewport": {"width": 390, "height": 844}, "has_touch": True},
}
"""A laptop or projector, a room (stage view), a laptop in the dark, a telephone."""
PATIENCE_MS = 120_000
QUALITY = 60
"""Of WebP; text stays sharp, and all of them together stay below 3 MB."""
SETTLED = """() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'
  && !document.querySelector('[data-testid=stSkeleton], [data-stale=true]')
  && [...document.querySelectorAll('.kd-chart')].every((box) => !box.offsetParent || box.querySelector('svg'))"""
SHIFTS = """window.shifted = 0; new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
}).observe({ type: "layout-shift", buffered: true });"""


PAGES = {listed.title: listed.path for listed in LISTED} | {"Train, Watch": "train?view=Watch"}
"""Path of each page, and of the other side of Train."""


def photograph(browser: Browser, address: str, size: str) -> tuple[Image.Image, float, bool]:
    """A page as it stands once it has come to rest, its layout shift, and whether it shows an error."""
    context = browser.new_context(**SIZES[size])
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.add_init_script(SHIFTS)
    page.goto(address)
    page.locator("h1").first.wait_for()
    page.wait_for_function(SETTLED)
    page.wait_for_timeout(1_000)  # what is still to move
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shifted, wrong = page.evaluate("shifted"), page.get_by_test_id("stAlertContentError").count() > 0
    context.close()
    return shot, shifted, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "docs" / "images" / "screens")
    parser.add_argument("--page", action="append", help="its title; may be given again", choices=[*PAGES])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    failed, bytes_written = [], 0
    print(f"| page | {' | '.join(SIZES)} |\n| --- |{' --- |' * len(SIZES)}")
    with (
        tempfile.TemporaryDirectory() as home,
        serve(Path(home), ships=True) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=playwright_chromium(), args=CHROMIUM_FLAGS)
        for title in options.page or PAGES:
            path, moved = PAGES[title], []
            for size in SIZES:
                stage = ("&" if "?" in path else "?") + "stage=1" if size.endswith("stage") else ""
                shot, shifted, wrong = photograph(browser, f"{server.address}/{path}{stage}", size)
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

    found = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)
    return found or sys.exit("no Chromium on this machine: apt-get install chromium")


if __name__ == "__main__":
    main()
