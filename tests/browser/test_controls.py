"""What was chosen stands: every control of every page, changed three times, and after a reload."""

import pytest
from playwright.sync_api import expect
from walking import assert_what_is_chosen_stands, pages_of

from pages.shared.navigation import LISTED

TITLES = [page.title for page in LISTED]
"""Of the navigation, so that each page is a test of its own."""


def test_each_page_of_the_navigation_is_walked(walked_address, new_page):
    assert [title for title, _ in pages_of(new_page(), walked_address)] == TITLES


@pytest.mark.timeout(600)  # on a machine that does other things beside
@pytest.mark.parametrize("title", [title for title in TITLES if title != "Train"])
def test_what_is_chosen_stands(walked_address, new_page, title):
    assert_what_is_chosen_stands(new_page(), walked_address, title)


HOLDS = """const send = WebSocket.prototype.send, held = (window.held = []);
WebSocket.prototype.send = function (data) {
  if (window.holds) held.push(() => send.call(this, data));
  else send.call(this, data);
};
window.letGo = () => { window.holds = false; held.shift()(); };"""
"""What the page says while window.holds is true, it says message by message, at each letGo()."""


def test_of_two_clicks_at_once_both_stand(walked_address, new_page):
    page = new_page()
    page.add_init_script(HOLDS)
    page.goto(f"{walked_address}/temperature")
    story = page.get_by_role("combobox", name="Story")
    chosen = story.input_value()
    for source in ("Draw", "Upload", "Draw"):
        page.get_by_role("radio", name=source).wait_for()
        expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
        page.evaluate("window.holds = true")
        story.click()
        others = page.get_by_role("option").filter(has_not_text=chosen)
        chosen = others.first.inner_text()
        others.first.click()
        page.get_by_role("radio", name=source).click()
        page.wait_for_function("held.length > 1")  # on a busy machine a click is said late
        address = page.evaluate("location.href")
        page.evaluate("letGo()")
        page.wait_for_function("(before) => location.href !== before", arg=address)
        page.evaluate("letGo()")  # it has the address from before the first
        expect(page.get_by_role("radio", name=source)).to_be_checked()
        expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
        expect(story).to_have_value(chosen)
