"""The fields of the train page's form."""

from collections.abc import Sequence
from typing import Any, TypeVar

import streamlit as st

from kd_core.base.config import Config, ConfigError
from kd_core.data.catalogue import TransferSetConfig
from kd_core.experiments import defaults
from kd_core.experiments.defaults import TEMPERATURES
from kd_core.experiments.story import StoryConfig
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.losses.objectives.definition import ObjectiveInfo
from kd_core.models.config import MODELS, ModelConfig
from kd_core.runs.run import Run
from kd_core.training.config import TrainingConfig
from pages.shared.server.streamlit_patches import DeltaGenerator
from pages.shared.session import pickers, services
from pages.shared.session.story import chosen_story
from pages.shared.words import explained, literal

C = TypeVar("C", bound=Config)
NEW, TRAINED = "Train a new one", "One that is trained"
LISTED_CLASSES = 20
"""Up to so many classes a field lists those that are used, above it those that are not."""


def loss_fields(base: StoryConfig) -> dict[str, Any]:
    """Ask for the objective, temperature and alpha; what the objective does not read is disabled."""
    start_field("objective", base.objective)
    objective = st.selectbox(
        "What the student minimises",
        list(OBJECTIVES),
        format_func=lambda name: OBJECTIVES[name].label,
        key="form_objective",
        on_change=_change_objective,
        help="Formula, source and numbers stand beside the form.",
    )
    info = OBJECTIVES[objective]
    st.caption(info.when)
    temperatures = sorted({*TEMPERATURES, base.temperature})
    start_field("temperature", base.temperature)
    temperature = st.select_slider(
        "Temperature T" if info.uses_temperature else f"Temperature T: {info.label} has none",
        temperatures,
        key="form_temperature",
        format_func=lambda value: f"{value:g}",
        disabled=not info.uses_temperature,
        help="softmax(z / T) for teacher and student in the soft loss. In the paper, very small students did better"
        " with less.",
    )
    start_field("alpha", base.alpha)
    alpha = st.slider(
        "alpha: weight of the soft loss" if info.mixed else f"alpha: {info.label} has weights of its own",
        0.0,
        1.0,
        step=0.05,
        key="form_alpha",
        disabled=not info.mixed,
        help="1 learns from the teacher alone: the loss reads no label; 0 is the baseline.",
    )
    weights = {}
    if info.weights:
        with folded(f"Weights of {info.label}", ":material/balance:", bool(base.weights)):
            weights = _weight_fields(base, objective)
    return {"objective": objective, "weights": weights, "temperature": float(temperature), "alpha": float(alpha)}


def _weight_fields(base: StoryConfig, objective: str) -> dict[str, float]:
    """Ask for the objective's own weights; return them by name. Each starts from its default."""
    info = OBJECTIVES[objective]
    chosen = dict(base.weights) if base.objective == objective else {}
    for name, weight in info.weights.items():
        start_field(f"weight_{objective}_{name}", chosen.get(name, weight.default))
        chosen[name] = st.number_input(
            f"${weight.symbol}$: {weight.meaning}",
            0.0,
            weight.most,
            step=0.1 if weight.most <= 1 else 0.5,
            key=f"form_weight_{objective}_{name}",
            format="%.4g",
        )
    st.caption(f"At first as in {literal(info.defaults_from)}. {literal(info.differs)}")
    return chosen


def changes_midway(base: StoryConfig) -> bool:
    return base.final_temperature is not None or base.final_alpha is not None


def change_fields(base: StoryConfig, info: ObjectiveInfo) -> dict[str, float | None]:
    """Ask for temperature and alpha of the last step; None where they stay."""
    last: dict[str, float | None] = {"final_temperature": None, "final_alpha": None}
    st.caption(
        "From the first step to the last they change in a straight line: cooling down as in Annealing KD"
        " (Jafari et al. 2021), or from the teacher to the labels."
    )
    temperatures = sorted({*TEMPERATURES, *([base.final_temperature] if base.final_temperature else [])})
    start_field("cools", base.final_temperature is not None)
    if st.toggle("T changes", key="form_cools", disabled=not info.uses_temperature) and info.uses_temperature:
        start_field("final_temperature", base.final_temperature or 1.0)
        last["final_temperature"] = st.select_slider(
            "T at the last step", temperatures, key="form_final_temperature", format_func=lambda value: f"{value:g}"
        )
    start_field("fades", base.final_alpha is not None)
    if st.toggle("alpha changes", key="form_fades", disabled=not info.mixed) and info.mixed:
        start_field("final_alpha", 0.0 if base.final_alpha is None else base.final_alpha)
        last["final_alpha"] = st.slider("alpha at the last step", 0.0, 1.0, step=0.05, key="form_final_alpha")
    return last


def seed_fields(base: StoryConfig, info: ObjectiveInfo, *, several_teachers: bool) -> dict[str, object]:
    """Ask for the T² factor, what several teachers average, and the seed."""
    start_field("t_squared", base.t_squared)
    t_squared = st.toggle(
        "Multiply the soft loss by T²",
        key="form_t_squared",
        disabled=not info.uses_temperature,
        help="Where T is large, the gradient of the soft loss falls as 1/T², and T² makes up for it. Switch it off"
        " to see what it is for.",
    )
    start_field("ensemble", base.ensemble)
    ensemble = st.selectbox(
        "Several teachers average their",
        ["probabilities", "logits"],
        key="form_ensemble",
        disabled=not several_teachers or info.matches_logits,
        help=f"{info.label} compares logits, so these are averaged." if info.matches_logits else None,
    )
    start_field("seed", base.seed)
    seed = st.number_input(
        "Seed", 0, 2**31 - 1000, key="form_seed", help="Same settings and seed, same weights. New seed, new luck."
    )
    return {"t_squared": t_squared, "ensemble": ensemble, "seed": int(seed)}


def assistant_fields(base: StoryConfig, training: TrainingConfig, wrong: list[str]) -> dict[str, Any]:
    """Ask for the assistant and its training. training: the student's, from which it starts."""
    start_field("assisted", base.assistant is not None)
    assisted = st.toggle(
        "Teach an assistant first",
        key="form_assisted",
        help="A network of a size between learns from the teacher, and the student from it (Mirzadeh et al. 2020).",
    )
    if not assisted:
        return {"assistant": None, "assistant_training": None}
    own = base.assistant_training
    assistant = model_fields("Assistant", base.assistant or _between(base), "assistant", wrong)
    start_field("assistant_epochs", (own or training).epochs)
    epochs = st.number_input("Epochs of the assistant", 1, 10_000, key="form_assistant_epochs")
    of_assistant = with_changes(own or training, {"epochs": int(epochs)}, wrong)
    return {"assistant": assistant, "assistant_training": None if of_assistant == training else of_assistant}


def _between(base: StoryConfig) -> ModelConfig:
    """Return a network between teacher and student in size: the student with wider layers."""
    free = MODELS[base.student.name].widths
    if free is None:
        return base.student
    widest = max(getattr(base.teacher, free.setting), default=1)
    widths = getattr(base.student, free.setting)
    return base.student.replace(**{free.setting: tuple(round((width * widest) ** 0.5) for width in widths)})


def _change_objective() -> None:
    """Set the temperature of the new objective, and no change over training. Alpha stays.

    The same one is heard of, too, where a tab tells of a form that it no longer shows: when a run changes its state
    just then.
    """
    base = chosen_story()
    objective = st.session_state.get("form_objective", base.objective)
    if objective == base.objective:
        return
    st.session_state["form_temperature"] = defaults.default_temperature(base.dataset, objective)
    st.session_state["form_cools"] = st.session_state["form_fades"] = False


def with_changes(base: C, changes: dict[str, object], wrong: list[str]) -> C:
    """Return base with changes, or base itself after adding a sentence to wrong."""
    try:
        return base.replace(**changes)
    except ConfigError as error:
        wrong.append(str(error))
        return base


def teacher_fields(base: StoryConfig, wrong: list[str]) -> tuple[tuple[str, ...], int, ModelConfig]:
    """Ask for trained teachers, or how many new ones and their network."""
    known = {run.id: run for run in _trained_teachers(base)}
    named = [run_id for run_id in base.teachers if run_id in known]
    start_field("teacher_source", TRAINED if named else NEW)
    source = st.segmented_control(
        "Teacher", [NEW, TRAINED], key="form_teacher_source", required=True, disabled=not known and not named
    )
    if source == TRAINED and known:
        start_field("teachers", named or list(known)[:1])
        st.session_state["form_teachers"] = [run_id for run_id in st.session_state["form_teachers"] if run_id in known]
        picked = st.multiselect(
            "Trained teachers",
            list(known),
            format_func=lambda run_id: _teacher_label(known[run_id]),
            key="form_teachers",
            help="Several make an ensemble: the student learns from their average.",
            max_selections=20,
        )
        if not picked:
            wrong.append("choose a trained teacher, or train a new one")
        return tuple(picked), 1, base.teacher
    teacher = model_fields("Teacher's network", base.teacher, "teacher", wrong)
    start_field("new_teachers", base.new_teachers)
    count = st.number_input(
        "How many teachers", 1, 20, key="form_new_teachers", help="Several, of different seeds, teach as an ensemble."
    )
    return (), int(count), teacher


def model_fields(title: str, base: ModelConfig, key: str, wrong: list[str]) -> ModelConfig:
    start_field(f"{key}_model", base.name)
    left, right = st.columns([3, 2])
    name = left.selectbox(title, list(MODELS), format_func=lambda model: MODELS[model].label, key=f"form_{key}_model")
    widths_of = MODELS[name].widths
    if widths_of is None:
        return base.replace(name=name)
    setting, label, example = widths_of
    start_field(f"{key}_{setting}", ", ".join(map(str, getattr(base, setting))))
    text = right.text_input(
        f"{key.capitalize()}'s {label}",
        key=f"form_{key}_{setting}",
        max_chars=200,
        help=f"Numbers with commas between, from input to output: {example}.",
    )
    try:
        widths = tuple(int(part) for part in text.replace("-", ",").split(",") if part.strip())
    except ValueError:
        wrong.append(
            f"{label.capitalize()} must be whole numbers with commas between, such as 800, 800; got '{text[:40]}'"
        )
        return base
    return with_changes(base, {"name": name, setting: widths}, wrong)


def training_fields(base: TrainingConfig, key: str, wrong: list[str]) -> TrainingConfig:
    left, right = st.columns(2)
    start_field(f"{key}_optimizer", base.optimizer)
    optimizer = left.selectbox("Optimiser", ["adamw", "adam", "sgd"], key=f"form_{key}_optimizer")
    start_field(f"{key}_schedule", base.schedule)
    schedule = right.selectbox(
        "Learning rate over time", ["cosine", "constant", "one-cycle"], key=f"form_{key}_schedule"
    )
    start_field(f"{key}_rate", f"{base.learning_rate:g}")
    rate = left.text_input("Peak learning rate", key=f"form_{key}_rate", max_chars=40)
    start_field(f"{key}_batch", base.batch_size)
    batch_size = right.number_input("Batch size", 1, 65_536, key=f"form_{key}_batch")
    start_field(f"{key}_jitter", base.jitter_pixels)
    jitter = left.number_input(
        "Jitter, pixels", 0, 8, key=f"form_{key}_jitter", help="Each image moves by up to this much, anew each epoch."
    )
    start_field(f"{key}_smoothing", base.label_smoothing)
    smoothing = right.number_input(
        "Label smoothing",
        0.0,
        0.99,
        step=0.05,
        key=f"form_{key}_smoothing",
        help="This share of each hard target is spread over all classes. On the baseline it is the control for soft"
        " targets that know nothing; a teacher trained with it can teach worse (Müller et al. 2019).",
    )
    try:
        learning_rate = float(rate)
    except ValueError:
        wrong.append(f"The learning rate must be a number such as 0.003, got '{rate[:40]}'")
        return base
    changes = {
        "optimizer": optimizer,
        "schedule": schedule,
        "learning_rate": learning_rate,
        "batch_size": int(batch_size),
        "jitter_pixels": int(jitter),
        "label_smoothing": float(smoothing),
    }
    return with_changes(base, changes, wrong)


def transfer_fields(base: StoryConfig, wrong: list[str]) -> TransferSetConfig:
    part, class_names = base.transfer_set, services.class_names(base.dataset)
    classes = list(range(len(class_names)))
    start_field("fraction", 100 * part.fraction)
    percent = st.number_input(
        "Share of the training images, %",
        0.01,
        100.0,
        step=1.0,
        key="form_fraction",
        format="%.4g",
        help=explained("transfer set"),
    )
    if len(classes) <= LISTED_CLASSES:
        start_field("classes", list(part.only_classes or classes))
        kept = st.multiselect(
            "Classes it holds",
            classes,
            format_func=class_names.__getitem__,
            key="form_classes",
            help="Remove one, and the student never sees it.",
        )
    else:
        start_field("left_out", list(part.missing(len(classes))))
        left_out = st.multiselect(
            "Classes it leaves out",
            classes,
            format_func=class_names.__getitem__,
            key="form_left_out",
            help="The student never sees them.",
        )
        kept = [label for label in classes if label not in left_out]
    start_field("labelled", part.labelled)
    if not kept:
        wrong.append("a transfer set needs at least one class")
    labelled = st.toggle(
        "With labels", key="form_labelled", help="Off: the student reads no label, and alpha has to be 1."
    )
    return TransferSetConfig(
        fraction=float(percent) / 100,
        only_classes=part.only_classes if not kept else None if len(kept) == len(classes) else tuple(sorted(kept)),
        labelled=labelled,
    )


def start_field(name: str, value: object) -> None:
    """Give a field its value from the story where the session has none for it."""
    if f"form_{name}" not in st.session_state:
        st.session_state[f"form_{name}"] = value


def folded(title: str, icon: str, opened: bool) -> DeltaGenerator:
    """Return an expander that starts open where opened. What is changed in it later does not fold it."""
    return st.expander(title, icon=icon, expanded=st.session_state.setdefault(f"form_opened_{title}", opened))


def _trained_teachers(story: StoryConfig) -> Sequence[Run]:
    def may_teach(run: Run) -> bool:
        return (run.config.role == "teacher" and not run.config.mistake) or run.id in story.teachers

    known = [run for run in services.store().runs() if run.usable and run.config.dataset == story.dataset]
    return sorted(filter(may_teach, known), key=pickers.rank)


def _teacher_label(run: Run) -> str:
    return f"{run.name or run.config.network}, {run.results['test_errors']:,} test errors ({run.id[:4]})"
