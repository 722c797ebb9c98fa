"""Which workers a cluster lists, and which it starts anew, by the signs of life that the scheduler saw."""

import os
import threading
from types import SimpleNamespace

import pytest

from kd_core.base import process
from kd_core.base.process import lacks_memory
from kd_core.jobs import cluster
from kd_core.jobs.cluster import Cluster
from kd_core.jobs.execute import sentence_of


class Client:
    """Dask's client as the cluster uses it, with workers that give a sign of life where a test says so."""

    status, cluster = "running", None

    def __init__(self):
        self.signs = dict.fromkeys(("tcp://a:1", "tcp://b:1"), 0.0)
        self.restarted, self.restarts = [], threading.Event()

    def scheduler_info(self, n_workers):
        facts = {"host": "h", "resources": {}, "status": "running", "nanny": "tcp://n:1"}
        return {"workers": {address: {**facts, "last_seen": sign} for address, sign in self.signs.items()}}

    def restart_workers(self, workers, timeout):
        self.restarted += workers
        self.restarts.set()

    def subscribe_topic(self, topic, handler):
        pass

    def close(self, timeout):
        pass


@pytest.fixture
def watched(monkeypatch):
    """A cluster, its client, and look(seconds later, who gave a sign meanwhile) -> what each of its workers is."""
    client, now = Client(), [100.0]
    monkeypatch.setattr(Cluster, "_existing", lambda self, scheduler: client)
    monkeypatch.setattr(cluster, "time", SimpleNamespace(monotonic=lambda: now[0]))
    made = Cluster("tcp://s:1", 0, lambda event: None)

    def look(seconds, *alive):
        for _ in range(seconds):
            now[0] += 1
            client.signs |= dict.fromkeys(alive, now[0])
            workers = made.workers()
        return {worker.address: worker.answers for worker in workers}

    yield client, now, look
    made.close()


def test_a_silent_worker_gets_no_work_and_is_then_started_anew(watched):
    client, _, look = watched
    assert look(5, *client.signs) == {"tcp://a:1": True, "tcp://b:1": True}
    assert look(12, "tcp://b:1") == {"tcp://a:1": False, "tcp://b:1": True}
    assert look(20, "tcp://b:1") == {"tcp://b:1": True}
    assert client.restarts.wait(10)
    assert set(client.restarted) == {"tcp://a:1"}


def test_a_worker_that_waits_for_a_processor_is_not_taken_for_lost(watched, monkeypatch):
    client, now, look = watched
    nannies = [SimpleNamespace(worker_address=address, pid=pid) for pid, address in enumerate(client.signs, start=1)]
    client.cluster = SimpleNamespace(workers=dict(enumerate(nannies)), close=lambda: None)
    monkeypatch.setattr(cluster, "waited_for_processor", lambda pid: 0.9 * now[0] if pid == 1 else 0.0)
    look(1, *client.signs)
    assert look(90) == {"tcp://a:1": True}  # b is ready for nothing and says nothing
    assert set(client.restarted) <= {"tcp://b:1"}
    assert look(60) == {"tcp://a:1": False}
    assert process.waited_for_processor(os.getpid()) >= 0.0 == process.waited_for_processor(0)


def test_no_worker_is_lost_while_we_ourselves_stood_still(watched):
    """The app stopped for a minute, or a clock that was set: the signs that came meanwhile were not looked at."""
    client, now, look = watched
    look(2, *client.signs)
    now[0] += 60
    assert look(1) == {"tcp://a:1": True, "tcp://b:1": True}
    client.signs = {address: sign - 3600 for address, sign in client.signs.items()}
    assert look(5, "tcp://a:1") == {"tcp://a:1": True, "tcp://b:1": True}
    assert client.restarted == []


@pytest.mark.parametrize("scheduler", [None, "tcp://s:1"])
def test_where_no_worker_starts_for_long_those_of_this_machine_are_made_anew(watched, monkeypatch, scheduler):
    """A nanny that could not start its process, for want of memory say, does not try again."""
    client, now, _ = watched
    monkeypatch.setattr(Cluster, "_local", lambda self, at_once: client)
    made, client.signs = Cluster(scheduler, 1, lambda event: None), {}
    for seconds in (1, 60, *range(61, 190)):
        now[0] = 1000.0 + seconds
        assert made.workers() == []
        assert made.reachable == (seconds < 181 or scheduler is not None)
    made.close()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("could not create a primitive"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_whoever_says_that_memory_ran_out_the_sentence_is_the_same(error):
    assert lacks_memory(error)
    assert sentence_of(error) == "The memory of this machine is full: choose a smaller batch size or model."
