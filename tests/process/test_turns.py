"""Whose turn it is: no run waits behind a blocked one, and browsers get their share, whatever the queue."""

import math
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from tiny import tiny_config

from kd_core.jobs.turns import Span, forecast, turns
from kd_core.runs.run import new_id
from tests.process.test_placement import A1, G1, finish, seeds, wait_until
from tests.process.test_placement import lab as lab  # a fixture

BROWSERS = "abcd"


@some.composite
def queues(draw):
    """Waiting runs of two to four browsers in the order of their coming, some asked for by several, and their teachers.

    A student's teacher waits too, in any browser's queue and in any place, or is missing.
    """
    browsers = BROWSERS[: draw(some.integers(2, 4))]
    ids = [f"r{number}" for number in range(draw(some.integers(1, 12)))]
    waiting = {run_id: draw(some.sampled_from(browsers)) for run_id in ids}
    joined = {run_id: draw(some.sets(some.sampled_from(browsers), max_size=1)) for run_id in ids}
    shuffled = draw(some.permutations(ids))
    teachers = {
        student: draw(some.sampled_from(shuffled[:place]))
        for place, student in enumerate(shuffled)
        if place and draw(some.booleans())
    }
    at_work = draw(some.dictionaries(some.sampled_from(browsers), some.integers(0, 3)))
    return waiting, joined, teachers, at_work


@given(queues(), some.integers(1, 4))
@settings(max_examples=300, deadline=None)
def test_no_run_waits_behind_a_blocked_one_and_browsers_share_turns(queue, workers):
    """Round after round every worker is given what is first; what was given ends, and its students may begin."""
    waiting, joined, teachers, at_work = queue
    served, done = {}, set()
    while len(done) < len(waiting):
        left = {run_id: browser for run_id, browser in waiting.items() if run_id not in done}
        blocked = {run_id for run_id in left if run_id in teachers and teachers[run_id] not in done}
        order = turns(left, at_work, served, blocked, joined)
        assert sorted(order) == sorted(left.keys() - blocked), "just those that may begin have a turn"
        given_to = order[:workers]
        assert len(given_to) == min(workers, len(left) - len(blocked)), "no worker stands idle behind a blocked run"
        load = Counter(at_work)
        for place, run_id in enumerate(given_to):
            mine = {left[run_id], *joined[run_id]}
            rivals = {browser for other in order[place:] for browser in (left[other], *joined[other])}
            fewest = min(load[browser] for browser in rivals)
            assert min(load[browser] for browser in mine) == fewest, "a browser that has a run to give was passed over"
            load.update(mine)
            served |= dict.fromkeys(mine, len(done) + place)
        done |= {*given_to}
        at_work = {}


@given(queues())
@settings(max_examples=200, deadline=None)
def test_a_browsers_runs_that_may_begin_keep_their_order(queue):
    waiting, joined, teachers, at_work = queue
    order = turns(waiting, at_work, {}, teachers, joined)
    for browser in BROWSERS:
        own = [run_id for run_id in waiting if run_id not in teachers and waiting[run_id] == browser]
        assert [run_id for run_id in order if run_id in own and not joined[run_id]] == [
            run_id for run_id in own if not joined[run_id]
        ]


def test_a_blocked_student_costs_its_browser_no_turn():
    """A = [student, its teacher that had yielded], B = six runs: all six went first."""
    waiting = {"student": "A", "teacher": "A"} | {f"b{number}": "B" for number in range(6)}
    order = turns(waiting, {}, {"A": 1.0}, blocked={"student"})
    assert order.index("teacher") == 1
    assert "student" not in order


def test_what_two_want_comes_with_the_first_turn_of_either_and_counts_for_both():
    waiting = {"a1": "a", "a2": "a", "both": "a", "b1": "b", "c1": "c"}
    assert turns(waiting, {}, {}, joined={"both": ("b",)}) == ["a1", "both", "c1", "b1", "a2"]


def test_the_queue_gives_no_browser_all_workers_while_anothers_teacher_waits(lab):
    """Two browsers, one worker: A's teacher yields to B and then is next, though its students stand before it."""
    queue, there = lab(A1)
    teacher, student = new_id(), new_id()
    theirs = {teacher: tiny_config(seed=91), student: tiny_config("distilled", teachers=(teacher,), seed=91)}
    queue.submit(theirs, "anna")
    wait_until(lambda: there.of(teacher))
    others = queue.submit({new_id(): config for config in seeds(3)}, "ben")
    wait_until(lambda: len(queue.lineup()) == 5)
    assert dict(queue.lineup())[student] is None
    there.hear({"key": there.of(teacher).key, "run_id": teacher, "events": [{"kind": "queued"}]})
    first = there.of(teacher)
    first.task.end()
    wait_until(lambda: there.of(others[0]))
    wait_until(lambda: dict(queue.lineup()).get(teacher) == 1)
    finish(there, others[0])
    wait_until(lambda: there.of(teacher) is not first)
    assert there.of(others[1]) is None
    finish(there, teacher)
    wait_until(lambda: there.of(others[1]))
    assert dict(queue.lineup())[student] == 1
    finish(there, others[1])
    wait_until(lambda: there.of(student))


def test_a_run_that_no_free_worker_suits_takes_no_turn(lab):
    """Anna's first waits for the GPU: her second gets the processor before ben's second does."""
    queue, there = lab(G1, A1)
    (on_gpu,) = queue.submit({new_id(): seeds(1, device="cuda")[0]}, "carl")
    (on_cpu,) = queue.submit({new_id(): seeds(1, device="cpu")[0]}, "ben")
    wait_until(lambda: there.of(on_gpu) and there.of(on_cpu))
    mine = queue.submit({new_id(): seeds(1, device=device)[0] for device in ("cuda", "cpu")}, "anna")
    theirs = queue.submit({new_id(): config for config in seeds(2, device="cpu")}, "ben")
    wait_until(lambda: len(queue.lineup()) == 6)
    finish(there, on_cpu)
    wait_until(lambda: there.of(mine[1]) or there.of(theirs[0]))
    assert there.of(mine[1])
    assert there.of(mine[0]) is None


# ---------------------------------------------------------------------------------------------------- equal configs


def story(**changes):
    from tests.process.test_queue import tiny_story

    return tiny_story(**changes)


@pytest.fixture
def limited(store, monkeypatch):
    """A queue that holds four runs, three of one browser, and starts none."""
    from kd_core.jobs.dispatch import Dispatcher
    from kd_core.jobs.queue import Jobs
    from kd_core.jobs.turns import Limits

    monkeypatch.setattr(Dispatcher, "_serve", lambda dispatcher: None)
    queue = Jobs(store, limits=Limits(queue=4, browser=3))
    yield queue
    queue.close()


def test_two_who_press_train_on_the_same_settings_train_each_network_once(limited):
    first, second = limited.submit(story(), "anna"), limited.submit(story(), "ben")
    assert first == second
    runs = limited.store.runs()
    assert len(runs) == 3
    assert {run.browsers for run in runs} == {("anna", "ben")}


def test_a_student_that_differs_learns_from_the_teacher_that_trains_already(limited):
    teacher, baseline, _ = limited.submit(story(), "anna")
    ids = limited.submit(story(temperature=3.0), "ben")
    assert ids[:2] == [teacher, baseline]
    mine = limited.store.get(ids[2])
    assert (mine.browsers, mine.config.distillation.teachers) == (("ben",), (teacher,))
    assert limited.store.get(teacher).browsers == ("anna", "ben")


def test_ones_stop_takes_a_run_from_nobody_else(limited):
    (run_id,) = limited.submit({new_id(): tiny_config()}, "anna")
    limited.submit({new_id(): tiny_config()}, "ben")
    assert not limited.ask(run_id, "stop", "anna")
    assert limited.store.request(run_id) is None
    assert limited.store.get(run_id).browsers == ("ben",)
    assert limited.ask(run_id, "stop", "ben")
    assert limited.store.request(run_id) == "stop"


def test_the_presenter_stops_a_run_for_all(limited):
    (run_id,) = limited.submit({new_id(): tiny_config()}, "anna")
    limited.submit({new_id(): tiny_config()}, "ben")
    assert limited.ask(run_id, "stop", "carl")
    assert limited.store.request(run_id) == "stop"


def test_what_was_asked_to_end_is_not_joined(limited):
    (first,) = limited.submit({new_id(): tiny_config()}, "anna")
    limited.ask(first, "stop", "anna")
    (second,) = limited.submit({new_id(): tiny_config()}, "ben")
    assert first != second


def test_a_run_that_is_joined_takes_no_room_and_counts_for_each_who_asked(limited):
    limited.submit(story(), "anna")
    limited.submit(story(), "ben")
    assert len(limited.store.runs()) == 3
    with pytest.raises(Exception, match="3 of your runs wait or are at work, and this server takes 3 at most"):
        limited.submit({new_id(): tiny_config(seed=5)}, "ben")
    limited.submit({new_id(): tiny_config(seed=5)}, "cora")


def test_a_grid_is_joined_whole_or_not_at_all(store, monkeypatch):
    from kd_core.jobs.dispatch import Dispatcher
    from kd_core.jobs.queue import Jobs

    monkeypatch.setattr(Dispatcher, "_serve", lambda dispatcher: None)
    queue = Jobs(store)
    grid = [tiny_config("baseline", seed=seed) for seed in range(5)]
    first = queue.submit({new_id(): config for config in grid}, "anna")
    assert queue.submit({new_id(): config for config in grid}, "ben") == first
    other = queue.submit({new_id(): config for config in [*grid[:4], tiny_config("baseline", seed=9)]}, "cora")
    assert not {*other} & {*first}
    queue.close()


# -------------------------------------------------------------------------------------------------------- forecasts


def test_a_forecast_counts_what_stands_before():
    """One worker that is free in 5 s, and 30 runs of 9 s before a teacher of 6 s and its student of 3 s."""
    before = {f"r{number}": 9.0 for number in range(30)}
    seconds = before | {"teacher": 6.0, "student": 3.0}
    spans = forecast([*seconds], seconds, {"student": ["teacher"]}, [5.0])
    assert spans["teacher"] == Span(275.0, 281.0)
    assert spans["student"] == Span(281.0, 284.0)


def test_a_forecast_lets_nothing_wait_behind_a_student_whose_teacher_trains():
    seconds = {"student": 4.0, "other": 2.0}
    spans = forecast([*seconds], seconds, {"student": ["teacher"]}, [10.0, 0.0], {"teacher": Span(0.0, 10.0)})
    assert spans["other"] == Span(0.0, 2.0)
    assert spans["student"] == Span(10.0, 14.0)


def test_the_queue_says_when_a_browsers_new_runs_will_be_done(limited):
    """One worker, runs of 9 s: each browser's first comes before another's second."""
    limited.submit({new_id(): tiny_config(seed=seed) for seed in range(3)}, "anna")
    limited.submit({new_id(): tiny_config(seed=7)}, "ben")
    limited._dispatcher.lineup = tuple((run.id, place) for place, run in enumerate(limited.store.runs()[::-1], start=1))
    mine, again = new_id(), new_id()
    configs = {mine: tiny_config(seed=8), again: tiny_config(seed=7)}
    spans = limited.forecast(lambda config: 9.0, configs, "cora")
    assert spans[mine] == Span(18.0, 27.0)
    assert spans[again].ends == 18.0, "what is joined is done when the other is"


def test_an_unknown_time_gives_no_forecast_and_a_running_run_its_pace(limited):
    """1 s was shown beside a row that had 1 min 13 s left."""
    teacher, student = limited.submit({new_id(): tiny_config(seed=1), new_id(): tiny_config(seed=2)}, "anna")
    started = {"kind": "started", "step": 0, "total_steps": 100, "environment": {}}
    record = {"epoch": 0.5, "loss": 1.0, "soft_loss": None, "hard_loss": 1.0, "learning_rate": 0.1}
    limited.store.apply(teacher, started, {"kind": "step", "step": 25, "samples_per_second": 100.0, **record})
    limited._dispatcher.lineup = ((teacher, 0), (student, 1))
    limited._dispatcher.roster.works = {"w": SimpleNamespace(run_ids=[teacher], finding=None)}
    left = 0.75 * tiny_config().training.epochs * tiny_config().examples / 100
    spans = limited.forecast(lambda config: None)
    limited._dispatcher.roster.works, limited._dispatcher.lineup = {}, ()
    assert limited.forecast(lambda config: 1.0, {"same": tiny_config(seed=1)})["same"] == (0.0, math.inf)
    assert spans[teacher].ends == pytest.approx(left)
    assert spans[student] == (pytest.approx(left), math.inf)
