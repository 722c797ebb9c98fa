"""What was chosen stands: every control of every page, changed three times, and after a reload."""

import re

import pytest
from serving import ROOT, serve
from tiny import tiny_config, tiny_story
from walking import Walk, pages_of

from kd_core.experiments import story as experiments_story
from kd_core.experiments.sweep import SweepConfig
from kd_core.jobs import execute
from kd_core.runs.run import new_id
from kd_core.runs.store import Store

TITLES = re.findall(r'st\.Page\([^)]*title="([^"]+)"', (ROOT / "app.py").read_text())
"""Of the navigation, so that each page is a test of its own."""

ASKED_ANEW = {
    "Overview": {"Data set"},
    "Temperature": {"Width of the brush"},
    "Train": {"Use what is trained already", "Epoch"},
    "Compare": {"Speed"},
    "Sweep": {
        "Teacher",
        "Units in the hidden layer",
        "Seeds",
        "Temperatures",
        "Alphas (weight of the soft loss)",
        "Epochs",
    },
}
"""By page, what is no view of it: fields of a form that starts something, a tool in the hand, the pace of a replay."""


pytestmark = pytest.mark.xdist_group("walk")
TRAIN = pytest.mark.xdist_group("walk of Train")
WALKS = [pytest.param(title, marks=[TRAIN] if title == "Train" else []) for title in TITLES]
"""The train page has as many controls as all others together: another worker walks it."""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Of a server with the models that ship, a finished story and two small sweeps."""
    home = tmp_path_factory.mktemp("home")
    store = Store(home)
    story = experiments_story.plan(tiny_story()).to_train
    teacher = next(iter(story))
    sweep = SweepConfig(
        dataset="digits",
        teachers=(teacher,),
        model=tiny_story().student,
        widths=(8,),
        temperatures=(1.0, 4.0),
        alphas=(0.9,),
        seeds=(0,),
        training=tiny_config(epochs=1).training,
    )
    sweeps = [{new_id(): cell for cell in sweep.replace(alphas=(alpha,)).cells()} for alpha in (0.5, 0.9)]
    for batch in (story, *sweeps):
        store.create(batch)
        for run_id in batch:
            execute.run_here(store, run_id, lambda event: None, lambda: None)
    store.close()
    with serve(home, ships=True) as server:
        yield server.address


def test_each_page_of_the_navigation_is_walked(address, new_page):
    assert [title for title, _ in pages_of(new_page(), address)] == TITLES


@pytest.mark.timeout(600)  # of the train page on a machine that does other things beside
@pytest.mark.parametrize("title", WALKS)
def test_what_is_chosen_stands(address, new_page, title):
    page = new_page()
    walk = Walk(page, dict(pages_of(page, address))[title])
    walk.open()
    walk.visit()
    asked_anew = ASKED_ANEW.get(title, ())
    lost = [
        f"{sentence}: not in the address" for label, sentence in walk.not_carried.items() if label not in asked_anew
    ]
    assert walk.changes or walk.visited == walk.without_choice
    assert not walk.failures + lost, "\n".join([f"{title}, {walk.changes} changes:", *walk.failures, *lost])
