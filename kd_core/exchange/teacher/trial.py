"""A teacher's file tried in a process of its own, before anything of it is kept: a hostile one ends that process alone.

    python -m kd_core.exchange.teacher.trial FOLDER     reads file and ask.json in FOLDER, writes tried.safetensors

The process may take MAX_MEMORY_BYTES beyond what it starts with, where its system can bound that, and has MAX_SECONDS,
of which SECONDS_WITHOUT_A_WORD at most may pass between two words of how far it is. No torch on the side of who asks.
"""

import contextlib
import json
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import Field

from kd_core.base.config import Config, LabError
from kd_core.base.files import remove_folder, write_atomic
from kd_core.base.process import SECONDS_BETWEEN_LOOKS, Child, keep_heaps_few, reported
from kd_core.base.templates import read_back, said, said_by
from kd_core.models.config import ModelConfig
from kd_core.runs.run import new_id
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig

log = logging.getLogger(__name__)

FILE, ASK, STATE = "file", "ask.json", "tried.safetensors"
MAX_BYTES = 500_000_000
"""Of a file."""
MAX_MEMORY_BYTES = 3_000_000_000
MAX_SECONDS, SECONDS_WITHOUT_A_WORD = 1800.0, 120.0
STOPPED = said("It was stopped before it was tried.")
TAG = "brought"
"""Of the runs of such teachers."""
_ONE_AT_A_TIME = threading.BoundedSemaphore(1)


class TrialError(LabError):
    """A file that was refused, or that broke the process that tried it; a sentence says why."""


class Ask(Config):
    """A file to be tried: what its user says of it.

    model: its architecture, by default what its names and shapes tell. mean, std: as ExternalConfig has them. answers:
    question -> option; what has none is what fits best. errors: its test errors, as its user knows them.
    """

    dataset: str
    file: str = Field(min_length=1)
    model: ModelConfig | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    answers: dict[str, str] = Field(default_factory=dict)
    errors: int | None = None


QUESTIONS = {
    "weights": said("Weights"), "output": said("Output"), "activation": said("Activation"),
    "norm_last": said("Batch norm after activation"), "pool": said("Pooling"), "first_stride": said("First stride"),
    "pixels": said("Pixels"), "inverted": said("Dark and light exchanged"),
}  # fmt: skip
OPTIONS = {
    str(option): option
    for option in (
        said("own"), said("no"), said("yes"), said("its own"), said("stated"), said("average"), said("max"),
        said("none"),
    )
}  # fmt: skip
"""Answers that are words; others are names."""


class Question(NamedTuple):
    """What a file leaves open: how many of so many training images each option gets wrong. taken: one of them."""

    name: str
    taken: str
    wrong: dict[str, int]
    images: int

    @property
    def sentence(self) -> str:
        """It with its numbers, of the best four."""
        others = sorted((wrong, option) for option, wrong in self.wrong.items() if option != self.taken)
        wrong = f"{self.wrong[self.taken]:,} of {self.images:,} training images wrong"
        named = "".join(f"; {option} {count:,}" for count, option in others[:4])
        return f"{QUESTIONS[self.name]}: {self.taken}? {wrong}{named}."


State = TypeVar("State")


class Outcome(NamedTuple, Generic[State]):
    """What a trial found. state: of the run's model, name -> tensor; as it leaves its process, bytes of safetensors.

    notes, warning: sentences for people; warning may be empty. questions: what the file left open, and how each option
    did.
    """

    config: RunConfig
    state: State
    notes: tuple[str, ...]
    warning: str
    test_errors: int
    test_examples: int
    questions: tuple[Question, ...] = ()


def take(
    store: Store, outcome: Outcome[bytes], submit: Callable[[dict[str, RunConfig]], list[str]], *, name: str = ""
) -> str:
    """Make a run of a teacher that was tried, and return its id; submit queues it, to be asked of all images.

    Nothing stays where that is refused. Raises SaveError where its files cannot be written, and what submit raises.
    """
    run_id, brought = new_id(), outcome.config.brought
    folder = store.folder(run_id)
    try:
        write_atomic(folder.weights, outcome.state)
        (taken,) = submit({run_id: outcome.config})
    except BaseException:
        remove_folder(folder.path)
        raise
    if taken != run_id:  # the same file is being asked already
        remove_folder(folder.path)
        return taken
    source = [f"Brought by its user: {brought.file}, SHA-256 {brought.sha256}."] if brought else []
    store.describe(run_id, name=name, note=" ".join([*source, *outcome.notes]), tags=[TAG])
    return run_id


class Trial:
    """One file that is being tried, or waits until another was. Close it: its folder holds the file.

    Raises TrialError for a file that is empty or too large.
    """

    def __init__(self, content: bytes, ask: Ask) -> None:
        if not content:
            raise TrialError(said("This file is empty: choose the file that holds the trained teacher."))
        if len(content) > MAX_BYTES:
            raise TrialError(
                said("This file is larger than {megabytes} MB: bring a smaller teacher.", megabytes=MAX_BYTES // 10**6)
            )
        self._folder = tempfile.TemporaryDirectory(prefix="kd-lab-trial-", ignore_cleanup_errors=True)
        self._path = Path(self._folder.name)
        (self._path / ASK).write_text(ask.model_dump_json(), encoding="utf-8")
        (self._path / FILE).write_bytes(content)
        self._child = Child(said("Waiting until another file was tried"))
        self._outcome: Outcome[bytes] | LabError | None = None
        self._thread = threading.Thread(target=self._see_through, name="kd-lab-trial", daemon=True)
        self._thread.start()

    @property
    def told(self) -> tuple[str, float]:
        """What is being done, and the share done, 0 to 1."""
        return self._child.text, self._child.share

    @property
    def done(self) -> bool:
        """Whether it has come to an end."""
        return self._outcome is not None

    def outcome(self) -> Outcome[bytes]:
        """What was found, once it is done; waits until then. Raises LabError where the file is refused."""
        self._thread.join()
        if isinstance(self._outcome, Outcome):
            return self._outcome
        raise self._outcome or TrialError(STOPPED)

    def close(self) -> None:
        """Stop it where it is at work, and let go of what it holds on disk."""
        self._child.stop()
        self._thread.join()

    def _see_through(self) -> None:
        try:
            while not _ONE_AT_A_TIME.acquire(timeout=SECONDS_BETWEEN_LOOKS):
                if self._child.stopped:
                    raise TrialError(STOPPED)
            try:
                self._outcome = self._watched()
            finally:
                _ONE_AT_A_TIME.release()
        except LabError as error:
            self._outcome = error
        except OSError as error:
            why = error.strerror or said_by(error)
            self._outcome = TrialError(said("It could not be tried here ({why}): try again.", why=why))
        finally:
            self._folder.cleanup()

    def _watched(self) -> Outcome[bytes]:
        child = self._child
        complaints = child.run(
            [sys.executable, "-m", "kd_core.exchange.teacher.trial", str(self._path)],
            max_seconds=MAX_SECONDS,
            max_silent_seconds=SECONDS_WITHOUT_A_WORD,
        )
        if child.late:
            raise TrialError(
                said("This file takes too long to answer: bring a smaller teacher, or in a shell try it alone.")
            )
        if child.stopped:
            raise TrialError(STOPPED)
        if child.error is not None:
            raise TrialError(child.error)
        if child.result is None:
            log.warning("the process that tried a teacher ended early: %s", complaints)
            raise TrialError(
                said(
                    "This file broke the process that tried it, or took more memory than a teacher may: it is not"
                    " taken."
                )
            )
        outcome = child.result
        return Outcome(
            RunConfig.model_validate(outcome["config"]),
            (self._path / STATE).read_bytes(),
            tuple(read_back(str(note)) for note in outcome["notes"]),
            read_back(str(outcome["warning"])),
            outcome["test_errors"],
            outcome["test_examples"],
            tuple(Question(*question) for question in outcome["questions"]),
        )


# ------------------------------------------------------------------------------------------------ in the process


def _bound_memory() -> None:
    """From here on no more than MAX_MEMORY_BYTES beyond what is taken already, where the system knows such a bound.

    What is taken is address space: libraries that were imported count, and the stacks of threads.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        import psutil

        most = psutil.Process().memory_info().vms + MAX_MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(folder: Path) -> None:
    """Try the file in a folder, and write what was found beside it."""
    keep_heaps_few()
    from kd_core.base import tensors
    from kd_core.data import load
    from kd_core.exchange.teacher import examine

    parent = os.getppid()

    def tell(text: str, share: float) -> None:
        if os.getppid() != parent:
            raise SystemExit("nobody waits for it any more")
        report({"text": reported(text), "share": share})

    def report(facts: dict[str, Any]) -> None:
        print("\n" + json.dumps(facts), flush=True)  # a library may have left a line unfinished

    try:
        tell(said("Loading the data set"), 0.0)
        ask = Ask.from_json((folder / ASK).read_text(encoding="utf-8"))
        dataset = load.load(ask.dataset, tell)
        content = (folder / FILE).read_bytes()
        _bound_memory()
        tried = examine.examine(content, ask, dataset, tell)
        tensors.save_tensors(folder / STATE, tried.state)
        result = tried._asdict() | {"config": tried.config.model_dump(mode="json")}
        del result["state"]
        result |= {"notes": [*map(reported, tried.notes)], "warning": reported(tried.warning)}
        report({"result": result})
    except Exception as error:
        if not isinstance(error, LabError):
            logging.exception("a trial failed")
        report({"error": reported(said_by(error) if isinstance(error, LabError) else _broken(error))})


def _broken(error: Exception) -> str:
    if isinstance(error, MemoryError) or "memory" in str(error).lower():
        return said("This file takes more memory than a teacher may: bring a smaller one.")
    return said(
        "This file cannot be asked ({kind}: {why}): export it anew.",
        kind=type(error).__name__,
        why=" ".join(str(error).split())[:200],
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
