"""Doing a run in this process, with a progress bar; Ctrl-C, SIGTERM and SIGHUP pause it."""

import os
import signal
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from kd_core.cli import ENDED, FAILED, PAUSED
from kd_core.cli import logs as logging
from kd_core.cli.logs import Log
from kd_core.cli.options import answer, handling, notices, put, say
from kd_core.cli.runs import account
from kd_core.data.catalogue import called
from kd_core.experiments import table as experiments_table
from kd_core.experiments.advice.memorised import memorised
from kd_core.jobs import execute, queue
from kd_core.jobs.execute_group import execute_group
from kd_core.jobs.turns import FEWEST_TOGETHER, Limits
from kd_core.models.architectures import own
from kd_core.runs import checks as runs_checks
from kd_core.runs.events import Event
from kd_core.runs.run import StoreError, new_id
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig
from kd_core.training.precision import settled

ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""By which a program is ended that nobody watches, or whose terminal is closed."""


def run_new(store: Store, config: RunConfig, *, name: str, logs: Sequence[Log] = (), as_json: bool = False) -> None:
    """Enter a run, train it here and print how it ended."""
    run_id = new_id()
    tell(store, run_id, lambda: start(store, run_id, config, name, logs), as_json=as_json)


def tell(store: Store, run_id: str, do: Callable[[], str], *, as_json: bool) -> None:
    """Do what ends a run and print how: its sentence, or as JSON all that is known of it, however it ended."""
    try:
        answer(as_json, lambda: account(store.get(run_id)), do())
    except typer.Exit:
        if as_json:
            put(account(store.get(run_id)))
        raise


def _check(store: Store, configs: dict[str, RunConfig]) -> None:
    runs_checks.check(store, configs, queue.bytes_of_a_run(Limits.from_environment(), 1))
    queue.check_devices(configs.values())


def _enter(store: Store, configs: dict[str, RunConfig]) -> None:
    _check(store, configs)
    store.create({run_id: settled(config) for run_id, config in configs.items()})


def start(store: Store, run_id: str, config: RunConfig, name: str = "", logs: Sequence[Log] = ()) -> str:
    """Enter a run under an id and train it here. Returns how it ended."""
    _enter(store, {run_id: config})
    if name:
        store.describe(run_id, name=name, note="", tags=())
    say(f"run {run_id}: {config.label}, {called(config.dataset)}", notices)
    return watch(store, run_id, *logs)


def watch(store: Store, run_id: str, *logs: Log) -> str:
    """Do the run here, with a progress bar, until a signal pauses it. Returns how it ended, or exits as help says."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    following = logging.following(logs, lambda: store.get(run_id), lambda text: say(text, notices, "yellow"))
    with _interrupts() as interrupted, Progress(*columns, console=notices) as bar, following as log:
        task = bar.add_task("starting", total=None)

        def show(event: Event) -> None:
            log(event)
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
    return _ended(store, run_id, interrupted())


def _ended(store: Store, run_id: str, signalled: int | None) -> str:
    """Say how a run ended, or exit as help says. signalled: by which signal it was paused, if any."""
    with suppress(StoreError):
        store.back_up()
    run = store.get(run_id)
    if run.status == "failed":
        say(f"run {run_id} failed: {run.message}", notices, "red")
        raise typer.Exit(FAILED)
    if run.status == "paused":
        name = run.config.model.name
        listed = f"{own.LISTED}={own.path_of(name)} " if own.known(name) else ""
        say(f"paused: {listed}python -m kd_core resume {run_id} goes on", notices)
        raise typer.Exit(ENDED if signalled in ENDING else PAUSED)
    if not run.results:
        return f"run {run_id} {run.status}. {run.message or ''}"
    if sentence := memorised(run.config, store.records(run_id, "epoch")):
        say(sentence, notices, "yellow")
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


def _resume_and_check(store: Store, redo: experiments_table.Redo) -> None:
    """Train interrupted runs to their end, which may teach the others; raise LabError where one of those cannot be."""
    for run_id in redo.to_resume:
        store.take_up(run_id)
        say(watch(store, run_id), notices)
    _check(store, redo.to_train)


def train_missing(store: Store, redo: experiments_table.Redo) -> None:
    """Train here what an experiment is missing, interrupted runs first, and no new one where one of them cannot be."""
    _resume_and_check(store, redo)
    for run_id, config in redo.to_train.items():
        say(start(store, run_id, config), notices)


def train_in_groups(store: Store, redo: experiments_table.Redo) -> None:
    """Do the same, students that can as one model, as the app's queue has it (kd_core.training.together).

    Who teaches goes first, so that the baselines have whom to train with.
    """
    from kd_core.training import together

    _resume_and_check(store, redo)
    left = dict(redo.to_train)
    while left:
        taught = {run_id: {*config.distillation.teachers} for run_id, config in left.items() if config.distillation}
        ready = {run_id for run_id in left if not taught.get(run_id, set()) & left.keys()}
        now = ready & set().union(*taught.values()) or ready
        ids = {left[run_id]: run_id for run_id in left if run_id in now}
        alone = [[config] for config in ids if config.role == "teacher"]
        for group in alone + together.groups([config for config in ids if config.role != "teacher"]):
            if len(group) >= FEWEST_TOGETHER:
                _start_group(store, {ids[config]: config for config in group})
            else:
                for config in group:
                    say(start(store, ids[config], config), notices)
        left = {run_id: config for run_id, config in left.items() if run_id not in now}


def _start_group(store: Store, members: dict[str, RunConfig]) -> None:
    """Enter runs and train them here as one model."""
    _enter(store, members)
    first = next(iter(members))
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with _interrupts() as interrupted, Progress(*columns, console=notices) as bar:
        task = bar.add_task(f"training {len(members)} students together", total=members[first].training.epochs)

        def show(event: Event) -> None:
            if event["kind"] == "epoch":
                bar.update(task, completed=event["epoch"])

        def request() -> str | None:
            return "pause" if interrupted() else None

        shows = {run_id: show if run_id == first else lambda _: None for run_id in members}
        supervisors = {run_id: execute.supervisor_here(store, run_id, shows[run_id], request) for run_id in members}
        execute_group([store.folder(run_id) for run_id in members], supervisors)
    for run_id in members:
        say(_ended(store, run_id, interrupted()), notices)
