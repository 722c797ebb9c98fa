"""Which worker gets which run, and what becomes of work whose worker, host or scheduler is lost."""

import ctypes
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from dask import system
from tiny import tiny_config
from waiting import wait_until

from kd_core.jobs import dispatch as jobs_dispatch
from kd_core.jobs.cluster import SchedulerError, Worker
from kd_core.jobs.hosts import Host
from kd_core.jobs.queue import Jobs
from kd_core.runs.run import LOST_WORKER, new_id


class Task:
    """A Dask future that the test ends by hand."""

    def __init__(self):
        self.status, self.callbacks = "pending", []

    def add_done_callback(self, callback):
        self.callbacks.append(callback)

    def cancel(self):
        self.end("cancelled")

    def end(self, status="finished"):
        self.status = status
        for callback in self.callbacks:
            callback(self)

    def result(self):
        return {"found": True}


class Workers:
    """Stands for kd_core.jobs.cluster.Cluster: workers that come and go as the test says, and do nothing."""

    threads = 1

    def __init__(self, *workers):
        self.there, self.reachable, self.given, self.messages = list(workers), True, {}, []

    def __call__(self, scheduler, at_once, hear):
        self.hear = hear
        if not self.reachable:
            raise SchedulerError("The Dask scheduler at tcp://hub:1 does not answer (refused).")
        return self

    def workers(self):
        return list(self.there)

    def submit(self, worker, function, *arguments, key):
        task = Task()
        self.given[key] = SimpleNamespace(worker=worker, what=arguments[2], with_it=arguments[3], task=task, key=key)
        return task

    def tell(self, worker, function, *words):
        self.messages.append((worker, *words))

    def close(self):
        pass

    def of(self, run_id):
        """What was given last of a run."""
        return next((work for work in reversed(self.given.values()) if run_id in work.what), None)


A1, A2 = Worker("tcp://a:1", "a", gpu=False), Worker("tcp://a:2", "a", gpu=False)
B1, G1 = Worker("tcp://b:1", "b", gpu=False), Worker("tcp://g:1", "g", gpu=True)


@pytest.fixture
def lab(store, monkeypatch):
    """lab(worker, …) -> a queue and its stand-in workers."""
    monkeypatch.setattr(jobs_dispatch, "TICK_SECONDS", 0.05)
    queues = []

    def make(*workers):
        there = Workers(*workers)
        monkeypatch.setattr(jobs_dispatch, "Cluster", there)
        queue = Jobs(store, "tcp://hub:1")
        queues.append(queue)
        return queue, there

    yield make
    for queue in queues:
        queue.close()


def submit(queue, *configs):
    return queue.submit({new_id(): config for config in configs})


SEEDS = itertools.count()


def seeds(count, **training):
    """Configs that no other test run here has: equal ones would be joined."""
    return [tiny_config("baseline", seed=next(SEEDS), **training) for _ in range(count)]


def started(there, run_id, device="cpu"):
    """Its worker says that it has begun, and has come to step 7."""
    events = [
        {"kind": "started", "step": 0, "total_steps": 100, "environment": {"device": device}},
        {"kind": "step", "step": 7, "epoch": 0.1, "loss": 1.0},
    ]
    there.hear({"key": there.of(run_id).key, "run_id": run_id, "events": events})


def finish(there, run_id):
    """Its worker says that it has trained to its end."""
    there.hear({"key": there.of(run_id).key, "run_id": run_id, "events": [{"kind": "finished", "results": {"a": 1}}]})
    there.of(run_id).task.end()


def test_runs_spread_over_the_hosts_before_they_share_one(lab):
    queue, there = lab(A1, A2, B1)
    ids = submit(queue, *seeds(3))
    wait_until(lambda: len(there.given) == 3)
    assert {there.of(run_id).worker.host for run_id in ids[:2]} == {"a", "b"}
    assert {there.of(run_id).worker for run_id in ids} == {A1, A2, B1}


def test_a_run_that_may_choose_goes_where_a_gpu_is(lab):
    queue, there = lab(A1, G1)
    (run_id,) = submit(queue, *seeds(1))
    wait_until(lambda: there.of(run_id))
    assert there.of(run_id).worker == G1


def test_a_run_on_the_processor_leaves_the_gpu_to_others(lab):
    queue, there = lab(G1, A1)
    (run_id,) = submit(queue, *seeds(1, device="cpu"))
    wait_until(lambda: there.of(run_id))
    assert there.of(run_id).worker == A1


def test_a_run_that_asks_for_a_gpu_waits_for_one_that_is_busy(lab):
    queue, there = lab(G1, A1)
    first, second = submit(queue, *seeds(2, device="cuda"))
    wait_until(lambda: there.of(first))
    wait_until(lambda: queue.lineup() == ((first, 0), (second, 1)))
    finish(there, first)
    wait_until(lambda: there.of(second))
    assert there.of(second).worker == G1


def test_a_run_that_wants_a_missing_gpu_goes_to_a_worker_that_says_so(lab):
    queue, there = lab(A1)
    (run_id,) = submit(queue, *seeds(1, device="cuda"))
    wait_until(lambda: there.of(run_id))


def test_a_run_goes_on_on_the_kind_of_device_it_began_on(lab):
    queue, there = lab(A1)
    (run_id,) = submit(queue, *seeds(1))
    wait_until(lambda: there.of(run_id))
    started(there, run_id, device="cpu")
    wait_until(lambda: queue.store.get(run_id).step == 7)
    there.there = [G1, B1]
    wait_until(lambda: there.of(run_id).worker != A1)
    assert there.of(run_id).worker == B1


def test_a_lost_workers_run_waits_in_front_says_so_and_goes_on_elsewhere(lab):
    queue, there = lab(A1)
    first, second = submit(queue, *seeds(2))
    wait_until(lambda: there.of(first))
    started(there, first)
    wait_until(lambda: queue.store.get(first).status == "running")
    there.there = []
    wait_until(lambda: queue.store.get(first).message == LOST_WORKER)
    assert queue.store.get(first).status == "queued"
    wait_until(lambda: queue.lineup() == ((first, 1), (second, 2)))
    there.there = [B1]
    wait_until(lambda: there.of(first).worker == B1)


def test_what_a_worker_says_that_was_taken_for_lost_changes_nothing(lab):
    queue, there = lab(A1)
    (run_id,) = submit(queue, *seeds(1))
    wait_until(lambda: there.of(run_id))
    lost = there.of(run_id).key
    there.there = [B1]
    wait_until(lambda: there.of(run_id).worker == B1)
    there.hear({"key": lost, "run_id": run_id, "events": [{"kind": "failed", "text": "an old story"}]})
    started(there, run_id)
    wait_until(lambda: queue.store.get(run_id).status == "running")
    assert (A1, run_id, "yield") in there.messages


def test_a_run_that_loses_worker_after_worker_is_given_up_in_words(lab):
    queue, there = lab(A1)
    (run_id,) = submit(queue, *seeds(1))
    for worker in (A1, B1, A2):
        there.there = [worker]
        wait_until(lambda worker=worker: there.of(run_id) and there.of(run_id).worker == worker)
    there.there = []
    wait_until(lambda: queue.store.get(run_id).status == "interrupted")
    assert queue.store.get(run_id).message.startswith(jobs_dispatch.GIVEN_UP)


def test_those_that_trained_together_go_on_together_with_those_that_have_left(lab):
    queue, there = lab(A1)
    ids = submit(queue, *seeds(4))
    wait_until(lambda: there.of(ids[0]))
    assert sorted(there.of(ids[0]).what) == sorted(ids)
    group, key = there.of(ids[0]).what, there.of(ids[0]).key
    for run_id in ids:
        queue.store.folder(run_id).group.write_text(json.dumps(group))  # as the worker does
    there.hear({"key": key, "run_id": group[1], "events": [{"kind": "stopped"}]})
    wait_until(lambda: queue.store.get(group[1]).status == "stopped")
    there.there = [B1]
    wait_until(lambda: there.of(ids[0]).worker == B1)
    assert there.of(ids[0]).what == group
    assert there.of(ids[0]).with_it == [group[1]]
    assert queue.store.get(group[1]).status == "stopped"


def test_a_scheduler_that_is_away_is_said_in_words_and_runs_wait_for_it(lab, monkeypatch):
    monkeypatch.setattr(jobs_dispatch, "CONNECT_SECONDS", 0.1)
    queue, there = lab(A1)
    first, second = submit(queue, *seeds(2))
    wait_until(lambda: there.of(first))
    key = there.of(first).key
    there.reachable = False
    wait_until(lambda: queue.trouble)
    assert queue.trouble == "The Dask scheduler at tcp://hub:1 does not answer (refused)."
    assert queue.store.get(first).status == "queued"
    queue.ask(second, "stop")
    wait_until(lambda: queue.store.get(second).status == "stopped")
    there.reachable = True
    wait_until(lambda: there.of(first).key != key)
    wait_until(lambda: queue.trouble is None)


def test_a_cluster_without_workers_says_how_to_start_one(lab):
    queue, there = lab()
    (run_id,) = submit(queue, *seeds(1))
    wait_until(lambda: queue.trouble)
    assert "has no worker: start one with 'python -m kd_core worker tcp://hub:1'" in queue.trouble
    there.there = [A1]
    wait_until(lambda: there.of(run_id) and queue.trouble is None)


def test_the_crew_is_told_by_host_with_who_is_at_work(lab):
    queue, there = lab(A1, A2, B1)
    (run_id,) = submit(queue, *seeds(1))
    wait_until(lambda: sorted(queue.crew().get("a", [])) == [False, True])
    assert queue.crew()["b"] == [False]
    there.hear({"key": there.of(run_id).key, "run_id": run_id, "events": [{"kind": "stopped"}]})
    there.of(run_id).task.end()
    wait_until(lambda: queue.crew() == {"a": [False, False], "b": [False]})


def test_the_speed_of_models_is_measured_on_a_host_where_nothing_else_goes_on(lab):
    queue, there = lab(A1, A2, B1)
    (run_id,) = submit(queue, *seeds(1))
    wait_until(lambda: there.of(run_id))
    busy = there.of(run_id).worker.host
    queue.find_out("speed", ["x"])
    wait_until(lambda: there.of("speed") or "speed" in [work.what for work in there.given.values()])
    measuring = next(work for work in there.given.values() if work.what == "speed")
    assert measuring.worker.host != busy
    ids = submit(queue, *seeds(2))
    wait_until(lambda: dict(queue.lineup()).get(ids[-1]))
    assert all(work.worker.host != measuring.worker.host for work in there.given.values() if work is not measuring)
    measuring.task.end()
    wait_until(lambda: queue.store.finding("speed", ["x"]) == {"found": True})


def test_a_finding_that_has_waited_for_long_gets_its_turn_before_more_runs(lab, monkeypatch):
    monkeypatch.setattr(jobs_dispatch, "SLICE_SECONDS", 0.2)
    queue, there = lab(A1)
    first, second = submit(queue, *seeds(2))
    wait_until(lambda: there.of(first))
    queue.find_out("speed", ["x"])
    wait_until(lambda: (A1, first, "yield") in there.messages)
    there.of(first).task.end()
    wait_until(lambda: "speed" in [work.what for work in there.given.values()])
    assert there.of(second) is None


def test_browsers_take_turns_at_what_is_found_out(lab):
    queue, there = lab(A1)
    wishes = {"a1": "anna", "a2": "anna", "a3": "anna", "b1": "ben"}
    for run_id, browser in wishes.items():
        queue.find_out("inside", [run_id], browser)
    order: list[str] = []

    def found_more():
        order.extend(wish for wish in wishes if wish not in order and queue.store.finding("inside", [wish]))
        if len(order) == len(there.given):  # what was given last has ended
            return True
        list(there.given.values())[-1].task.end()
        return False

    wait_until(lambda: found_more() and len(order) == len(wishes))
    assert order == ["a1", "b1", "a2", "a3"]


def test_an_owner_on_another_host_is_gone_when_it_gives_no_sign_of_life(store, monkeypatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(socket, "gethostname", lambda: "last-container")
        other = type(store)(store.home)
        other.create({"abc": tiny_config()})
        other.give_sign()
        other.close()
    assert store.interrupt_orphans() == []
    now, began = time.time(), time.monotonic()
    monkeypatch.setattr(time, "time", lambda: now + 1_000_000)  # a clock that is set makes nobody silent
    assert store.interrupt_orphans() == []
    monkeypatch.setattr(time, "monotonic", lambda: began + 600)
    assert store.interrupt_orphans() == ["abc"]
    assert store.get("abc").status == "interrupted"


def test_a_host_gives_each_run_its_share_of_the_cores_and_of_the_gpus(monkeypatch):
    import torch

    monkeypatch.setattr(system, "cpu_count", lambda: 16)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert Host.this() == (4, 4, 0)
    assert Host.this(runs=8) == (8, 2, 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert Host.this() == (8, 2, 2)


def test_threads_share_heaps_where_glibc_would_give_each_its_own():
    """Forty threads that allocate at once leave no more heaps than two, as malloc_info tells; by default sixteen."""
    code = (
        "import ctypes, os, sys, tempfile, threading\n"
        "from kd_core.base.process import keep_heaps_few\n"
        "sys.argv[1] == 'few' and keep_heaps_few()\n"
        "meet = threading.Barrier(40)\n"
        "def allocate():\n"
        "    meet.wait(); kept = [bytes(2000) for _ in range(2000)]; meet.wait()\n"
        "threads = [threading.Thread(target=allocate) for _ in range(40)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.fopen.restype = ctypes.c_void_p\n"
        "name = tempfile.mktemp()\n"
        "file = ctypes.c_void_p(libc.fopen(name.encode(), b'w'))\n"
        "libc.malloc_info(0, file); libc.fclose(file)\n"
        "print(open(name).read().count('<heap nr')); os.remove(name)\n"
    )
    if not hasattr(ctypes.CDLL(None), "malloc_info"):
        pytest.skip("this C library is not glibc")
    heaps = {
        how: int(subprocess.run([sys.executable, "-c", code, how], capture_output=True, check=True, text=True).stdout)
        for how in ("few", "many")
    }
    assert heaps["few"] <= 2 < heaps["many"]


def test_workers_start_where_tmpdir_is_too_long_for_a_socket(tmp_path):
    """Workers fork from a process that is asked by a socket among the temporary files."""
    far = tmp_path / ("x" * 90)
    far.mkdir()
    code = (
        "from kd_core.jobs.cluster import Cluster\n"
        "if __name__ == '__main__':\n"
        "    cluster = Cluster(None, 1, print); print(len(cluster.workers())); cluster.close()"
    )
    environment = {**os.environ, "TMPDIR": str(far)}
    seen = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (seen.stdout.strip(), seen.returncode) == ("1", 0), seen.stderr
