"""What can be done with a run beside watching it: name it, run it again, continue it, delete it."""

import streamlit as st

from kd_core.experiments import story
from kd_core.experiments.story import StoryConfig
from kd_core.runs.run import ACTIVE, MAX_NAME, MAX_NOTE, Run, new_id
from kd_core.training.config import ROLES
from pages.shared.access import rights
from pages.shared.language import _
from pages.shared.parts.button import pressed
from pages.shared.session import keys, services
from pages.shared.session.story import set_story
from pages.shared.words import in_language, literal, refusals, say_refusal

DELETED = "deleted"


def manage_runs(runs: list[Run]) -> None:
    """A menu for each run, and the way back for those that this page deleted."""
    offer_undo()
    with st.container(horizontal=True, gap="small"):
        for run in runs:
            menu(run, literal(f"{in_language(run.named) or _(ROLES[run.config.role])} · {run.id[:4]}"))


def menu(run: Run, label: str) -> None:
    """A button that opens the controls of one run: all of them for whoever may change it."""
    popover = st.popover(label, icon=":material/more_horiz:", key=f"menu_{run.id}", on_change="rerun")
    if popover.open:
        with popover:
            _controls(run)


def _controls(run: Run) -> None:
    if rights.may_control(run):
        _describe(run)
    if run.config.trained_here:
        st.button(
            _("Run again with changes"),
            key=f"again_{run.id}",
            icon=":material/replay:",
            on_click=_again,
            args=(run,),
            help=_("Fills the form with these settings."),
        )
    if run.usable and run.status not in ACTIVE and not run.config.model.opaque:
        epochs = st.number_input(
            _("More epochs"), 1, 10_000, value=min(run.config.training.epochs, 10_000), key=f"more_{run.id}"
        )
        if pressed(
            _("Continue"),
            key=f"continue_{run.id}",
            icon=":material/fast_forward:",
            help=_("A new run from these weights, its learning rate scheduled anew; this one stays as it is."),
        ):
            _continue(run, int(epochs))
    if run.status not in ACTIVE and rights.presenter():
        _delete(run)


def _describe(run: Run) -> None:
    name = st.text_input(_("Name"), value=run.name, max_chars=MAX_NAME, key=f"name_{run.id}")
    note = st.text_area(_("Note"), value=run.note, max_chars=MAX_NOTE, key=f"note_{run.id}", height=80)
    tags = st.multiselect(
        _("Tags"), sorted({*run.tags}), default=list(run.tags), accept_new_options=True, key=f"tags_{run.id}"
    )
    if (name.strip(), note.strip(), tuple(tags)) != (run.name, run.note, run.tags) and st.button(
        _("Save"), key=f"save_{run.id}", icon=":material/save:"
    ):
        rights.describe(run, name=name, note=note, tags=tags)
        st.rerun()


def _again(run: Run) -> None:
    store = services.store()
    teachers = store.some(run.config.distillation.teachers) if run.config.distillation else []
    beside = store.runs(batch=run.batch) if run.config.role != "teacher" else [run]
    between = story.assistants({other.id: other.config for other in beside})
    students = [other for other in beside if other.id not in between]
    configs = {other.config.role: other.settled for other in students} | {run.config.role: run.settled}
    set_story(StoryConfig.of_runs(configs.values(), [teacher.settled for teacher in teachers]))
    st.session_state[keys.VIEW] = keys.SET_UP


def _continue(run: Run, epochs: int) -> None:
    with refusals():
        ids = rights.submit({new_id(): story.continued(run, epochs)})
        keys.watch(services.store().get(ids[0]).batch)


def _delete(run: Run) -> None:
    """Asks first: the button only uncovers the one that does it."""
    uncovered = f"sure_{run.id}"
    if not st.session_state.get(uncovered):
        st.button(
            _("Delete"),
            key=f"delete_{run.id}",
            icon=":material/delete:",
            on_click=st.session_state.update,
            args=({uncovered: True},),
        )
        return
    st.markdown(_("Delete this run and what it learned?"))
    yes, no = st.columns(2)
    yes.button(_("Delete it"), key=f"yes_{run.id}", type="primary", on_click=delete_runs, args=([run],))
    no.button(_("Keep it"), key=f"no_{run.id}", on_click=st.session_state.pop, args=(uncovered, None))


def delete_selected(runs: list[Run]) -> None:
    """A button that deletes several runs, after asking."""
    with st.popover(_("Delete these {count}", count=len(runs)), icon=":material/delete:"):
        st.markdown(_("Delete these runs and what they learned?"))
        st.button(_("Delete them"), key="delete_selected", type="primary", on_click=delete_runs, args=(runs,))


def delete_runs(runs: list[Run]) -> None:
    """Delete runs, and remember them in this session so that offer_undo can bring them back."""
    for run in runs:
        st.session_state.pop(f"sure_{run.id}", None)
        with refusals(later=True):
            if rights.delete(run):
                st.session_state[DELETED] = {**st.session_state.get(DELETED, {}), run.id: run.label}


def offer_undo() -> None:
    """What was refused, in words; and for runs that this session deleted, the button that brings them back."""
    say_refusal()
    deleted: dict[str, str] = st.session_state.get(DELETED, {})
    if deleted:
        with st.container(horizontal=True, vertical_alignment="center"):
            names = ", ".join(map(in_language, deleted.values()))
            st.markdown(literal(_("Deleted: {names}.", names=names)))
            st.button(_("Undo"), key="undo", icon=":material/undo:", on_click=_undo)


def _undo() -> None:
    with refusals(later=True):
        for run_id in st.session_state.pop(DELETED, {}):
            rights.restore(run_id)
