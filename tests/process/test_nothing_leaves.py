"""Nobody is told that KD Lab runs, and nothing is left beside its own folders, whatever page or command is used."""

import os

import pytest
import sealed

pytestmark = pytest.mark.timeout(400)


def seen_in(part, folder):
    if message := sealed.problem():
        pytest.fail(message) if os.environ.get("KD_NO_SKIPS") else pytest.skip(message)
    return sealed.run(part, folder)


def test_no_page_looks_a_name_up_or_leaves_a_file_elsewhere(tmp_path):
    seen = seen_in("app", tmp_path)
    assert (seen["asked"], seen["stray"], seen["home"]) == ([], [], [])
    assert len(seen["pages"]) > 8
    assert seen["wrong"] == []


def test_no_command_looks_a_name_up_or_leaves_a_file_elsewhere(tmp_path):
    seen = seen_in("shell", tmp_path)
    assert (seen["asked"], seen["stray"], seen["home"]) == ([], [], [])
    assert seen["commands"] == seen["tried"], "add the new command's words to tests/helpers/sealed.py"
    assert {name for name, code in seen["codes"].items() if code} == set()
    assert seen["download"], "a download that was asked for looks its host up, so the recorder sees nothing"
    assert seen["recorded"], "the recorder of files sees nothing"
