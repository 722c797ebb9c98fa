"""What was chosen stands on the train page, which has as many controls as all others together: a file of its own."""

import pytest
from walking import assert_what_is_chosen_stands


@pytest.mark.timeout(1800)  # 250 changes: 480 s were seen beside other work, and 600 on a slower machine
def test_what_is_chosen_stands_on_the_train_page(walked_address, new_page):
    assert_what_is_chosen_stands(new_page(), walked_address, "Train")
