"""The commands for what comes and goes: teachers, bundles, exports and the shipped models."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from kd_core.base.config import LabError
from kd_core.base.files import read_bytes, write_atomic
from kd_core.cli import FAILED, watch
from kd_core.cli.options import (
    BatchNorm,
    Channels,
    DatasetName,
    Force,
    Hidden,
    RunId,
    console,
    model_config,
    notices,
    say,
    sentences,
)
from kd_core.cli.runs import find, finished, open_store
from kd_core.exchange import shipped
from kd_core.exchange.teacher import trial
from kd_core.experiments import paper, presets, story
from kd_core.experiments import table as experiments_table
from kd_core.models.config import MODELS, PIXELS, ModelConfig
from kd_core.runs import checks as runs_checks
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig

PAGE = "draw.html"


def teacher(
    file: Annotated[Path, typer.Argument(help="State dict, safetensors, torch.export program or ONNX file.")],
    dataset: DatasetName = "mnist",
    model: Annotated[
        str | None, typer.Option("--model", help=f"What weights are of, {', '.join(MODELS)}; by default they tell.")
    ] = None,
    hidden: Hidden = None,
    channels: Channels = None,
    batch_norm: BatchNorm = False,
    pixels: Annotated[
        str, typer.Option(help=f"What it was trained to read: {', '.join(PIXELS)}; or state --mean and --std.")
    ] = "own",
    mean: Annotated[str | None, typer.Option(help="Of pixels from 0 to 1, such as 0.13 or 0.49,0.48,0.44.")] = None,
    std: Annotated[str | None, typer.Option(help="Of the same pixels, such as 0.31 or 0.25,0.24,0.26.")] = None,
    inverted: Annotated[bool, typer.Option("--inverted", help="It was trained on dark and light exchanged.")] = False,
    name: Annotated[str, typer.Option(help="What to call its run.")] = "",
    look: Annotated[bool, typer.Option("--look", help="Try it and say what was found, but take nothing in.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Take it in though it errs as if it guessed.")] = False,
) -> None:
    """Bring a teacher that was trained elsewhere: it is tried on the test set, and a run is made of it."""
    with sentences():
        if pixels not in PIXELS:
            raise LabError(f"--pixels must be one of {', '.join(PIXELS)}, got '{pixels[:80]}'")
        stated = PIXELS[pixels][1:] if mean is None and std is None else (reals("--mean", mean), reals("--std", std))
        chosen = None
        if pixels != "own" and (mean is not None or std is not None):
            raise LabError("--pixels stands for a --mean and a --std: state one or the other")
        if model is not None or hidden is not None or channels is not None or batch_norm:
            chosen = model_config(ModelConfig(), model or "mlp", hidden, channels, None, None, batch_norm)
        try:
            content = file.read_bytes()
        except OSError as error:
            raise LabError(f"{file} cannot be read: {error.strerror}") from None
        tried = _tried(
            trial.Trial(
                content, file=file.name, dataset=dataset, model=chosen, mean=stated[0], std=stated[1], inverted=inverted
            )
        )
        say(" ".join(tried.notes))
        console.print(f"{tried.test_errors:,} test errors of {tried.test_examples:,}", highlight=False)
        if tried.warning:
            say(tried.warning, notices, "yellow")
            if not (anyway or look):
                raise LabError("it is not taken in: correct what is wrong, or add --anyway")
        if not look:
            store = open_store()
            run_id = trial.take(store, tried, lambda configs: _queued(store, configs), name=name)
            say(watch.watch(store, run_id))


def _tried(running: trial.Trial) -> trial.Outcome:
    """Its outcome, with a progress bar until then."""
    try:
        with Progress(TextColumn("{task.description}"), BarColumn(), console=notices, transient=True) as bar:
            task = bar.add_task("starting", total=1.0)
            while not running.done:
                text, share = running.told
                bar.update(task, description=text, completed=share)
                time.sleep(0.1)
        return running.outcome()
    finally:
        running.close()


def _queued(store: Store, configs: dict[str, RunConfig]) -> list[str]:
    runs_checks.check(store, configs)
    store.create(configs)
    return list(configs)


def reals(option: str, text: str | None) -> tuple[float, ...]:
    """Numbers with commas between."""
    try:
        return tuple(float(part) for part in (text or "").split(",") if part.strip())
    except ValueError:
        raise LabError(f"{option} must be numbers with commas between, such as 0.49,0.48, got '{text}'") from None


def pack(
    run: RunId,
    file: Annotated[Path, typer.Argument(help="Where to write the bundle, a zip file.")],
    force: Force = False,
) -> None:
    """Write a whole run, weights and metrics and model card, into one file for another machine."""
    from kd_core.exchange import bundle

    with sentences():
        _check_free([file], force)
        store = open_store()
        write_atomic(file, bundle.pack(store, find(store, run, "packs").id))
        say(f"{file} holds the run")


def _check_free(files: Iterable[Path], force: bool) -> None:
    """Raise LabError where one of these files is there already, unless it may be replaced."""
    for file in files:
        if file.exists() and not force:
            raise LabError(f"{file} is there already: name another place, or replace it with --force")


def export_model(
    run: RunId,
    out: Annotated[
        Path | None, typer.Option(help="Copy the files here as well; by default they lie in the run's own folder.")
    ] = None,
    force: Force = False,
) -> None:
    """Write a run's model as safetensors, ONNX (float32 and int8) and a torch.export program, each checked."""
    from kd_core.exchange.export import checks as export_checks
    from kd_core.exchange.export import offline_page, write

    with sentences():
        if out is not None:
            texts = (export_checks.CONFIG, export_checks.CARD, export_checks.CHECKS, PAGE)
            _check_free([out / name for name in (*export_checks.MODEL_FILES, *texts)], force)
        store = open_store()
        found = find(store, run, "exports", finished("finished network", lambda run: run.config.model.name in MODELS))
        folder = store.folder(found.id).export
        with Progress(TextColumn("{task.description}"), BarColumn(), console=notices, transient=True) as bar:
            task = bar.add_task("starting", total=1.0)
            checks = write.export_run(
                store.storage, found, lambda text, share: bar.update(task, description=text, completed=share)
            )
        kept = [file["name"] for file in checks["files"] if file["passed"]]
        if out is not None:
            for name in (*kept, *checks["texts"], export_checks.CHECKS):
                write_atomic(out / name, read_bytes(folder / name))
            if page := offline_page.browser_page(store.storage, found.id):
                write_atomic(out / PAGE, page)
        table = Table("file", "bytes", "largest logit difference", "classes changed", "test errors", "")
        for file in checks["files"]:
            table.add_row(
                file["name"],
                f"{file['size_bytes']:,}" if file["passed"] else "refused",
                f"{file['max_logit_difference']:.1e}",
                f"{file['classes_changed']:,} of {file['test_examples']:,}",
                f"{file['test_errors']:,} (original {file['original_test_errors']:,})",
                file["sentence"],
            )
        console.print(table)
        versions = ", ".join(f"{name} {version}" for name, version in checks["versions"].items())
        console.print(f"{checks['processor']}, {checks['threads']} threads; {versions}.", highlight=False)
        say(f"The files lie in {out or folder}")


def unpack(file: Annotated[Path, typer.Argument(help="A bundle that pack wrote, or the app's runs page.")]) -> None:
    """Take in a run from another machine, after checking it."""
    from kd_core.exchange import bundle

    with sentences():
        try:
            content = file.read_bytes()
        except OSError as error:
            raise LabError(f"{file} cannot be read: {error.strerror}") from None
        console.print(f"run [bold]{bundle.unpack(open_store(), content)}[/] is here now")


def verify() -> None:
    """Measure anew what the cards of the models in checkpoints/shipped claim. Exits with 1 where one does not hold."""
    with sentences():
        table = Table("model", "claimed", "measured", "")
        held = []
        for found in shipped.verify():
            held.append(found.holds)
            measured = "–" if found.measured is None else f"{found.measured:,}"
            table.add_row(found.name, f"{found.claimed:,}", measured, found.problem or "holds")
        console.print(table)
        if not all(held):
            raise typer.Exit(FAILED)


def ship() -> None:
    """Make checkpoints/shipped anew: train the paper's main experiment and the digits story, seed 0, and write them."""
    with sentences():
        store = open_store()
        mine = [run for run in store.runs() if shipped.TAG not in run.tags]
        main = experiments_table.plan(paper.experiments()["main"], [0], mine)
        watch.train_missing(store, main)
        small = story.plan(presets.digits_story(), mine)
        for run_id, config in small.to_train.items():
            say(watch.start(store, run_id, config), notices)
        for run_id in dict.fromkeys([*main.runs.values(), *small.reused, *small.to_train]):
            console.print(f"{shipped.ship(store, run_id)} holds run {run_id}", highlight=False, soft_wrap=True)
