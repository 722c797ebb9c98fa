"""The pages in Korean, as a browser shows them: for who asks for it, and for who chooses it in the bar."""

import re

import pytest
from playwright.sync_api import expect

from pages.shared.navigation import LISTED

PAGES = [page.path for page in LISTED]
HANGUL = re.compile("[가-힣]")
SIZES = {"desktop": {"width": 1280, "height": 720}, "phone": {"width": 390, "height": 844, "has_touch": True}}
ENGLISH = re.compile(r"(?<![\w/.-])(?:[A-Za-z]+(?:['’-][a-z]+)*,? ){3,}[a-z]+(?![\w/.-])")
"""Four words in a row."""
READ = """() => {
  const found = [], NOT_READ = "pre, code, style, script, .katex, [lang=en], [data-testid=stDataFrame] canvas";
  const visit = (root) => {
    for (const element of root.querySelectorAll("*")) {
      if (element.shadowRoot) visit(element.shadowRoot);
      if (element.closest(NOT_READ)) continue;
      for (const name of ["aria-label", "title", "placeholder", "alt"]) found.push(element.getAttribute(name) ?? "");
      if (!element.checkVisibility?.()) continue;
      for (const node of element.childNodes) if (node.nodeType === Node.TEXT_NODE) found.push(node.textContent);
    }
  };
  visit(document.querySelector("[data-testid=stMain]"));
  for (const bar of document.querySelectorAll(".kd-room-host, [data-testid=stHeader]")) visit(bar);
  return found.map((text) => text.trim()).filter(Boolean);
}"""
"""All texts of a page and of its components, with what a screen reader is told."""


def shown(page, address):
    """Open an address, and wait until its page stands."""
    page.goto(address)
    settle(page)


def settle(page):
    page.get_by_role("heading", level=1).first.wait_for()
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.wait_for_timeout(500)


def widest(page):
    widths = "() => ['html', '[data-testid=stMain]'].map((part) => document.querySelector(part).scrollWidth)"
    return max(page.evaluate(widths))


@pytest.mark.usefixtures("korean_font")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", PAGES)
def test_each_page_is_in_korean_and_fits(server_as_it_ships, new_page, path, size):
    page = new_page(**SIZES[size])
    shown(page, f"{server_as_it_ships}/{path}?lang=ko")
    expect(page.get_by_role("heading", level=1).first).to_have_text(HANGUL)
    assert page.evaluate("document.documentElement.lang") == "ko"
    assert page.locator("[data-testid=stException]").count() == 0
    assert widest(page) <= SIZES[size]["width"]
    assert [text for text in page.evaluate(READ) if ENGLISH.search(text)] == []


def test_each_page_of_the_navigation_has_a_korean_name(server_as_it_ships, new_page):
    page = new_page(width=390, height=844)
    shown(page, f"{server_as_it_ships}/?lang=ko")
    page.get_by_test_id("stExpandSidebarButton").click()
    links = page.get_by_test_id("stSidebarNavLink")
    expect(links).to_have_count(len(PAGES))
    assert [name for name in links.all_inner_texts() if not HANGUL.search(name)] == []


def test_a_browser_in_korean_reads_korean_without_asking(server_as_it_ships, new_page):
    page = new_page(locale="ko-KR")
    for path in ("", "temperature", "runs"):
        shown(page, f"{server_as_it_ships}/{path}")
        expect(page.get_by_role("heading", level=1).first).to_have_text(HANGUL)
        assert page.evaluate("document.documentElement.lang") == "ko"
        assert "lang=" not in page.url  # who is sent this address reads it in the language of their own browser
    shown(page, f"{server_as_it_ships}/temperature?lang=en")
    expect(page.get_by_role("heading", level=1).first).not_to_have_text(HANGUL)
    assert page.evaluate("document.documentElement.lang") == "en"


def test_a_browser_in_any_other_language_reads_english(server_as_it_ships, new_page):
    page = new_page(locale="de-DE")
    shown(page, f"{server_as_it_ships}/temperature")
    expect(page.get_by_role("heading", level=1).first).not_to_have_text(HANGUL)
    assert page.evaluate("document.documentElement.lang") == "en"


@pytest.mark.parametrize("locale", ["en-US", "ko-KR"])
def test_the_bar_leads_to_the_other_language_and_back_and_keeps_the_view(server_as_it_ships, new_page, locale):
    page = new_page(locale=locale)
    shown(page, f"{server_as_it_ships}/temperature?T=7&lang=en")
    title = page.get_by_role("heading", level=1).first
    english = title.inner_text()
    for _turn in range(3):
        page.get_by_role("button", name="한국어", exact=True).click()
        expect(title).to_have_text(HANGUL)
        expect(page.get_by_role("button", name="English", exact=True)).to_be_visible()
        assert_view(page, "ko")
        page.get_by_role("button", name="English", exact=True).click()
        expect(title).to_have_text(english)
        assert_view(page, "en")


def assert_view(page, code):
    """The address names the language and still has T, which the page shows; and so it does after a reload."""
    settle(page)
    expect(page).to_have_url(re.compile(rf"[?&]lang={code}(&|$)"))
    expect(page).to_have_url(re.compile(r"[?&]T=7(&|$)"))
    assert page.evaluate("document.documentElement.lang") == code
    assert page.evaluate("() => __kdLabHand.state.T") == 7


def test_a_language_that_was_chosen_stays_from_page_to_page(server_as_it_ships, new_page):
    page = new_page()
    shown(page, f"{server_as_it_ships}/temperature")
    page.get_by_role("button", name="한국어", exact=True).click()
    expect(page.get_by_role("heading", level=1).first).to_have_text(HANGUL)
    for name in ("비교", "플레이그라운드", "온도"):
        page.get_by_test_id("stTopNavLinkContainer").get_by_text(name, exact=True).click()
        settle(page)
        expect(page.get_by_role("heading", level=1).first).to_have_text(HANGUL)
        expect(page).to_have_url(re.compile("lang=ko"))
    page.reload()
    settle(page)
    expect(page.get_by_role("heading", level=1).first).to_have_text(HANGUL)


def test_filters_of_the_runs_stand_in_the_other_language(server_as_it_ships, new_page):
    """An address of either opens in the other, and what is chosen stays when the language is switched."""
    page = new_page()
    for chosen, opened, word in (("teacher", "ko", "교사"), ("교사", "en", "teacher")):
        shown(page, f"{server_as_it_ships}/runs?runs_role={chosen}&lang={opened}")
        expect(page.locator("[data-tag]", has_text=word)).to_have_count(1)
    for switch, word in (("한국어", "교사"), ("English", "teacher")):
        page.get_by_role("button", name=switch, exact=True).click()
        expect(page.locator("[data-tag]", has_text=word)).to_have_count(1)


@pytest.mark.usefixtures("korean_font")
def test_what_streamlit_says_of_its_own_is_korean_too(server_as_it_ships, new_page):
    page = new_page(width=900)
    shown(page, f"{server_as_it_ships}/runs?lang=ko")
    expect(page.get_by_test_id("stHeader").get_by_text(re.compile("^[0-9]+개 더$"))).to_be_visible()
    expect(page.get_by_placeholder("선택하세요")).to_have_count(4)
    page.get_by_role("textbox", name="검색").fill("mlp")
    expect(page.get_by_text("적용하려면 Enter 키를 누르세요")).to_be_visible()
    shown(page, f"{server_as_it_ships}/data?lang=ko")
    expect(page.get_by_test_id("stFileUploader").first).to_contain_text(re.compile("올리기.*파일당 200MB"))
    shown(page, f"{server_as_it_ships}/sweep?lang=ko")
    expect(page.get_by_role("button", name="4.0 제거", exact=True)).to_have_count(1)


@pytest.mark.usefixtures("korean_font")
@pytest.mark.parametrize("lang", ["en", "ko"])
def test_nothing_lies_over_what_closes_the_drawer_on_a_phone(server_as_it_ships, new_page, lang):
    page = new_page(width=390, height=844)
    shown(page, f"{server_as_it_ships}/temperature?lang={lang}")
    for _turn in range(3):
        page.get_by_test_id("stExpandSidebarButton").click()
        page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()
        expect(page.get_by_test_id("stSidebarNavLink").first).to_be_hidden()


@pytest.mark.usefixtures("korean_font")
def test_a_charts_title_breaks_where_a_phone_is_too_narrow_for_it(server_as_it_ships, new_page):
    page = new_page(width=390, height=844)
    shown(page, f"{server_as_it_ships}/lesson?lang=ko&lesson=compare")
    title = page.locator(".st-key-lesson_seeds .gtitle")
    expect(title.locator("tspan")).not_to_have_count(0)
    box = title.bounding_box()
    assert box["x"] + box["width"] <= 390
