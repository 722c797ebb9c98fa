"""A run's records, written for other programs too while it trains: --log tensorboard, --log mlflow."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from kd_core.base import paths
from kd_core.base.config import LabError, flattened
from kd_core.runs.events import Event
from kd_core.runs.run import Run

LogTo = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        help="Write the curves for tensorboard or mlflow too; tensorboard=FOLDER or mlflow=URI says where. Repeat for"
        " both.",
    ),
]


class Log(Protocol):
    """What takes a run's records. begin: before the first of them, also where a run goes on; end: after the last."""

    def begin(self, run: Run) -> None: ...

    def take(self, event: Event) -> None: ...

    def end(self, run: Run) -> None: ...


def _tensorboard(where: str) -> Log:
    from kd_core.cli.logs.tensorboard import TensorBoardLog

    return TensorBoardLog(Path(where) if where else paths.home() / "tensorboard")


def _mlflow(where: str) -> Log:
    from kd_core.cli.logs.mlflow import MlflowLog

    return MlflowLog(where, paths.home() / "mlruns")


KINDS: dict[str, Callable[[str], Log]] = {"tensorboard": _tensorboard, "mlflow": _mlflow}


def opened(texts: Sequence[str] | None) -> list[Log]:
    """Open what --log names. Raises LabError for what is unknown or not installed."""
    logs = []
    for text in texts or ():
        kind, _, where = text.partition("=")
        if kind not in KINDS:
            raise LabError(f"--log must be one of {', '.join(KINDS)}, got '{kind[:80]}'")
        try:
            logs.append(KINDS[kind](where))
        except ImportError as error:
            raise LabError(f"{kind} is not installed ({error}): pip install 'kd-lab[{kind}]'") from None
    return logs


@contextmanager
def following(
    logs: Sequence[Log], run_of: Callable[[], Run], say: Callable[[str], None]
) -> Iterator[Callable[[Event], None]]:
    """Yield what hands events to logs. One that fails is left out from then on: training is no reason to stop for it.

    Raises LabError where one of them cannot begin.
    """
    run, able = run_of(), [*logs]

    def begin(log: Log) -> None:
        try:
            log.begin(run)
        except Exception as error:
            raise LabError(f"the log cannot be written: {_in_short(error)}") from error

    def each(do: Callable[[Log], None]) -> None:
        for log in [*able]:
            try:
                do(log)
            except Exception as error:
                able.remove(log)
                say(f"the log ends here, and the run goes on: {_in_short(error)}")

    for log in able:
        begin(log)
    try:
        yield lambda event: each(lambda log: log.take(event))
    finally:
        ended = run_of()
        each(lambda log: log.end(ended))


def _in_short(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def settings_of(run: Run) -> dict[str, Any]:
    """A run's settings by dotted name, without those that are not set."""
    settings = flattened(run.config.model_dump(mode="json"))
    return {name: value for name, value in settings.items() if value not in (None, "", [], {})}


NAMES = {
    "step": {"train/loss": "loss", "train/soft_loss": "soft_loss", "train/hard_loss": "hard_loss",
             "train/learning_rate": "learning_rate"},
    "epoch": {"epoch/loss": "loss", "epoch/soft_loss": "soft_loss", "epoch/hard_loss": "hard_loss",
              "validation/accuracy": "validation_accuracy", "validation/errors": "validation_errors",
              "epoch/seconds": "seconds"},
}  # fmt: skip
"""Kind of a record -> what a number of it is called there -> its field."""


def numbers_of(event: Event) -> list[tuple[str, float, int]]:
    """The numbers of a record: name, value and step; none of an event that is no record."""
    if event["kind"] != "step" and event["kind"] != "epoch":
        return []
    values = {name: event.get(field) for name, field in NAMES[event["kind"]].items()}
    return [(name, float(value), event["step"]) for name, value in values.items() if isinstance(value, (int, float))]


def results_of(run: Run) -> dict[str, float]:
    """The numbers that a run ended with, by name."""
    return {
        f"test/{name.removeprefix('test_')}": float(value)
        for name, value in run.results.items()
        if name in ("test_errors", "test_examples", "test_accuracy") and isinstance(value, (int, float))
    }
