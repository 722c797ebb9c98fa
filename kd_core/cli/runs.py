"""The runs that a command names, found in the store; and the commands that list and show runs."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Annotated, Any, NamedTuple

import tomli_w
import typer
from rich.table import Table
from rich.text import Text

from kd_core.base import paths as base_paths
from kd_core.base.config import LabError, flattened
from kd_core.cli.options import AsJson, RunId, console, full_name, notices, put, say
from kd_core.data.catalogue import called, info_of
from kd_core.exchange import shipped
from kd_core.experiments.advice.memorised import memorised
from kd_core.runs import recovery
from kd_core.runs.run import Run, Status, StoreError
from kd_core.runs.store import Store
from kd_core.training.config import Role

LAST, SHOWN = "last", 50


def open_store() -> Store:
    """The store of this machine, with interrupted runs marked and the shipped models offered."""
    store, notice = recovery.open_store(base_paths.home(), base_paths.storage())
    if notice:
        say(notice, notices)
    with suppress(StoreError):  # on a full disk, all can still be looked at
        store.interrupt_orphans()
    shipped.offer(store)
    return store


class Fit(NamedTuple):
    """Which runs 'last' may be to a command. words: what they are; otherwise: what to do where there is none.

    can: which runs the command can do anything with, where an id names them.
    """

    words: str
    takes: Callable[[Run], bool]
    otherwise: str
    can: Callable[[Run], bool] = lambda run: run.usable


def finished(
    words: str = "finished run",
    takes: Callable[[Run], bool] = lambda run: True,
    otherwise: str = "see 'python -m kd_core runs', and name one",
) -> Fit:
    """Finished runs with weights, none that makes a mistake on purpose."""
    return Fit(
        words, lambda run: run.status == "finished" and run.usable and not run.config.mistake and takes(run), otherwise
    )


def teaching(dataset: str | None) -> Fit:
    """Finished teachers, where one is named on this data set."""
    return finished(
        "finished teacher" + (f" on {info_of(dataset).label}" if dataset else ""),
        lambda run: run.config.role == "teacher" and dataset in (None, run.config.dataset),
        f"train one with 'python -m kd_core train --dataset {called(dataset or 'mnist')}', or name a run",
    )


def find(store: Store, text: str, verb: str, fit: Fit = finished()) -> Run:  # noqa: B008
    """The run that an id names, or for 'last' the newest that fits; says on standard error which it is, and why.

    In a store that a class shares, whoever works in a shell means what was started there.
    """
    why = ""
    if text == LAST:
        newest: dict[int, Run] = {}  # of each strangeness
        for fitting in filter(fit.takes, store.newest()):
            newest.setdefault(_strangeness(fitting), fitting)
            if 0 in newest:
                break
        if not newest:
            raise LabError(f"there is no {fit.words} to be the 'last': {fit.otherwise}")
        run = newest[min(newest)]
        why = f" (last: the newest {fit.words}{_ORIGINS[_strangeness(run)]})"
    else:
        run = store.find(text)
    errors = f"{run.results['test_errors']:,} test errors" if run.results else run.status
    if fit.can(run):
        say(f"{verb} {run.id[:4]}, {run.config.label} on {info_of(run.config.dataset).label}, {errors}{why}", notices)
    return run


_ORIGINS = (" started in a shell", " from a browser, as a shell started none", " that came with KD Lab")


def _strangeness(run: Run) -> int:
    """How unlikely somebody in a shell means it: the index of its origin in _ORIGINS."""
    return 2 if shipped.TAG in run.tags else int(bool(run.browser))


def list_runs(
    role: Annotated[Role | None, typer.Option(help="Of this role only.")] = None,
    dataset: Annotated[str | None, typer.Option(help="On this data set only.")] = None,
    status: Annotated[Status | None, typer.Option(help="In this state only.")] = None,
    name: Annotated[str, typer.Option(help="With this in their name, in capitals or not.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help=f"At most so many, the newest; by default {SHOWN}.")] = None,
    skip: Annotated[int, typer.Option(min=0, help="Without so many of the newest.")] = 0,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first. As JSON all of them, unless --limit says how many."""
    store = open_store()
    dataset = dataset and full_name(dataset)
    fitting = (
        run
        for run in store.newest()
        if status in (None, run.status)
        and role in (None, run.config.role)
        and dataset in (None, run.config.dataset)
        and name.lower() in run.name.lower()
    )
    most = limit if limit or as_json else SHOWN
    listed = [*islice(fitting, skip, None if most is None else skip + most)]
    if as_json:
        for run in listed:
            put(account(run))
        return
    if not listed:
        say("There is no such run. To make one: python -m kd_core train --dataset digits", notices)
        return
    table = Table(box=None, padding=(0, 1, 0, 0))
    for head in ("id", "created", "status", "data", "run", "teacher", "errors"):
        table.add_column(head, no_wrap=head == "id", overflow="fold")
    blocked = store.blocked(run for run in listed if run.status == "queued")
    for run in listed:
        known = account(run)
        named = f"{run.name}: " if run.name else ""
        settings = f"{named}{run.config.label}, {known['epochs']} epochs, seed {known['seed']}"
        teachers = " ".join(teacher[:4] for teacher in known["teachers"])
        errors = f"{run.results['test_errors']:,}" if run.results else ""
        created = known["created"][:16].replace("T", " ")
        status_ = "waits for its teacher" if run.id in blocked else run.status
        cells = (run.id, created, status_, called(run.config.dataset), settings, teachers, errors)
        table.add_row(*map(Text, cells))
    console.print(table)
    if limit is None and next(fitting, None) is not None:
        say(f"There are older ones: 'runs --skip {skip + SHOWN}' shows the next, --limit more at once.", notices)


def show(
    run: RunId,
    config: Annotated[
        bool, typer.Option("--config", help="Print its settings alone, as TOML: 'run FILE' starts it again from them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show all that is known of a run: its settings, what it learned from, how it stands and its results."""
    store = open_store()
    known = account(find(store, run, "shows", Fit("run", bool, "train one with 'python -m kd_core train'", bool)))
    if as_json:
        put(known["config"] if config else known)
    elif config:
        print(tomli_w.dumps(_without_none(known["config"])), end="")
    else:
        for setting, value in flattened(known).items():
            if value not in (None, "", []):
                say(f"{setting}: {in_words(value)}")
        say(f"files: {store.folder(known['id']).path}")
        shown = store.get(known["id"])
        if sentence := memorised(shown.config, store.records(shown.id, "epoch")):
            say(sentence)


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    """The settings that TOML can hold: what is not there is None."""
    return {
        name: _without_none(value) if isinstance(value, dict) else value
        for name, value in values.items()
        if value is not None
    }


def account(run: Run) -> dict[str, Any]:
    """All that is known of a run, for programs and for people; times in ISO 8601 with this machine's zone."""
    config = run.config

    def when(seconds: float | None) -> str | None:
        return None if seconds is None else datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")

    return {
        "id": run.id,
        "name": run.name,
        "status": run.status,
        "message": run.message,
        "created": when(run.created_at),
        "ended": when(run.ended_at),
        "role": config.role,
        "dataset": config.dataset,
        "label": config.label,
        "seed": config.seed,
        "epochs": config.training.epochs,
        "teachers": list(config.distillation.teachers) if config.distillation else [],
        "note": run.note,
        "tags": list(run.tags),
        "results": run.results,
        "config": config.model_dump(mode="json"),
    }


def in_words(value: Any) -> str:
    """A setting in one word."""
    return ",".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
