"""The form of the train page: a StoryConfig in, a StoryConfig out.

The story is the form's only state. It lives in the session, so that it survives a change of page, and in the address,
so that it survives a reload and can be passed on; presets and "run again" set it as a whole.
"""

import streamlit as st

from kd_core.base.templates import said
from kd_core.experiments import presets
from kd_core.experiments.presets import PRESETS
from kd_core.experiments.story import StoryConfig
from kd_core.losses.catalogue import OBJECTIVES
from pages.shared.language import _
from pages.shared.session import services
from pages.shared.session.story import LONGEST_ADDRESS, SETUP, chosen_story, default_story, set_story, to_address
from pages.shared.words import literal, with_article
from pages.train.fields import (
    assistant_fields,
    change_fields,
    field,
    folded,
    loss_fields,
    model_fields,
    seed_fields,
    teacher_fields,
    training_fields,
    transfer_fields,
    with_changes,
)


def preset_buttons() -> None:
    """Draw a button for each preset, which fills the form for the chosen data set."""
    dataset = chosen_story().dataset
    unseen = services.class_names(dataset)[presets.never_seen(dataset)]
    words = {"one": literal(with_article(unseen)), "name": literal(unseen)}
    with st.container(horizontal=True, gap="small", key="presets"):
        for name, preset in PRESETS.items():
            title, shows = _(preset.title, **words), _(preset.shows, **words)
            st.button(title, key=f"preset_{name}", help=shows, on_click=_set_preset, args=(name,))


def _set_preset(name: str) -> None:
    set_story(PRESETS[name].story(chosen_story().dataset))


def story_form() -> StoryConfig | None:
    """Draw the form from the session's story and return the edited story; None where a setting is refused."""
    wrong: list[str] = []
    story = _fields(chosen_story(), wrong)
    if wrong:
        st.error(literal("; ".join(dict.fromkeys(wrong))), icon=":material/error:")
        return None
    st.session_state[SETUP] = story
    address = to_address(story)
    if story == default_story():
        st.query_params.pop(SETUP, None)
    elif len(address) <= LONGEST_ADDRESS and st.query_params.get(SETUP) != address:
        st.query_params[SETUP] = address
    return story


def _fields(base: StoryConfig, wrong: list[str]) -> StoryConfig:
    """Draw all fields, folded but for what a first visit needs.

    A refused field keeps its base and adds a sentence to wrong.
    """
    called = services.data_sets(base.dataset)
    look = {"options": [*called], "format_func": called.__getitem__, "on_change": _change_dataset}
    dataset = field(st.selectbox, "dataset", base.dataset, _("Data set"), **look)
    front, usual = st.container(), StoryConfig.default(base.dataset)
    left, right = st.columns(2, vertical_alignment="bottom")
    epochs = field(left.number_input, "epochs", base.training.epochs, _("Epochs of each student"), 1, 10_000)
    meaning = _("The same network trained without a teacher, for comparison.")
    baseline = field(right.toggle, "baseline", base.baseline, _("Train the baseline too"), help=meaning)
    own_networks = bool(base.teachers) or base.new_teachers > 1
    own_networks |= (base.teacher, base.student) != (usual.teacher, usual.student)
    with folded(said("Networks"), own_networks):
        teachers, new_teachers, teacher = teacher_fields(base, wrong)
        student = model_fields(_("Student"), base.student, "student", wrong)
    with folded(said("Objective"), base.objective != usual.objective or bool(base.weights)):
        loss = loss_fields(base, front)
    with folded(said("Transfer set"), not base.transfer_set.whole):
        transfer_set = transfer_fields(base, wrong)
    with st.expander(_("Optimiser and schedule")):
        training = training_fields(base.training, "student", wrong).replace(epochs=int(epochs))
    with st.expander(_("Teacher's training")):
        teacher_training = base.teacher_training
        if teachers:
            st.markdown(_(":small[The teacher is trained already.]"))
        else:
            title = _("Epochs of a new teacher")
            teacher_epochs = field(st.number_input, "teacher_epochs", teacher_training.epochs, title, 1, 10_000)
            teacher_training = training_fields(teacher_training, "teacher", wrong).replace(epochs=int(teacher_epochs))
    with folded(said("Teaching assistant"), base.assistant is not None):
        assistant = assistant_fields(base, training, wrong)
    changes_midway = base.final_temperature is not None or base.final_alpha is not None
    with folded(said("Changes over training"), changes_midway):
        loss |= change_fields(base, OBJECTIVES[loss["objective"]])
    with st.expander(_("Loss and seed")):
        several = max(len(teachers), new_teachers) > 1
        rest = seed_fields(base, OBJECTIVES[loss["objective"]], several_teachers=several)
    changes = {
        "dataset": dataset,
        "teachers": teachers,
        "new_teachers": new_teachers,
        "teacher": teacher,
        "teacher_training": teacher_training,
        "student": student,
        "training": training,
        "transfer_set": transfer_set,
        "baseline": baseline,
        **loss,
        **assistant,
        **rest,
    }
    return with_changes(base, changes, wrong)


def _change_dataset() -> None:
    """Set the default story of the new data set; keep the seed and the choice of baseline."""
    base = chosen_story()
    dataset = st.session_state.get("form_dataset", base.dataset)
    if dataset != base.dataset:
        set_story(StoryConfig.default(dataset).replace(seed=base.seed, baseline=base.baseline))
