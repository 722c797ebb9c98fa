"""What commands share: the options that set fields of configs, and how results, notices and errors are printed."""

import csv
import inspect
import json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from functools import wraps
from itertools import islice
from types import FrameType
from typing import Annotated, Any, NamedTuple, TextIO, get_args

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column, Table

from kd_core.base import paths as base_paths
from kd_core.base.config import Config, LabError, flattened
from kd_core.base.process import reported
from kd_core.base.templates import said_by
from kd_core.cli import REFUSED
from kd_core.data.catalogue import DATASETS, info_of
from kd_core.data.own import library
from kd_core.experiments import defaults
from kd_core.losses.config import DistillationConfig
from kd_core.models.architectures import own, stock
from kd_core.models.config import MODELS, ModelConfig, weights_files, weights_folder
from kd_core.training.config import TrainingConfig

MAX_CLASS = 9999

console = Console()
notices = Console(stderr=True)
_standard_output: list[TextIO] = []


def say(text: str, to: Console = console, style: str | None = None) -> None:
    """Print a line as it is: no markup, no wrapping."""
    to.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def show_table(head: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """Print a table."""
    table = Table(*(Column(name, overflow="fold") for name in head), title=title)  # no name is cut off
    for row in rows:
        table.add_row(*row)
    console.print(table)


def results() -> TextIO:
    """Where results go: standard output, but for what only_results holds back."""
    return _standard_output[-1] if _standard_output else sys.stdout


def put(record: Mapping[str, Any]) -> None:
    """Print a result for programs: an object on a line."""
    print(json.dumps(record), file=results(), flush=True)


@contextmanager
def only_results() -> Iterator[None]:
    """Within, all else that is printed goes to standard error, whoever prints it: a network's own code, a library."""
    _standard_output.append(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _standard_output.pop()


def answer(as_json: bool, record: Callable[[], dict[str, Any]], sentence: str) -> None:
    """Print a command's result: a sentence, or for programs an object."""
    if as_json:
        put(record())
    else:
        say(sentence)


class Form(NamedTuple):
    """How results are printed: as a table of a terminal where none of these is meant."""

    markdown: bool = False
    csv: bool = False
    json: bool = False

    @property
    def for_programs(self) -> bool:
        """Whether nothing but plain numbers is printed."""
        return self.csv or self.json


def print_results(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None,
    form: Form,
    records: Sequence[dict[str, Any]] = (),
) -> None:
    """Print a table. records: the same lines as plain numbers, for programs."""
    if form.json:
        for record in records:
            put(record)
    elif form.csv:
        flat = [flattened(record) for record in records]
        columns = [*dict.fromkeys(name for record in flat for name in record)]
        inner = {name.rpartition(".")[0] for name in columns}  # whose parts have columns of their own
        kept = [name for name in columns if name not in inner]
        writer = csv.DictWriter(results(), kept, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
    elif form.markdown:
        for line in (head, ("---",) * len(head), *rows):
            print("| " + " | ".join(line) + " |")
        print()
    else:
        show_table(head, rows, title)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """Yield what shows how far some work is, in words and as a share from 0 to 1."""
    with Progress(TextColumn("{task.description}"), BarColumn(), console=notices, transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda text, share: bar.update(task, description=text, completed=share)


def full_name(text: str) -> str:
    """The full name of a data set, as a user may call it. Raises LabError."""
    try:
        text.encode()
    except UnicodeEncodeError:  # a shell hands bytes of another encoding over as half surrogate pairs
        raise LabError("--dataset holds what is no text in UTF-8") from None
    return library.find(base_paths.storage(), text)


def _run_ids(incomplete: str) -> list[tuple[str, str]]:
    """Complete a run's id: the newest that begin so, each with what it is."""
    from kd_core.runs.store import Store

    try:
        store = Store(base_paths.home())
    except LabError:
        return []
    fitting = (run for run in store.newest() if run.id.startswith(incomplete))
    runs = [(run.id, f"{run.named or run.config.label}, {run.status}") for run in islice(fitting, 30)]
    store.close()
    return [("last", "the newest that the command can use")] * "last".startswith(incomplete) + runs


def _datasets(incomplete: str) -> list[str]:
    """Complete the name of a data set."""
    own = [library.slug_of(info_of(name).label) for name in library.names(base_paths.storage())]
    return [name for name in (*DATASETS, *own) if name.startswith(incomplete)]


DatasetName = Annotated[
    str,
    typer.Option(
        "--dataset",
        help=f"Data set: {', '.join(DATASETS)}, or what you called your own.",
        default_factory=defaults.default_dataset,
        autocompletion=_datasets,
        show_default="mnist where it is here, else digits",
    ),
]
NewName = Annotated[str, typer.Option("--name", help="What to call the run.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there already.")]

RunId = Annotated[str, typer.Argument(help="Run id, or its start, or 'last'.", autocompletion=_run_ids)]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs; errors too.")]
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Print the table in Markdown, as docs/ has it.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print the table as CSV, in plain numbers.")]
STUDENT = "A student's network, such as 'mlp 30', 'cnn 8-16', resnet18 or my_pkg.nets:tiny, whose code is then imported"


# ------------------------------------------------------------------------------------------------- fields as options

Values = dict[type[Config], dict[str, Any]]
"""Config -> field -> value, of the options that were given."""
FLAGS = {"name": "--model", "dropout_hidden": "--dropout", "jitter_pixels": "--jitter"}
"""Flags of the fields that are not called as their flag is."""
HINTS = {
    "name": "by default the data set's",
    "hidden": "such as 800-800; '' for none",
    "head": "by default average",
    "channels": "such as 32-64-128",
    "only_classes": "such as 7,8 or 0-2,4-9",
    "mean": "such as 0.13 or 0.49,0.48,0.44",
    "std": "such as 0.31 or 0.25,0.24,0.26",
    "temperature": "by default the objective's, or 2 on digits and 4 elsewhere",
    "labelled": "alpha has to be 1 then",
    "label": "by default as the source is called",
    "memory_format": "by default auto",
    "side": "by default one that suits the images",
}
"""What --help adds to a field's description: how a shell writes the value, or what the command's default is."""
FROM_PRESETS = {
    "name", "hidden", "channels",
    "dropout_input", "dropout_hidden", "epochs", "batch_size", "learning_rate", "jitter_pixels",
    "temperature", "label", "side", "memory_format",
}  # fmt: skip
"""Fields whose default depends on the data set or the source, so that --help cannot name it."""


class Fields(NamedTuple):
    """Fields of a config that a command takes as options: all, some only, or all without some.

    shows_defaults: whether --help names the fields' defaults.
    """

    config: type[Config]
    only: Sequence[str] = ()
    without: Sequence[str] = ()
    shows_defaults: bool = True

    @property
    def names(self) -> list[str]:
        """The fields' names."""
        return [name for name in self.only or self.config.model_fields if name not in self.without]


TRAINING = Fields(TrainingConfig, without=("warmup_epochs", "validation_fraction"))


def flag_of(field: str) -> str:
    """The option that sets a field."""
    return FLAGS.get(field, "--" + field.replace("_", "-"))


def takes(*groups: Fields) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command with one option a field; its first argument becomes the Values of those that were given."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        options = {_parameter(group, name): (group.config, name) for group in groups for name in group.names}

        @wraps(command)
        def run(**arguments: Any) -> None:
            values: Values = {group.config: {} for group in groups}
            for option, (config, name) in options.items():
                value = arguments.pop(option.name)
                if value is not None:
                    values[config][name] = READERS[name](flag_of(name), value) if name in READERS else value
            command(values, **arguments)

        _, *own = inspect.signature(command).parameters.values()
        parameters = [*own, *options]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _parameter(group: Fields, name: str) -> inspect.Parameter:
    """A field as typer reads an option: its type, its flag, and its description as help; None where it is not given."""
    field, flag = group.config.model_fields[name], flag_of(name)
    kind: Any = str if name in READERS else field.annotation
    if type(None) not in get_args(kind):
        kind = kind | None
    text = "; ".join(filter(None, [field.description, HINTS.get(name)]))
    text = f"{text[:1].upper()}{text[1:]}."
    default = field.default
    if isinstance(default, bool):
        flag = f"{flag}/--no-{flag[2:]}"
        default = name if default else None
    if group.shows_defaults and default not in (None, "") and name not in FROM_PRESETS | READERS.keys():
        text += f"  [default: {default}]"
    return inspect.Parameter(
        flag_of(name)[2:].replace("-", "_"),
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=None,
        annotation=Annotated[kind, typer.Option(flag, help=text)],
    )


def _is_number(text: str) -> bool:
    """Whether text is a whole number that anything here could be of."""
    return text.isascii() and text.isdigit() and len(text) < 10


def _read_sizes(flag: str, text: str) -> tuple[int, ...]:
    """Whole numbers with '-' between."""
    parts = [part.strip() for part in text.replace(",", "-").split("-") if part.strip()]
    if not all(map(_is_number, parts)):
        raise LabError(f"{flag} must be whole numbers with '-' between, such as 800-800, got '{text[:80]}'")
    return tuple(int(part) for part in parts)


def _read_classes(flag: str, text: str) -> tuple[int, ...]:
    """Whole numbers and ranges of them with commas between."""
    classes: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not (_is_number(first) and _is_number(last or first)):
            raise LabError(f"{flag} must be whole numbers such as 7,8 or 0-2,4-9, got '{text[:80]}'")
        if int(last or first) > MAX_CLASS:
            raise LabError(f"{flag} has no class {last or first}")
        classes |= set(range(int(first), int(last or first) + 1))
    return tuple(classes)


def read_reals(flag: str, text: str) -> tuple[float, ...]:
    """Numbers with commas between."""
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise LabError(f"{flag} must be numbers with commas between, such as 0.49,0.48, got '{text}'") from None


def _read_weights_file(flag: str, text: str) -> str:
    """A file of weights with the start of its checksum, as a config names it; 'library' as it is."""
    if text == stock.LIBRARY or "@" in text:
        return text
    named = [name for name in weights_files() if name.partition("@")[0] == text]
    if not named:
        raise LabError(f"{flag} must be {stock.LIBRARY}, or a file in {weights_folder()}, got '{text[:80]}'")
    return named[0]


def _read_name(flag: str, text: str) -> str:
    """A network's name. An import path is its user's consent, as they typed it here."""
    name, _, sizes = text.partition(" ")
    widths = MODELS[name].widths if sizes and name in MODELS else None
    if widths is not None:
        raise LabError(f"{flag} takes a name alone, got '{text[:80]}': write {flag} {name} --{widths.setting} {sizes}")
    if not own.is_path(text):
        return text
    own.permit(text)
    return own.named(text)


def network(text: str) -> ModelConfig:
    """The network that a user wrote in this shell, as defaults.network reads it; an import path is their consent."""
    if own.is_path(text.strip()):
        own.permit(text.strip())
    return defaults.network(text)


READERS: dict[str, Callable[[str, str], Any]] = {
    "name": _read_name,
    "hidden": _read_sizes,
    "channels": _read_sizes,
    "only_classes": _read_classes,
    "pretrained": _read_weights_file,
    "mean": read_reals,
    "std": read_reals,
}
"""Fields that hold several values, which a shell gives as one text."""


# ------------------------------------------------------------------------------------------------- values to configs


def model_config(preset: ModelConfig, values: dict[str, Any]) -> ModelConfig:
    """The preset with the values given. Raises LabError for one that the model does not read.

    Where no model is named and the preset's does not read what is given, it is an mlp.
    """
    given = [field for field, value in values.items() if field != "name" and value is not False]
    name = values.get("name") or (preset.name if {*given} <= {*preset.architecture.reads} else "mlp")
    reads = ModelConfig().named(name).architecture.reads
    for field in given:
        readers = [other for other, architecture in MODELS.items() if field in architecture.reads]
        readers += ["torchvision/NAME", "timm/NAME"] if field in stock.ANEW else []
        if field not in reads:
            raise LabError(
                f"{own.path_of(name)} does not read {flag_of(field)}: leave it out, or choose --model"
                f" {' or '.join(readers)}"
            )
    unread = [field for field in ("dropout_hidden", "batch_norm") if field in given]
    if values.get("hidden") == () and unread:
        raise LabError(f"a linear model does not read {flag_of(unread[0])}: leave it out, or give it --hidden units")
    return preset.named(name).replace(**values)


def distillation_config(
    dataset: str, values: dict[str, Any], *, teachers: tuple[str, ...], weights: Sequence[str]
) -> DistillationConfig:
    """The objective's own settings with the values given. Raises LabError for one that the objective does not read."""
    first = {name: values[name] for name in ("objective", "final_temperature", "final_alpha") if name in values}
    config = DistillationConfig(teachers=teachers, weights=_read_weights(weights), **first)
    objective, info = config.objective, config.info
    if "t_squared" in values and not info.uses_temperature:
        raise LabError(f"{objective} has no temperature: leave --t-squared and --no-t-squared out")
    if "ensemble" in values and len(teachers) == 1:
        raise LabError("one teacher has nothing to average: leave --ensemble out, or name several teachers")
    if values.get("ensemble") == "probabilities" and info.matches_logits:
        raise LabError(f"{objective} averages the logits of several teachers: leave --ensemble out")
    if "temperature" in values and not info.uses_temperature:
        raise LabError(f"{objective} has no temperature: leave --temperature out")
    if "alpha" in values and not info.mixed:
        raise LabError(f"{objective} is not weighed by alpha: leave --alpha out, and see --weight")
    if info.uses_temperature:
        values = {"temperature": defaults.default_temperature(dataset, objective), **values}
    return config.replace(**values)


def _read_weights(texts: Sequence[str]) -> dict[str, float]:
    weights = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            weights[name.strip()] = float(value)
        except ValueError:
            raise LabError(f"--weight must be a name and a number, such as nontarget=4, got '{text[:80]}'") from None
    return weights


# ------------------------------------------------------------------------------------------------ errors and signals


@contextmanager
def sentences(as_json: bool = False) -> Iterator[None]:
    """What a user can cause is one sentence on standard error and exit code 2, never a traceback.

    as_json: for programs that read standard output it is an object there.
    """
    try:
        yield
    except LabError as error:
        if as_json:
            put({"error": reported(said_by(error))})
        else:
            say(f"error: {error}", notices, "red")
        raise typer.Exit(REFUSED) from None


def in_sentences(command: Callable[..., None]) -> Callable[..., None]:
    """The command with its LabErrors as sentences; as JSON where it was asked for that."""

    @wraps(command)
    def run(**arguments: Any) -> None:
        as_json = arguments.get("as_json", False)
        alone = only_results() if as_json or arguments.get("as_csv") else nullcontext()
        with alone, sentences(as_json):
            command(**arguments)

    return run


@contextmanager
def interrupted_by_sigterm() -> Iterator[Callable[[], None]]:
    """Raise KeyboardInterrupt on SIGTERM, within.

    Yields a function to call now and then: it raises what was lost, as is an exception that a signal raises while
    Python runs a destructor.
    """
    ended = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ended
        ended = True
        raise KeyboardInterrupt

    def check() -> None:
        if ended:
            raise KeyboardInterrupt

    with handling(end, [signal.SIGTERM]):
        yield check


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None], numbers: Iterable[int]) -> Iterator[None]:
    """Handle signals by a function, within. What is ignored, as SIGHUP is under nohup, stays so."""
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number, former in before.items():
            if former is not signal.SIG_IGN:
                signal.signal(number, handler)
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
