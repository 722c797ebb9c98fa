"""The same engine from a shell: python -m kd_core. Runs started here show in the browser, and the other way round.

Results go to standard output, and all else (progress, notices, errors) to standard error.
"""

import os
import signal

if __name__ == "__main__":  # Ctrl-C while the imports below run, which take a second: there is nothing to save yet
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))

import io
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from kd_core.base import paths as base_paths
from kd_core.base import process
from kd_core.base.config import LabError, differences, flattened
from kd_core.base.files import read_bytes, write_atomic
from kd_core.data import paths as data_paths
from kd_core.data.catalogue import DATASETS, TransferSetConfig, called, info_of, is_own
from kd_core.data.own import library, prepare
from kd_core.data.own import source as own_source
from kd_core.exchange import shipped
from kd_core.exchange.teacher import trial
from kd_core.experiments import defaults, equal_budget, paper, presets, story
from kd_core.experiments import table as experiments_table
from kd_core.jobs import execute, hosts, queue
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.losses.config import Average, DistillationConfig
from kd_core.models.config import MODELS, PAPER_TEACHER, PIXELS, ModelConfig
from kd_core.runs import checks as runs_checks
from kd_core.runs import recovery
from kd_core.runs.run import RESUMABLE, Run, Status, new_id
from kd_core.runs.store import Store
from kd_core.training.config import Device, Optimizer, Precision, Role, RunConfig, Schedule, TrainingConfig
from kd_core.training.precision import settled

FAILED, REFUSED, PAUSED, INTERRUPTED = 1, 2, 3, 130
MAX_CLASS = 9999
PAGE = "draw.html"
LAST = "last"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's tables cut names that one must type
    help=(
        "KD Lab's engine: train a teacher, distill a student, compare them.\n\n"
        "A first round:\n\n"
        "  python -m kd_core train --dataset digits\n\n"
        "  python -m kd_core distill --teacher last --temperature 2\n\n"
        "  python -m kd_core runs\n\n"
        "  python -m kd_core compare ID ID\n\n"
        "Where a run is named, the start of its id will do, or 'last': the newest that the command can use, of those"
        " started in a shell; if there is none, of those from browsers, and then of those that came with KD Lab.\n\n"
        "Results go to standard output, progress and notices to standard error. Exit codes: 0 done; 1 a run failed or"
        " a check does not hold; 2 something asked for cannot be done; 3 paused by Ctrl-C, and 'resume' goes on; 130"
        " broken off by Ctrl-C. KD_HOME names the folder of the runs, KD_DATA_DIR the one of the data."
    ),
)
process.let_threads_sleep()
console = Console()
notices = Console(stderr=True)


def _say(text: str, to: Console = console, style: str | None = None) -> None:
    """Print a line as it is: no markup, no wrapping."""
    to.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _full_name(text: str) -> str:
    """The full name of a data set, as a user may call it. Raises LabError."""
    try:
        text.encode()
    except UnicodeEncodeError:  # a shell hands bytes of another encoding over as half surrogate pairs
        raise LabError("--dataset holds what is no text in UTF-8") from None
    return library.find(base_paths.storage(), text)


def _dataset(text: str | None) -> str | None:
    with _sentences():
        return None if text is None else _full_name(text)


DatasetName = Annotated[
    str,
    typer.Option("--dataset", help=f"Data set: {', '.join(DATASETS)}, or what you called your own.", callback=_dataset),
]
ModelName = Annotated[str, typer.Option("--model", help=f"Architecture: {', '.join(MODELS)}.")]
Hidden = Annotated[
    str | None, typer.Option("--hidden", help="Units of the mlp's hidden layers, such as 800-800; '' for none.")
]
Channels = Annotated[
    str | None, typer.Option("--channels", help="Channels of the cnn's convolutions, such as 32-64-128.")
]
Dropout = Annotated[float | None, typer.Option(help="Share of the mlp's hidden units dropped in training.")]
DropoutInput = Annotated[float | None, typer.Option(help="Share of the mlp's inputs dropped in training.")]
BatchNorm = Annotated[bool, typer.Option("--batch-norm", help="Batch normalisation in the mlp.")]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training set.")]
BatchSize = Annotated[int | None, typer.Option(help="Examples a step.")]
Rate = Annotated[float | None, typer.Option("--learning-rate", help="Peak learning rate.")]
OptimizerName = Annotated[Optimizer | None, typer.Option("--optimizer", help="Update rule.")]
ScheduleName = Annotated[Schedule | None, typer.Option("--schedule", help="Learning rate over time.")]
WeightDecay = Annotated[float | None, typer.Option(help="Weight decay.")]
Smoothing = Annotated[float, typer.Option("--label-smoothing", help="Share of each hard target given to all classes.")]
Jitter = Annotated[int | None, typer.Option("--jitter", help="Shift each image by up to this many pixels.")]
PrecisionName = Annotated[
    Precision, typer.Option("--precision", help="auto: bfloat16 for large networks where the machine has it.")
]
DeviceName = Annotated[Device, typer.Option("--device", help="auto takes a GPU where there is one.")]
Fraction = Annotated[float, typer.Option("--fraction", help="Share of each class's training images, above 0 to 1.")]
OnlyClasses = Annotated[
    str | None, typer.Option("--only-classes", help="Use images of these classes only, such as 7,8 or 0-2,4-9.")
]
Seed = Annotated[int, typer.Option(help="Same config, device and seed: same weights.")]
NewName = Annotated[str, typer.Option("--name", help="What to call the run.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there already.")]
RunId = Annotated[str, typer.Argument(help="Run id, or its start, or 'last'.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs; errors too.")]


@app.command()
def train(
    dataset: DatasetName = "mnist",
    role: Annotated[
        Literal["teacher", "baseline"], typer.Option(help="A teacher, or a baseline: a student without a teacher.")
    ] = "teacher",
    model: ModelName = "mlp",
    hidden: Hidden = None,
    channels: Channels = None,
    dropout: Dropout = None,
    dropout_input: DropoutInput = None,
    batch_norm: BatchNorm = False,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: Rate = None,
    optimizer: OptimizerName = None,
    schedule: ScheduleName = None,
    weight_decay: WeightDecay = None,
    jitter: Jitter = None,
    label_smoothing: Smoothing = 0.0,
    fraction: Fraction = 1.0,
    only_classes: OnlyClasses = None,
    precision: PrecisionName = "auto",
    device: DeviceName = "auto",
    seed: Seed = 0,
    name: NewName = "",
) -> None:
    """Train a teacher (the paper's 1200-1200 with dropout) or a baseline student (its 800-800) on labels."""
    with _sentences():
        preset = PAPER_TEACHER if role == "teacher" else defaults.default_student(dataset)
        config = RunConfig(
            role=role,
            dataset=dataset,
            model=_model(preset, model, hidden, channels, dropout, dropout_input, batch_norm),
            transfer_set=_transfer_set(fraction, only_classes),
            training=_training(
                role, dataset, epochs, batch_size, learning_rate, optimizer, schedule, weight_decay, jitter,
                label_smoothing, precision, device,
            ),
            seed=seed,
        )  # fmt: skip
        _run(_store(), config, name=name)


@app.command()
def distill(
    teacher: Annotated[
        list[str], typer.Option(help="Run id of a teacher, or its start, or 'last'; repeat for several.")
    ],
    objective: Annotated[str, typer.Option(help=f"What the student minimises: {', '.join(OBJECTIVES)}.")] = "hinton",
    weight: Annotated[
        list[str] | None,
        typer.Option(help="A weight of the objective, such as nontarget=4; repeat for several. README has them all."),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="T in softmax(z / T), above 0; by default the objective's, or 2 on digits and 4 elsewhere."),
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Weight of the soft loss, 0 to 1, 0.9 by default; 1 reads no labels.")
    ] = None,
    final_temperature: Annotated[
        float | None, typer.Option(help="T at the last step, which it changes to in a straight line.")
    ] = None,
    final_alpha: Annotated[float | None, typer.Option(help="alpha at the last step, likewise.")] = None,
    t_squared: Annotated[
        bool | None, typer.Option("--t-squared/--no-t-squared", help="Multiply the soft loss by T squared, or not.")
    ] = None,
    ensemble: Annotated[
        Average | None, typer.Option(help="What several teachers average, probabilities by default.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Data set of the student; the teacher's by default.", callback=_dataset)
    ] = None,
    model: ModelName = "mlp",
    hidden: Hidden = None,
    channels: Channels = None,
    dropout: Dropout = None,
    dropout_input: DropoutInput = None,
    batch_norm: BatchNorm = False,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: Rate = None,
    optimizer: OptimizerName = None,
    schedule: ScheduleName = None,
    weight_decay: WeightDecay = None,
    jitter: Jitter = None,
    label_smoothing: Smoothing = 0.0,
    fraction: Fraction = 1.0,
    only_classes: OnlyClasses = None,
    labelled: Annotated[bool, typer.Option(help="Without labels alpha has to be 1; none is read then.")] = True,
    precision: PrecisionName = "auto",
    device: DeviceName = "auto",
    seed: Seed = 0,
    name: NewName = "",
) -> None:
    """Train a student on a teacher's soft targets: loss = alpha T^2 KL(teacher, student) + (1 - alpha) CE(labels).

    Or by another objective. A student may be the teacher of a smaller one: name its run.
    """
    with _sentences():
        store = _store()
        teaches = _finished(
            "finished teacher" + (f" on {info_of(dataset).label}" if dataset else ""),
            lambda run: run.config.role == "teacher" and dataset in (None, run.config.dataset),
            f"train one with 'python -m kd_core train --dataset {called(dataset or 'mnist')}', or name a run",
        )
        teachers = [_find(store, text, "learns from", teaches) for text in teacher]
        dataset = dataset or teachers[0].config.dataset
        config = RunConfig(
            role="distilled",
            dataset=dataset,
            model=_model(
                defaults.default_student(dataset), model, hidden, channels, dropout, dropout_input, batch_norm
            ),
            distillation=_distillation(
                dataset,
                objective,
                weight or [],
                temperature,
                alpha,
                teachers=tuple(run.id for run in teachers),
                t_squared=t_squared,
                ensemble=ensemble,
                final_temperature=final_temperature,
                final_alpha=final_alpha,
            ),
            transfer_set=_transfer_set(fraction, only_classes, labelled),
            training=_training(
                "distilled", dataset, epochs, batch_size, learning_rate, optimizer, schedule, weight_decay, jitter,
                label_smoothing, precision, device,
            ),
            seed=seed,
        )  # fmt: skip
        if label_smoothing and config.distillation and not config.distillation.has_hard_loss:
            raise LabError("without a hard loss no label is read: leave --label-smoothing out, or lower --alpha")
        _run(store, config, name=name)


@app.command()
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
    with _sentences():
        if pixels not in PIXELS:
            raise LabError(f"--pixels must be one of {', '.join(PIXELS)}, got '{pixels[:80]}'")
        stated = PIXELS[pixels][1:] if mean is None and std is None else (_reals("--mean", mean), _reals("--std", std))
        chosen = None
        if pixels != "own" and (mean is not None or std is not None):
            raise LabError("--pixels stands for a --mean and a --std: state one or the other")
        if model is not None or hidden is not None or channels is not None or batch_norm:
            chosen = _model(ModelConfig(), model or "mlp", hidden, channels, None, None, batch_norm)
        try:
            content = file.read_bytes()
        except OSError as error:
            raise LabError(f"{file} cannot be read: {error.strerror}") from None
        tried = _tried(
            trial.Trial(
                content, file=file.name, dataset=dataset, model=chosen, mean=stated[0], std=stated[1], inverted=inverted
            )
        )
        _say(" ".join(tried.notes))
        console.print(f"{tried.test_errors:,} test errors of {tried.test_examples:,}", highlight=False)
        if tried.warning:
            _say(tried.warning, notices, "yellow")
            if not (anyway or look):
                raise LabError("it is not taken in: correct what is wrong, or add --anyway")
        if not look:
            store = _store()
            run_id = trial.take(store, tried, lambda configs: _queued(store, configs), name=name)
            _say(_watch(store, run_id))


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


def _reals(option: str, text: str | None) -> tuple[float, ...]:
    """Numbers with commas between."""
    try:
        return tuple(float(part) for part in (text or "").split(",") if part.strip())
    except ValueError:
        raise LabError(f"{option} must be numbers with commas between, such as 0.49,0.48, got '{text}'") from None


@app.command()
def resume(run: RunId) -> None:
    """Go on with a paused, stopped, failed or interrupted run from its last checkpoint."""
    with _sentences():
        store = _store()

        def rests(run: Run) -> bool:
            return run.status in RESUMABLE

        found = _find(store, run, "resumes", Fit("unfinished run", rests, "start one with 'train'", rests))
        queue.check_devices([found.config])
        store.take_up(found.id)
        _say(_watch(store, found.id))


@app.command("continue")
def continue_run(
    run: RunId,
    epochs: Annotated[int, typer.Option(help="How many more.")],
    name: NewName = "",
) -> None:
    """Train on from a finished run's weights, as a new run with its learning rate scheduled anew."""
    with _sentences():
        store = _store()
        goes_on = _finished("finished run that was trained here", lambda run: run.config.brought is None)
        _run(store, story.continued(_find(store, run, "goes on from", goes_on), epochs), name=name)


@app.command()
def pack(
    run: RunId,
    file: Annotated[Path, typer.Argument(help="Where to write the bundle, a zip file.")],
    force: Force = False,
) -> None:
    """Write a whole run, weights and metrics and model card, into one file for another machine."""
    from kd_core.exchange import bundle

    with _sentences():
        _check_free([file], force)
        store = _store()
        write_atomic(file, bundle.pack(store, _find(store, run, "packs").id))
        _say(f"{file} holds the run")


class Fit(NamedTuple):
    """Which runs 'last' may be to a command. words: what they are; otherwise: what to do where there is none.

    can: which runs the command can do anything with, where an id names them.
    """

    words: str
    takes: Callable[[Run], bool]
    otherwise: str
    can: Callable[[Run], bool] = lambda run: run.usable


def _finished(
    words: str = "finished run",
    takes: Callable[[Run], bool] = lambda run: True,
    otherwise: str = "see 'python -m kd_core runs', and name one",
) -> Fit:
    """Finished runs with weights, none that makes a mistake on purpose."""
    return Fit(
        words, lambda run: run.status == "finished" and run.usable and not run.config.mistake and takes(run), otherwise
    )


def _find(store: Store, text: str, verb: str, fit: Fit = _finished()) -> Run:  # noqa: B008
    """The run that an id names, or for 'last' the newest that fits; says on standard error which it is, and why.

    In a store that a class shares, whoever works in a shell means what was started there.
    """
    why = ""
    if text == LAST:
        fitting = [run for run in store.runs() if fit.takes(run)]
        if not fitting:
            raise LabError(f"there is no {fit.words} to be the 'last': {fit.otherwise}")
        run = min(fitting, key=_strangeness)  # of several the first, which is the newest
        why = f" (last: the newest {fit.words}{_ORIGINS[_strangeness(run)]})"
    else:
        run = store.find(text)
    errors = f"{run.results['test_errors']:,} test errors" if run.results else run.status
    if fit.can(run):
        _say(f"{verb} {run.id[:4]}, {run.config.label} on {info_of(run.config.dataset).label}, {errors}{why}", notices)
    return run


_ORIGINS = (" started in a shell", " from a browser, as a shell started none", " that came with KD Lab")


def _strangeness(run: Run) -> int:
    """How unlikely somebody in a shell means it: the index of its origin in _ORIGINS."""
    return 2 if shipped.TAG in run.tags else int(bool(run.browser))


def _check_free(files: Iterable[Path], force: bool) -> None:
    """Raise LabError where one of these files is there already, unless it may be replaced."""
    for file in files:
        if file.exists() and not force:
            raise LabError(f"{file} is there already: name another place, or replace it with --force")


@app.command("export")
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

    with _sentences():
        if out is not None:
            texts = (export_checks.CONFIG, export_checks.CARD, export_checks.CHECKS, PAGE)
            _check_free([out / name for name in (*export_checks.MODEL_FILES, *texts)], force)
        store = _store()
        found = _find(store, run, "exports", _finished("finished network", lambda run: run.config.model.name in MODELS))
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
        _say(f"The files lie in {out or folder}")


@app.command()
def unpack(file: Annotated[Path, typer.Argument(help="A bundle that pack wrote, or the app's runs page.")]) -> None:
    """Take in a run from another machine, after checking it."""
    from kd_core.exchange import bundle

    with _sentences():
        try:
            content = file.read_bytes()
        except OSError as error:
            raise LabError(f"{file} cannot be read: {error.strerror}") from None
        console.print(f"run [bold]{bundle.unpack(_store(), content)}[/] is here now")


@app.command("recipe")
def redo_recipe(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(paper.experiments())}, or all.")],
    dataset: Annotated[
        str, typer.Option(help="mnist as in the paper, or digits: the same in seconds, without its numbers.")
    ] = "mnist",
    seeds: Annotated[int, typer.Option(min=1, max=paper.MAX_SEEDS, help="Runs of each line, seeds 0, 1, …")] = 1,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as the README has it.")] = False,
) -> None:
    """Redo an experiment of the paper: train what is missing of it, go on with what was interrupted, and compare."""
    with _sentences():
        store = _store()
        if dataset not in paper.PROTOCOLS:
            raise LabError(f"there is no recipe for '{dataset}': choose {' or '.join(paper.PROTOCOLS)}")
        known = paper.experiments(paper.PROTOCOLS[dataset])
        if name != "all" and name not in known:
            raise LabError(f"there is no recipe '{name}': choose one of {', '.join(known)}, or all")
        for experiment in known.values() if name == "all" else [known[name]]:
            redo = experiments_table.plan(experiment, range(seeds), store.runs())
            _redo(store, redo)
            _show_redone(store, experiment, redo, markdown)


def _redo(store: Store, redo: experiments_table.Redo) -> None:
    for run_id in redo.to_resume:
        store.take_up(run_id)
        _say(_watch(store, run_id), notices)
    for run_id, config in redo.to_train.items():
        _say(_start(store, run_id, config), notices)


def _show_redone(
    store: Store, experiment: experiments_table.Experiment, redo: experiments_table.Redo, markdown: bool
) -> None:
    runs = {run.id: run for run in store.some([*redo.runs.values()])}
    found = experiments_table.rows(
        experiment, redo, runs, {run_id: sum(store.epoch_seconds(run_id)) for run_id in runs}
    )
    cells = [
        (row.label, "–" if row.printed is None else f"{row.printed:,}", row.said(), str(len(row.errors)), row.time())
        for row in found
    ]
    head = ("run", "paper", "ours: median (range)", "seeds", "time a run")
    _print_table([head, *cells], experiment.title, markdown)
    for said in experiments_table.verdicts(experiment, found):
        _say(f"{said.word}: {said.sentence}")
    _print_machines(runs.values())


def _print_table(lines: Sequence[tuple[str, ...]], title: str, markdown: bool) -> None:
    """lines: the head, then a line each."""
    head, *cells = lines
    if markdown:
        for line in (head, ("---",) * len(head), *cells):
            print("| " + " | ".join(line) + " |")
        print()
        return
    table = Table(*head, title=title)
    for cell in cells:
        table.add_row(*cell)
    console.print(table)


def _print_machines(runs: Iterable[Run]) -> None:
    machines = {
        f"{run.environment['processor']}, {run.environment['threads']} threads, torch {run.environment['torch']}"
        for run in runs
        if run.status == "finished"
    }
    _say("Trained on " + "; ".join(sorted(machines)))


@app.command()
def objectives(
    dataset: DatasetName = "mnist",
    seeds: Annotated[
        int, typer.Option(min=1, max=equal_budget.MAX_SEEDS, help="Students of each objective, seeds 0, 1, …")
    ] = 5,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as the README has it.")] = False,
) -> None:
    """Compare all objectives at equal budget: train what is missing, then say which differences are more than luck."""
    with _sentences():
        store = _store()
        experiment = equal_budget.experiment(equal_budget.budget(dataset))
        redo = experiments_table.plan(experiment, range(seeds), store.runs())
        _redo(store, redo)
        runs = {run.id: run for run in store.some([*redo.runs.values()])}
        found = experiments_table.rows(
            experiment, redo, runs, {run_id: sum(store.epoch_seconds(run_id)) for run_id in runs}
        )
        standings = equal_budget.standings(found)
        _print_table([equal_budget.HEAD, *(equal_budget.cells(one) for one in standings)], experiment.title, markdown)
        for sentence in (experiment.shows, *equal_budget.verdict(standings), equal_budget.HOW_TO_READ):
            _say(sentence)
        _print_machines(runs.values())


@app.command()
def verify() -> None:
    """Measure anew what the cards of the models in checkpoints/shipped claim. Exits with 1 where one does not hold."""
    with _sentences():
        table = Table("model", "claimed", "measured", "")
        held = []
        for found in shipped.verify():
            held.append(found.holds)
            measured = "–" if found.measured is None else f"{found.measured:,}"
            table.add_row(found.name, f"{found.claimed:,}", measured, found.problem or "holds")
        console.print(table)
        if not all(held):
            raise typer.Exit(FAILED)


@app.command()
def ship() -> None:
    """Make checkpoints/shipped anew: train the paper's main experiment and the digits story, seed 0, and write them."""
    with _sentences():
        store = _store()
        mine = [run for run in store.runs() if shipped.TAG not in run.tags]
        main = experiments_table.plan(paper.experiments()["main"], [0], mine)
        _redo(store, main)
        small = story.plan(presets.digits_story(), mine)
        for run_id, config in small.to_train.items():
            _say(_start(store, run_id, config), notices)
        for run_id in dict.fromkeys([*main.runs.values(), *small.reused, *small.to_train]):
            console.print(f"{shipped.ship(store, run_id)} holds run {run_id}", highlight=False, soft_wrap=True)


@app.command("runs")
def list_runs(
    role: Annotated[Role | None, typer.Option(help="Of this role only.")] = None,
    dataset: Annotated[str | None, typer.Option(help="On this data set only.")] = None,
    status: Annotated[Status | None, typer.Option(help="In this state only.")] = None,
    name: Annotated[str, typer.Option(help="With this in their name, in capitals or not.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many, the newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    with _sentences(as_json):
        store = _store()
        dataset = dataset and _full_name(dataset)
        listed = [
            run
            for run in store.runs(statuses=(status,) if status else None)
            if role in (None, run.config.role)
            and dataset in (None, run.config.dataset)
            and name.lower() in run.name.lower()
        ][:limit]
        if as_json:
            for run in listed:
                print(json.dumps(_account(run)))
            return
        if not listed:
            _say("There is no such run. To make one: python -m kd_core train --dataset digits", notices)
            return
        table = Table(box=None, padding=(0, 1, 0, 0))
        for head in ("id", "created", "status", "data", "run", "teacher", "errors"):
            table.add_column(head, no_wrap=head == "id", overflow="fold")
        blocked = store.blocked(run for run in listed if run.status == "queued")
        for run in listed:
            told = _account(run)
            called_ = f"{run.name}: " if run.name else ""
            settings = f"{called_}{run.config.label}, {told['epochs']} epochs, seed {told['seed']}"
            teachers = " ".join(teacher[:4] for teacher in told["teachers"])
            errors = f"{run.results['test_errors']:,}" if run.results else ""
            created = told["created"][:16].replace("T", " ")
            status_ = "waits for its teacher" if run.id in blocked else run.status
            cells = (run.id, created, status_, called(run.config.dataset), settings, teachers, errors)
            table.add_row(*map(Text, cells))
        console.print(table)


@app.command()
def show(run: RunId, as_json: AsJson = False) -> None:
    """Show all that is known of a run: its settings, what it learned from, how it stands and its results."""
    with _sentences(as_json):
        store = _store()
        told = _account(_find(store, run, "shows", Fit("run", bool, "train one with 'python -m kd_core train'", bool)))
        if as_json:
            print(json.dumps(told))
            return
        for setting, value in flattened(told).items():
            if value not in (None, "", []):
                _say(f"{setting}: {_in_words(value)}")
        _say(f"files: {store.folder(told['id']).path}")


def _account(run: Run) -> dict[str, Any]:
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


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Run ids, or their starts; the first is what others are held to.")],
) -> None:
    """Compare trained runs: test errors, agreement, size, multiply-adds, and speed measured now, side by side."""
    from kd_core.data import load
    from kd_core.evaluation import accuracy as evaluation_accuracy
    from kd_core.evaluation import speed
    from kd_core.evaluation.claims import TIMES_SAID, null_said
    from kd_core.runs import artifacts

    with _sentences():
        store = _store()
        dataset_of = next((store.find(text).config.dataset for text in runs if text != LAST), None)
        fits = _finished("finished run", lambda run: dataset_of in (None, run.config.dataset))
        found = [_find(store, text, "compares", fits) for text in runs]
        for run in found:
            if not run.usable:
                raise LabError(f"run {run.id} is {run.status} and left no weights to compare")
            if run.config.dataset != found[0].config.dataset:
                learned, other = called(run.config.dataset), called(found[0].config.dataset)
                raise LabError(f"run {run.id} was trained on {learned}, not on {other}")
        dataset = load.load(found[0].config.dataset)
        models = {run.id: artifacts.load_model(store.storage, run.id, dataset) for run in found}
        logits = {run.id: artifacts.test_logits(store.storage, run.id) for run in found}
        measured = speed.measure(models, dataset.test_images[:512], mean=dataset.mean, std=dataset.std)
        table = Table("", *[f"{run.config.role} {run.id[:4]}" for run in found])
        rows = _comparison_rows(found, measured)
        rows["agreement with the first"] = [
            f"{evaluation_accuracy.agreement(logits[run.id], logits[found[0].id]):.2%}" for run in found
        ]
        for name, values in rows.items():
            table.add_row(name, *values)
        console.print(table)
        conditions = measured["conditions"]
        console.print(
            f"Latency is of one image. {conditions['processor']}, {conditions['threads']} threads, torch"
            f" {conditions['torch']}, {conditions['precision']}; models taking turns. {TIMES_SAID}"
            f" {null_said(measured)}"
        )


@app.command()
def advise(run: RunId) -> None:
    """Say what a distilled run's own numbers suggest, most important first, and the next experiment for each."""
    from kd_core.experiments.advice import after as advice_after
    from kd_core.experiments.advice import evidence

    with _sentences():
        store = _store()
        student = _finished(
            "finished distilled student",
            lambda run: run.config.role == "distilled",
            "distill one with 'python -m kd_core distill --teacher last'",
        )
        read = evidence.evidence_of(store, _find(store, run, "advises on", student))
        found = advice_after.advise(read)
        for number, advice in enumerate(found, 1):
            lines = [f"{number}. {advice.sentence}", f"   {advice.evidence}"]
            if advice.next is not None:
                changes = differences([read.story, advice.next]).items()
                said = "; ".join(
                    f"{name} {_in_words(before)} -> {_in_words(after)}" for name, (before, after) in changes
                )
                lines.append(f"   Next: {advice.change}" + (f" ({said})" if said else ""))
            _say("\n".join(lines))
        if not found:
            _say(advice_after.ALL_WELL)


def _in_words(value: Any) -> str:
    """A setting in one word."""
    return ",".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _comparison_rows(runs: list[Run], measured: dict[str, Any]) -> dict[str, list[str]]:
    from kd_core.evaluation.claims import in_figures, speed_claim, times
    from kd_core.evaluation.statistics import wilson_interval

    first = runs[0]
    ids, batch = [run.id for run in runs], measured["models"][first.id]["batch_size"]
    timed, many = times(measured, ids), times(measured, ids, batch=batch)
    faster = [speed_claim(measured, run.id, first.id) for run in runs]

    def ratios(values: dict[str, Any], format_value: Callable[[float], str]) -> list[str]:
        """A black box has costs that nobody knows."""
        base = values[first.id]
        return [
            "–" if (value := values[run.id]) is None
            else format_value(value) + ("" if base is None else f" ({in_figures(value / base)}x)")
            for run in runs
        ]  # fmt: skip

    intervals = []
    for run in runs:
        examples = run.results["test_examples"]
        low, high = wilson_interval(examples - run.results["test_errors"], examples)
        intervals.append(f"{1 - run.results['test_errors'] / examples:.2%} ({low:.2%} to {high:.2%})")
    return {
        "run": [
            ", ".join(filter(None, [run.config.network + run.config.mistake_said, run.stopped_said])) for run in runs
        ],
        "test errors": [f"{run.results['test_errors']} of {run.results['test_examples']}" for run in runs],
        "accuracy (95% interval)": intervals,
        "parameters": ratios({run.id: run.results["parameters"] for run in runs}, lambda n: f"{n:,}"),
        "size, bytes": ratios({run.id: run.results["size_bytes"] for run in runs}, lambda n: f"{n:,}"),
        "multiply-adds": ratios({run.id: run.results["multiply_adds"] for run in runs}, lambda n: f"{n:,}"),
        "latency p50, ms": [in_figures(timed[one]["latency_ms_p50"]) for one in ids],
        "latency p95, ms": [in_figures(timed[one]["latency_ms_p95"]) for one in ids],
        f"images a second, {batch} at once": [f"{many[one]['images_per_second']:,.0f}" for one in ids],
        "times as fast (95% interval)": [claim.cell if claim else "–" for claim in faster],
    }


def _model(
    preset: ModelConfig,
    name: str,
    hidden: str | None,
    channels: str | None,
    dropout: float | None,
    dropout_input: float | None,
    batch_norm: bool,
) -> ModelConfig:
    given = {"hidden": hidden, "dropout": dropout, "dropout-input": dropout_input, "batch-norm": batch_norm or None}
    for option, value in {**given, "channels": channels}.items():
        reader = "cnn" if option == "channels" else "mlp"
        if value is not None and name in MODELS and name != reader:
            raise LabError(f"{name} does not read --{option}: leave it out, or choose --model {reader}")
    if hidden is not None and not hidden.strip(" ,-") and (dropout is not None or batch_norm):
        unread = "--dropout" if dropout is not None else "--batch-norm"
        raise LabError(f"a linear model does not read {unread}: leave it out, or give it --hidden units")
    changes: dict[str, Any] = {"name": name, "batch_norm": batch_norm}
    for setting, text in (("hidden", hidden), ("channels", channels)):
        if text is None:
            continue
        parts = [part.strip() for part in text.replace(",", "-").split("-") if part.strip()]
        if not all(map(_is_number, parts)):
            raise LabError(f"--{setting} must be whole numbers with '-' between, such as 800-800, got '{text[:80]}'")
        changes[setting] = tuple(int(part) for part in parts)
    if dropout is not None:
        changes["dropout_hidden"] = dropout
    if dropout_input is not None:
        changes["dropout_input"] = dropout_input
    return preset.replace(**changes)


def _is_number(text: str) -> bool:
    """Whether text is a whole number that anything here could be of."""
    return text.isascii() and text.isdigit() and len(text) < 10


def _distillation(
    dataset: str,
    objective: str,
    weights: list[str],
    temperature: float | None,
    alpha: float | None,
    t_squared: bool | None,
    ensemble: Average | None,
    **settings: Any,
) -> DistillationConfig:
    """The settings asked for, the objective's own where nothing is; what it does not read is refused."""
    told = DistillationConfig(objective=objective, weights=_weights(weights), **settings)
    if t_squared is not None and not told.info.uses_temperature:
        raise LabError(f"{objective} has no temperature: leave --t-squared and --no-t-squared out")
    if ensemble is not None and len(told.teachers) == 1:
        raise LabError("one teacher has nothing to average: leave --ensemble out, or name several teachers")
    if ensemble == "probabilities" and told.info.matches_logits:
        raise LabError(f"{objective} averages the logits of several teachers: leave --ensemble out")
    told = told.replace(t_squared=t_squared is not False, ensemble=ensemble or told.ensemble)
    if temperature is not None and not told.info.uses_temperature:
        raise LabError(f"{objective} has no temperature: leave --temperature out")
    if alpha is not None and not told.info.mixed:
        raise LabError(f"{objective} is not weighed by alpha: leave --alpha out, and see --weight")
    if told.info.uses_temperature:
        default = defaults.default_temperature(dataset, objective)
        told = told.replace(temperature=default if temperature is None else temperature)
    return told if alpha is None else told.replace(alpha=alpha)


def _weights(texts: list[str]) -> dict[str, float]:
    weights = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            weights[name.strip()] = float(value)
        except ValueError:
            raise LabError(f"--weight must be a name and a number, such as nontarget=4, got '{text[:80]}'") from None
    return weights


def _transfer_set(fraction: float, only_classes: str | None, labelled: bool = True) -> TransferSetConfig:
    classes: set[int] = set()
    for part in (only_classes or "").split(","):
        first, _, last = part.strip().partition("-")
        if not first and not last and only_classes is None:
            continue
        if not (_is_number(first) and _is_number(last or first)):
            said = (only_classes or "")[:80]
            raise LabError(f"--only-classes must be whole numbers such as 7,8 or 0-2,4-9, got '{said}'")
        if int(last or first) > MAX_CLASS:
            raise LabError(f"--only-classes has no class {last or first}")
        classes |= set(range(int(first), int(last or first) + 1))
    return TransferSetConfig(
        fraction=fraction, only_classes=tuple(classes) if only_classes is not None else None, labelled=labelled
    )


_SETTINGS = (
    "epochs", "batch_size", "learning_rate", "optimizer", "schedule", "weight_decay", "jitter_pixels",
    "label_smoothing", "precision", "device",
)  # fmt: skip


def _training(role: str, dataset: str, *values: Any) -> TrainingConfig:
    """The training of that role on that data set, with other values of _SETTINGS where they are not None."""
    changes = {name: value for name, value in zip(_SETTINGS, values, strict=True) if value is not None}
    return defaults.default_training(role, dataset).replace(**changes)


data = typer.Typer(no_args_is_help=True, help="Data sets: list, look at, bring in your own, download, remove.")
app.add_typer(data, name="data")
Source = Annotated[Path, typer.Argument(help="A folder of class folders, or a zip of them.", exists=True)]


@data.command("list")
def list_data() -> None:
    """List all data sets, and whether they are here."""
    with _sentences():
        table = Table("name", "classes", "images", "train", "test", "here")
        for name in [*DATASETS, *library.names(base_paths.storage())]:
            info = info_of(name)
            shape = "x".join(map(str, info.image_shape))
            counts = (f"{count:,}" for count in (info.train_examples, info.test_examples))
            called = f"{info.label}\n{name}" if is_own(name) else name
            table.add_row(called, f"{info.classes:,}", shape, *counts, "yes" if data_paths.available(name) else "no")
        console.print(table)


@data.command()
def look(source: Source, as_json: AsJson = False) -> None:
    """Say what lies in a folder or zip of class folders, without taking it in."""
    with _told(as_json) as tell:
        seen = own_source.look(source)
        tell(result=seen._asdict())
        if as_json:
            return
        table = Table("class", "images", *(["of them test"] if seen.test else []))
        for name, count in seen.train.items():
            table.add_row(name, f"{count + seen.test.get(name, 0):,}", *([f"{seen.test[name]:,}"] if seen.test else []))
        console.print(table)
        least, most = ("x".join(map(str, size)) for size in (seen.smallest, seen.largest))
        kind = "colour" if seen.colour else "grey"
        console.print(f"{kind}, {least} to {most} pixels (width and height); {seen.ignored:,} other files left out")


@data.command("add")
def add_data(
    source: Source,
    label: Annotated[str | None, typer.Option(help="What to call it; by default as the source is called.")] = None,
    side: Annotated[int | None, typer.Option(help="Height and width in pixels after a central crop.")] = None,
    grey: Annotated[bool | None, typer.Option("--grey/--colour", help="By default as the images are.")] = None,
    test_fraction: Annotated[
        float, typer.Option(help="Share of each class kept as test set, where the source has none of its own.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Of that split.")] = 0,
    skip_unreadable: Annotated[bool, typer.Option(help="Leave out files that are no images.")] = False,
    settings: Annotated[str | None, typer.Option(hidden=True, help="All of these as JSON, from the app.")] = None,
    as_json: AsJson = False,
) -> None:
    """Bring in a data set of your own: a folder or zip with one folder of images a class."""
    with _told(as_json) as tell:
        if settings is None:
            seen = own_source.look(source)
            preparation = library.Preparation(
                label=label or source.stem,
                side=side or seen.side,
                channels=1 if (grey if grey is not None else not seen.colour) else 3,
                test_fraction=test_fraction,
                seed=seed,
                skip_unreadable=skip_unreadable,
            )
        else:
            preparation = library.Preparation.from_json(settings)
        name = prepare.prepare(
            source, preparation, base_paths.storage(), lambda text, share: tell(text=text, share=share)
        )
        tell(result={"name": name})
        if not as_json:
            info = info_of(name)
            console.print(
                f"{info.label}: {info.classes:,} classes, {info.train_examples:,} images to train and"
                f" {info.test_examples:,} to test on. Use it as --dataset {library.slug_of(info.label)}",
                markup=False,
                soft_wrap=True,
            )


@data.command()
def fetch(dataset: Annotated[str, typer.Argument(help="Such as fashion_mnist.")], as_json: AsJson = False) -> None:
    """Download a data set, if it is not here already."""
    from kd_core.data import load

    with _told(as_json) as tell:
        dataset = _full_name(dataset)
        load.load(dataset, lambda text, share: tell(text=text, share=share))
        tell(result={"name": dataset})
        if not as_json:
            console.print(f"{info_of(dataset).label} is here.")


@data.command("remove")
def remove_data(dataset: Annotated[str, typer.Argument(help="What you called it.", callback=_dataset)]) -> None:
    """Delete a data set of your own. Runs that learned from it stay."""
    with _sentences():
        if not is_own(dataset):
            raise LabError(f"{info_of(dataset).label} is not yours: delete its folder in KD_DATA_DIR by hand")
        library.remove(base_paths.storage(), dataset)
        console.print(f"{info_of(dataset).label} is gone")


@contextmanager
def _told(as_json: bool) -> Iterator[Callable[..., None]]:
    """Gives what tells how far a work is: in JSON lines for the app, or in a line for people. SIGTERM breaks it off."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def tell(**said: Any) -> None:
        if as_json:
            print(json.dumps(said), file=sys.stdout if "result" in said else sys.stderr, flush=True)
        elif status is not None and "share" in said:
            status.update(f"{said['text']}: {said['share']:.0%}")

    before = signal.signal(signal.SIGTERM, end)
    try:
        with notices.status("Looking at it") if not as_json else nullcontext() as status:
            yield tell
    except LabError:
        with _sentences(as_json):
            raise
    except KeyboardInterrupt:
        _say("stopped; nothing was kept", notices)
        raise typer.Exit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


@app.command()
def scheduler(
    host: Annotated[str | None, typer.Option(help="Address to listen at; by default all of this machine's.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 8786,
) -> None:
    """Be the scheduler of a cluster, until Ctrl-C. It runs what anybody sends it: keep its port to a network you trust.

    The app finds it through KD_SCHEDULER, workers are told its address.
    """
    with _sentences(), _ended_by_ctrl_c():
        hosts.serve_scheduler(host, port, lambda address: _say(f"scheduler at {address}"))


@app.command()
def worker(
    address: Annotated[str, typer.Argument(help="Of the scheduler, such as tcp://host:8786.")],
    runs: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="How many at once; by default one for four cores, or four for each GPU."),
    ] = None,
) -> None:
    """Do the runs that a scheduler hands out, until Ctrl-C, each in a process of its own; GPUs are used and shared."""
    with _sentences(), _ended_by_ctrl_c():
        offer = hosts.Host.this(runs)
        shared = f" on {offer.gpus} GPUs" if offer.gpus else f", {offer.threads} threads each"
        hosts.serve_workers(
            address,
            offer,
            lambda: _say(f"{offer.runs} runs at once{shared}, for {address}"),
        )


@contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:
    """Ctrl-C, and what ends a container, end a command that has no other end."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        _say("ended", notices)
    finally:
        signal.signal(signal.SIGTERM, before)


def _store() -> Store:
    store, notice = recovery.open_store(base_paths.home(), base_paths.storage())
    if notice:
        _say(notice, notices)
    store.interrupt_orphans()
    shipped.offer(store)
    return store


def _run(store: Store, config: RunConfig, *, name: str) -> None:
    _say(_start(store, new_id(), config, name))


def _start(store: Store, run_id: str, config: RunConfig, name: str = "") -> str:
    runs_checks.check(store, {run_id: config})
    queue.check_devices([config])
    store.create({run_id: settled(config)})
    if name:
        store.describe(run_id, name=name, note="", tags=())
    _say(f"run {run_id}: {config.label}, {called(config.dataset)}", notices)
    return _watch(store, run_id)


def _watch(store: Store, run_id: str) -> str:
    """Do the run here, with a progress bar; Ctrl-C pauses it. Returns how it ended, or exits as the help says."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    with _interrupts() as interrupted, Progress(*columns, console=notices) as bar:
        task = bar.add_task("starting", total=None)

        def show(event: execute.Event) -> None:
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
    run = store.get(run_id)
    if run.status == "failed":
        _say(f"run {run_id} failed: {run.message}", notices, "red")
        raise typer.Exit(FAILED)
    if run.status == "paused":
        _say(f"paused: python -m kd_core resume {run_id} goes on", notices)
        raise typer.Exit(PAUSED)
    if not run.results:
        return f"run {run_id} {run.status}. {run.message or ''}"
    errors, examples = run.results["test_errors"], run.results["test_examples"]
    return f"run {run_id} {run.status}: {errors} test errors of {examples}; weights in {store.folder(run_id).weights}"


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Within, the first Ctrl-C is noted, so that the run can save itself; the second ends the program."""
    noted = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal noted
        if noted:
            raise KeyboardInterrupt
        noted = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: noted
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _sentences(as_json: bool = False) -> Iterator[None]:
    """What a user can cause is one sentence on standard error and exit code 2, never a traceback.

    as_json: for programs that read standard output it is an object there.
    """
    try:
        yield
    except LabError as error:
        if as_json:
            print(json.dumps({"error": str(error)}), flush=True)
        else:
            _say(f"error: {error}", notices, "red")
        raise typer.Exit(REFUSED) from None


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # a file's name may be no text, a terminal know few characters
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        app()
    except KeyboardInterrupt:  # before the command began
        sys.exit(INTERRUPTED)
