"""The commands for what comes and goes: teachers, bundles, exports and the shipped models."""

import sys
import time
from collections.abc import Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kd_core.base.config import LabError
from kd_core.base.files import read_bytes, write_atomic
from kd_core.base.paths import ROOT
from kd_core.cli import FAILED, watch
from kd_core.cli.options import (
    AsJson,
    DatasetName,
    Fields,
    Force,
    Form,
    RunId,
    Values,
    answer,
    console,
    full_name,
    model_config,
    notices,
    print_results,
    progress_bar,
    put,
    results,
    say,
    show_table,
    takes,
)
from kd_core.cli.runs import find, finished, open_store
from kd_core.data.own import library
from kd_core.data.paths import available
from kd_core.exchange import lesson, opening, shipped
from kd_core.exchange.export import checks as export_checks
from kd_core.exchange.teacher import trial
from kd_core.experiments import paper, presets, story
from kd_core.experiments import table as experiments_table
from kd_core.models.config import PIXELS, ExternalConfig, ModelConfig
from kd_core.runs import checks as runs_checks
from kd_core.runs.run import Run
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig

if TYPE_CHECKING:
    from torch import nn

    from kd_core.data.dataset import Dataset

PAGE, PROGRAM = "draw.html", "classify.py"


@takes(
    Fields(ModelConfig, only=("name", "hidden", "channels", "batch_norm"), shows_defaults=False),
    Fields(ExternalConfig, only=("mean", "std")),
)
def teacher(
    values: Values,
    file: Annotated[Path, typer.Argument(help="State dict, safetensors, torch.export program or ONNX file.")],
    dataset: DatasetName,
    pixels: Annotated[
        str | None,
        typer.Option(
            help=f"What it was trained to read: {', '.join(PIXELS)}, or --mean and --std; else what fits best."
        ),
    ] = None,
    inverted: Annotated[
        bool | None,
        typer.Option("--inverted/--no-inverted", help="Whether dark and light were exchanged; by default what fits."),
    ] = None,
    side: Annotated[str | None, typer.Option(help="The side to which its images were resized, such as 224.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Which of its classes are the data set's, in their order, such as 3,0,17.")
    ] = None,
    answer: Annotated[
        list[str] | None,
        typer.Option(
            help="What its file does not tell, such as activation=tanh; repeat for several. By default what fits."
        ),
    ] = None,
    errors: Annotated[int | None, typer.Option(help="Its test errors where you know them: they must come out.")] = None,
    name: Annotated[str, typer.Option(help="What to call its run.")] = "",
    look: Annotated[bool, typer.Option("--look", help="Try it and say what was found, but take nothing in.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Take it in though something speaks against it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a teacher that was trained elsewhere: it is tried on the test set, and a run is made of it.

    The architecture of weights is told by their names and shapes, unless --model names it. What these leave open is
    tried on training images, and said with its numbers.
    """
    statistics, architecture = values[ExternalConfig], values[ModelConfig]
    if pixels is not None and statistics:
        raise LabError("--pixels stands for a --mean and a --std: state one or the other")
    named = any(value is not False for value in architecture.values())
    ask = trial.Ask(
        file=file.name,
        dataset=full_name(dataset),
        model=model_config(ModelConfig(), architecture) if named else None,
        mean=statistics.get("mean", () if statistics else None),
        std=statistics.get("std", () if statistics else None),
        answers=_answers(pixels, side, classes, inverted, answer or ()),
        errors=errors,
    )
    outcome = _wait_for(trial.Trial(_content_of(file), ask))
    _say_outcome(outcome, look=look, as_json=as_json)
    if outcome.warning:
        say(outcome.warning, notices, "yellow")
        if not (anyway or look):
            raise LabError("it is not taken in: correct what is wrong, or add --anyway")
    if not look:
        store = open_store()
        run_id = trial.take(store, outcome, lambda configs: _enter(store, configs), name=name)
        watch.tell(store, run_id, lambda: watch.watch(store, run_id), as_json=as_json)


def _say_outcome(outcome: trial.Outcome[Any], *, look: bool, as_json: bool) -> None:
    """Print what came of the trial of a teacher: as JSON where it was only looked at."""
    notes = [" ".join(outcome.notes), *(tried.sentence for tried in outcome.questions)]
    if as_json and look:
        known = {"notes": notes, "test_errors": outcome.test_errors, "test_examples": outcome.test_examples}
        put(known | {"warning": outcome.warning or None})
    elif not as_json:
        for note in (*notes, f"{outcome.test_errors:,} test errors of {outcome.test_examples:,}"):
            say(note)


def _answers(
    pixels: str | None, side: str | None, classes: str | None, inverted: bool | None, answers: Iterable[str]
) -> dict[str, str]:
    """What the shell states of a teacher's images and file, by question."""
    if pixels is not None and pixels not in PIXELS:
        raise LabError(f"--pixels must be one of {', '.join(PIXELS)}, got '{pixels[:80]}'")
    stated = {"pixels": pixels, "side": side, "classes": classes}
    stated["inverted"] = None if inverted is None else "yes" if inverted else "no"
    for text in answers:
        question, equals, option = text.partition("=")
        if not equals:
            raise LabError(f"--answer must be a question and an option, such as activation=tanh, got '{text[:80]}'")
        stated[question.strip()] = option.strip()
    return {question: option for question, option in stated.items() if option is not None}


def _content_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise LabError(f"{file} cannot be read: {error.strerror}") from None


def _wait_for(running: trial.Trial) -> trial.Outcome[bytes]:
    """The outcome of a trial, with a progress bar until then."""
    try:
        with progress_bar() as show:
            while not running.done:
                show(*running.told)
                time.sleep(0.1)
        return running.outcome()
    finally:
        running.close()


def _enter(store: Store, configs: dict[str, RunConfig]) -> list[str]:
    """Enter runs in the store, as the queue of the app does. Returns their ids."""
    runs_checks.check(store, configs)
    store.create(configs)
    return list(configs)


def pack(
    run: RunId,
    file: Annotated[Path, typer.Argument(help="Where to write the bundle, a zip file.")],
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write a whole run, weights and metrics and model card, into one file for another machine."""
    from kd_core.exchange import bundle

    _check_free([file], force)
    store = open_store()
    packed = find(store, run, "packs").id
    write_atomic(file, bundle.pack(store, packed))
    answer(as_json, lambda: {"file": str(file), "run": packed}, f"{file} holds the run")


def _check_free(files: Iterable[Path], force: bool) -> None:
    """Raise LabError where one of these files is there already, unless it may be replaced."""
    for file in files:
        if file.exists() and not force:
            raise LabError(f"{file} is there already: name another place, or replace it with --force")


@takes(Fields(export_checks.Options))
def export_model(
    values: Values,
    run: RunId,
    out: Annotated[
        Path | None, typer.Option(help="Copy the files here as well; by default they lie in the run's own folder.")
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Copy files too that are worse than tolerance and chance allow.")
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write a run's model as safetensors, ONNX (float32, float16, int8) and a torch.export program, each checked.

    With --out, classify.py lies beside them: it classifies a picture.
    """
    from kd_core.exchange.export import offline_page, snippets, write

    options = export_checks.Options(**values[export_checks.Options])
    if out is not None:
        texts = (export_checks.CONFIG, export_checks.CARD, export_checks.CHECKS, PAGE, PROGRAM)
        _check_free([out / name for name in (*export_checks.MODEL_FILES, *texts)], force)
    store = open_store()
    exported = find(store, run, "exports", finished("finished network", lambda run: not run.config.model.opaque))
    folder = store.folder(exported.id)
    with progress_bar() as show:
        checks = write.export_run(store.storage, exported, show, options)
    if out is not None:
        handed = [*checks.passed, *(checks.withheld if anyway else ())]
        for name in (*handed, *checks.texts, export_checks.CHECKS):
            write_atomic(out / name, read_bytes(folder.export / name))
        if page := offline_page.browser_page(folder):
            write_atomic(out / PAGE, page)
        if program := snippets.classify(folder, checks):
            write_atomic(out / PROGRAM, program.encode())
    if as_json:
        put({"run": exported.id, "folder": str(out or folder.export), **checks.model_dump(mode="json")})
        return
    _show_checks(exported, checks, anyway=anyway)
    say(f"The files lie in {out or folder.export}")


def _show_checks(run: Run, checks: export_checks.Checks, *, anyway: bool) -> None:
    """Print what each file did on the test set, and what is to be said of those that are worse than chance allows."""
    rows = [
        (
            file.name,
            f"{file.size_bytes:,}" if file.kept else "refused",
            f"{file.max_logit_difference:.1e}",
            f"{file.classes_changed:,} of {file.test_examples:,}",
            f"{file.test_errors:,} (original {file.original_test_errors:,})",
        )
        for file in checks.files
    ]
    show_table(("file", "bytes", "logits differ by", "classes changed", "test errors"), rows)
    for file in checks.files:
        say(f"{file.name}: {file.sentence}")
    versions = ", ".join(f"{name} {version}" for name, version in checks.versions.items())
    console.print(f"{checks.processor}, {checks.threads} threads; {versions}.", highlight=False)
    for name in checks.withheld:
        ending = "it is handed out anyway" if anyway else "it is not handed out without --anyway"
        say(f"{name} is worse by more than chance: {ending}.", notices, "yellow")
    if export_checks.ONNX_INT8 in checks.withheld and not run.config.training.int8_aware:
        advice = f"continue {run.id[:4]} --epochs {story.int8_epochs(run)} --int8-aware"
        say(f"To learn what int8 does to it, by the same loss: python -m kd_core {advice}", notices)


def list_predictions(
    run: RunId,
    out: Annotated[
        Path | None, typer.Option(help="Write all predictions into this file, which ends in .csv or .parquet.")
    ] = None,
    worst: Annotated[int, typer.Option(min=0, help="List so many of the images that it gets most wrong.")] = 10,
    pictures: Annotated[Path | None, typer.Option(help="Write these images into this folder, as PNG files.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Say what a model says of every test image: a table with logits, margin and loss; and list its worst mistakes."""
    from kd_core.data import load
    from kd_core.data.picture import as_png
    from kd_core.evaluation import predictions
    from kd_core.runs import artifacts

    if out is not None and out.suffix not in (".csv", ".parquet"):
        raise LabError(f"--out must end in .csv or .parquet, got '{out.name}'")
    store = open_store()
    judged = find(store, run, "reads predictions of")
    dataset = load.load(judged.config.dataset, storage=store.storage)
    logits, labels = artifacts.test_logits(store.folder(judged.id)), dataset.test_labels.numpy()
    files_of = library.test_files(store.storage, judged.config.dataset)
    rows = predictions.table(logits, labels, dataset.class_names, files_of)
    wrong = predictions.most_wrong(logits, labels)
    listed = rows.loc[wrong[:worst]]
    files = {
        pictures / f"{place:03}-image-{index}.png": index for place, index in enumerate(listed["image"], 1) if pictures
    }
    _check_free([*files, *([out] if out else [])], force)
    heads = ["image", *(["file"] if files_of else []), "label_name", "predicted_name", "probability", "margin", "loss"]
    if as_json:
        print(listed.to_json(orient="records", lines=True), end="", file=results())
    else:
        cells = [
            [f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row] for row in listed[heads].values
        ]
        show_table([head.removesuffix("_name") for head in heads], cells)
    say(f"{len(wrong):,} of {len(rows):,} test images are wrong; listed by loss, in nats.", notices)
    for file, index in files.items():
        write_atomic(file, as_png(dataset.test_images[index].numpy()))
    if out is not None:
        write_atomic(out, predictions.as_file(rows, out.suffix[1:]))
        say(f"{out} holds {len(rows):,} predictions", notices)


def unpack(
    file: Annotated[Path, typer.Argument(help="A bundle that pack wrote, or the app's runs page.")],
    as_json: AsJson = False,
) -> None:
    """Take in a run from another machine, after checking it."""
    from kd_core.exchange import bundle

    run_id = bundle.unpack(open_store(), _content_of(file))
    answer(as_json, lambda: {"run": run_id}, f"run {run_id} is here now")


def verify(as_json: AsJson = False) -> None:
    """Measure anew what the cards of the models in checkpoints/shipped claim. Exits with 1 where one does not hold."""
    claims = list(shipped.verify())
    measured = ["–" if claim.measured is None else f"{claim.measured:,}" for claim in claims]
    rows = [
        (claim.name, f"{claim.claimed:,}", count, claim.problem or "holds")
        for claim, count in zip(claims, measured, strict=True)
    ]
    records = [claim._asdict() | {"holds": claim.holds} for claim in claims]
    print_results(("model", "claimed", "measured", ""), rows, title=None, form=Form(json=as_json), records=records)
    if not all(claim.holds for claim in claims):
        raise typer.Exit(FAILED)


def ship(as_json: AsJson = False) -> None:
    """Make checkpoints/shipped anew: train the paper's main experiment and the digits story, seed 0, and write them."""
    store = open_store()
    mine = [run for run in store.runs() if shipped.TAG not in run.tags]
    main = experiments_table.plan(paper.experiments()["main"], [0], mine)
    watch.train_missing(store, main)
    small = story.plan(presets.digits_story(), mine)
    for run_id, config in small.to_train.items():
        say(watch.start(store, run_id, config), notices)
    for run_id in dict.fromkeys([*main.runs.values(), *small.reused, *small.to_train]):
        folder = str(shipped.ship(store, run_id))
        answer(as_json, partial(dict, folder=folder, run=run_id), f"{folder} holds run {run_id}")
    opening.write()


def ship_lesson(as_json: AsJson = False) -> None:
    """Make anew what ships for the lesson: students of several seeds, and those that never saw a 3, of what ships."""
    from kd_core.data import load
    from kd_core.experiments.lesson import students
    from kd_core.runs import artifacts

    store, mnist = open_store(), paper.PROTOCOLS.get("mnist")
    made = {"digits": _students_of_digits(), "mnist": lesson.shipped_for("mnist")}
    if mnist is None or not available("mnist"):
        say("MNIST is not on this machine: what ships of it stays as it is.", notices)
    else:
        redo = experiments_table.plan(paper.experiments(mnist)["no_3"], [0], store.listing())
        watch.train_missing(store, redo)
        model = artifacts.load_model(store.folder(next(iter(redo.runs.values()))), load.load("mnist"))
        made["mnist"] = lesson.Shipped({}, _unseen(model, load.load("mnist"), students.NEVER_SEEN))
    lesson.write(made)
    file = str(shipped.FOLDER / lesson.FILE)
    answer(as_json, lambda: {"file": file}, f"{file} holds them")


def _students_of_digits() -> lesson.Shipped:
    from torch import from_numpy

    from kd_core.data import load
    from kd_core.experiments.lesson import students

    digits = load.load("digits")
    teacher = from_numpy(shipped.logits_of("digits-teacher", digits.train_images, digits.normalise))
    errors = students.errors_by_line(digits, teacher)
    for line, role in (("story_baseline", "baseline"), ("story", "distilled")):  # on screen is the run that ships
        errors[line][0] = shipped.facts_of(f"digits-{role}")["run"]["results"]["test_errors"]
    ((_, model),) = students.trained([students.never_saw()], digits, teacher)
    return lesson.Shipped(errors, _unseen(model, digits, students.NEVER_SEEN))


def _unseen(model: "nn.Module", dataset: "Dataset", missing: int) -> lesson.Unseen:
    from kd_core.experiments.lesson import students

    return lesson.Unseen((missing,), *students.logits_and_prior(model, dataset, [missing]))


def site(
    folder: Annotated[Path, typer.Argument(help="Where to write it, such as public.")],
    story: Annotated[
        str | None,
        typer.Option(help="A run of the story to show: its id, a start of it, or 'last'; else the digits that ship."),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write what needs no server as static files, for any web host or none: they open from the folder too.

    The first screen, Temperature, the Playground and the lesson's questions, in every language. Needs a checkout and
    what the app needs, for the files are made of the app's own pages.
    """
    _check_free([folder / "index.html"], force)
    batch = None if story is None else find(open_store(), story, "shows").batch
    written = _of_the_app("pages.site.write").write_site(folder, batch)
    say(f"{len(written)} files, {sum(written.values()) / 1e6:.1f} MB", notices)
    index = str(folder / "index.html")
    answer(as_json, lambda: {"index": index, "files": len(written), "bytes": sum(written.values())}, index)


def _of_the_app(module: str) -> Any:
    """A module of the app, which lies beside the engine in a checkout. Raises LabError where it is not there."""
    if not ROOT.joinpath(*module.split(".")).with_suffix(".py").is_file():
        raise LabError("The site is made of the app's pages, which an installed engine lacks: run this in a checkout.")
    sys.path.insert(0, str(ROOT))
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        problem = f"The site is made of the app's pages, which need {error.name}: pip install -r requirements.txt"
        raise LabError(problem) from error
