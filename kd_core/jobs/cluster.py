"""The workers that runs are done on: Dask processes on this machine, or those of a cluster of several machines.

A worker does one run at a time, in a process of its own, so that what one run does to torch's threads and random
numbers, or to its memory, never meets another. jobs.queue says which work goes to which worker; here is who they are,
and how they are started. torch is imported by the worker command alone.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from kd_core.base.config import LabError
from kd_core.base.process import WORKER_ENVIRONMENT

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
}
"""Of the workers that KD Lab starts. Dask would have them return freed memory at every step (MALLOC_TRIM_THRESHOLD_)
and sample their stacks: an epoch of the MNIST baseline took 1.85 s so, 1.0 s without. Its scheduler, which lies in the
app's process, would keep the last 1,000 messages of every connection, records and all."""
HERE = "127.0.0.1"
CORES_A_RUN = 4
"""How many cores a run gets where nothing else is said: its batches gain little from more."""
GPU = "GPU"
"""The Dask resource by which a worker says that it computes on a GPU, alone or with others."""
SECONDS_UNTIL_LOST = 30.0
"""Without a sign of life, after which a worker is taken for lost. Where its process ends, that shows at once."""
CONNECT_SECONDS = 5.0
SECONDS_BETWEEN_LOOKS = 0.5
"""At the list of workers."""


class SchedulerError(LabError):
    """The cluster cannot be reached; one sentence says what to do."""


def cores_here() -> int:
    """Count the cores this process may use, by its affinity and its container's quota."""
    from dask import system

    return max(1, int(system.cpu_count()))


def workers_here(at_once: int) -> int:
    """Count the workers that this machine gets. at_once: 0 for one for every CORES_A_RUN cores."""
    return at_once or max(1, cores_here() // CORES_A_RUN)


class Worker(NamedTuple):
    """A process that does one run at a time. gpu: whether it computes on one."""

    address: str
    host: str
    gpu: bool


class Cluster:
    """The workers of one queue.

    scheduler: address of an existing Dask scheduler, such as tcp://host:8786, whose workers can import kd_core; None
    starts at_once workers on this machine (0: one for every CORES_A_RUN cores).
    hear: called with every message that a worker sends, from another thread.
    Raises SchedulerError where the scheduler does not answer.
    """

    def __init__(self, scheduler: str | None, at_once: int, hear: Callable[[Any], None]) -> None:
        self._client = self._existing(scheduler) if scheduler else self._local(at_once)
        self._client.subscribe_topic(TOPIC, lambda event: hear(event[1]))
        self._callers = ThreadPoolExecutor(4, "kd-lab-tell")
        self._being_called: set[str] = set()
        self._lock = threading.Lock()
        self._workers: list[Worker] = []
        self._signs: dict[str, tuple[float, float]] = {}  # address -> its last sign of life, and when we saw that first
        self._asked_at = -math.inf

    def _existing(self, scheduler: str) -> "Client":
        from distributed import Client

        self.threads = 0
        try:
            return Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise SchedulerError(
                f"The Dask scheduler at {scheduler} does not answer ({error}): start it, or mend KD_SCHEDULER. What"
                " waits goes on then."
            ) from error

    def _local(self, at_once: int) -> "Client":
        import dask
        from distributed import Client, LocalCluster

        cores = cores_here()
        workers = workers_here(at_once)
        self.threads = max(1, cores // workers)
        dask.config.set(DASK_SETTINGS)
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
        return bool(self._client.status == "running")

    def workers(self) -> list[Worker]:
        """List the workers that are there, as of a moment ago."""
        now = time.monotonic()
        if now - self._asked_at > SECONDS_BETWEEN_LOOKS:
            infos = self._client.scheduler_info(n_workers=-1)["workers"]
            signs = {address: facts["last_seen"] for address, facts in infos.items()}  # by the scheduler's clock
            self._signs = {
                address: self._signs[address] if self._signs.get(address, (None, 0))[0] == sign else (sign, now)
                for address, sign in signs.items()
            }
            self._workers = [
                Worker(address, facts["host"], facts["resources"].get(GPU, 0) > 0)
                for address, facts in infos.items()
                if facts["status"] == "running" and now - self._signs[address][1] < SECONDS_UNTIL_LOST
            ]
            self._asked_at = now
        return self._workers

    def submit(self, worker: Worker, function: Callable[..., Any], *args: Any, key: str) -> "Task":
        """Have just this worker do something, once. Where it is lost first, the task never ends: drop it then."""
        return self._client.submit(function, *args, key=key, workers=[worker.address], pure=False)

    def tell(self, worker: Worker, function: Callable[..., Any], *args: Any) -> None:
        """Call a function in a worker's process beside its work, without waiting for it.

        While one call is on its way to a worker, further ones are left out, so say again what matters.
        """
        with self._lock:
            if worker.address in self._being_called:
                return
            self._being_called.add(worker.address)
        self._callers.submit(self._call, worker.address, function, args)

    def _call(self, address: str, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            self._client.run(function, *args, workers=[address])
        except Exception as error:  # the worker, or the whole cluster, may be gone by now
            log.info("%s could not be reached: %s", address, error)
        finally:
            with self._lock:
                self._being_called.discard(address)

    def close(self) -> None:
        """Let go of the workers; those started here end."""
        self._callers.shutdown(wait=False, cancel_futures=True)
        cluster = self._client.cluster
        self._client.close(timeout=CONNECT_SECONDS)
        if cluster is not None:
            cluster.close()


# ------------------------------------------------------------------------------------- the commands of other machines
