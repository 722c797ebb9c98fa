"""A pair of one's own for an experiment: which student, which teacher, and with what budget.

Like the train page's story it lives in the session and in the address; the data set's usual pair is in neither.
"""

from typing import Any

import streamlit as st

from kd_core.base.config import ConfigError
from kd_core.base.templates import said
from kd_core.experiments.defaults import network, written
from kd_core.experiments.story import StoryConfig
from kd_core.models.architectures import own
from kd_core.models.config import MODELS, ModelConfig
from pages.shared.language import _, of_error
from pages.shared.server.streamlit_patches import undisturbed
from pages.shared.session import pickers, services
from pages.shared.session.story import of_address, to_address
from pages.shared.words import literal

PAIR, NEW = "pair", "new"
_HOW = said("By name and widths, such as mlp 30, cnn 8-16 or resnet18. Names: {names}.")


def how_to_write() -> str:
    """How a network is written, in Markdown."""
    return _(_HOW, names=", ".join(f"`{name}`" for name in (*MODELS, *own.listed())))


def choose_pair(usual: StoryConfig) -> StoryConfig:
    """Ask for student, teacher and budget; return the usual story with these. A refused one is said, and not taken."""
    place = f"pair {usual.dataset}"
    address = st.query_params.get(PAIR, "")
    kept: StoryConfig = st.session_state.get(place, usual)
    if address != st.session_state.get("pair_written", ""):
        named = of_address(address)
        if named is not None and named.dataset == usual.dataset:
            kept = named
            for name in [*st.session_state]:
                if str(name).startswith(f"{place} "):
                    del st.session_state[name]
    opened = st.session_state.setdefault(f"{place} opened", kept != usual)
    with st.expander(_("Your own pair and budget"), expanded=opened):
        try:
            story = kept.replace(**_fields(kept, usual, place))
        except ConfigError as error:
            st.error(literal(of_error(error)), icon=":material/error:")
            story = kept
    st.session_state[place] = story
    packed = "" if story == usual else to_address(story)
    with undisturbed():
        if packed:
            st.query_params[PAIR] = packed
        elif PAIR in st.query_params:
            del st.query_params[PAIR]
        st.session_state["pair_written"] = packed
    return story


def _fields(base: StoryConfig, usual: StoryConfig, place: str) -> dict[str, Any]:
    """Draw the fields; return what they change. Raises ConfigError where a network is none."""
    known = [run for run in pickers.trained_teachers(services.store().listing()) if run.status == "finished"]
    runs = {run.id: run for run in sorted(known, key=pickers.rank) if run.config.dataset == base.dataset}
    labels = {NEW: _("Train a new one"), **pickers.told_apart(runs.values())}
    opens = next(iter(base.teachers), NEW)
    left, right = st.columns(2)
    teacher = left.selectbox(
        _("Teacher"), [*labels], index=[*labels].index(opens) if opens in labels else 0,
        format_func=labels.__getitem__, key=f"{place} teacher",
    )  # fmt: skip
    student = _network(right, _("Student"), base.student, f"{place} student")
    changes: dict[str, Any] = {"student": student}
    if teacher == NEW:
        shown = usual if base.teachers else base
        training = shown.teacher_training
        model = _network(left, _("Teacher's network"), shown.teacher, f"{place} network")
        epochs = left.number_input(
            _("Epochs of a new teacher"), 1, 10_000, training.epochs, key=f"{place} teacher_epochs"
        )
        training = training.replace(epochs=int(epochs))
        changes |= {"teachers": (), "teacher": model, "teacher_training": training}
    else:
        changes |= {"teachers": (teacher,), "teacher": runs[teacher].config.model}
    training, part = base.training, base.transfer_set
    epochs = right.number_input(_("Epochs of each student"), 1, 10_000, training.epochs, key=f"{place} epochs")
    share = right.number_input(
        _("Share of the training images, %"), 0.01, 100.0, 100 * part.fraction, format="%.4g", key=f"{place} share"
    )
    size = left.number_input(_("Batch size"), 1, 65_536, training.batch_size, key=f"{place} batch")
    rate = right.number_input(
        _("Peak learning rate"), 1e-6, 100.0, training.learning_rate, 5e-4, format="%.4g", key=f"{place} rate"
    )
    changes["training"] = training.replace(epochs=int(epochs), batch_size=int(size), learning_rate=float(rate))
    changes["transfer_set"] = part.replace(fraction=float(share) / 100)
    return changes


def _network(where: Any, label: str, base: ModelConfig, key: str) -> ModelConfig:
    """Ask for a network by its text; the base with all its settings where the text is still its own."""
    usual = written(base)
    text = where.text_input(label, usual, key=key, help=how_to_write(), max_chars=100)
    return base if text.strip() == usual else network(text)
