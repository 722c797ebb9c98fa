"""The commands that train: train, distill, resume and continue."""

from typing import Annotated, Literal

import typer

from kd_core.base.config import LabError
from kd_core.cli import watch
from kd_core.cli.options import (
    BatchNorm,
    BatchSize,
    Channels,
    DatasetName,
    DeviceName,
    Dropout,
    DropoutInput,
    Epochs,
    Fraction,
    Hidden,
    Jitter,
    ModelName,
    NewName,
    OnlyClasses,
    OptimizerName,
    PrecisionName,
    Rate,
    RunId,
    ScheduleName,
    Seed,
    Smoothing,
    WeightDecay,
    dataset_option,
    distillation_config,
    model_config,
    say,
    sentences,
    training_config,
    transfer_set,
)
from kd_core.cli.runs import Fit, find, finished, open_store
from kd_core.data.catalogue import called, info_of
from kd_core.experiments import defaults, story
from kd_core.jobs import queue
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.losses.config import Average
from kd_core.models.config import PAPER_TEACHER
from kd_core.runs.run import RESUMABLE, Run
from kd_core.training.config import RunConfig


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
    with sentences():
        preset = PAPER_TEACHER if role == "teacher" else defaults.default_student(dataset)
        config = RunConfig(
            role=role,
            dataset=dataset,
            model=model_config(preset, model, hidden, channels, dropout, dropout_input, batch_norm),
            transfer_set=transfer_set(fraction, only_classes),
            training=training_config(
                role, dataset, epochs, batch_size, learning_rate, optimizer, schedule, weight_decay, jitter,
                label_smoothing, precision, device,
            ),
            seed=seed,
        )  # fmt: skip
        watch.run_new(open_store(), config, name=name)


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
        str | None, typer.Option(help="Data set of the student; the teacher's by default.", callback=dataset_option)
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
    with sentences():
        store = open_store()
        teaches = finished(
            "finished teacher" + (f" on {info_of(dataset).label}" if dataset else ""),
            lambda run: run.config.role == "teacher" and dataset in (None, run.config.dataset),
            f"train one with 'python -m kd_core train --dataset {called(dataset or 'mnist')}', or name a run",
        )
        teachers = [find(store, text, "learns from", teaches) for text in teacher]
        dataset = dataset or teachers[0].config.dataset
        config = RunConfig(
            role="distilled",
            dataset=dataset,
            model=model_config(
                defaults.default_student(dataset), model, hidden, channels, dropout, dropout_input, batch_norm
            ),
            distillation=distillation_config(
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
            transfer_set=transfer_set(fraction, only_classes, labelled),
            training=training_config(
                "distilled", dataset, epochs, batch_size, learning_rate, optimizer, schedule, weight_decay, jitter,
                label_smoothing, precision, device,
            ),
            seed=seed,
        )  # fmt: skip
        if label_smoothing and config.distillation and not config.distillation.has_hard_loss:
            raise LabError("without a hard loss no label is read: leave --label-smoothing out, or lower --alpha")
        watch.run_new(store, config, name=name)


def resume(run: RunId) -> None:
    """Go on with a paused, stopped, failed or interrupted run from its last checkpoint."""
    with sentences():
        store = open_store()

        def rests(run: Run) -> bool:
            return run.status in RESUMABLE

        found = find(store, run, "resumes", Fit("unfinished run", rests, "start one with 'train'", rests))
        queue.check_devices([found.config])
        store.take_up(found.id)
        say(watch.watch(store, found.id))


def continue_run(
    run: RunId,
    epochs: Annotated[int, typer.Option(help="How many more.")],
    name: NewName = "",
) -> None:
    """Train on from a finished run's weights, as a new run with its learning rate scheduled anew."""
    with sentences():
        store = open_store()
        goes_on = finished("finished run that was trained here", lambda run: run.config.brought is None)
        watch.run_new(store, story.continued(find(store, run, "goes on from", goes_on), epochs), name=name)
