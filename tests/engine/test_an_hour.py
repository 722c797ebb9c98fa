"""An hour of a watching tab leaves nothing behind in the server."""

import gc
import tracemalloc

from serving import ROOT

from pages.shared.server import routes
from tests.unit.pages.test_server import ask
from tests.unit.pages.test_server import watched as watched  # a fixture

OURS = [tracemalloc.Filter(True, f"{ROOT}/{top}/*") for top in ("kd_core", "pages")]
"""What code of ours allocated: threads of tests before this one allocate too."""


def steps(first, count):
    parts = {"loss": 1.5, "soft_loss": None, "hard_loss": 1.5, "learning_rate": 0.1, "samples_per_second": 100.0}
    return [{"kind": "step", "step": step, "epoch": step / 1000, **parts} for step in range(first, first + count)]


def test_a_tab_that_watches_for_an_hour_leaves_nothing_behind_in_the_server(watched):
    """An hour at one question and ten records a second; memory after it is that of its first minutes."""
    store, run_id = watched
    seen, sizes = "", []
    tracemalloc.start()
    try:
        for second in range(3600):
            store.apply(run_id, *steps(10 * second + 1, 10))
            _, answer = ask(routes._tell, f"runs={run_id}&seen={seen}&watcher=one")
            (run,) = answer["runs"]
            assert len(run["steps"]["loss"][0]) == 10
            seen = f"{run_id}:{run['attempt']}:{run['step']}"
            if second in (300, 3599):
                gc.collect()
                traces = tracemalloc.take_snapshot().filter_traces(OURS)
                sizes.append(sum(statistic.size for statistic in traces.statistics("filename")))
    finally:
        tracemalloc.stop()
    assert sizes[1] - sizes[0] < 200_000
