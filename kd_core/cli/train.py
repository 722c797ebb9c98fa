"""The commands that train: train, distill, resume and continue."""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import typer

from kd_core.base.config import LabError
from kd_core.cli import watch
from kd_core.cli.logs import LogTo, opened
from kd_core.cli.options import (
    TRAINING,
    AsJson,
    DatasetName,
    Fields,
    NewName,
    RunId,
    Values,
    distillation_config,
    full_name,
    model_config,
    takes,
)
from kd_core.cli.runs import Fit, find, finished, open_store, teaching
from kd_core.data.catalogue import TransferSetConfig
from kd_core.experiments import defaults, story
from kd_core.jobs import queue
from kd_core.losses.config import DistillationConfig
from kd_core.models.architectures import own
from kd_core.models.config import ModelConfig
from kd_core.runs.run import RESUMABLE, Run
from kd_core.training.config import RunConfig, TrainingConfig

MODEL = Fields(ModelConfig, without=("norm_last", "pool", "first_kernel", "first_stride"))
SEED = Fields(RunConfig, only=("seed",))


@takes(MODEL, TRAINING, Fields(TransferSetConfig, without=("labelled",)), SEED)
def train(
    values: Values,
    dataset: DatasetName,
    role: Annotated[
        Literal["teacher", "baseline"], typer.Option(help="A teacher, or a baseline: a student without a teacher.")
    ] = "teacher",
    name: NewName = "",
    log: LogTo = None,
    as_json: AsJson = False,
) -> None:
    """Train a teacher or a baseline student on labels.

    As in the browser, images like MNIST's start from the paper's networks, 1200-1200 with dropout and 800-800, and
    others, your own too, from convolutional ones.
    """
    dataset = full_name(dataset)
    config = RunConfig(
        role=role,
        dataset=dataset,
        model=model_config(defaults.default_model(role, dataset), values[ModelConfig]),
        transfer_set=TransferSetConfig(**values[TransferSetConfig]),
        training=defaults.default_training(role, dataset).replace(**values[TrainingConfig]),
        **values[RunConfig],
    )
    watch.run_new(open_store(), config, name=name, logs=opened(log), as_json=as_json)


@takes(
    Fields(DistillationConfig, without=("teachers", "weights")),
    MODEL,
    TRAINING,
    Fields(TransferSetConfig),
    SEED,
)
def distill(
    values: Values,
    teacher: Annotated[
        list[str], typer.Option(help="Run id of a teacher, or its start, or 'last'; repeat for several.")
    ],
    weight: Annotated[
        list[str] | None,
        typer.Option(
            help="A weight of the objective, such as nontarget=4; repeat for several. docs/objectives.md has them all."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Data set of the student, or what you called your own; the teacher's by default."),
    ] = None,
    name: NewName = "",
    log: LogTo = None,
    as_json: AsJson = False,
) -> None:
    """Train a student on a teacher's soft targets: loss = alpha T^2 KL(teacher, student) + (1 - alpha) CE(labels).

    Or by another objective. A student may be the teacher of a smaller one: name its run.
    """
    store, dataset = open_store(), dataset and full_name(dataset)
    teachers = [find(store, text, "learns from", teaching(dataset)) for text in teacher]
    dataset = dataset or teachers[0].config.dataset
    distillation = distillation_config(
        dataset, values[DistillationConfig], teachers=tuple(run.id for run in teachers), weights=weight or []
    )
    training = defaults.default_training("distilled", dataset).replace(**values[TrainingConfig])
    config = RunConfig(
        role="distilled",
        dataset=dataset,
        model=model_config(defaults.default_model("distilled", dataset), values[ModelConfig]),
        distillation=distillation,
        transfer_set=TransferSetConfig(**values[TransferSetConfig]),
        training=training,
        **values[RunConfig],
    )
    if training.label_smoothing and not distillation.has_hard_loss:
        raise LabError("without a hard loss no label is read: leave --label-smoothing out, or lower --alpha")
    watch.run_new(store, config, name=name, logs=opened(log), as_json=as_json)


def resume(run: RunId, log: LogTo = None, as_json: AsJson = False) -> None:
    """Go on with a paused, stopped, failed or interrupted run: from its last checkpoint, else anew from its start."""
    store = open_store()

    def rests(run: Run) -> bool:
        return run.status in RESUMABLE

    unfinished = find(store, run, "resumes", Fit("unfinished run", rests, "start one with 'train'", rests))
    queue.check_devices([unfinished.config])
    logs = opened(log)
    store.take_up(unfinished.id)
    watch.tell(store, unfinished.id, lambda: watch.watch(store, unfinished.id, *logs), as_json=as_json)


def continue_run(
    run: RunId,
    epochs: Annotated[int, typer.Option(help="How many more.")],
    int8_aware: Annotated[
        bool, typer.Option("--int8-aware", help="Rounded as an int8 file is, at a tenth of the learning rate.")
    ] = False,
    name: NewName = "",
    log: LogTo = None,
    as_json: AsJson = False,
) -> None:
    """Train on from a finished run's weights, as a new run with its learning rate scheduled anew."""
    store = open_store()
    goes_on = finished("finished run that was trained here", lambda run: run.config.trained_here)
    before = find(store, run, "goes on from", goes_on)
    config = story.continued(before, epochs, int8_aware=int8_aware)
    watch.run_new(store, config, name=name, logs=opened(log), as_json=as_json)


def run_file(
    file: Annotated[Path, typer.Argument(help="TOML, as 'show ID --config' prints it, or a run's config.json.")],
    name: NewName = "",
    log: LogTo = None,
    as_json: AsJson = False,
) -> None:
    """Start the run that a file describes: the same settings and seed give the same weights."""
    config = _described(file)
    if not config.trained_here:
        raise LabError(f"{file} describes a teacher that was trained elsewhere: bring its file with 'teacher'")
    watch.run_new(open_store(), config, name=name, logs=opened(log), as_json=as_json)


def _described(file: Path) -> RunConfig:
    """Read a run's config. Raises LabError for what is none."""
    try:
        text = file.read_text(encoding="utf-8")
        values = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except OSError as error:
        raise LabError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise LabError(f"{file} is neither TOML nor JSON: {str(error)[:200]}") from None
    if isinstance(values.get("dataset"), str):
        values["dataset"] = full_name(values["dataset"])
    model = values.get("model")
    if isinstance(model, dict) and own.is_path(str(model.get("name"))):
        model["name"] = own.named(model["name"])  # no consent: who sent the file may have written it
    return RunConfig.from_json(json.dumps(values, default=str))
