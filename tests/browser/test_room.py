"""A page before a class: shared by its address and code."""

import re

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
    page = new_page(1920, 1080)
    page.goto(f"{server_as_it_ships}/temperature?batch=shippeddigits&lesson=2&stage=2")
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

    page.reload()
    expect(page.get_by_role("toolbar", name="Stage")).to_be_visible()
    expect(page.get_by_role("heading", name="The dark knowledge map")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("slider", name="alpha")).to_be_visible()
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.keyboard.press("ArrowRight")  # after the last part comes the lesson's next step, on the stage too
    expect(page.get_by_role("main").get_by_text("3 of 5: Distill")).to_be_visible()
    expect(page).to_have_url(re.compile("lesson=3.*stage=1|stage=1.*lesson=3"))
    expect(navigation).to_be_hidden()
    page.keyboard.press("Escape")
    expect(navigation).to_be_visible()
    expect(page).not_to_have_url(re.compile("stage="))
