"""A page before a class: shared by its address and code."""

import re

import pytest
from accessible import assert_accessible
from playwright.sync_api import expect


def test_what_is_shared_is_what_is_seen(server_as_it_ships, new_page):
    page = new_page()
    page.goto(f"{server_as_it_ships}/temperature?batch=shippeddigits&T=8&image=test-15&alpha=0.5")
    page.get_by_role("slider", name="alpha").wait_for()
    page.get_by_role("button", name="Share").click()
    panel = page.get_by_role("dialog", name="Share this view")
    address = panel.get_by_label("Address of this view")
    expect(address).to_have_value(re.compile("T=8.*image=test-15.*student="))
    expect(panel.get_by_role("status")).to_have_text("Copied.")
    code = panel.get_by_role("img", name="QR code")
    page.wait_for_function("code => code.naturalWidth > 0", arg=code.element_handle())
    shared = address.input_value()
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()

    other = new_page()
    other.goto(shared)
    expect(other.get_by_role("slider", name="alpha")).to_have_value("0.5")
    expect(other.get_by_text("test image 15")).to_be_visible()
    expect(other).to_have_url(shared)


def test_a_prepared_view_hides_and_fixes_controls(server_as_it_ships, new_page):
    page = new_page()
    page.goto(
        f"{server_as_it_ships}/temperature?batch=shippeddigits&alpha=0.5&lock=alpha,melon&hide=gallery_kind,pages"
    )
    alpha = page.get_by_role("slider", name="alpha")
    alpha.wait_for()
    expect(alpha).to_have_attribute("aria-disabled", "true")
    alpha.focus()
    page.keyboard.press("ArrowRight")
    alpha.click(position={"x": 20, "y": 5}, force=True)
    page.get_by_text("Which images").click()
    expect(page.get_by_role("combobox", name="True class")).to_be_visible()
    expect(page.get_by_label("Show", exact=True)).to_be_hidden()
    expect(page.get_by_role("link", name="Train", exact=True)).to_be_hidden()

    page.get_by_role("button", name="Share").click()
    page.get_by_text("Prepare it for a class").click()
    panel = page.get_by_role("dialog", name="Share this view")
    expect(panel.get_by_label("Show", exact=True)).to_have_value("hide")
    panel.get_by_label("Show", exact=True).select_option("shown")
    panel.get_by_label("True class").select_option("fixed")
    address = panel.get_by_label("Address of this view")
    expect(address).to_have_value(re.compile("lock=melon,gallery_class,alpha&hide=pages&"))
    expect(alpha).to_have_value("0.5")


TYPE = """() => {
  const times = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--kd-stage")), sizes = [];
  const look = (node) => {
    const around = node.parentElement;
    const seen = around?.checkVisibility() && around.getBoundingClientRect().width > 2;
    if (node.nodeType === 3 && node.data.trim() && seen) {
      sizes.push(times * parseFloat(getComputedStyle(around).fontSize));
    }
    if (node.nodeType === 1 && !node.matches("script, style, .katex")) {
      [...(node.shadowRoot?.childNodes ?? []), ...node.childNodes].forEach(look);
    }
  };
  look(document.querySelector('[data-testid="stMain"]'));
  return Math.min(...sizes);
}"""


def test_the_stage_shows_one_part_large_and_goes_on_by_keys(server_as_it_ships, new_page):
    page = new_page(1920, 1080, has_touch=True)
    page.goto(f"{server_as_it_ships}/temperature?batch=shippeddigits&lesson=feel&stage=2")
    title, navigation = page.get_by_role("heading", name="Feel temperature"), page.get_by_role("banner")
    page.locator(".kd-felt .column").first.wait_for(state="attached")
    expect(page.get_by_role("slider", name="alpha")).to_be_hidden()
    expect(title).to_be_visible()
    expect(navigation).to_be_hidden()
    page.get_by_text("Which images").click()
    page.get_by_role("spinbutton", name="Page of").press("s")
    page.keyboard.press("Tab")
    page.keyboard.press("PageDown")
    expect(page.get_by_role("heading", name="The dark knowledge map")).to_be_visible()
    expect(page).to_have_url(re.compile("stage=3"))
    expect(title).to_be_hidden()
    page.wait_for_function(f"({TYPE})() >= 20")

    finger, glow = page.context.new_cdp_session(page), page.locator(".kd-glow")
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": 400, "y": 300}]})
    expect(glow).to_have_css("opacity", "1")
    box = glow.bounding_box()
    assert (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) == pytest.approx((400, 300), abs=1)
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(glow).to_have_css("opacity", "0")

    page.reload()
    expect(page.get_by_role("toolbar", name="Stage")).to_be_visible()
    expect(page.get_by_role("heading", name="The dark knowledge map")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("slider", name="alpha")).to_be_visible()
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.keyboard.press("ArrowRight")  # after the last part comes the lesson's next step, on the stage too
    expect(page.get_by_role("main").get_by_text("7 of 12")).to_be_visible()
    expect(page).to_have_url(re.compile("lesson=distill.*stage=1|stage=1.*lesson=distill"))
    expect(navigation).to_be_hidden()
    page.keyboard.press("Escape")
    expect(navigation).to_be_visible()
    expect(page).not_to_have_url(re.compile("stage="))
    page.keyboard.press("s")
    page.wait_for_function("document.fullscreenElement === document.documentElement")
    page.keyboard.press("s")
    page.wait_for_function("document.fullscreenElement === null")


def ask_twice(prompt, desk, phone, page):
    """Ask a class of one phone, have it vote, discuss and vote again, and show both rounds to all."""
    desk.get_by_label("A question of your own").fill(prompt)
    desk.get_by_role("button", name="Ask", exact=True).click()
    heading = prompt.partition("\n")[0]
    expect(phone.get_by_role("heading", name=heading)).to_be_visible()
    phone.locator(".answer").nth(0).click()
    phone.locator(".answer").nth(1).click()
    expect(phone.get_by_text("Counted. You may change it.")).to_be_visible()
    expect(desk.get_by_text("Round 1: 1 answer.")).to_be_visible()
    desk.get_by_role("button", name="Vote again").click()
    expect(phone.get_by_text("Once more, after your discussion.")).to_be_visible()
    phone.locator(".answer").nth(0).click()
    expect(desk.get_by_text("Round 2: 1 answer.")).to_be_visible()
    desk.get_by_role("button", name="Show the answers to all").click()
    expect(phone.get_by_role("img", name="round 1: 1 of 1").and_(phone.locator(".right .track"))).to_be_visible()
    expect(page.get_by_role("img", name="round 2: 0 of 1").and_(page.locator(".right .track"))).to_be_visible()
    for looked_at in (phone, desk):
        assert_accessible(looked_at)
    desk.get_by_role("button", name="Put it away").click()


def answer_quizzes(desk, phone):
    """Answer the quiz before and after the lesson, and compare them."""
    for when, right in (("before", 0), ("after", 1)):
        desk.get_by_role("button", name=f"Quiz {when} the lesson (0 in)").click()
        expect(phone.get_by_role("heading", name=f"{when.capitalize()} the lesson")).to_be_visible()
        phone.get_by_role("radio").nth(right).check()  # of the first item the second answer is true
        phone.get_by_role("radio").nth(4).check()
        phone.get_by_role("button", name="Hand in").click()
        expect(phone.get_by_text("Handed in.")).to_be_visible()
        desk.get_by_role("button", name="Close the quiz (1 in)").click()
    desk.get_by_role("button", name="Normalised gain").click()
    expect(desk.get_by_text("0% right before, 13% after. Normalised gain 0.13")).to_be_visible()


def take_the_quiz_alone(sheet):
    """Answer three items of the quiz outside of a class, and compute a gain from two numbers."""
    for item in (1, 5, 9):
        sheet.get_by_role("radio").nth(item).check()
    sheet.get_by_role("button", name="Check").click()
    expect(sheet.get_by_text("1 of 8 right.")).to_be_visible()
    assert_accessible(sheet)
    sheet.get_by_label("before", exact=True).fill("4")
    sheet.get_by_label("after", exact=True).fill("6")
    sheet.get_by_role("button", name="Compute").click()
    expect(sheet.get_by_text("Normalised gain 0.50")).to_be_visible()


def test_a_class_follows_votes_twice_and_sees_both_rounds(server_as_it_ships, new_page):
    page = new_page()
    page.goto(f"{server_as_it_ships}/temperature?batch=shippeddigits&T=4&image=test-15")
    page.get_by_role("slider", name="alpha").wait_for()
    page.get_by_role("button", name="Class").click()
    panel = page.get_by_role("dialog", name="A class that follows")
    panel.get_by_role("button", name="Begin a class").click()
    panel.get_by_role("img", name="QR code").wait_for()
    code = re.search(r"the code (\w{5})", panel.inner_text())[1]
    own = panel.get_by_role("link", name="Your own screen").get_attribute("href")
    page.keyboard.press("Escape")

    phone = new_page(width=390, height=844, has_touch=True)
    phone.goto(f"{server_as_it_ships}/class")
    phone.get_by_label("The code on the screen").fill("22222")
    phone.get_by_role("button", name="Join").click()
    expect(phone.get_by_role("alert")).to_have_text(re.compile("No class has this code"))
    phone.get_by_label("The code on the screen").fill(code.lower())
    phone.get_by_role("button", name="Join").click()
    expect(phone.get_by_role("heading", name="Feel temperature")).to_be_visible()
    expect(phone.get_by_text("T = 4", exact=True)).to_be_visible()
    expect(phone.get_by_role("img", name="The presenter's image")).to_be_visible()
    bars = page.locator(".kd-bars")
    for _ in range(3):
        page.get_by_role("slider", name="Temperature T").press("ArrowRight")
        shown = bars.evaluate("(root) => root.dataset.probabilities")
        expect(phone.locator(".kd-bars")).to_have_attribute("data-probabilities", shown)

    desk = new_page()
    desk.goto(own.replace("present?as=", "present?not="))
    for prompt in ("First\nno\n*yes", "What changes?\nthe order\n*the entropy"):
        ask_twice(prompt, desk, phone, page)
    with desk.expect_download() as saved:
        desk.get_by_role("link", name="Answers as CSV").click()
    assert len(saved.value.path().read_text().splitlines()) == 5

    answer_quizzes(desk, phone)
    sheet = new_page()
    sheet.goto(f"{server_as_it_ships}/class/quiz")
    take_the_quiz_alone(sheet)

    page.goto(f"{server_as_it_ships}/compare?batch=shippeddigits")  # a reload leads on
    expect(phone.get_by_role("img", name="What the presenter sees: Compare honestly")).to_be_visible()
    page.get_by_role("link", name="Train", exact=True).click()
    expect(phone.get_by_role("heading", name="Distill live")).to_be_visible()
    phone.get_by_role("link", name="Look around yourself").click()
    expect(phone).to_have_url(re.compile("/train"))
    phone.get_by_role("link", name="Back to the class").click()
    expect(phone.get_by_role("heading", name="Distill live")).to_be_visible()
    desk.once("dialog", lambda dialog: dialog.accept())
    desk.get_by_role("button", name="End the class").click()
    expect(phone.get_by_label("The code on the screen")).to_be_visible()
