"""The command line: every command by its name, in the order in which --help lists them."""

import platform
import tomllib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from kd_core.base import process
from kd_core.cli import cluster, data, exchange, experiments, runs, train
from kd_core.cli.options import in_sentences, say

COMMANDS: dict[str, Callable[..., None]] = {
    "train": train.train,
    "distill": train.distill,
    "teacher": exchange.teacher,
    "resume": train.resume,
    "continue": train.continue_run,
    "run": train.run_file,
    "pack": exchange.pack,
    "export": exchange.export_model,
    "predictions": exchange.list_predictions,
    "unpack": exchange.unpack,
    "recipe": experiments.redo_recipe,
    "sweep": experiments.sweep,
    "objectives": experiments.objectives,
    "limits": experiments.limits,
    "mistakes": experiments.mistakes,
    "verify": exchange.verify,
    "ship": exchange.ship,
    "ship-lesson": exchange.ship_lesson,
    "site": exchange.site,
    "runs": runs.list_runs,
    "show": runs.show,
    "compare": experiments.compare,
    "advise": experiments.advise,
    "scheduler": cluster.scheduler,
    "worker": cluster.worker,
}
DATA_COMMANDS: dict[str, Callable[..., None]] = {
    "list": data.list_data,
    "look": data.look,
    "add": data.add_data,
    "fetch": data.fetch,
    "remove": data.remove_data,
}
EXIT_CODES = (
    "Exit codes: 0 done; 1 a run failed or a check does not hold; 2 refused; 3 paused by Ctrl-C; 4 paused by SIGTERM or"
    " SIGHUP; 130 broken off by Ctrl-C."
)
app = typer.Typer(
    no_args_is_help=True,
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
        " a check does not hold; 2 something asked for cannot be done; 3 paused by Ctrl-C, and 'resume' goes on; 4"
        " paused by SIGTERM or SIGHUP, as when its terminal is closed; 130 broken off by Ctrl-C. KD_HOME names the"
        " folder of the runs, KD_DATA_DIR the one of the data."
    ),
)
for name, command in COMMANDS.items():
    app.command(name, epilog=EXIT_CODES)(in_sentences(command))
data_app = typer.Typer(no_args_is_help=True, help="Data sets: list, look at, bring in your own, download, remove.")
for name, command in DATA_COMMANDS.items():
    data_app.command(name, epilog=EXIT_CODES)(in_sentences(command))


def _say_version(wanted: bool) -> None:
    if wanted:
        try:
            of_lab = version("kd-lab")
        except PackageNotFoundError:  # a checkout that nobody installed
            project = Path(__file__).resolve().parents[2] / "pyproject.toml"
            of_lab = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
        say(f"kd-lab {of_lab} (Python {platform.python_version()}, torch {version('torch')})")
        raise typer.Exit


@app.callback()
def _every_command(
    of_lab: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Take what stands before a command's name."""


app.add_typer(data_app, name="data")
process.let_threads_sleep()
