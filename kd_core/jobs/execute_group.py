"""The execution of students that train together as one model, from their configs to their saved results."""

import contextlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kd_core.base.config import ConfigError
from kd_core.base.files import remove, write_atomic
from kd_core.jobs.execute import (
    DAMAGED_CHECKPOINT,
    SAVED_LATER,
    Checkpoints,
    Supervisor,
    config_in,
    failure,
    restored,
)
from kd_core.runs.events import ENDS, Event
from kd_core.runs.recovery import recorded
from kd_core.runs.run import Results, RunFolder, folder_of
from kd_core.training.config import RunConfig

if TYPE_CHECKING:
    from kd_core.data.dataset import Dataset
    from kd_core.training.together import Together


@dataclass
class _Member:
    """One student of a group. present: whether it has not left the group yet; results: once they are saved."""

    folder: RunFolder
    supervisor: Supervisor
    present: bool
    results: Results | None = None

    def emit(self, event: Event) -> None:
        if event["kind"] in ENDS:
            self.present = False
        self.supervisor.emit(event)

    def save_results(self, together: "Together", i: int) -> None:
        from kd_core.runs import artifacts

        student = together.student(i)
        self.results = self.supervisor.insist(lambda: artifacts.save_results(self.folder, student), SAVED_LATER)


def execute_group(
    folders: Sequence[RunFolder], supervisors: Mapping[str, Supervisor], absent: Collection[str] = ()
) -> None:
    """Execute runs that train as one (see training.together.groups), from their configs or their common checkpoint.

    A run that is stopped or paused leaves after the epoch, and the others go on; one that was paused starts anew when
    it is resumed, towards the same weights. Where one has to yield, all do. absent: those that had left before; they
    train along and save nothing. Raises only what the supervisors raise.
    """
    members = [_Member(folder, supervisors[folder.run_id], folder.run_id not in absent) for folder in folders]
    try:
        _execute(members)
    except Exception as error:
        outcome = failure(error, ", ".join(folder.run_id for folder in folders))
        for member in members:
            if member.present:
                member.emit(outcome)


def _execute(members: list[_Member]) -> None:
    from kd_core.data import load
    from kd_core.runs import artifacts

    configs = [config_in(member.folder) for member in members]
    for member in members:
        member.results = artifacts.saved_results(member.folder) if member.present else None
    if not all(member.results for member in members if member.present):
        dataset = load.load(configs[0].dataset, storage=members[0].folder.storage)
        together, damaged = _prepared(members, configs, dataset)
        _start(members, configs, together, damaged)
        if not _train(members, together):
            return
        # All are saved before one is reported: those left over by a crash between could not train as they did.
        for i, member in enumerate(members):
            if member.present and not member.results:
                member.save_results(together, i)
    else:
        for member in members:
            member.supervisor.replay(recorded(member.folder) if member.present else ())
    for member in members:
        if member.present:
            member.emit({"kind": "finished", "results": member.results})
    with contextlib.suppress(OSError):
        remove(members[0].folder.together)


def _prepared(members: list[_Member], configs: list[RunConfig], dataset: "Dataset") -> tuple["Together", bool]:
    """Set up the students at their common checkpoint, or at their start; also return whether it was damaged."""
    from kd_core.runs import artifacts, logit_cache
    from kd_core.training.together import Together

    storage, run_ids = members[0].folder.storage, ", ".join(member.folder.run_id for member in members)
    teachers = next((config.distillation.teachers for config in configs if config.distillation), ())
    teacher_logits = None
    if teachers:
        folders = [folder_of(storage, teacher) for teacher in teachers]
        teacher_logits = logit_cache.of_all(folders, dataset, lambda folder: artifacts.load_model(folder, dataset))
    checkpoint = members[0].folder.together
    together, trouble = restored(lambda: Together(configs, dataset, teacher_logits), checkpoint, run_ids)
    return together, trouble is not None and not isinstance(trouble, ConfigError)  # which says: it is another group's


def _start(members: list[_Member], configs: list[RunConfig], together: "Together", damaged: bool) -> None:
    """Note the group in each folder, then report the start of each member that is present."""
    from kd_core.evaluation import speed

    group = json.dumps([member.folder.run_id for member in members]).encode()
    everyone = zip(members, configs, together.histories, strict=True)
    present = [(member, config, history) for member, config, history in everyone if member.present]
    for member, _, _ in present:  # whoever goes on with one of them has to go on with all: fewer would round otherwise
        write_atomic(member.folder.group, group)
    environment = speed.environment(str(together.device), together.precision) | {"trained_together": len(members)}
    steps = together.steps_per_epoch
    for member, config, history in present:
        step, total_steps = together.epochs_done * steps, config.training.epochs * steps
        member.emit({"kind": "started", "step": step, "total_steps": total_steps, "environment": environment})
        member.supervisor.replay(map(json.loads, history))
        if damaged:
            member.emit({"kind": "message", "text": DAMAGED_CHECKPOINT})


def _train(members: list[_Member], together: "Together") -> bool:
    """Train to the last epoch; False where all members left before."""
    from kd_core.training.records import as_dict
    from kd_core.training.together import train_together

    def say(text: str) -> None:
        for member in members:
            if member.present:
                member.supervisor.say(text)

    checkpoints = Checkpoints(lambda: together.save(members[0].folder.together), say)
    for records in train_together(together):
        for i, (member, record) in enumerate(zip(members, records, strict=True)):
            if not member.present:
                together.histories[i].append(json.dumps(as_dict(record)))
                continue
            member.supervisor.record(as_dict(record), together.histories[i])
            request = member.supervisor.requested()
            if request == "pause":
                member.emit({"kind": "paused"})
            elif request == "stop":
                member.save_results(together, i)
                member.emit({"kind": "stopped", "results": member.results})
        staying = [member for member in members if member.present]
        if any(member.supervisor.requested() == "yield" for member in staying) and checkpoints.save():
            for member in staying:
                member.emit({"kind": "queued"})
            return False
        if not staying:
            return False
        checkpoints.save_if_due()
    return True
