"""The commands for a cluster's roles: scheduler and worker."""

from typing import Annotated

import typer

from kd_core.cli.options import AsJson, answer, notices, say
from kd_core.jobs import hosts


def scheduler(
    host: Annotated[str | None, typer.Option(help="Address to listen at; by default all of this machine's.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 8786,
    as_json: AsJson = False,
) -> None:
    """Be the scheduler of a cluster, until Ctrl-C. It runs what anybody sends it: keep its port to a network you trust.

    The app finds it through KD_SCHEDULER, workers are told its address.
    """
    hosts.serve_scheduler(
        host, port, lambda address: answer(as_json, lambda: {"scheduler": address}, f"scheduler at {address}")
    )
    say("ended", notices)


def worker(
    address: Annotated[str, typer.Argument(help="Of the scheduler, such as tcp://host:8786.")],
    runs: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="How many at once; by default one for four cores, or four for each GPU."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Do the runs that a scheduler hands out, until Ctrl-C, each in a process of its own; GPUs are used and shared."""
    offer = hosts.Host.this(runs)
    shared = f" on {offer.gpus} GPUs" if offer.gpus else f", {offer.threads} threads each"
    hosts.serve_workers(
        address,
        offer,
        lambda: answer(
            as_json,
            lambda: {"scheduler": address, "runs": offer.runs, "gpus": offer.gpus, "threads": offer.threads},
            f"{offer.runs} runs at once{shared}, for {address}",
        ),
    )
    say("ended", notices)
