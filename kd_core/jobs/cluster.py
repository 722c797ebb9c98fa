"""The workers that runs are done on: Dask processes on this machine, or those of a cluster of several machines.

A worker does one run at a time, in a process of its own, so that what one run does to torch's threads and random
numbers, or to its memory, never meets another. jobs.queue says which work goes to which worker; here is who they are,
and how they are started. torch is imported by the worker command alone.
"""

import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from kd_core.base.config import LabError
from kd_core.base.process import WORKER_ENVIRONMENT, waited_for_processor
from kd_core.base.templates import said

if TYPE_CHECKING:
    from distributed import Client, Future

    Task = Future[Any]

log = logging.getLogger(__name__)

TOPIC = "kd-lab"
DASK_SETTINGS = {
    "distributed.worker.daemon": True,
    "distributed.nanny.pre-spawn-environ": {},
    "distributed.worker.profile.enabled": False,
    "distributed.admin.low-level-log-length": 100,
    "distributed.scheduler.worker-ttl": None,
}
"""Of the workers that KD Lab starts. Dask would have them return freed memory at every step (MALLOC_TRIM_THRESHOLD_)
and sample their stacks: an epoch of the MNIST baseline took 1.85 s so, 1.0 s without. Its scheduler, which lies in the
app's process, would keep the last 1,000 messages of every connection, records and all. It would restart workers that
are silent for five minutes by the clock on the wall, all of them where somebody sets that."""
FORKED_WITH = ("torch._dynamo", "sklearn.datasets", "distributed.nanny", "kd_core.jobs.worker", "kd_core.training.loop")
"""What the process that workers fork from has imported: what the first run of a worker would wait for."""
LONGEST_SOCKET = 107
"""Bytes of a socket's path on Linux (unix(7))."""
HERE = "127.0.0.1"
CORES_A_RUN = 4
"""How many cores a run gets where nothing else is said: its batches gain little from more."""
GPU = "GPU"
"""The Dask resource by which a worker says that it computes on a GPU, alone or with others."""
SECONDS_UNTIL_SILENT, SECONDS_UNTIL_LOST = 10.0, 30.0
"""Without a sign of life: a worker gets no more work, and then is taken for lost. Where its process ends, that shows at
once. What a worker of this machine waited for a processor does not count: on a busy one a healthy worker is silent too.
"""
SECONDS_UNTIL_RENEWED = 120.0
"""Without any worker, after which those of this machine are all started anew: where memory is short, none may start."""
CONNECT_SECONDS = 5.0
SECONDS_BETWEEN_LOOKS = 0.5
"""At the list of workers."""


class SchedulerError(LabError):
    """The cluster cannot be reached; one sentence says what to do."""


def _fork_workers() -> None:
    """Have workers fork from one process of ours that has imported what they need.

    A worker in the place of a killed one is there in a tenth of the time, and workers share the memory of what is
    imported: four runs on four workers in turn took 13 CPU-s, and 44 where each imported torch itself. On Linux alone:
    macOS forbids forking after some of these imports. None of them starts CUDA, which a fork would break. Not where
    TMPDIR is too long a path for the socket by which that process is asked to fork.
    """
    from multiprocessing.util import get_temp_dir

    import dask
    from distributed.utils import get_mp_context

    if sys.platform != "linux" or len(os.fsencode(get_temp_dir())) + len("/listener-12345678") > LONGEST_SOCKET:
        return
    dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
    get_mp_context().set_forkserver_preload([*FORKED_WITH])  # after the call, which sets its own


def cores_here() -> int:
    """Count the cores this process may use, by its affinity and its container's quota."""
    from dask import system

    return max(1, int(system.cpu_count()))


def workers_here(at_once: int) -> int:
    """Count the workers that this machine gets. at_once: 0 for one for every CORES_A_RUN cores."""
    return at_once or max(1, cores_here() // CORES_A_RUN)


class Worker(NamedTuple):
    """A process that does one run at a time. gpu: whether it computes on one. answers: whether it is not silent."""

    address: str
    host: str
    gpu: bool
    answers: bool = True


class Cluster:
    """The workers of one queue.

    scheduler: address of an existing Dask scheduler, such as tcp://host:8786, whose workers can import kd_core; None
    starts at_once workers on this machine (0: one for every CORES_A_RUN cores).
    hear: called with every message that a worker sends, from another thread.
    Raises SchedulerError where the scheduler does not answer.
    """

    def __init__(self, scheduler: str | None, at_once: int, hear: Callable[[Any], None]) -> None:
        self._client, self._is_ours = (self._existing(scheduler) if scheduler else self._local(at_once)), not scheduler
        self._client.subscribe_topic(TOPIC, lambda event: hear(event[1]))
        self._being_called: set[str] = set()
        self._leaving: set[str] = set()
        self._lock = threading.Lock()
        self._workers: list[Worker] = []
        self._signs: dict[str, tuple[float, float, float]] = {}
        """Address -> its last sign of life, when we saw that first, and how long it had waited for a processor then."""
        self._asked_at = self._manned_at = -math.inf

    def _existing(self, scheduler: str) -> "Client":
        from distributed import Client

        self.threads = 0
        try:
            return Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise SchedulerError(
                said(
                    "The Dask scheduler at {scheduler} does not answer ({why}): start it, or mend KD_SCHEDULER. What"
                    " waits goes on then.",
                    scheduler=scheduler,
                    why=str(error),
                )
            ) from error

    def _local(self, at_once: int) -> "Client":
        import dask
        from distributed import Client, LocalCluster

        cores = cores_here()
        workers = workers_here(at_once)
        self.threads = max(1, cores // workers)
        dask.config.set(DASK_SETTINGS)
        _fork_workers()
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host=HERE,
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            env=WORKER_ENVIRONMENT,
            silence_logs=logging.ERROR,
        )
        return Client(cluster, set_as_default=False)

    threads: int
    """How many threads a run takes; 0 where the worker's own host has said so."""

    @property
    def reachable(self) -> bool:
        """Whether its scheduler is there. Once it was not, what was given to its workers is lost: make a new one."""
        deserted = self._is_ours and self._asked_at - self._manned_at > SECONDS_UNTIL_RENEWED
        return bool(self._client.status == "running") and not deserted

    def workers(self) -> list[Worker]:
        """List the workers that are there, as of a moment ago. Those that are taken for lost are started anew."""
        now = time.monotonic()
        if now - self._asked_at > SECONDS_BETWEEN_LOOKS:
            infos = self._client.scheduler_info(n_workers=-1)["workers"]
            if now - self._asked_at > SECONDS_UNTIL_SILENT:  # it is we who were silent
                self._signs, self._manned_at = {}, now
            self._manned_at = now if infos else self._manned_at
            signs = {address: facts["last_seen"] for address, facts in infos.items()}  # by the scheduler's clock
            waits = dict.fromkeys(infos, 0.0) | self._waits()
            self._signs = {
                address: self._signs[address]
                if address in self._signs and self._signs[address][0] == sign
                else (sign, now, waits[address])
                for address, sign in signs.items()
            }
            silence = {
                address: now - at - max(0.0, waits[address] - waited)
                for address, (_, at, waited) in self._signs.items()
            }
            for address, facts in infos.items():
                if silence[address] >= SECONDS_UNTIL_LOST and facts.get("nanny"):
                    self.replace(address)
            self._workers = [
                Worker(
                    address,
                    facts["host"],
                    facts["resources"].get(GPU, 0) > 0,
                    silence[address] < SECONDS_UNTIL_SILENT,
                )
                for address, facts in infos.items()
                if facts["status"] == "running" and silence[address] < SECONDS_UNTIL_LOST
            ]
            self._asked_at = now
        return [worker for worker in self._workers if worker.address not in self._leaving]

    def _waits(self) -> dict[str, float]:
        """How long each worker that was started here has waited for a processor, in seconds, by its address."""
        nannies = self._client.cluster.workers.values() if self._client.cluster is not None else ()
        return {nanny.worker_address: waited_for_processor(nanny.pid) for nanny in nannies if nanny.pid}

    def submit(self, worker: Worker, function: Callable[..., Any], *args: Any, key: str) -> "Task":
        """Have just this worker do something, once. Where it is lost first, the task never ends: drop it then."""
        return self._client.submit(function, *args, key=key, workers=[worker.address], pure=False)

    def tell(self, worker: Worker, function: Callable[..., Any], *args: Any) -> None:
        """Call a function in a worker's process beside its work, without waiting for it.

        While one call is on its way to a worker, further ones are left out, so say again what matters.
        """
        self._beside(self._being_called, worker.address, partial(self._client.run, function, *args))

    def replace(self, address: str) -> None:
        """Have the process of a worker killed and another started in its place; it is listed no more from now on.

        Another starts where Dask's nanny looks after it, as after all that KD Lab starts. A worker whose host cannot be
        reached may come back, and is then listed again.
        """
        self._beside(self._leaving, address, partial(self._client.restart_workers, timeout=SECONDS_UNTIL_LOST))

    def _beside(self, under_way: set[str], address: str, call: Callable[..., Any]) -> None:
        """Call beside the queue's thread, unless such a call for this worker is under way."""

        def call_it() -> None:
            try:
                call(workers=[address])
            except Exception as error:  # the worker, or the whole cluster, may be gone by now
                log.info("%s could not be reached: %s", address, error)
            finally:
                with self._lock:
                    under_way.discard(address)

        with self._lock:
            if address in under_way:
                return
            under_way.add(address)
        threading.Thread(target=call_it, name="kd-lab-tell", daemon=True).start()  # one that hangs holds no other up

    def close(self) -> None:
        """Let go of the workers; those started here end."""
        cluster = self._client.cluster
        self._client.close(timeout=CONNECT_SECONDS)
        if cluster is not None:
            cluster.close()
