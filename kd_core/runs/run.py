"""A run as the store holds it, its folder, and all runs together, found by id, batch and settings."""

import json
import secrets
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Any, Literal, TypedDict, TypeVar, cast

from kd_core.base.config import LabError
from kd_core.base.files import AnyPath, is_file, read_text
from kd_core.base.templates import Said, said
from kd_core.data.catalogue import called, info_of
from kd_core.training.config import PRECISIONS, ROLES, RunConfig
from kd_core.training.records import RecordRow

Status = Literal["queued", "running", "paused", "finished", "stopped", "failed", "interrupted"]
ACTIVE: tuple[Status, ...] = ("queued", "running")
RESUMABLE: tuple[Status, ...] = ("paused", "stopped", "failed", "interrupted")
STATES: dict[Status, str] = {
    "queued": said("queued"),
    "running": said("running"),
    "paused": said("paused"),
    "finished": said("finished"),
    "stopped": said("stopped"),
    "failed": said("failed"),
    "interrupted": said("interrupted"),
}
"""What sentences call them."""

RECORD_COLUMNS = tuple(RecordRow.__annotations__)
Part = Literal["loss", "soft_loss", "hard_loss"]
PARTS: tuple[Part, ...] = ("loss", "soft_loss", "hard_loss")

LOST_WORKER = said("The process that trained it was lost; another takes it up from what it last saved.")
"""What is said of a run that waits for another worker, and still when it has one: it may have been quick."""
MAX_NAME, MAX_NOTE, MAX_TAG = 80, 2000, 30
"""Characters."""
MAX_TAGS = 100


T = TypeVar("T")
X = TypeVar("X")


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


def shipped_name(config: RunConfig) -> Said:
    """What a run that comes with KD Lab is called."""
    return said("{data} {role}, shipped", data=info_of(config.dataset).label, role=ROLES[config.role])


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
    facts: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave what was worked out of it behind where it goes to another process."""
        return {**self.__dict__, "facts": {}}

    @property
    def browsers(self) -> tuple[str, ...]:
        """All that asked for it, the first of them first."""
        return self.browser, *self.joined

    @property
    def ships(self) -> bool:
        """Whether it is called as what comes with KD Lab is."""
        return self.name == shipped_name(self.config)

    @property
    def named(self) -> str:
        """What its user called it, if anything; the name of what comes with KD Lab is Said."""
        return shipped_name(self.config) if self.ships else self.name

    @cached_property
    def label(self) -> str:
        """A name for lists: what its user called it, else what it is and the start of its id; and its mistake."""
        if not self.name:
            data = called(self.config.dataset)
            return said("{label} · {data} · {id}", label=self.config.label, data=data, id=self.id[:4])
        if self.config.mistake is None:
            return self.named
        return said("{label}{mistake}", label=self.named, mistake=self.config.mistake_said)

    @cached_property
    def settled(self) -> RunConfig:
        """Its config, with the precision that it was trained in where an older config leaves that open."""
        trained = next((known for known in PRECISIONS if known == self.environment.get("precision")), None)
        return self.config if trained is None else self.config.computed_in(trained)

    @property
    def progress(self) -> float:
        """Share of its steps done, 0 to 1."""
        return min(1.0, self.step / self.total_steps) if self.total_steps else 0.0

    @property
    def stopped_said(self) -> str:
        """Such as 'stopped early, at 3 of 20 epochs', of a stopped run that left weights; else nothing."""
        if self.status != "stopped" or not self.usable:
            return ""
        done, epochs = self.results["epochs"], self.config.training.epochs
        return said("stopped early, at {done:.3g} of {epochs} epochs", done=done, epochs=epochs)

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
    description = property(lambda self: self.path / "description.json")
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
            return said("Resume goes on with it.")
        if saved:
            return said("Resume goes on from the last checkpoint.")
        return said("Resume starts it anew, towards the same weights.")


def folder_of(storage: AnyPath, run_id: str) -> RunFolder:
    """Return the folder of a run. Raises StoreError for what cannot be an id, so no id leads outside storage."""
    if not (run_id.isascii() and run_id.isalnum()):
        raise StoreError(said("there is no run '{run_id}'", run_id=run_id))
    return RunFolder(storage / "runs" / run_id)


def new_id() -> str:
    """Make an id for a run or a batch."""
    return secrets.token_hex(5)


class Batch(list[Run]):
    """The runs of a batch in running order. It never changes: where a run of it does, another takes its place."""

    def __init__(self, runs: Iterable[Run]) -> None:
        super().__init__(runs)
        self.facts: dict[Any, Any] = {}


class Batches(dict[str, list[Run]]):
    """Batches by id, the newest first. It never changes."""

    def __init__(self, *batches: Any) -> None:
        super().__init__(*batches)
        self.facts: dict[Any, Any] = {}


def remembered(work: Callable[[X], T]) -> Callable[[X], T]:
    """Have a function of a Run, Batch, Batches or Listing work once on each, however many pages are drawn from it.

    All four never change, so neither does what follows from one of them alone. Of plain lists nothing is remembered.
    Not for a page.py: Streamlit makes its functions anew for every run of it.
    """

    @wraps(work)
    def remember(runs: X) -> T:
        facts: dict[Any, T] | None = getattr(runs, "facts", None)
        if facts is None:
            return work(runs)
        if work not in facts:
            facts[work] = work(runs)
        return facts[work]

    return remember


def readiness(run: Run) -> int:
    """Rank how soon a run serves who wants its config: 0 finished, 1 waits or is at work, 2 may go on, 3 never."""
    if run.status == "finished" and run.usable:
        return 0
    return 1 if run.status in ACTIVE else 2 if run.status in RESUMABLE else 3


def status_of(run: Run) -> Status:
    """Return a run's status, to group by."""
    return run.status


def settled_of(run: Run) -> RunConfig:
    """Return a run's settled config, to group by."""
    return run.settled


class Listing:
    """All runs of a store at one moment, the newest first. It never changes; `after` makes the next one.

    What did not change is shared between the two, and so is what was worked out about it: a page costs what has
    changed since the last one, not what there is.
    """

    def __init__(self, runs: Iterable[tuple[Any, Run]] = ()) -> None:
        """runs: each with its place, the newer the larger."""
        self._places: dict[str, Any] = {}
        self._groups: dict[Callable[[Run], Hashable], dict[Hashable, dict[str, Run]]] = {}
        self.by_id: dict[str, Run] = {}
        self.batches = Batches()
        self.facts: dict[Any, Any] = {}
        self._take_in({run.id: (place, run) for place, run in runs}, ())

    @classmethod
    def of(cls, runs: "Iterable[Run] | Listing") -> "Listing":
        """List these runs alone, which come the newest first; a listing is one already."""
        return runs if isinstance(runs, Listing) else cls((-number, run) for number, run in enumerate(runs))

    @property
    def runs(self) -> Collection[Run]:
        """All of them, the newest first."""
        return self.by_id.values()

    def after(self, changed: Mapping[str, tuple[Any, Run]], gone: Iterable[str]) -> "Listing":
        """List the same runs, some changed or new (id -> place, run), some gone."""
        listing = Listing()
        listing._places, listing.by_id, listing.batches = self._places.copy(), self.by_id.copy(), Batches(self.batches)
        listing._groups = {key: groups.copy() for key, groups in self._groups.items()}
        listing._take_in(changed, gone)
        return listing

    def _take_in(self, changed: Mapping[str, tuple[Any, Run]], gone: Iterable[str]) -> None:
        before = {run_id: self.by_id.pop(run_id) for run_id in gone if run_id in self.by_id}
        reordered = bool(before) or not changed.keys() <= self.by_id.keys()
        touched = {run.batch for run in before.values()} | {run.batch for _, run in changed.values()}
        for run_id, (place, run) in changed.items():
            if run_id in self.by_id:
                before[run_id] = self.by_id[run_id]
            self._places[run_id], self.by_id[run_id] = place, run
        if reordered:
            newest_first = sorted(self.by_id.values(), key=lambda run: self._places[run.id], reverse=True)
            self.by_id = {run.id: run for run in newest_first}
        for key, groups in self._groups.items():
            _regroup(groups, key, before.values(), [run for _, run in changed.values()])
        members: dict[str, list[Run]] = {batch: [] for batch in touched}
        for run in self.by_id.values() if reordered else ():
            if run.batch in touched:
                members[run.batch].append(run)
        if reordered:
            made: dict[str, list[Run]] = {batch: Batch(reversed(runs)) for batch, runs in members.items()}
            order = dict.fromkeys(run.batch for run in self.by_id.values())
            self.batches = Batches({batch: made.get(batch) or self.batches[batch] for batch in order})
        else:
            for batch in touched:
                self.batches[batch] = Batch(self.by_id[run.id] for run in self.batches[batch])

    def grouped(self, key: Callable[[Run], Hashable]) -> Mapping[Hashable, Mapping[str, Run]]:
        """Group the runs by what a function, always the same object, says of each: its answer -> id -> run."""
        if key not in self._groups:
            groups: dict[Hashable, dict[str, Run]] = {}
            for run in self.by_id.values():
                groups.setdefault(key(run), {})[run.id] = run
            self._groups[key] = groups
        return self._groups[key]

    def serving(self, key: Callable[[Run], Hashable] = settled_of, *, finished: bool = False) -> "Serving":
        """Find by config which run serves soonest. finished: of those alone that have."""
        return Serving(self, key, 0 if finished else 2)

    def newest_first(self, runs: Iterable[Run]) -> list[Run]:
        """Put some of its runs into its order."""
        return sorted(runs, key=lambda run: self._places[run.id], reverse=True)


class Serving(Mapping[RunConfig, Run]):
    """For each config the run that serves soonest, the newest of equal ones: the same config gives the same weights."""

    def __init__(self, listing: Listing, key: Callable[[Run], Hashable], latest: int) -> None:
        self._listing, self._groups, self._latest = listing, listing.grouped(key), latest

    def __getitem__(self, config: RunConfig) -> Run:
        run = min(self._listing.newest_first(self._groups[config].values()), key=readiness)
        if readiness(run) > self._latest:
            raise KeyError(config)
        return run

    def __iter__(self) -> Iterator[RunConfig]:
        return (config for config in cast(Mapping[RunConfig, Any], self._groups) if config in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _regroup(
    groups: dict[Hashable, dict[str, Run]],
    key: Callable[[Run], Hashable],
    before: Iterable[Run],
    after: Iterable[Run],
) -> None:
    """Take runs as they were out of their groups, and put them as they are into theirs; no group itself changes."""
    for run in before:
        members = {run_id: other for run_id, other in groups.pop(key(run), {}).items() if run_id != run.id}
        groups |= {key(run): members} if members else {}
    for run in after:
        groups[key(run)] = {**groups.get(key(run), {}), run.id: run}
