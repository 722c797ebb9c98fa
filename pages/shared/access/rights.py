"""What the visitor of this session may do: everything that changes runs goes through here.

The presenter may do everything. A guest starts runs within the limits of the server, and stops, pauses, resumes and
describes those of their own browser; nobody but the presenter deletes, or brings runs in from files. What others asked
for too is not taken from them: who stops or deletes it leaves it to them, and the presenter's second press ends it.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import streamlit as st

from kd_core.base import paths as base_paths
from kd_core.base.config import LabError
from kd_core.base.templates import said
from kd_core.data.own import library
from kd_core.exchange import bundle
from kd_core.exchange.export import checks
from kd_core.exchange.export.checks import Options
from kd_core.exchange.teacher.trial import Ask, Outcome, Trial, take
from kd_core.jobs.findings import Finding
from kd_core.runs.run import ACTIVE, Run
from kd_core.training.config import RunConfig
from pages.shared.access.auth import COOKIE, address_of, server_auth
from pages.shared.language import _
from pages.shared.session import services
from pages.shared.words import literal


def presenter() -> bool:
    """Whether this session is the presenter's."""
    address = address_of(st.context.ip_address, st.context.headers)
    return server_auth().role_of(st.context.cookies.get(COOKIE), address) == "presenter"


def may_control(run: Run) -> bool:
    """Whether this session may stop, pause, resume and describe a run."""
    return presenter() or bool(services.browser() and services.browser() in run.browsers)


def submit(configs: dict[str, RunConfig]) -> list[str]:
    """Queue runs for this session's browser, and return their ids. Raises ConfigError as Jobs.submit does."""
    return services.jobs().submit(configs, services.browser(), privileged=presenter())


def ask(run_ids: Iterable[str], request: Literal["stop", "pause"]) -> None:
    """Stop or pause runs. Raises LabError for those of others."""
    going = [run for run in _own(run_ids) if not services.jobs().ask(run.id, request, services.browser())]
    if going:
        single = _("{label} goes on for another browser.", label=going[0].label)
        many = _("{count} runs go on for another browser.", count=len(going))
        _say_left(single if len(going) == 1 else many, request)


_PRESS_AGAIN = {
    "stop": said("Press again to stop it for all."),
    "pause": said("Press again to pause it for all."),
    "delete": said("Press again to delete it for all."),
}


def _say_left(text: str, request: str) -> None:
    st.toast(literal(f"{text} {_(_PRESS_AGAIN[request])}" if presenter() else text), icon=":material/group:")


def join(run_ids: Iterable[str]) -> None:
    """Ask for runs that wait or are at work as one who pressed their button would."""
    services.jobs().join(run_ids, services.browser())


def resume(run_ids: Iterable[str]) -> None:
    """Go on with runs. Raises LabError for those of others, and as Jobs.resume does."""
    services.jobs().resume(*(run.id for run in _own(run_ids)), privileged=presenter())


def describe(run: Run, *, name: str, note: str, tags: Sequence[str]) -> None:
    """Say something of a run. Raises LabError for another's."""
    _own([run.id])
    services.store().describe(run.id, name=name, note=note, tags=tags)


def delete(run: Run) -> bool:
    """Delete a run, and say whether it is gone. Raises LabError for a guest, StoreError as Store.delete does."""
    _presenter_alone(said("Only the presenter may delete runs here."))
    if services.store().leave(run.id, services.browser()):
        _say_left(_("{label} stays for another browser.", label=run.label), "delete")
        return False
    services.store().delete(run.id)
    return True


def restore(run_id: str) -> None:
    """Undo delete. Raises LabError for a guest."""
    _presenter_alone(said("Only the presenter may bring deleted runs back here."))
    services.store().restore(run_id)


def unpack(content: bytes) -> str:
    """Take in a bundle, and return the run's id. Raises LabError for a guest, BundleError as bundles.unpack does."""
    _presenter_alone(said("Only the presenter may bring runs from other machines here."))
    return bundle.unpack(services.store(), content, browser=services.browser())


def try_teacher(content: bytes, ask: Ask) -> str:
    """Have a teacher's file tried; returns the trial's id. Raises LabError for a guest."""
    _presenter_alone(said("Only the presenter may bring teachers here."))
    return services.begin_trial(Trial(content, ask))


def take_teacher(outcome: Outcome[bytes], name: str) -> str:
    """Make a run of a teacher that was tried, and return its id. Raises LabError for a guest, else as trial.take."""
    _presenter_alone(said("Only the presenter may bring teachers here."))
    return take(services.store(), outcome, submit, name=name)


def keep_upload(file_name: str, content: memoryview) -> Path:
    """Lay an upload down, and return where. Raises LabError for a guest, IntakeError as Intake.keep does."""
    _presenter_alone(said("Only the presenter may bring in data here."))
    return services.intake().keep(file_name, content)


def fetch_data(dataset: str) -> str:
    """Begin to download a data set, and return the work's id. Raises LabError for a guest, or as fetch does."""
    _presenter_alone(said("Only the presenter may download data sets ahead of a run here."))
    return services.intake().fetch(dataset, services.browser())


def remove_data(dataset: str) -> None:
    """Delete a data set that was brought in. Raises LabError for a guest, and while a run learns from it."""
    _presenter_alone(said("Only the presenter may delete data sets here."))
    busy = [run for run in services.store().runs(statuses=ACTIVE) if run.config.dataset == dataset]
    if busy:
        sentence = said("{count} runs wait for this data set or learn from it: stop them first.", count=len(busy))
        raise LabError(sentence)
    library.remove(base_paths.storage(), dataset)


def find_out(kind: Finding, run_ids: Sequence[str]) -> None:
    """Have something found out of runs. Raises LabError where this browser, or all together, asked for much already."""
    services.jobs().find_out(kind, run_ids, services.browser(), privileged=presenter())


def export_anew(run: Run, options: Options) -> None:
    """Have a run's files written again with these options. Raises LabError for another's run, SaveError for files."""
    _own([run.id])
    checks.write_anew(services.store().folder(run.id), options)
    services.store().forget_finding("export", [run.id])


def _own(run_ids: Iterable[str]) -> list[Run]:
    runs = services.store().some([*run_ids])
    for run in runs:
        if not may_control(run):
            raise LabError(
                said(
                    "{label} was started by somebody else: only they and the presenter may change it.", label=run.label
                )
            )
    return runs


def _presenter_alone(sentence: str) -> None:
    if not presenter():
        raise LabError(sentence)
