"""A run as the store holds it, and its folder."""

import json
import secrets
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, TypedDict

from kd_core.base.config import LabError
from kd_core.base.files import AnyPath, is_file, read_text
from kd_core.data.catalogue import called
from kd_core.training.config import PRECISIONS, RunConfig
from kd_core.training.records import RecordRow

Status = Literal["queued", "running", "paused", "finished", "stopped", "failed", "interrupted"]
ACTIVE: tuple[Status, ...] = ("queued", "running")
RESUMABLE: tuple[Status, ...] = ("paused", "stopped", "failed", "interrupted")

RECORD_COLUMNS = tuple(RecordRow.__annotations__)
Part = Literal["loss", "soft_loss", "hard_loss"]
PARTS: tuple[Part, ...] = ("loss", "soft_loss", "hard_loss")

LOST_WORKER = "The process that trained it was lost; another takes it up from what it last saved."
"""What is said of a run that waits for another worker, and still when it has one: it may have been quick."""
MAX_NAME, MAX_NOTE, MAX_TAG = 80, 2000, 30
"""Characters."""
MAX_TAGS = 100


class Results(TypedDict, total=False):
    """What a run is worth, as card.json and the store hold it. epochs: how many were trained, in fractions.

    parameters and multiply_adds are None of a black box, validation_errors without a validation split.
    """

    test_errors: int
    test_examples: int
    validation_errors: int | None
    validation_examples: int
    epochs: float
    classes: int
    parameters: int | None
    size_bytes: int
    multiply_adds: int | None


class StoreError(LabError):
    """The store cannot be used, or has no such run; one sentence says what to do."""


@dataclass(frozen=True)
class Run:
    """One row, as it stood when it was read. Times are seconds since 1970; message is a sentence for people.

    browser: whose it is, an id that the server gave a browser; empty for a run from a shell. attempt: how often it was
    started; one that goes on from a checkpoint records its steps from there anew. joined: other browsers that asked for
    the same config while it waited or was at work.
    """

    id: str
    created_at: float
    config: RunConfig
    batch: str
    status: Status
    request: str | None = None
    message: str | None = None
    step: int = 0
    total_steps: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    results: Results = field(default_factory=Results)
    browser: str = ""
    name: str = ""
    note: str = ""
    tags: tuple[str, ...] = ()
    deleted_at: float | None = None
    attempt: int = 0
    joined: tuple[str, ...] = ()

    @property
    def browsers(self) -> tuple[str, ...]:
        """All that asked for it, the first of them first."""
        return self.browser, *self.joined

    @property
    def label(self) -> str:
        """A name for lists: what its user called it, else what it is and the start of its id; and its mistake."""
        if self.name:
            return self.name + self.config.mistake_said
        return f"{self.config.label} · {called(self.config.dataset)} · {self.id[:4]}"

    @property
    def settled(self) -> RunConfig:
        """Its config, with the precision that it was trained in where an older config leaves that open."""
        return _settled(self.config, str(self.environment.get("precision")))

    @property
    def progress(self) -> float:
        """Share of its steps done, 0 to 1."""
        return min(1.0, self.step / self.total_steps) if self.total_steps else 0.0

    @property
    def stopped_said(self) -> str:
        """Such as 'stopped early, at 3 of 20 epochs', of a stopped run that left weights; else nothing."""
        if self.status != "stopped" or not self.usable:
            return ""
        return f"stopped early, at {self.results['epochs']:.3g} of {self.config.training.epochs} epochs"

    @property
    def usable(self) -> bool:
        """Whether it left weights that can be shown, compared and taught from."""
        return bool(self.results)


@dataclass(frozen=True)
class RunFolder:
    """The files of one run, in runs/<id> of a storage."""

    path: AnyPath

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def storage(self) -> AnyPath:
        return self.path.parent.parent

    config = property(lambda self: self.path / "config.json")
    checkpoint = property(lambda self: self.path / "checkpoint.pt")
    together = property(lambda self: self.path / "together.pt")
    origin = property(lambda self: self.path / "origin.json")
    group = property(lambda self: self.path / "group.json")
    weights = property(lambda self: self.path / "weights.safetensors")
    logits = property(lambda self: self.path / "logits.safetensors")
    card = property(lambda self: self.path / "card.json")
    export = property(lambda self: self.path / "export")
    history = property(lambda self: self.path / "history.jsonl")

    def trained_with(self) -> list[str]:
        """Read which runs this one has trained with as one, itself included; none where it trained alone."""
        try:
            group = json.loads(read_text(self.group))
            return [str(run_id) for run_id in group] if self.run_id in group else []
        except (OSError, ValueError, TypeError):
            return []

    def resume_in_words(self) -> str:
        """Say what resuming the run does: that depends on whether it has a checkpoint, its own or its group's."""
        try:
            first = next(iter(self.trained_with()), self.run_id)
            saved = is_file(self.checkpoint) or is_file(folder_of(self.storage, first).together)
        except (OSError, LabError):  # its storage does not answer
            return "Resume goes on with it."
        return (
            "Resume goes on from the last checkpoint." if saved else "Resume starts it anew, towards the same weights."
        )


def folder_of(storage: AnyPath, run_id: str) -> RunFolder:
    """Return the folder of a run. Raises StoreError for what cannot be an id, so no id leads outside storage."""
    if not (run_id.isascii() and run_id.isalnum()):
        raise StoreError(f"there is no run '{run_id}'")
    return RunFolder(storage / "runs" / run_id)


def new_id() -> str:
    """Make an id for a run or a batch."""
    return secrets.token_hex(5)


@lru_cache(maxsize=1024)
def _settled(config: RunConfig, precision: str) -> RunConfig:
    trained = next((known for known in PRECISIONS if known == precision), None)
    return config if trained is None else config.in_precision(trained)
