"""The rules by which the load test judges: what is flat, and which run counts as lost."""

import json
from types import SimpleNamespace

import loops
import numpy as np
import pytest
from load import session
from load.judging import Followed, lost, memory, response_growth

from pages.shared.live import live

SECONDS = np.arange(0, 480, 2.0)


def growing(mb_a_minute, *, warm_up_mb=0.0, noise_mb=5.0, seconds=SECONDS):
    """Samples of a process that grows evenly, after a warm-up of a minute."""
    noise = np.random.default_rng(0).normal(0, noise_mb, len(seconds))
    warming = warm_up_mb * np.minimum(seconds / 60, 1)
    return list(zip(seconds, 500 + warming + mb_a_minute * seconds / 60 + noise, strict=True))


def test_a_process_that_only_wavers_is_flat():
    assert memory(growing(0)).flat


def test_a_leak_is_not_flat_and_its_slope_is_told():
    judged = memory(growing(20))
    assert not judged.flat
    assert judged.slope_mb_a_minute == pytest.approx(20, abs=2)


def test_a_slow_leak_is_found_by_its_level_in_a_long_load():
    judged = memory(growing(9, seconds=np.arange(0, 900, 2.0)))
    assert judged.slope_mb_a_minute < 10
    assert not judged.flat


@pytest.mark.parametrize(("mb_a_minute", "flat"), [(0, True), (20, False)])
def test_a_worker_is_judged_by_its_memory_while_it_trains(mb_a_minute, flat):
    busy = np.random.default_rng(1).integers(0, 2, len(SECONDS) // 5).repeat(5) * (SECONDS < 440)  # in spans of 10 s
    samples = [(second, mb + 60 * training) for (second, mb), training in zip(growing(mb_a_minute), busy, strict=True)]
    assert memory(samples).flat is flat


def test_growth_while_it_warms_up_is_forgiven():
    judged = memory(growing(0, warm_up_mb=300))
    assert judged.flat
    assert judged.warm_mb == pytest.approx(810, abs=10)  # its peaks


def test_one_leap_near_the_end_is_not_flat_however_the_line_runs():
    leap = [(second, mb + (200 if second > 420 else 0)) for second, mb in growing(0)]
    assert memory(leap).slope_mb_a_minute < 10
    assert not memory(leap).flat


def test_a_process_that_was_there_for_a_moment_is_not_judged():
    assert memory(growing(0)[:5]) is None


@pytest.mark.parametrize(
    ("last_request", "status", "counts"),
    [
        ("", "finished", False),
        ("", "stopped", True),
        ("", "failed", True),
        ("", "interrupted", True),
        ("", "queued", True),
        ("stop", "stopped", False),
        ("stop", "finished", False),  # it was done before it heard
        ("stop", "paused", True),
        ("pause", "paused", False),
        ("pause", "stopped", True),
        ("resume", "finished", False),
        ("resume", "paused", True),
    ],
)
def test_a_run_is_lost_unless_it_ended_as_its_client_asked(last_request, status, counts):
    assert bool(lost("r", Followed(1, last_request), {"r": status}, (), set())) is counts


def test_a_run_that_the_store_does_not_know_is_lost():
    assert lost("r", Followed(1), {}, (), set()) == "run r is not in the store"


def test_what_the_presenter_stopped_at_the_end_is_not_lost():
    assert lost("r", Followed(1), {"r": "stopped"}, (), {"r"}) is None


def test_a_student_whose_teacher_was_stopped_is_not_lost():
    assert lost("r", Followed(1), {"r": "stopped", "t": "stopped"}, ("t",), set()) is None
    assert lost("r", Followed(1), {"r": "stopped", "t": "finished"}, ("t",), set()) is not None


def test_only_responses_that_grow_after_five_minutes_count_as_growing():
    rng = np.random.default_rng(0)
    at = np.linspace(0, 1200, 6_000)
    took = rng.exponential(0.2, at.size)
    assert 0.85 < response_growth([*zip(at, took, strict=True)]) < 1.15
    assert 0.85 < response_growth([*zip(at, np.where(at < 300, took / 3, took), strict=True)]) < 1.15
    assert response_growth([*zip(at, took * (1 + at / 1200), strict=True)]) > 1.25
    assert response_growth([*zip(at[at < 300], took[at < 300], strict=True)]) is None


def test_what_a_client_presses_in_the_live_view_is_what_the_page_hears():
    sent = []

    async def send(once):
        sent.extend(once)

    view = session._LiveView(SimpleNamespace(send=send), "live")
    view.data = {"runs": [{"id": "own", "mine": True}, {"id": "other", "mine": False}]}
    loops.run(view.request({"own": "stop", "other": "resume"}))
    [event] = json.loads(sent[0].json_trigger_value)
    assert event["event"] == "asked"
    assert live._requests(event["value"]) == [("own", "stop", True), ("other", "resume", False)]
