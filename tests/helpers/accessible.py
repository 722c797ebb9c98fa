"""A page against WCAG 2.2 AA, as far as a program can check it (axe-core)."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

WCAG_AA = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}


def assert_accessible(page: Page, name: str = "") -> None:
    """Fail with axe's report where a page as it stands breaks a rule."""
    results = Axe().run(page, options=WCAG_AA)
    assert results.violations_count == 0, f"{name or page.url}: {results.generate_report()}"
