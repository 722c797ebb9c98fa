"""The commands that redo experiments, compare runs and advise on them."""

import json
from collections.abc import Sequence
from typing import Annotated

import typer

from kd_core.base import paths as base_paths
from kd_core.base.config import LabError, differences
from kd_core.cli import watch
from kd_core.cli.options import AsJson, DatasetName, RunId, console, say, show_table
from kd_core.cli.runs import LAST, find, finished, in_words, open_store
from kd_core.data.catalogue import called
from kd_core.data.own import library
from kd_core.experiments import comparison, equal_budget, paper
from kd_core.experiments import table as experiments_table
from kd_core.experiments.limits import catalogue as limits_catalogue
from kd_core.experiments.limits import outcome as limits_outcome
from kd_core.runs.store import Store


def redo_recipe(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(paper.experiments())}, or all.")],
    dataset: Annotated[
        str, typer.Option(help="mnist as in the paper, or digits: the same in seconds, without its numbers.")
    ] = "mnist",
    seeds: Annotated[int, typer.Option(min=1, max=paper.MAX_SEEDS, help="Runs of each line, seeds 0, 1, …")] = 1,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the table in Markdown, as docs/paper.md has it.")
    ] = False,
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
        _show_redone(store, experiments_table.redone(experiment, seeds, store.runs()), markdown)


def _show_redone(store: Store, redo: experiments_table.Redone, markdown: bool) -> None:
    rows = experiments_table.results(redo, store)
    _print_table([experiments_table.HEAD, *(row.cells for row in rows)], redo.experiment.title, markdown)
    for verdict in experiments_table.verdicts(redo.experiment, rows):
        say(f"{verdict.word}: {verdict.sentence}")
    say(f"Trained on {experiments_table.machines(redo.all_finished)}")


def _print_table(lines: Sequence[tuple[str, ...]], title: str, markdown: bool) -> None:
    """lines: the head, then a line each."""
    head, *cells = lines
    if markdown:
        for line in (head, ("---",) * len(head), *cells):
            print("| " + " | ".join(line) + " |")
        print()
        return
    show_table(head, cells, title)


def objectives(
    dataset: DatasetName = "mnist",
    seeds: Annotated[
        int, typer.Option(min=1, max=equal_budget.MAX_SEEDS, help="Students of each objective, seeds 0, 1, …")
    ] = 5,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the table in Markdown, as docs/objectives.md has it.")
    ] = False,
) -> None:
    """Compare all objectives at equal budget: train what is missing, then say which differences are more than luck."""
    store = open_store()
    experiment = equal_budget.experiment(equal_budget.budget(dataset))
    watch.train_missing(store, experiments_table.plan(experiment, range(seeds), store.runs()))
    redo = experiments_table.redone(experiment, seeds, store.runs())
    standings = equal_budget.standings(experiments_table.results(redo, store))
    _print_table(
        [equal_budget.HEAD, *(equal_budget.cells(standing) for standing in standings)], experiment.title, markdown
    )
    for sentence in (experiment.shows, *equal_budget.verdict(standings), equal_budget.HOW_TO_READ):
        say(sentence)
    say(f"Trained on {experiments_table.machines(redo.all_finished)}")


def limits(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(limits_catalogue.NAMES)}, or all.")] = "all",
    dataset: Annotated[str, typer.Option(help=f"One of {', '.join(limits_catalogue.SCALES)}.")] = "digits",
    seeds: Annotated[
        int, typer.Option(min=1, max=limits_catalogue.MAX_SEEDS, help="Runs of each line, seeds 0, 1, …")
    ] = limits_catalogue.SEEDS,
    shipped: Annotated[
        bool, typer.Option("--shipped", help="Print the results that came with KD Lab; nothing is trained.")
    ] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print tables in Markdown, as docs/measurements/limits.md has them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask when distillation does not help: train what is missing of an experiment, and say what came of it."""
    if dataset not in limits_catalogue.SCALES:
        raise LabError(f"there is no such experiment for '{dataset}': choose {' or '.join(limits_catalogue.SCALES)}")
    if name not in ("all", *limits_catalogue.NAMES):
        raise LabError(f"there is no experiment '{name}': choose one of {', '.join(limits_catalogue.NAMES)}, or all")
    for each in limits_catalogue.NAMES if name == "all" else [name]:
        given = limits_catalogue.limit(each, dataset)
        result = limits_outcome.shipped(given) if shipped else _trained_limit(given, seeds)
        if result is None:
            raise LabError(f"no results of '{each}' on {dataset} came with KD Lab: leave --shipped out")
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
        say(json.dumps({"experiment": given.name, "dataset": given.dataset, "verdict": verdict.word, **written}))
        return
    table = [limits_outcome.head(given, result), *limits_outcome.cells(given, result)]
    _print_table(table, given.title, markdown)
    for sentence in (given.question, verdict.sentence, limits_outcome.agreement_in_words(given, result)):
        say(sentence.replace("**", ""))
    for claim in given.claims:
        beside = limits_outcome.beside(claim, verdict.word)
        say(f"{claim.paper} (arXiv:{claim.arxiv}, {claim.where}): {claim.states} {beside}")
    say(f"{limits_outcome.note(result)} {result.machine}")


def compare(
    runs: Annotated[list[str], typer.Argument(help="Run ids, or their starts; the first is what others are held to.")],
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
    models = {run.id: artifacts.load_model(store.folder(run.id), dataset) for run in compared}
    measured = speed.measure(models, dataset.test_images[:512], mean=dataset.mean, std=dataset.std)
    head = ("", *(f"{run.config.role} {run.id[:4]}" for run in compared))
    sources = comparison.Sources(lambda run_id: artifacts.test_logits(store.folder(run_id)), dataset.test_labels.numpy)
    table = comparison.compare(compared, speed=measured, sources=sources).table()
    show_table(head, [(name, *values) for name, values in table.items()])
    for sentence in library.doubts(base_paths.storage(), dataset.name):
        say(sentence)
    conditions = measured["conditions"]
    console.print(
        f"Latency is of one image. {conditions['processor']}, {conditions['threads']} threads, torch"
        f" {conditions['torch']}, {conditions['precision']}; models taking turns. {TIMES_SAID}"
        f" {null_said(measured)}"
    )


def advise(run: RunId) -> None:
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
    for number, advice in enumerate(suggestions, 1):
        lines = [f"{number}. {advice.sentence}", f"   {advice.evidence}"]
        if advice.next is not None:
            changes = differences([evidence_read.story, advice.next]).items()
            settings = "; ".join(f"{name} {in_words(before)} -> {in_words(after)}" for name, (before, after) in changes)
            lines.append(f"   Next: {advice.change}" + (f" ({settings})" if settings else ""))
        say("\n".join(lines))
    if not suggestions:
        say(advice_after.ALL_WELL)
