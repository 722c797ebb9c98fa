"""Every page against WCAG 2.2 AA as far as a program can check it (axe-core), in light and in dark; what moves."""

import pytest
from accessible import assert_accessible
from playwright.sync_api import expect
from shifting import SETTLED, SHIFTS

from pages.shared.navigation import LISTED

GOOD_SHIFT = 0.1  # web.dev/cls


@pytest.mark.parametrize("path", [page.path for page in LISTED])
def test_axe_finds_nothing_against_wcag_aa(server_as_it_ships, new_page, path):
    page = new_page()
    page.add_init_script(SHIFTS)
    page.goto(f"{server_as_it_ships}/{path}")
    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_function(SETTLED)
    assert page.evaluate("shifted") < GOOD_SHIFT
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(f"getComputedStyle(document.querySelector('.stApp')).colorScheme === '{scheme}'")
        page.wait_for_function(SETTLED)
        assert_accessible(page, scheme)


@pytest.mark.parametrize(
    ("path", "size"),
    [("compare?stage=1", (1920, 1080)), ("temperature?stage=1", (1920, 1080)), ("train", (390, 844))],
)
def test_what_arrives_moves_nothing_on_the_stage_and_on_a_phone(server_as_it_ships, new_page, path, size):
    page = new_page(*size)
    page.add_init_script(SHIFTS)
    page.goto(f"{server_as_it_ships}/{path}")
    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_function(SETTLED)
    assert page.evaluate("shifted") < GOOD_SHIFT


def test_on_a_phone_the_menu_has_a_name_and_closes_after_a_choice(server_as_it_ships, new_page):
    page = new_page(width=390, height=844, has_touch=True)
    page.goto(f"{server_as_it_ships}/data")
    menu = page.get_by_role("button", name="Menu of pages")
    menu.click()
    page.get_by_role("navigation").get_by_role("link", name="Break it").click()
    expect(page.get_by_role("heading", name="Break it", level=1)).to_be_visible()
    expect(menu).to_be_visible()
    expect(page.get_by_test_id("stSidebar")).to_have_attribute("data-collapsed", "true")


def test_the_keyboard_reaches_a_page_in_a_menu_and_its_focus_shows(server_as_it_ships, new_page):
    page = new_page()
    page.goto(f"{server_as_it_ships}/data")
    page.get_by_role("heading", level=1).wait_for()
    section = page.get_by_role("button", name="Experiments")
    for _ in range(12):
        page.keyboard.press("Tab")
        if section.evaluate("(button) => button === document.activeElement"):
            break
    assert section.evaluate("(button) => getComputedStyle(button).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.get_by_role("menuitem", name="Sweep").wait_for()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Sweep", level=1)).to_be_visible()
