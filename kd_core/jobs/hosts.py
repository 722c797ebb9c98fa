"""The scheduler and the workers of a cluster of several machines."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from kd_core.base.process import WORKER_ENVIRONMENT
from kd_core.jobs.cluster import CONNECT_SECONDS, CORES_A_RUN, DASK_SETTINGS, GPU, SchedulerError, cores_here, log

if TYPE_CHECKING:
    from distributed import Nanny


RUNS_A_GPU = 4
"""How many runs share a GPU where nothing else is said: one of ours leaves most of it idle."""


def serve_scheduler(host: str | None, port: int, ready: Callable[[str], None]) -> None:
    """Be the scheduler of a cluster until Ctrl-C or SIGTERM. ready hears its address.

    host: the address to listen at, None for all of this machine's. Raises SchedulerError where it cannot be had.
    """
    import dask
    from distributed import Scheduler

    dask.config.set(DASK_SETTINGS)

    async def serve() -> None:
        async with Scheduler(host=host, port=port, dashboard=False) as scheduler:
            ready(scheduler.address)
            await scheduler.finished()

    try:
        _until_told_to_end(serve())
    except (OSError, ValueError) as error:
        raise SchedulerError(f"Port {port} of {host or 'this machine'} cannot be listened at: {error}.") from error


class Host(NamedTuple):
    """What a machine offers: how many runs at once, the threads of each, and its GPUs, which they share."""

    runs: int
    threads: int
    gpus: int

    @classmethod
    def this(cls, runs: int | None = None) -> "Host":
        """Describe this machine, with so many runs at once where they are given."""
        import torch

        cores = cores_here()
        gpus = torch.cuda.device_count() or int(torch.backends.mps.is_available())
        runs = runs or (RUNS_A_GPU * gpus if gpus else max(1, cores // CORES_A_RUN))
        return cls(runs, max(1, cores // runs), gpus)


def serve_workers(scheduler: str, host: Host, ready: Callable[[], None]) -> None:
    """Do the runs that a scheduler hands out, until Ctrl-C or SIGTERM, one process a run at once.

    Goes on through crashes of its processes, and looks for a scheduler that is away until it is back. ready is called
    once all have reached the scheduler.
    """
    _until_told_to_end(_serve_workers(scheduler, host, ready))


async def _serve_workers(scheduler: str, host: Host, ready: Callable[[], None]) -> None:
    import dask
    from distributed import Nanny

    dask.config.set(DASK_SETTINGS)  # whose defaults come with the import of distributed

    def nanny(index: int) -> "Nanny":
        environment = {**WORKER_ENVIRONMENT, "OMP_NUM_THREADS": str(host.threads)}
        if host.gpus:
            named = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(host.gpus)))
            environment["CUDA_VISIBLE_DEVICES"] = named.split(",")[index % host.gpus]
        return Nanny(
            scheduler,
            nthreads=1,
            name=f"{socket.gethostname()}-{os.getpid()}-{index}",
            resources={GPU: 1} if host.gpus else None,
            env=environment,
            memory_limit=0,
        )

    while True:
        nannies = [nanny(index) for index in range(host.runs)]
        try:
            await asyncio.gather(*nannies)
            ready()
            await asyncio.wait(
                [asyncio.create_task(nanny.finished()) for nanny in nannies], return_when="FIRST_COMPLETED"
            )
        except OSError as error:
            log.warning("the scheduler at %s does not answer: %s", scheduler, error)
        finally:
            await asyncio.gather(*(nanny.close(timeout=CONNECT_SECONDS) for nanny in nannies), return_exceptions=True)
        await asyncio.sleep(CONNECT_SECONDS)


def _until_told_to_end(serving: Coroutine[Any, Any, None]) -> None:
    """Serve until Ctrl-C or SIGTERM, and close what was opened.

    Both cancel, and raise nothing: an exception that a signal raises while Python runs a destructor is lost.
    """

    async def serve() -> None:
        task = asyncio.ensure_future(serving)
        with suppress(NotImplementedError):  # Windows, where it ends a process by itself
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await task

    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(serve())
