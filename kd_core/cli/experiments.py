"""The commands that redo experiments, compare runs and advise on them."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

import typer

from kd_core.base import paths as base_paths
from kd_core.base.config import ConfigError, LabError
from kd_core.cli import watch
from kd_core.cli.options import (
    STUDENT,
    TRAINING,
    AsCsv,
    AsJson,
    AsMarkdown,
    Fields,
    Form,
    RunId,
    Values,
    console,
    full_name,
    network,
    notices,
    print_results,
    put,
    read_reals,
    say,
    show_table,
    takes,
)
from kd_core.cli.runs import LAST, find, finished, in_words, open_store, teaching
from kd_core.data.catalogue import TransferSetConfig, called
from kd_core.data.own import library
from kd_core.experiments import broken, comparison, defaults, equal_budget, paper, story
from kd_core.experiments import sweep as experiments_sweep
from kd_core.experiments import table as experiments_table
from kd_core.experiments.limits import catalogue as limits_catalogue
from kd_core.experiments.limits import outcome as limits_outcome
from kd_core.experiments.sweep import SweepConfig
from kd_core.losses.config import DistillationConfig
from kd_core.models.architectures import own, stock
from kd_core.models.config import MODELS
from kd_core.runs.run import Run
from kd_core.runs.store import Store
from kd_core.training.config import TrainingConfig
from kd_core.training.mistakes import MISTAKES

Teacher = Annotated[
    str | None,
    typer.Option(help="Run id of a trained teacher, or its start, or 'last'; or a network to train as one."),
]


def redo_recipe(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(paper.experiments())}, or all.")],
    dataset: Annotated[
        str,
        typer.Option(
            help="mnist as in the paper, or digits: the same in seconds, without its numbers.",
            default_factory=lambda: defaults.default_dataset(paper.PROTOCOLS),
            show_default="mnist where it is here, else digits",
        ),
    ],
    seeds: Annotated[int, typer.Option(min=1, max=paper.MAX_SEEDS, help="Runs of each line, seeds 0, 1, …")] = 1,
    markdown: AsMarkdown = False,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Redo an experiment of the paper: train what is missing of it, go on with what was interrupted, and compare."""
    store = open_store()
    if dataset not in paper.PROTOCOLS:
        raise LabError(f"there is no recipe for '{dataset}': choose {' or '.join(paper.PROTOCOLS)}")
    known = paper.experiments(paper.PROTOCOLS[dataset])
    if name != "all" and name not in known:
        raise LabError(f"there is no recipe '{name}': choose one of {', '.join(known)}, or all")
    for experiment in known.values() if name == "all" else [known[name]]:
        watch.train_missing(store, experiments_table.plan(experiment, range(seeds), store.runs()))
        _show_redone(store, experiments_table.redone(experiment, seeds, store.runs()), Form(markdown, as_csv, as_json))


def _show_redone(store: Store, redo: experiments_table.Redone, form: Form) -> None:
    rows = experiments_table.results(redo, store)
    of = {"experiment": redo.experiment.name, "dataset": redo.dataset}
    print_results(
        experiments_table.HEAD,
        [row.cells for row in rows],
        title=redo.experiment.title,
        form=form,
        records=[of | row._asdict() for row in rows],
    )
    if form.for_programs:
        return
    for verdict in experiments_table.verdicts(redo.experiment, rows):
        say(f"{verdict.word}: {verdict.sentence}")
    say(f"Trained on {experiments_table.machines(redo.all_finished)}")


@takes(TRAINING, Fields(TransferSetConfig, without=("labelled",)))
def objectives(
    values: Values,
    student: Annotated[
        str | None, typer.Option(help=f"{STUDENT}; by default a small cnn, as some objectives compare maps.")
    ] = None,
    teacher: Teacher = None,
    objective: Annotated[
        list[str] | None, typer.Option(help="Only this one; repeat for several. By default all that fit the pair.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Data set, or what you called your own; by default the teacher's, else as 'train' has it."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=equal_budget.MAX_SEEDS, help="Students of each objective, seeds 0, 1, …")
    ] = equal_budget.SEEDS,
    markdown: AsMarkdown = False,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Ask which loss suits a pair: train what is missing of all at equal budget, then say what is more than luck.

    The budget is the data set's own where no option says otherwise: epochs, batch size, share of the images.
    """
    store, dataset = open_store(), dataset and full_name(dataset)
    given = _pair(store, values, dataset, student, teacher, equal_budget.budget)
    for name in objective or ():
        DistillationConfig(teachers=("teacher",), objective=name)  # refuses what is none
    experiment = equal_budget.experiment(given, objective or ())
    watch.train_missing(store, experiments_table.plan(experiment, range(seeds), store.runs()))
    redo = experiments_table.redone(experiment, seeds, store.runs())
    standings = equal_budget.standings(experiments_table.results(redo, store))
    form = Form(markdown, as_csv, as_json)
    print_results(
        equal_budget.HEAD,
        [equal_budget.cells(standing) for standing in standings],
        title=experiment.title,
        form=form,
        records=[equal_budget.record(standing) for standing in standings],
    )
    if not form.for_programs:
        for sentence in filter(None, (experiment.shows, experiment.differs)):
            say(sentence)
        for sentence in (*equal_budget.verdict(standings), equal_budget.HOW_TO_READ):
            say(sentence)
        say(f"Trained on {experiments_table.machines(redo.all_finished)}")


def _pair(
    store: Store,
    values: Values,
    dataset: str | None,
    student: str | None,
    teacher: str | None,
    usual: Callable[[str], story.StoryConfig],
    otherwise: str | None = None,
) -> story.StoryConfig:
    """A data set's usual pair with the networks and settings given. teacher: a run, or a network to train.

    otherwise: the data set where neither an option nor a run names one.
    """
    run = None if teacher is None else _trained(store, teacher, dataset)
    given = usual(dataset or (run.config.dataset if run else otherwise or defaults.default_dataset()))
    changes: dict[str, Any] = {
        "training": given.training.replace(**values[TrainingConfig]),
        "transfer_set": given.transfer_set.replace(**values[TransferSetConfig]),
    }
    if student is not None:
        changes["student"] = network(student)
    if run is not None:
        changes |= {"teachers": (run.id,), "teacher": run.config.model}
    elif teacher is not None:
        changes["teacher"] = network(teacher)
    return given.replace(**changes)


def _trained(store: Store, text: str, dataset: str | None) -> Run | None:
    """The teacher's run that a text names; None where it is a network."""
    if text.partition(" ")[0].partition("-")[0].partition(":")[0] in MODELS or stock.known(text) or own.is_path(text):
        return None
    return find(store, text, "learns from", teaching(dataset))


@takes(TRAINING, Fields(TransferSetConfig))
def sweep(
    values: Values,
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="Run id of a teacher, or its start, or 'last', which is the default; repeat for several."),
    ] = None,
    student: Annotated[
        list[str] | None, typer.Option(help=f"{STUDENT}; repeat for several. By default mlp 30, or your images' cnn.")
    ] = None,
    temperatures: Annotated[str | None, typer.Option(help="Such as 1,2,4,8, which is the default.")] = None,
    alphas: Annotated[str | None, typer.Option(help="Weights of the soft loss; by default 0.5,0.9.")] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Data set, or what you called your own; the teacher's by default."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=20, help="Students of each setting, seeds 0, 1, …")] = 2,
    markdown: AsMarkdown = False,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Ask which temperature, alpha and network: train what is missing of the grid, and list it, the best first."""
    store, dataset = open_store(), dataset and full_name(dataset)
    teachers = [find(store, text, "learns from", teaching(dataset)) for text in teacher or [LAST]]
    usual = SweepConfig.default(dataset or teachers[0].config.dataset, tuple(run.id for run in teachers))
    changes: dict[str, Any] = {
        "training": usual.training.replace(**values[TrainingConfig]),
        "transfer_set": usual.transfer_set.replace(**values[TransferSetConfig]),
        "seeds": tuple(range(seeds)),
    }
    if student is not None:
        changes["students"] = tuple(network(text) for text in student)
    for name, text in (("temperatures", temperatures), ("alphas", alphas)):
        if text is not None:
            changes[name] = read_reals(f"--{name}", text)
    experiment = usual.replace(**changes).experiment()
    watch.train_in_groups(store, experiments_table.plan(experiment, range(seeds), store.runs()))
    finished = experiments_table.redone(experiment, seeds, store.runs()).all_finished
    rows, form = experiments_sweep.tried(finished), Form(markdown, as_csv, as_json)
    print_results(
        experiments_sweep.HEAD,
        [experiments_sweep.cells(row) for row in rows],
        title="Sweep",
        form=form,
        records=[experiments_sweep.record(row) for row in rows],
    )
    if not form.for_programs:
        for sentence in (experiments_sweep.verdict(rows), equal_budget.HOW_TO_READ):
            say(sentence)
        say(f"Trained on {experiments_table.machines(finished)}")


@takes(TRAINING, Fields(TransferSetConfig, without=("labelled",)))
def limits(
    values: Values,
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(limits_catalogue.NAMES)}, or all.")] = "all",
    dataset: Annotated[
        str | None,
        typer.Option(
            help=f"{' or '.join(limits_catalogue.SCALES)}, of which results ship, or any other; by default the"
            " teacher's, else digits."
        ),
    ] = None,
    student: Annotated[str | None, typer.Option(help=f"{STUDENT}; by default what suits the data set.")] = None,
    teacher: Teacher = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=limits_catalogue.MAX_SEEDS, help="Runs of each line, seeds 0, 1, …")
    ] = limits_catalogue.SEEDS,
    shipped: Annotated[
        bool, typer.Option("--shipped", help="Print the results that came with KD Lab; nothing is trained.")
    ] = False,
    markdown: AsMarkdown = False,
    as_json: AsJson = False,
) -> None:
    """Ask when distillation does not help: train what is missing of an experiment, and say what came of it."""
    if name not in ("all", *limits_catalogue.NAMES):
        raise LabError(f"there is no experiment '{name}': choose one of {', '.join(limits_catalogue.NAMES)}, or all")
    dataset = dataset and full_name(dataset)
    pair = None
    if student or teacher or any(values.values()) or dataset not in (None, *limits_catalogue.SCALES):
        pair = _pair(open_store(), values, dataset, student, teacher, limits_catalogue.usual, "digits")
    for each in limits_catalogue.NAMES if name == "all" else [name]:
        given = limits_catalogue.limit(each, pair.dataset if pair else dataset or "digits", pair)
        result = limits_outcome.shipped(given) if shipped else _trained_limit(given, seeds)
        if result is None:
            raise LabError(f"no results of '{each}' on {called(given.dataset)} came with KD Lab: leave --shipped out")
        _show_limit(given, result, markdown=markdown, as_json=as_json)


def _trained_limit(given: limits_catalogue.Limit, seeds: int) -> limits_outcome.Outcome:
    from kd_core.runs import artifacts

    store = open_store()
    watch.train_in_groups(store, experiments_table.plan(given.experiment, range(seeds), store.runs()))
    redo = experiments_table.redone(given.experiment, seeds, store.runs())
    return limits_outcome.outcome(redo, lambda run_id: artifacts.test_logits(store.folder(run_id)))


def _show_limit(
    given: limits_catalogue.Limit, result: limits_outcome.Outcome, *, markdown: bool, as_json: bool
) -> None:
    verdict = limits_outcome.verdict(given, result)
    if as_json:
        written = limits_outcome.as_json(given, result)
        put({"experiment": given.name, "dataset": given.dataset, "verdict": verdict.word, **written})
        return
    cells = limits_outcome.cells(given, result)
    print_results(limits_outcome.head(given, result), cells, title=given.title, form=Form(markdown))
    for sentence in (given.question, verdict.sentence, limits_outcome.agreement_in_words(given, result)):
        say(sentence.replace("**", ""))
    for claim in given.claims:
        beside = limits_outcome.beside(claim, verdict.word)
        say(f"{claim.paper} (arXiv:{claim.arxiv}, {claim.where}): {claim.states} {beside}")
    say(f"{limits_outcome.note(result)} {result.machine}")


@takes(TRAINING, Fields(TransferSetConfig, without=("labelled",)))
def mistakes(
    values: Values,
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(MISTAKES)}, or all.")] = "all",
    dataset: Annotated[
        str | None, typer.Option(help="Data set, or what you called your own; by default the teacher's, else digits.")
    ] = None,
    student: Annotated[str | None, typer.Option(help=f"{STUDENT}; by default what suits the data set.")] = None,
    teacher: Teacher = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=limits_catalogue.MAX_SEEDS, help="Runs right and wrong, seeds 0, 1, …")
    ] = limits_catalogue.SEEDS,
    markdown: AsMarkdown = False,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Ask what a mistake costs: train what is missing of each seed, with it and without, and say what came of it."""
    from kd_core.data import load
    from kd_core.runs import artifacts

    if name not in ("all", *MISTAKES):
        raise LabError(f"there is no mistake '{name}': choose one of {', '.join(MISTAKES)}, or all")
    store = open_store()
    given = _pair(store, values, dataset and full_name(dataset), student, teacher, broken.usual, "digits")
    for mistake in MISTAKES if name == "all" else [name]:
        experiment = broken.experiment(mistake, given)
        watch.train_missing(store, experiments_table.plan(experiment, range(seeds), store.runs()))
        cost = broken.cost(
            experiments_table.redone(experiment, seeds, store.runs()),
            load.load(given.dataset, storage=store.storage).test_labels.numpy,
            lambda run_id: artifacts.test_logits(store.folder(run_id)),
            given,
        )
        if cost is None:
            say(f"No seed has both its runs of '{mistake}' finished: resume what broke off, and ask again.", notices)
            continue
        of = {"mistake": mistake, "dataset": given.dataset}
        print_results(
            cost.head,
            [[str(cell) for cell in row] for row in cost.cells],
            title=experiment.title,
            form=(form := Form(markdown, as_csv, as_json)),
            records=[of | {"seed": seed, "difference": by} for seed, by in cost.difference.by_seed.items()],
        )
        if not form.for_programs:
            for sentence in (cost.sentence, cost.note):
                say(sentence.replace("**", ""))


def compare(
    runs: Annotated[list[str], typer.Argument(help="Run ids, or their starts; the first is what others are held to.")],
    as_json: AsJson = False,
) -> None:
    """Compare trained runs: test errors, agreement, size, multiply-adds, and speed measured now, side by side."""
    from kd_core.data import load
    from kd_core.evaluation import speed
    from kd_core.evaluation.claims import TIMES_SAID, null_said
    from kd_core.runs import artifacts

    store = open_store()
    dataset_of = next((store.find(text).config.dataset for text in runs if text != LAST), None)
    fits = finished("finished run", lambda run: dataset_of in (None, run.config.dataset))
    compared = [find(store, text, "compares", fits) for text in runs]
    for run in compared:
        if not run.usable:
            raise LabError(f"run {run.id} is {run.status} and left no weights to compare")
        if run.config.dataset != compared[0].config.dataset:
            learned, other = called(run.config.dataset), called(compared[0].config.dataset)
            raise LabError(f"run {run.id} was trained on {learned}, not on {other}")
    dataset = load.load(compared[0].config.dataset)
    try:
        models = {run.id: artifacts.load_model(store.folder(run.id), dataset) for run in compared}
        measured = speed.measure(models, dataset.test_images[:512], mean=dataset.mean, std=dataset.std)
    except ConfigError as error:
        if not any(run.config.model.own for run in compared):
            raise
        say(f"no speed is measured: {error}", notices, "yellow")
        measured = None
    head = ("", *(f"{run.config.role} {run.id[:4]}" for run in compared))
    sources = comparison.Sources(lambda run_id: artifacts.test_logits(store.folder(run_id)), dataset.test_labels.numpy)
    held = comparison.compare(compared, speed=measured, sources=sources)
    if as_json:
        for model in held.models:
            put(_compared(model))
        return
    table = held.table()
    show_table(head, [(name, *values) for name, values in table.items()])
    for sentence in library.doubts(base_paths.storage(), dataset.name):
        say(sentence)
    if measured is None:
        return
    conditions = measured["conditions"]
    console.print(
        f"Latency is of one image. {conditions['processor']}, {conditions['threads']} threads, torch"
        f" {conditions['torch']}, {conditions['precision']}; models taking turns. {TIMES_SAID}"
        f" {null_said(measured)}"
    )


def _compared(model: comparison.Model) -> dict[str, Any]:
    """A model of a comparison as plain numbers; ratios are to the first."""
    paces = {
        runtime: [pace._asdict() | {"faster": pace.faster and asdict(pace.faster)} for pace in each]
        for runtime, each in model.paces.items()
    }
    return {
        "id": model.run.id,
        "role": model.run.config.role,
        "network": str(model.run.config.model.label),
        "test_errors": model.errors,
        "test_examples": model.examples,
        "accuracy": model.accuracy,
        "accuracy_interval": model.interval,
        "costs": dict(model.costs),
        "ratios": dict(model.ratios),
        "paces": paces,
    }


def advise(run: RunId, as_json: AsJson = False) -> None:
    """Say what a distilled run's own numbers suggest, most important first, and the next experiment for each."""
    from kd_core.experiments.advice import after as advice_after
    from kd_core.experiments.advice import evidence

    store = open_store()
    student = finished(
        "finished distilled student",
        lambda run: run.config.role == "distilled",
        "distill one with 'python -m kd_core distill --teacher last'",
    )
    evidence_read = evidence.evidence_of(store, find(store, run, "advises on", student))
    suggestions = advice_after.advise(evidence_read)
    if as_json:
        for advice in suggestions:
            then = None if advice.next is None else advice.next.model_dump(mode="json")
            put(advice._asdict() | {"next": then})
        return
    for number, advice in enumerate(suggestions, 1):
        lines = [f"{number}. {advice.sentence}", f"   {advice.evidence}"]
        if advice.next is not None:
            changes = advice_after.changes(evidence_read.story, advice.next).items()
            settings = "; ".join(f"{name} {in_words(before)} -> {in_words(after)}" for name, (before, after) in changes)
            lines.append(f"   Next: {advice.change}" + (f" ({settings})" if settings else ""))
        say("\n".join(lines))
    if not suggestions:
        say(advice_after.ALL_WELL)
