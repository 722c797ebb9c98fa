"""Doing a run in this process, with a progress bar; Ctrl-C, SIGTERM and SIGHUP pause it."""

import os
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from kd_core.cli import ENDED, FAILED, PAUSED
from kd_core.cli.options import handling, notices, say
from kd_core.data.catalogue import called
from kd_core.experiments import table as experiments_table
from kd_core.jobs import execute, queue
from kd_core.jobs.turns import Limits
from kd_core.runs import checks as runs_checks
from kd_core.runs.events import Event
from kd_core.runs.run import StoreError, new_id
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig
from kd_core.training.precision import settled

ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""By which a program is ended that nobody watches, or whose terminal is closed."""


def run_new(store: Store, config: RunConfig, *, name: str) -> None:
    """Enter a run, train it here and print how it ended."""
    say(start(store, new_id(), config, name))


def start(store: Store, run_id: str, config: RunConfig, name: str = "") -> str:
    """Enter a run under an id and train it here. Returns how it ended."""
    runs_checks.check(store, {run_id: config}, queue.bytes_of_a_run(Limits.from_environment(), 1))
    queue.check_devices([config])
    store.create({run_id: settled(config)})
    if name:
        store.describe(run_id, name=name, note="", tags=())
    say(f"run {run_id}: {config.label}, {called(config.dataset)}", notices)
    return watch(store, run_id)


def watch(store: Store, run_id: str) -> str:
    """Do the run here, with a progress bar, until a signal pauses it. Returns how it ended, or exits as help says."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    with _interrupts() as interrupted, Progress(*columns, console=notices) as bar:
        task = bar.add_task("starting", total=None)

        def show(event: Event) -> None:
            match event["kind"]:
                case "started":
                    bar.update(task, total=event["total_steps"], completed=event["step"], description="training")
                case "message":
                    bar.update(task, description=event["text"])
                case "step":
                    bar.update(task, completed=event["step"], description=f"loss {event['loss']:.4f}")
                case "epoch":
                    bar.update(task, completed=event["step"])
                    accuracy = event["validation_accuracy"]
                    judged = "" if accuracy is None else f", validation accuracy {accuracy:.2%}"
                    bar.console.print(
                        f"epoch {event['epoch']:>3}: loss {event['loss']:.4f}{judged}, {event['seconds']:.1f} s"
                    )

        execute.run_here(store, run_id, show, lambda: "pause" if interrupted() else None)
    with suppress(StoreError):
        store.back_up()
    run = store.get(run_id)
    if run.status == "failed":
        say(f"run {run_id} failed: {run.message}", notices, "red")
        raise typer.Exit(FAILED)
    if run.status == "paused":
        say(f"paused: python -m kd_core resume {run_id} goes on", notices)
        raise typer.Exit(ENDED if interrupted() in ENDING else PAUSED)
    if not run.results:
        return f"run {run_id} {run.status}. {run.message or ''}"
    errors, examples = run.results["test_errors"], run.results["test_examples"]
    return f"run {run_id} {run.status}: {errors} test errors of {examples}; weights in {store.folder(run_id).weights}"


@contextmanager
def _interrupts() -> Iterator[Callable[[], int | None]]:
    """Within, the first signal is noted, so that the run can save itself; a second Ctrl-C ends the program."""
    noted: int | None = None

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal noted
        if noted is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        noted = noted or number
        if number != signal.SIGTERM and number in ENDING:
            _leave_terminal()

    with handling(note, [signal.SIGINT, *ENDING]):
        yield lambda: noted


def _leave_terminal() -> None:
    """Write to nowhere what would go to a terminal: one that was closed fails whoever writes to it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):  # isatty says no of one that was closed
                os.dup2(nowhere, descriptor)
    os.close(nowhere)


def train_missing(store: Store, redo: experiments_table.Redo) -> None:
    """Train here what an experiment is missing, interrupted runs first."""
    for run_id in redo.to_resume:
        store.take_up(run_id)
        say(watch(store, run_id), notices)
    for run_id, config in redo.to_train.items():
        say(start(store, run_id, config), notices)
