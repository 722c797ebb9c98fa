"""What was chosen stands on the train page, which has as many controls as all others together: a file of its own."""

import pytest
from walking import assert_what_is_chosen_stands


@pytest.mark.timeout(600)  # on a machine that does other things beside
def test_what_is_chosen_stands_on_the_train_page(walked_address, new_page):
    assert_what_is_chosen_stands(new_page(), walked_address, "Train")
