"""What commands share: their options, how these become configs, and how results, notices and errors are printed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console

from kd_core.base import paths as base_paths
from kd_core.base.config import LabError
from kd_core.cli import REFUSED
from kd_core.data.catalogue import DATASETS, TransferSetConfig
from kd_core.data.own import library
from kd_core.experiments import defaults
from kd_core.losses.config import Average, DistillationConfig
from kd_core.models.config import MODELS, ModelConfig
from kd_core.training.config import Device, Optimizer, Precision, Schedule, TrainingConfig

MAX_CLASS = 9999


console = Console()
notices = Console(stderr=True)


def say(text: str, to: Console = console, style: str | None = None) -> None:
    """Print a line as it is: no markup, no wrapping."""
    to.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def full_name(text: str) -> str:
    """The full name of a data set, as a user may call it. Raises LabError."""
    try:
        text.encode()
    except UnicodeEncodeError:  # a shell hands bytes of another encoding over as half surrogate pairs
        raise LabError("--dataset holds what is no text in UTF-8") from None
    return library.find(base_paths.storage(), text)


def dataset_option(text: str | None) -> str | None:
    """Callback of --dataset: the full name, or exit code 2."""
    with sentences():
        return None if text is None else full_name(text)


DatasetName = Annotated[
    str,
    typer.Option(
        "--dataset", help=f"Data set: {', '.join(DATASETS)}, or what you called your own.", callback=dataset_option
    ),
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


def model_config(
    preset: ModelConfig,
    name: str,
    hidden: str | None,
    channels: str | None,
    dropout: float | None,
    dropout_input: float | None,
    batch_norm: bool,
) -> ModelConfig:
    """The preset with the options given. Raises LabError for an option that the model does not read."""
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


def distillation_config(
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


def transfer_set(fraction: float, only_classes: str | None, labelled: bool = True) -> TransferSetConfig:
    """The transfer set that the options name. Raises LabError."""
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


def training_config(role: str, dataset: str, *values: Any) -> TrainingConfig:
    """The training of that role on that data set, with other values of _SETTINGS where they are not None."""
    changes = {name: value for name, value in zip(_SETTINGS, values, strict=True) if value is not None}
    return defaults.default_training(role, dataset).replace(**changes)


@contextmanager
def sentences(as_json: bool = False) -> Iterator[None]:
    """What a user can cause is one sentence on standard error and exit code 2, never a traceback.

    as_json: for programs that read standard output it is an object there.
    """
    try:
        yield
    except LabError as error:
        if as_json:
            print(json.dumps({"error": str(error)}), flush=True)
        else:
            say(f"error: {error}", notices, "red")
        raise typer.Exit(REFUSED) from None
