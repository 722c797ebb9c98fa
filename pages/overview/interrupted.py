"""What a lost server or worker left unfinished: as links, with one button that goes on with all of it."""

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from kd_core.data.catalogue import info_of
from kd_core.runs.run import Run
from kd_core.training.config import ROLES, Role
from pages.shared.access import rights
from pages.shared.language import _, plural
from pages.shared.session import keys, pickers, services
from pages.shared.session.pickers import is_sweep
from pages.shared.words import in_language, literal, refusals, say_refusal

SHOWN = 6


def interrupted() -> None:
    """List the interrupted runs that this visitor may resume, by experiment; nothing where there are none."""
    say_refusal()
    lost = [run for run in services.store().runs(statuses=["interrupted"]) if rights.may_control(run)][::-1]
    if not lost:
        return
    batches: dict[str, list[Run]] = {}
    for run in lost:
        batches.setdefault(run.batch, []).append(run)
    with st.container(border=True, key="interrupted"):
        st.markdown(
            plural(
                ":material/bolt: **{count} run was interrupted.** Nothing is lost: each goes on from what it last"
                " saved.",
                ":material/bolt: **{count} runs were interrupted.** Nothing is lost: each goes on from what it last"
                " saved.",
                len(lost),
            )
        )
        for runs in [*batches.values()][:SHOWN]:
            of_batch = services.store().runs(batch=runs[0].batch)[::-1]
            roles = Counter(run.config.role for run in runs)
            link_to(of_batch, ", ".join(_some(count, role) for role, count in roles.items()))
        if len(batches) > SHOWN:
            st.caption(_("and {count} more stories", count=len(batches) - SHOWN))
        st.button(
            _("Resume all"),
            key="resume_all",
            icon=":material/play_arrow:",
            on_click=_resume,
            args=([run.id for run in lost],),
        )


def _some(count: int, role: Role) -> str:
    called = _(ROLES[role])
    return called if count == 1 else _("{count} {role}", count=count, role=called)


def link_to(runs: list[Run], states: str) -> None:
    """Link to where a batch is watched, a sweep's grid or the curves; and say how it stands."""
    last = runs[-1].config
    page = "sweep" if is_sweep(runs) else "train"
    address = {keys.BATCH: runs[0].batch} | ({keys.VIEW: keys.WATCH} if page == "train" else {})
    icon = ":material/grid_on:" if page == "sweep" else ":material/show_chart:"
    label = literal(f"{in_language(info_of(last.dataset).label)}: {in_language(last.model.label)}")
    st.page_link(f"pages/{page}/page.py", label=label, icon=icon, query_params=address)
    st.caption(literal(f"{states}: {_(pickers.describe(runs))}"))


def _resume(run_ids: Sequence[str]) -> None:
    with refusals(later=True):
        rights.resume(run_ids)
