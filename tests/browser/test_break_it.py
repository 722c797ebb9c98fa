"""The lesson "Break it", as a class takes it: make a mistake beside the right way, and read what it costs."""

from playwright.sync_api import expect
from serving import TRAINED_MS

from pages.shared.tokens import COLOURS


def test_a_mistake_trains_beside_the_right_way_and_survives_a_reload(server_as_it_ships, new_page):
    page = new_page()
    page.goto(f"{server_as_it_ships}/mistakes?mistake=stale_cache&seeds=3")
    page.get_by_role("button", name="Break it").click()
    for _ in range(2):
        expect(page.locator(".kd-text", has_text="test errors of 445")).to_have_count(6, timeout=TRAINED_MS)
        expect(page.get_by_text("extra test errors with the mistake").first).to_be_visible()
        expect(page.get_by_text("mean of 3 seeds, 95% interval")).to_be_visible()
        expect(page.get_by_text("wrong, seed 2", exact=True)).to_be_visible()
        expect(page.get_by_role("button", name="Break it")).to_have_count(0)
        page.reload()
    lines = page.locator(".kd-live .kd-chart .scatterlayer .trace path.js-line")
    expect(lines).to_have_count(24)  # of three right runs and three wrong ones: accuracy and three losses
    drawn = lines.evaluate_all("(lines) => lines.map((line) => line.style.stroke)")
    assert [drawn.count(colour) for colour in {*drawn}] == [4] * 6  # a shade a seed
    for kind in ("distilled", "mistake"):  # the first of each has its kind's own
        light, _ = COLOURS[kind]
        red, green, blue = (int(light[place : place + 2], 16) for place in (1, 3, 5))
        assert f"rgb({red}, {green}, {blue})" in drawn
    dashed = lines.evaluate_all("(lines) => lines.filter((line) => parseFloat(line.style.strokeDasharray) > 0).length")
    assert dashed == 12  # the mistakes'
