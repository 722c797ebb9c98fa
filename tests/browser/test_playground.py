"""The Playground: networks that train in the browser, their fields, twenty pairs, a situation, points of one's own."""

import json

import pytest
from playwright.sync_api import expect

STEP = "(least) => walkIn().dataset.step >= least"
IN_SHADOW = """window.walkIn = () => [...document.querySelectorAll('[data-testid=stBidiComponentIsolated]')]
  .map((host) => host.shadowRoot?.querySelector('.kd-playground')).find(Boolean) ?? document.body;"""


@pytest.fixture
def page(server_as_it_ships, new_page):
    page = new_page()
    page.add_init_script(IN_SHADOW)
    page.goto(f"{server_as_it_ships}/playground?speed=64")
    return page


def errors(page):
    return json.loads(page.locator(".kd-playground").get_attribute("data-errors"))


def parameters(page):
    return page.evaluate("Object.fromEntries(new URLSearchParams(location.search))")


def trained(page, steps=1000):
    page.wait_for_function(STEP, arg=steps)
    expect(page.get_by_role("button", name="Play")).to_be_visible()  # it pauses by itself


def test_a_visitor_sees_why_a_teacher_helps_and_when_not(page):
    trained(page)
    first = errors(page)
    assert first["distilled"] < first["baseline"]
    assert first["teacher"] < first["baseline"]

    page.get_by_role("button", name="Twenty seeds").click()
    expect(page.locator(".kd-playground .verdict")).to_contain_text("95% interval")
    expect(page.locator(".kd-playground .verdict")).to_contain_text("fewer test errors of 1,000 than its twin")

    field = page.get_by_role("application", name="Distilled", exact=False).first
    field.focus()
    page.keyboard.press("PageDown")
    expect(page.locator(".inspector")).to_contain_text("A point with label A, at T = 4")
    expect(page.locator(".inspector td")).to_have_count(16)

    page.get_by_role("button", name="The wrong teacher").click()
    expect(page.locator(".question")).to_contain_text("Who makes fewer test errors?")
    page.get_by_role("button", name="The distilled student").click()
    expect(page.locator(".reply")).to_contain_text("Here it is the baseline")
    assert errors(page)["distilled"] > 300 > errors(page)["baseline"]
    page.wait_for_function("location.search.includes('situation=wrong')")
    assert parameters(page) == {"overlap": "0.4", "swapped": "yes", "examples": "40", "situation": "wrong"}

    page.reload()  # the whole view is in the address
    expect(page.locator(".question")).to_contain_text("This teacher learned A for B")
    expect(page.get_by_label("Teacher confuses A and B")).to_be_checked()


def test_controls_act_while_it_trains_and_start_again_begins_alike(page):
    trained(page)
    for temperature in (1, 8, 20):
        page.get_by_role("button", name=f"Set temperature to {temperature}", exact=True).click()
        page.wait_for_function(f"location.search.includes('T={temperature}')")
    trained(page, 1001)  # a change takes it further
    page.get_by_label("Steps a frame").select_option("1")
    for _ in range(3):
        page.get_by_role("button", name="Start again").click()
        page.wait_for_function("walkIn().dataset.step > 0 && walkIn().dataset.step < 500")
    page.get_by_label("Steps a frame").select_option("64")
    page.get_by_label("Data").select_option("Spirals")
    expect(page.get_by_label("Overlap")).to_have_value("0.1")
    page.wait_for_function("location.search.includes('shape=spirals')")
    trained(page)
    assert errors(page)["teacher"] < 50


def test_points_of_ones_own_are_learned_and_kept_in_the_address(page):
    page.get_by_label("Data").select_option("Draw your own")
    expect(page.locator(".kd-playground .steps")).to_contain_text("Draw two classes")
    field = page.get_by_role("application", name="Teacher")
    for name, x in (("● A", 60), ("■ B", 200)):
        page.get_by_role("button", name=name).click()
        for y in (60, 120, 200):
            field.click(position={"x": x, "y": y})
    trained(page)
    assert errors(page)["teacher"] < 30
    own = parameters(page)["own"]
    page.reload()
    trained(page)
    assert parameters(page)["own"] == own
    page.get_by_role("button", name="Clear").click()
    page.wait_for_function("!location.search.includes('own=')")


def distill_digits(page):
    page.get_by_label("Images for the students").select_option("68, one in twenty")
    page.get_by_role("button", name="Distill digits here").click()
    digits = page.locator(".kd-digits")
    sheet = digits.get_by_role("application")
    sheet.focus()
    for key in (" ", *["ArrowDown"] * 8, " "):  # a stroke, while they learn
        page.keyboard.press(key)
    expect(digits.locator(".bar.free")).to_have_count(30)
    expect(digits.locator(".verdict")).to_contain_text("test errors of 445")
    test_errors = json.loads(digits.get_attribute("data-errors"))
    assert test_errors["teacher"] == 11
    assert test_errors["distilled"] < 120
    assert test_errors["baseline"] < 120


def test_digits_are_distilled_and_a_drawing_is_answered_meanwhile(page):
    trained(page)
    distill_digits(page)
    page.wait_for_function("location.search.includes('digits=twentieth')")
