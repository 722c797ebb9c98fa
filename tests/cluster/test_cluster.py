"""Runs on several hosts: they spread, a host that vanishes costs time and no result, and storage is shared through S3.

The hosts are network namespaces (hosts.py): a scheduler, two worker hosts with folders of their own, and this machine
as the host of the queue and of an S3 server.
"""

import asyncio
import fcntl
import os
import sys

import loops
import pytest
from distributed import Client
from hosts import Hosts, problem
from load.session import Session
from s3 import BUCKET, s3_server
from serving import Server
from tiny import assert_same_weights, tiny_config, tiny_story, undisturbed_weights
from waiting import wait_until

from kd_core.base import tensors
from kd_core.base.files import files_below, path_at
from kd_core.experiments.story import plan
from kd_core.experiments.sweep import SweepConfig
from kd_core.jobs import cluster
from kd_core.jobs.queue import Jobs
from kd_core.models.config import ModelConfig
from kd_core.runs.run import ACTIVE, LOST_WORKER, new_id
from kd_core.runs.store import Store

pytestmark = pytest.mark.timeout(400)
PROGRAM = [sys.executable, "-m", "kd_core"]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory, network_lock):
    trouble = problem()
    if trouble:
        pytest.fail(trouble) if os.environ.get("KD_NO_SKIPS") else pytest.skip(trouble)
    fcntl.flock(network_lock, fcntl.LOCK_EX)  # waits for the last browser
    with Hosts(tmp_path_factory.mktemp("hosts")) as made:
        yield made
    fcntl.flock(network_lock, fcntl.LOCK_UN)


@pytest.fixture(scope="module")
def s3(hosts):
    """Environment variables with which a program here or on a host finds the bucket."""
    with s3_server(hosts.address) as variables:
        yield variables


@pytest.fixture(scope="module")
def scheduler(hosts, s3):
    """The address of a scheduler on a host of its own, with a worker on each of the hosts a and b."""
    address = f"tcp://{hosts.add('hub')}:8786"
    hosts.run("hub", *PROGRAM, "scheduler")
    for name in ("a", "b"):
        hosts.add(name)
        start_worker(hosts, name, address, s3)
    for name in ("a", "b"):
        wait_until(lambda name=name: "runs at once" in hosts.log(name))
    return address


def start_worker(hosts, name, address, s3):
    hosts.run(name, *PROGRAM, "worker", address, "--runs", "1", **s3)


@pytest.fixture(scope="module")
def queue(tmp_path_factory, scheduler):
    store = Store(tmp_path_factory.mktemp("home"), path_at(f"{BUCKET}/all"))
    made = Jobs(store, scheduler)
    yield made
    made.close()
    store.close()


@pytest.fixture(scope="module")
def onlooker(scheduler):
    """Dask's own client, to see who has what."""
    with Client(scheduler, set_as_default=False) as client:
        yield client


def places(onlooker, *run_ids):
    """Run id -> address of the host that is at work on it."""
    addresses = {}
    for worker, keys in onlooker.processing().items():
        for run_id in run_ids:
            if any(str(key).startswith(run_id) for key in keys):
                addresses[run_id] = worker.removeprefix("tcp://").split(":")[0]
    return addresses


def assert_as_undisturbed(queue, run_id, tmp_path):
    """With the weights of its config in one process, of as many threads as the worker hosts give a run."""
    left = tensors.load_tensors(queue.store.folder(run_id).weights)
    assert_same_weights(left, undisturbed_weights(tmp_path, queue.store.get(run_id).config))


def ended(queue, *run_ids):
    return all(run.status not in ACTIVE for run in queue.store.some(run_ids))


def test_the_app_trains_on_the_cluster_it_is_told_of(scheduler, s3, tmp_path, monkeypatch):
    monkeypatch.setenv("KD_SCHEDULER", scheduler)
    monkeypatch.setenv("KD_STORAGE", f"{BUCKET}/app")
    monkeypatch.delenv("KD_DATA_DIR", raising=False)  # the hosts have no MNIST, so the demo is on digits
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    server = Server(tmp_path, short_demo=True)
    try:
        loops.run(quick_demo(server.address, Store(tmp_path)))
        assert server.workers() == []
    finally:
        server.process.terminate()
        server.process.wait(timeout=60)
    assert len(files_below(path_at(f"{BUCKET}/app/runs"), "*/weights.safetensors")) >= 3
    assert not (tmp_path / "runs").exists()


async def quick_demo(address, store):
    """Press the button, see the workers on the page, and wait until the three have finished."""
    async with Session(address) as tab:
        await tab.open()
        await tab.press("quick_demo")
        while not (batch := [run for run in store.runs() if "shipped" not in run.tags]):
            await asyncio.sleep(0.1)
        while "2 workers on 2 machines" not in tab.text():
            await tab.go("runs")
            await tab.go("")
            await asyncio.sleep(0.2)
        while any(run.status in ACTIVE for run in store.some([run.id for run in batch])):
            await asyncio.sleep(0.2)
        assert [(run.status, run.config.dataset) for run in store.some([run.id for run in batch])] == [
            ("finished", "digits")
        ] * 3
    store.close()


def test_a_story_and_a_sweep_spread_over_both_hosts_and_leave_their_files_in_s3(queue, onlooker, tmp_path):
    story = queue.submit(plan(tiny_story()).to_train)
    wait_until(lambda: ended(queue, *story))
    assert [run.status for run in queue.store.some(story)] == ["finished"] * 3
    teacher = story[0]
    cells = SweepConfig(
        dataset="digits", teachers=(teacher,), widths=(8, 12), temperatures=(1.0, 2.0, 4.0),
        model=ModelConfig(hidden=(8,)), training=tiny_config(epochs=60).training,
    ).cells()  # fmt: skip
    sweep = queue.submit({new_id(): config for config in cells})
    seen = set()

    def spread():
        seen.update(places(onlooker, *sweep).values())
        return ended(queue, *sweep)

    wait_until(spread)
    assert len(seen) == 2, "the two groups of the sweep were at work on one host"
    assert [run.status for run in queue.store.some(sweep)] == ["finished"] * len(cells)
    for run_id in (*story, *sweep):
        assert queue.store.folder(run_id).weights.exists()
    assert not (queue.store.home / "runs").exists()
    assert_as_undisturbed(queue, story[1], tmp_path)


def host_of(hosts, onlooker, run_id):
    """The name of the host that is at work on a run."""
    names = {address: name for name, address in hosts.addresses.items()}
    return names[places(onlooker, run_id)[run_id]]


def test_a_worker_that_is_told_to_end_hands_its_run_on_from_where_it_stands(
    queue, onlooker, hosts, scheduler, s3, tmp_path
):
    (run_id,) = queue.submit({new_id(): tiny_config("baseline", epochs=300, batch_size=64, seed=2)})
    wait_until(lambda: queue.store.get(run_id).step > 50)
    before, step = host_of(hosts, onlooker, run_id), queue.store.get(run_id).step
    hosts.tell_to_end(before)
    wait_until(lambda: queue.store.get(run_id).attempt == 2)
    assert queue.store.get(run_id).step >= step
    assert host_of(hosts, onlooker, run_id) != before
    wait_until(lambda: ended(queue, run_id))
    assert_as_undisturbed(queue, run_id, tmp_path)
    start_worker(hosts, before, scheduler, s3)
    wait_until(lambda: len(onlooker.scheduler_info()["workers"]) == 2)


def test_a_host_that_vanishes_costs_time_and_no_result(queue, onlooker, hosts, tmp_path, monkeypatch):
    monkeypatch.setattr(
        cluster, "SECONDS_UNTIL_LOST", 12.0
    )  # the other host, on a busy machine, is silent for seconds too
    first, second = queue.submit(
        {
            new_id(): tiny_config("baseline", epochs=400, batch_size=64, seed=3),
            new_id(): tiny_config(epochs=600, seed=4),
        }
    )
    wait_until(lambda: all(run.step > 100 for run in queue.store.some([first, second])))
    assert host_of(hosts, onlooker, first) != host_of(hosts, onlooker, second)
    hosts.cut_off(host_of(hosts, onlooker, first))
    wait_until(lambda: queue.store.get(first).message == LOST_WORKER)
    wait_until(lambda: ended(queue, first, second))
    runs = queue.store.some([first, second])
    assert [run.status for run in runs] == ["finished", "finished"]
    assert runs[0].attempt == 2
    for run_id, epochs in ((first, 400), (second, 600)):
        assert_as_undisturbed(queue, run_id, tmp_path)
        assert [record["epoch"] for record in queue.store.records(run_id, "epoch")] == [*range(1, epochs + 1)]
        assert len(queue.store.probes(run_id)) == epochs + 1
