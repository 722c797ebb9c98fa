"""Every page for everybody: WCAG 2.2 AA as far as a program can check it (axe-core), what moves, what keys reach."""

import re

import pytest
from accessible import assert_accessible
from playwright.sync_api import expect
from serving import TRAINED_MS
from shifting import SETTLED, SHIFTS

from pages.shared.navigation import LISTED

GOOD_SHIFT = 0.1  # web.dev/cls
MOVES = """() => {
  const moving = [], longest = (durations) => Math.max(...durations.split(",").map(parseFloat));
  const look = (root) => {
    for (const part of root.querySelectorAll("*")) {
      if (part.shadowRoot) look(part.shadowRoot);
      const style = getComputedStyle(part);
      const animated = style.animationName === "none" ? 0 : longest(style.animationDuration);
      if (Math.max(longest(style.transitionDuration), animated) > 0.001) moving.push(part.outerHTML.slice(0, 100));
    }
  };
  look(document);
  return moving;
}"""
"""What has a transition or an animation that takes time."""


def assert_accessible_in_light_and_dark(page):
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(f"getComputedStyle(document.querySelector('.stApp')).colorScheme === '{scheme}'")
        page.wait_for_function(SETTLED)
        assert_accessible(page, scheme)


@pytest.mark.parametrize("path", [page.path for page in LISTED])
def test_axe_finds_nothing_against_wcag_aa(server_as_it_ships, new_page, path):
    page = new_page()
    page.add_init_script(SHIFTS)
    page.goto(f"{server_as_it_ships}/{path}")
    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_function(SETTLED)
    assert page.evaluate("shifted") < GOOD_SHIFT
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(MOVES) == []
    assert_accessible_in_light_and_dark(page)


def test_code_can_be_read_in_light_and_dark(server_as_it_ships, new_page):
    page = new_page()
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{server_as_it_ships}/export")
    page.get_by_test_id("stCode").first.wait_for(timeout=TRAINED_MS)  # once its files have been made
    assert_accessible_in_light_and_dark(page)


def test_without_motion_a_colour_changes_everywhere_at_once(server_as_it_ships, new_page):
    """However short, a transition of every element begins anew at each level, once that above has ended."""
    page = new_page()
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{server_as_it_ships}/data")
    page.get_by_role("heading", level=1).wait_for()
    innermost = page.evaluate("""() => {
      const app = document.querySelector(".stApp");
      let part = app;
      for (let level = 0; level < 20; level++) part = part.appendChild(document.createElement("div"));
      getComputedStyle(part).color;
      app.style.color = "rgb(1, 2, 3)";
      return getComputedStyle(part).color;
    }""")
    assert innermost == "rgb(1, 2, 3)"


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
    expect(page.get_by_role("button", name="Library")).to_have_attribute("aria-current", "true")
    expect(section).to_have_attribute("aria-current", "false")
    for _ in range(12):
        page.keyboard.press("Tab")
        if section.evaluate("(button) => button === document.activeElement"):
            break
    assert section.evaluate("(button) => getComputedStyle(button).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.get_by_role("menuitem", name="Sweep").wait_for()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Sweep", level=1)).to_be_visible()
    expect(section).to_have_attribute("aria-current", "true")


HAS_FOCUS = """(element) => {
  let active = document.activeElement;
  while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
  return active === element;
}"""


def reach(part):
    """Press Tab until this part of its page has the focus."""
    part.wait_for()
    for _ in range(120):
        part.page.keyboard.press("Tab")
        if part.evaluate(HAS_FOCUS):
            return
    raise AssertionError(f"Tab does not reach {part}")


def open_without_a_mouse(page, address):
    page.goto(address)
    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_function(SETTLED)


def test_keys_alone_reach_what_is_dragged_and_a_screen_reader_hears_it(server_as_it_ships, new_page):
    page = new_page()
    press = page.keyboard.press

    open_without_a_mouse(page, server_as_it_ships)
    heard = page.locator(".kd-opening .said")
    reach(page.get_by_role("application", name="Canvas to draw"))
    press("Space")
    press("ArrowRight")
    press("Space")
    expect(page.locator(".kd-opening .caption")).to_have_text("Your drawing")
    tiles = page.get_by_role("group", name="Test images to choose from").get_by_role("button")
    reach(tiles.first)
    press("ArrowRight")
    press("Enter")
    expect(tiles.nth(1)).to_have_attribute("aria-pressed", "true")
    reach(page.get_by_role("slider", name="Temperature T"))
    press("PageUp")
    expect(heard).to_contain_text("At temperature 2: teacher gives class")
    reach(page.get_by_role("slider", name="teacher, class 0"))
    press("ArrowUp")
    expect(heard).to_contain_text("Logits were moved by hand.")

    open_without_a_mouse(page, f"{server_as_it_ships}/temperature?batch=shippeddigits")
    tiles = page.get_by_role("group", name="Images to choose from").get_by_role("button")
    reach(tiles.first)
    press("ArrowRight")
    press("Enter")
    expect(tiles.nth(1)).to_have_attribute("aria-pressed", "true")
    assert tiles.nth(1).evaluate(HAS_FOCUS)  # over the run of the page that this caused
    reach(page.get_by_role("slider", name="class 0").first)
    press("ArrowUp")
    expect(page.locator(".kd-bars .said")).to_contain_text("Logits were moved by hand.")
    page.wait_for_url("**logits=*")
    page.wait_for_function(SETTLED)
    assert page.get_by_role("slider", name="class 0").first.evaluate(HAS_FOCUS)
    reach(page.get_by_role("application", name="Dark knowledge map"))
    press("ArrowDown")
    expect(page.locator(".kd-knowledge .said")).to_contain_text("A 1 gets")
    press("Enter")
    expect(page.get_by_text("that the teacher finds most like")).to_be_visible()
    reach(page.get_by_role("slider", name="alpha"))
    press("ArrowLeft")
    expect(page.locator(".kd-felt .said")).to_contain_text("and alpha = 0.85 the loss is")


def test_keys_alone_train_compare_select_share_and_take_the_stage(server_as_it_ships, new_page):
    page = new_page()
    press = page.keyboard.press
    open_without_a_mouse(page, f"{server_as_it_ships}/train")
    reach(page.get_by_role("button", name="Tiny student of 30 units"))
    press("Enter")
    expect(page.get_by_role("textbox", name="Student's hidden units")).to_have_value("30, 30")
    reach(page.get_by_role("button", name="Train", exact=True))

    open_without_a_mouse(page, f"{server_as_it_ships}/compare?batch=shippeddigits")
    reach(page.get_by_role("radio", name="Cost"))
    press("ArrowRight")
    press("Space")
    expect(page.get_by_role("radio", name="Speed")).to_be_checked()

    open_without_a_mouse(page, f"{server_as_it_ships}/runs")
    reach(page.get_by_test_id("data-grid-canvas"))
    press("ArrowDown")
    press("Shift+Space")
    expect(page.locator(".kd-run")).to_have_count(1)
    page.wait_for_url("**runs=*")

    reach(page.get_by_role("button", name="Share", exact=True))
    press("Enter")
    expect(page.get_by_role("textbox", name="Address of this view")).to_have_value(re.compile("runs="))
    press("Escape")
    reach(page.get_by_role("button", name="Stage", exact=True))
    press("Enter")
    expect(page.get_by_role("toolbar", name="Stage")).to_be_attached()
    expect(page.get_by_role("banner")).to_be_hidden()
    press("Escape")
    expect(page.get_by_role("banner")).to_be_visible()
