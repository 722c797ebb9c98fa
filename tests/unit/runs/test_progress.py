"""What watchers are told: whoever asks, and whenever, ends with what the store has, in JSON that any browser reads."""

import itertools
import json
import random

import pytest
from tiny import tiny_config

from kd_core.runs.progress import PROBE_EPOCHS, Seen, parse_seen, probe_updates, updates
from kd_core.runs.run import PARTS

STEPS_PER_EPOCH = 20
EPOCHS = 30
STARTED = {"kind": "started", "step": 0, "total_steps": STEPS_PER_EPOCH * EPOCHS, "environment": {}}
POINTS_KEPT = 4000  # as in live.js


@pytest.fixture
def run_id(store):
    store.create({"abc": tiny_config("baseline", epochs=EPOCHS)})
    return "abc"


def step(number, **changes):
    return {
        "kind": "step", "step": number, "epoch": number / STEPS_PER_EPOCH, "loss": 1 / number, "soft_loss": None,
        "hard_loss": 2 / number, "learning_rate": 0.1, "samples_per_second": 1000.0, **changes,
    }  # fmt: skip


def epoch(number, **changes):
    return {
        **step(number * STEPS_PER_EPOCH), "kind": "epoch", "epoch": number, "validation_errors": 3,
        "validation_accuracy": 0.9, "best": True, "seconds": 1.0, **changes,
    }  # fmt: skip


def probe(number, *logits):
    return {"kind": "probe", "epoch": number, "step": number * STEPS_PER_EPOCH, "logits": list(logits)}


def training_events(first, last, draw):
    """What training reports from one step to another: a record a step, with losses by draw."""
    for number in range(first, last + 1):
        losses = {"loss": draw.random(), "hard_loss": draw.random()}
        if number % STEPS_PER_EPOCH == 0:
            yield epoch(number // STEPS_PER_EPOCH, **losses)
            yield probe(number // STEPS_PER_EPOCH, [draw.random(), 2.0], [3.0, draw.random()])
        else:
            yield step(number, **losses)


def a_run_with_interruptions(draw):
    """All events of a run that is taken up again a few times, each time from a checkpoint of some epochs before."""
    begin, events = 0, []
    while True:
        end = min(STEPS_PER_EPOCH * EPOCHS, begin + draw.randint(50, 250))
        events += [{**STARTED, "step": begin}]
        if begin == 0:
            events.append(probe(0, [0.0, 1.0], [1.0, 0.0]))
        events += training_events(begin + 1, end, draw)
        if end == STEPS_PER_EPOCH * EPOCHS:
            return [*events, {"kind": "finished", "results": {"test_errors": 7, "test_examples": 445}}]
        begin = max(0, end - draw.randint(1, 60))


class Browser:
    """Keeps what it is told as live.js and replay.js do, and says what it has seen as they do."""

    def __init__(self, store):
        self.store, self.runs, self.probes = store, {}, {}

    def snapshot(self):
        """The first half of the server's answer, between which and the second half more may be written."""
        return self.store.some(["abc"])

    def poll(self, runs):
        known = [run for run in self.runs.values() if all(len(x) < POINTS_KEPT for x, _ in run["steps"].values())]
        seen = ",".join(f"{run['id']}:{run['attempt']}:{run['step']}" for run in known)
        for answer in answered(updates(self.store, runs, parse_seen(seen))):
            self.take(answer)

    def take(self, answer):
        known = self.runs.get(answer["id"])
        if answer["whole"] or not known:
            self.runs[answer["id"]] = answer
            return
        for part, (epochs, values) in answer["steps"].items():
            x, y = known["steps"][part]
            last = x[-1] if x else -1
            for position, value in zip(epochs, values, strict=True):
                if position > last:
                    x.append(position)
                    y.append(value)
        for name, values in answer["epochs"].items():
            known["epochs"][name] += values
        self.runs[answer["id"]] = {**answer, "steps": known["steps"], "epochs": known["epochs"]}

    def poll_probes(self, runs, image):
        seen = ",".join(f"{state['id']}:{state['attempt']}:{state['epochs'][-1]}" for state in self.probes.values())
        for answer in answered(probe_updates(self.store, runs, image, parse_seen(seen))):
            if not answer["whole"]:
                known = self.probes[answer["id"]]
                answer["epochs"] = known["epochs"] + answer["epochs"]
                answer["logits"] = known["logits"] + answer["logits"]
            if answer["epochs"]:
                self.probes[answer["id"]] = answer


def answered(answer):
    """What arrives in a browser: refuses what JSON has no word for."""
    return json.loads(json.dumps(answer, allow_nan=False))


# --------------------------------------------------------------------------------------------------------- seen


def test_what_was_seen_is_read_back():
    assert parse_seen("abc:1:20,def:0:0") == {"abc": Seen(1, 20), "def": Seen(0, 0)}
    assert parse_seen("") == {}


@pytest.mark.parametrize(
    "text",
    [
        "abc", "abc:1", "abc:1:", ":1:2", "abc:-1:2", "abc:1:2:3", "abc:1.5:2", "abc:x:2", "../x:1:2", "a b:1:2",
        "abc:1:2;drop table runs", " abc:1:2", "abc:1:2 ", f"{'a' * 41}:1:2", f"abc:{10**15}:2", f"abc:1:{10**15}",
        "abc:1e3:2", ",,,", "\0:1:2", "é:1:2", "%s:1:2", "abc:1:'", "a" * 100_000, ":" * 100_000,
    ],
    ids=lambda text: ascii(text)[1:20],
)  # fmt: skip
def test_what_is_not_of_its_form_is_left_out_and_hides_nothing_beside_it(text):
    assert parse_seen(text) == {}
    assert parse_seen(f"ok:1:2,{text},good:3:4") == {"ok": Seen(1, 2), "good": Seen(3, 4)}


# -------------------------------------------------------------------------------------------------------- runs


@pytest.mark.parametrize("seed", range(6))
def test_a_watcher_polling_at_any_moment_ends_with_just_the_stores_records(store, run_id, seed):
    """Records arrive and runs are taken up again between its questions, and between the halves of an answer."""
    draw = random.Random(seed)
    watcher, late = Browser(store), Browser(store)
    events = a_run_with_interruptions(draw)
    snapshot, snapshot_probes = watcher.snapshot(), watcher.snapshot()
    while events:
        count = draw.choice([1, 1, 3, 10, 25])
        store.apply(run_id, *events[:count])
        events = events[count:]
        if draw.random() < 0.5:
            watcher.poll(snapshot if draw.random() < 0.5 else watcher.snapshot())
        if draw.random() < 0.5:
            watcher.poll_probes(snapshot_probes if draw.random() < 0.5 else watcher.snapshot(), image=1)
        if draw.random() < 0.5:
            snapshot = snapshot_probes = watcher.snapshot()
    for browser in (watcher, late):
        for _ in range(2):
            browser.poll(browser.snapshot())
            browser.poll_probes(browser.snapshot(), image=1)
        seen = browser.runs[run_id]
        assert (seen["status"], seen["step"], seen["test_errors"]) == ("finished", STEPS_PER_EPOCH * EPOCHS, 7)
        for part in PARTS:
            written = [record for record in store.records(run_id, "step") if record[part] is not None]
            x, y = seen["steps"][part]
            assert x == [pytest.approx(record["epoch"], abs=1e-4) for record in written]
            assert y == [pytest.approx(record[part], rel=1e-4) for record in written]
        written = store.records(run_id, "epoch")
        assert [record["epoch"] for record in written] == list(range(1, EPOCHS + 1))
        for name, values in seen["epochs"].items():
            assert values == [record[name] for record in written]
        assert browser.probes[run_id]["epochs"] == list(range(EPOCHS + 1))
        assert browser.probes[run_id]["logits"] == [logits[1] for _, logits in store.probes(run_id)]


def test_where_nothing_is_new_nothing_is_told_but_the_state(store, run_id):
    store.apply(run_id, STARTED, step(2), epoch(1))
    (first,) = updates(store, store.some([run_id]), {})
    assert first["whole"]
    assert first["epochs"]["epoch"] == [1]
    (again,) = updates(store, store.some([run_id]), {run_id: Seen(first["attempt"], first["step"])})
    assert not again["whole"]
    assert again["steps"] == {part: ([], []) for part in PARTS}
    assert all(values == [] for values in again["epochs"].values())
    assert (again["status"], again["step"]) == ("running", STEPS_PER_EPOCH)


def test_a_run_taken_up_again_is_told_whole_and_without_what_it_lost(store, run_id):
    store.apply(run_id, STARTED, step(2), step(4), epoch(1), step(30))
    store.apply(run_id, {"kind": "paused"})
    seen = {run_id: Seen(1, 30)}
    (paused,) = updates(store, store.some([run_id]), seen)
    assert not paused["whole"]
    store.apply(run_id, {**STARTED, "step": 4}, step(6, loss=0.125))
    (again,) = updates(store, store.some([run_id]), seen)
    assert again["whole"]
    assert again["attempt"] == 2
    assert again["steps"]["loss"] == ([0.1, 0.2, 0.3], [0.5, 0.25, 0.125])
    assert again["epochs"]["epoch"] == []


def test_a_step_beyond_the_runs_own_is_answered_with_the_whole(store, run_id):
    store.apply(run_id, STARTED, step(2))
    (answer,) = updates(store, store.some([run_id]), {run_id: Seen(1, 999)})
    assert answer["whole"]
    assert answer["steps"]["loss"] == ([0.1], [0.5])


def test_a_run_that_waits_has_a_state_and_no_records(store, run_id):
    (answer,) = answered(updates(store, store.some([run_id]), {}))
    assert (answer["status"], answer["role"], answer["progress"], answer["epochs_done"]) == ("queued", "baseline", 0, 0)
    assert answer["epochs_total"] == EPOCHS
    assert answer["seconds_left"] is answer["samples_per_second"] is answer["test_errors"] is None


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_losses_that_ran_away_never_reach_the_answer(store, run_id, value):
    broken = {"loss": value, "hard_loss": value}
    store.apply(run_id, STARTED, step(2), step(4, **broken), epoch(1, **broken), step(22))
    (whole,) = answered(updates(store, store.some([run_id]), {}))
    assert whole["steps"]["loss"] == [[0.1, 1.1], [0.5, pytest.approx(1 / 22, rel=1e-4)]]
    assert whole["epochs"]["loss"] == [None]
    assert whole["epochs"]["validation_accuracy"] == [0.9]
    (more,) = answered(updates(store, store.some([run_id]), {run_id: Seen(1, 2)}))
    assert more["steps"]["loss"][0] == [1.1]
    assert more["epochs"]["loss"] == [None]


def test_time_left_is_for_the_remaining_images_at_the_last_epochs_pace(store, run_id):
    """A quarter of 30 epochs of 1,239 images is done, at 1,000 images a second; then half, at 4,000."""
    store.apply(run_id, STARTED, step(150))
    (answer,) = updates(store, store.some([run_id]), {})
    assert answer["progress"] == 0.25
    assert answer["epochs_done"] == 7.5
    assert answer["seconds_left"] == pytest.approx(0.75 * 30 * 1239 / 1000)
    assert answer["learning_rate"] == 0.1
    store.apply(run_id, *(step(number, samples_per_second=4000.0) for number in range(241, 300)), epoch(15))
    (answer,) = updates(store, store.some([run_id]), {})
    assert answer["seconds_left"] == pytest.approx(0.5 * 30 * 1239 / 4000)
    store.apply(run_id, {"kind": "paused"})
    (answer,) = updates(store, store.some([run_id]), {})
    assert answer["seconds_left"] is None


def test_time_left_does_not_jump_where_a_record_had_to_wait(store, run_id):
    """8 h 41 min, 3 min and 3 h were read within three minutes, of records that waited for another program."""
    draw, seen = random.Random(0), []
    store.apply(run_id, STARTED, step(1, samples_per_second=3.0))
    assert updates(store, store.some([run_id]), {})[0]["seconds_left"] is None, "the first step pays for the start"
    for number in range(2, 400):
        pace = 1000 * draw.uniform(0.8, 1.25) / (300 if draw.random() < 0.1 else 1)
        store.apply(run_id, step(number, samples_per_second=pace))
        seen.append(updates(store, store.some([run_id]), {run_id: Seen(1, number)})[0]["seconds_left"])
    assert max(max(a, b) / min(a, b) for a, b in itertools.pairwise(seen[5:])) < 1.3


def test_each_run_is_told_by_how_far_it_was_seen_itself(store, run_id):
    store.create({"def": tiny_config(seed=1)})
    for each in (run_id, "def"):
        store.apply(each, STARTED, step(2), step(4))
    first, second = updates(store, store.some(["def", run_id]), {"def": Seen(1, 2)})
    assert (first["id"], first["whole"], first["steps"]["loss"][1]) == ("def", False, [0.25])
    assert (second["id"], second["whole"], second["steps"]["loss"][1]) == (run_id, True, [0.5, 0.25])


# ------------------------------------------------------------------------------------------------------- probes


def test_probes_are_told_from_where_they_were_seen_and_whole_after_a_restart(store, run_id):
    store.apply(run_id, STARTED, *(probe(number, [number, 0], [0, number]) for number in range(4)))
    runs = store.some([run_id])
    (answer,) = probe_updates(store, runs, 1, {})
    assert answer == {
        "id": run_id, "attempt": 1, "whole": True, "epochs": [0, 1, 2, 3], "logits": [[0, 0], [0, 1], [0, 2], [0, 3]],
    }  # fmt: skip
    (answer,) = probe_updates(store, runs, 0, {run_id: Seen(1, 2)})
    assert (answer["whole"], answer["epochs"], answer["logits"]) == (False, [3], [[3, 0]])
    (answer,) = probe_updates(store, runs, 0, {run_id: Seen(1, 3)})
    assert (answer["whole"], answer["epochs"], answer["logits"]) == (False, [], [])
    store.apply(run_id, {**STARTED, "step": STEPS_PER_EPOCH}, probe(2, [9, 9], [9, 9]))
    (answer,) = probe_updates(store, store.some([run_id]), 0, {run_id: Seen(1, 3)})
    assert (answer["whole"], answer["epochs"], answer["logits"]) == (True, [0, 1, 2], [[0, 0], [1, 0], [9, 9]])


def test_a_probe_image_that_is_not_there_is_told_as_nothing(store, run_id):
    store.apply(run_id, STARTED, probe(0, [1, 2]))
    (answer,) = probe_updates(store, store.some([run_id]), 10**6, {})
    assert (answer["epochs"], answer["logits"]) == ([], [])


@pytest.mark.parametrize("count", [1, 2, PROBE_EPOCHS - 1, PROBE_EPOCHS, PROBE_EPOCHS + 1, 2 * PROBE_EPOCHS, 1001])
def test_probes_of_many_epochs_are_thinned_evenly_with_the_first_and_the_last(store, run_id, count):
    store.apply(run_id, STARTED, *(probe(number, [number, 0]) for number in range(count)))
    (answer,) = probe_updates(store, store.some([run_id]), 0, {})
    epochs = answer["epochs"]
    assert (epochs[0], epochs[-1]) == (0, count - 1)
    assert [logits[0] for logits in answer["logits"]] == epochs
    assert min(count, PROBE_EPOCHS // 2) <= len(epochs) <= PROBE_EPOCHS
    gaps = {later - earlier for earlier, later in itertools.pairwise(epochs[:-1])}
    assert len(gaps) <= 1


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_logits_that_ran_away_never_reach_the_answer(store, run_id, value):
    store.apply(run_id, STARTED, probe(0, [1, 2]), probe(1, [value, 2]), probe(2, [3, 4]), probe(3, [5, value]))
    (answer,) = answered(probe_updates(store, store.some([run_id]), 0, {}))
    assert (answer["epochs"], answer["logits"]) == ([0, 2], [[1, 2], [3, 4]])


def test_the_answer_to_many_watchers_of_a_long_run_stays_small(store, run_id):
    """What a screen cannot show is not sent: a curve of 15,000 records is told in a few tens of kilobytes."""
    store.apply(run_id, STARTED, *(step(number) for number in range(1, 15_001)))
    (answer,) = updates(store, store.some([run_id]), {})
    assert len(json.dumps(answer)) < 60_000
