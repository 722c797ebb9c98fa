"""The commands that train: train, distill, resume and continue."""

from typing import Annotated, Literal

import typer

from kd_core.base.config import LabError
from kd_core.cli import watch
from kd_core.cli.options import (
    TRAINING,
    DatasetName,
    Fields,
    NewName,
    RunId,
    Values,
    dataset_option,
    distillation_config,
    model_config,
    say,
    takes,
)
from kd_core.cli.runs import Fit, find, finished, open_store, teaching
from kd_core.data.catalogue import TransferSetConfig
from kd_core.experiments import defaults, story
from kd_core.jobs import queue
from kd_core.losses.config import DistillationConfig
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
) -> None:
    """Train a teacher or a baseline student on labels.

    As in the browser, images like MNIST's start from the paper's networks, 1200-1200 with dropout and 800-800, and
    others, your own too, from convolutional ones.
    """
    config = RunConfig(
        role=role,
        dataset=dataset,
        model=model_config(defaults.default_model(role, dataset), values[ModelConfig]),
        transfer_set=TransferSetConfig(**values[TransferSetConfig]),
        training=defaults.default_training(role, dataset).replace(**values[TrainingConfig]),
        **values[RunConfig],
    )
    watch.run_new(open_store(), config, name=name)


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
        typer.Option(
            help="Data set of the student, or what you called your own; the teacher's by default.",
            callback=dataset_option,
        ),
    ] = None,
    name: NewName = "",
) -> None:
    """Train a student on a teacher's soft targets: loss = alpha T^2 KL(teacher, student) + (1 - alpha) CE(labels).

    Or by another objective. A student may be the teacher of a smaller one: name its run.
    """
    store = open_store()
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
    watch.run_new(store, config, name=name)


def resume(run: RunId) -> None:
    """Go on with a paused, stopped, failed or interrupted run: from its last checkpoint, else anew from its start."""
    store = open_store()

    def rests(run: Run) -> bool:
        return run.status in RESUMABLE

    unfinished = find(store, run, "resumes", Fit("unfinished run", rests, "start one with 'train'", rests))
    queue.check_devices([unfinished.config])
    store.take_up(unfinished.id)
    say(watch.watch(store, unfinished.id))


def continue_run(
    run: RunId,
    epochs: Annotated[int, typer.Option(help="How many more.")],
    name: NewName = "",
) -> None:
    """Train on from a finished run's weights, as a new run with its learning rate scheduled anew."""
    store = open_store()
    goes_on = finished("finished run that was trained here", lambda run: run.config.trained_here)
    watch.run_new(store, story.continued(find(store, run, "goes on from", goes_on), epochs), name=name)
