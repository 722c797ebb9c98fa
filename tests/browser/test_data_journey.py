"""A user's own images, from a zip to three trained networks, as a person goes."""

from playwright.sync_api import expect
from serving import TRAINED_MS
from tiny import coloured_classes

from tests.unit.data.test_own_data import zipped

NAMES = ("puffin", "fern", "double-decker bus")


def test_a_zip_of_class_folders_distils_end_to_end(server, new_page, tmp_path):
    folder = coloured_classes(tmp_path / "mine", NAMES, count=20)
    content = {str(path.relative_to(tmp_path)): path.read_bytes() for path in folder.rglob("*.png")}
    page = new_page()
    page.goto(f"{server}/data")
    expect(page.get_by_role("heading", name="Bring your own")).to_be_visible()
    page.set_input_files("input[type=file]", zipped(tmp_path / "mine.zip", content))
    expect(page.get_by_text("60 images of 3 classes")).to_be_visible()
    page.get_by_role("spinbutton", name="Height and width, pixels").fill("16")
    page.get_by_role("button", name="Make it a data set").click()
    expect(page.get_by_text("Your data set is ready")).to_be_visible(timeout=TRAINED_MS)
    expect(page.get_by_text("16 x 16 pixels, colour")).to_be_visible()
    page.get_by_role("button", name="Train on it").click()
    expect(page.get_by_role("heading", name="Distill live")).to_be_visible()
    page.get_by_role("spinbutton", name="Epochs of each student").fill("3")
    page.get_by_role("spinbutton", name="Epochs of each student").press("Tab")
    page.get_by_text("Teacher's training").click()
    page.get_by_role("spinbutton", name="Epochs of a new teacher").fill("4")
    page.get_by_role("spinbutton", name="Epochs of a new teacher").press("Tab")
    page.locator(".st-key-train button").click()
    expect(page.locator(".kd-text", has_text="test errors of 12")).to_have_count(3, timeout=TRAINED_MS)
    page.get_by_role("link", name="Temperature").first.click()
    expect(page.get_by_text("double-decker bus").locator("visible=true").first).to_be_visible()


def test_what_is_no_data_set_is_refused_in_a_sentence(server, new_page, tmp_path):
    page = new_page(390)
    page.goto(f"{server}/data")
    page.set_input_files("input[type=file]", zipped(tmp_path / "bad.zip", {"../up/1.png": b"", "a/1.png": b""}))
    expect(page.get_by_text("a path that leads out of it")).to_be_visible()
