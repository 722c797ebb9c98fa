"""What was chosen stands: every control of every page, changed three times, and after a reload."""

import pytest
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
