"""Forms that return configs. What the config refuses is said in the form, in the config's own words."""

import streamlit as st

from kd_core import recipes
from kd_core.config import (
    DATASETS,
    MODELS,
    PAPER_TEACHER,
    ConfigError,
    ModelConfig,
    RunConfig,
    TrainingConfig,
)
from kd_core.places import available
from kd_core.runs import Run
from pages.widgets import lab

NEW_TEACHER = "new"


def story_form() -> dict[str, RunConfig] | None:
    """Settings for teacher, baseline and distilled student -> their linked configs, or None where one is refused."""
    with st.container(border=True):
        dataset = st.selectbox(
            "Data set",
            list(DATASETS),
            index=list(DATASETS).index("mnist") if available("mnist") else 0,
            format_func=_dataset_label,
            key="form_dataset",
            persist_state="session",
        )
        teacher_id = st.selectbox(
            "Teacher",
            [NEW_TEACHER, *[run.id for run in _teachers(dataset)]],
            format_func=_teacher_label,
            key="form_teacher",
            help="Train a new one first, or distil again from one that is there: the student starts at once.",
        )
        student = _model_fields("Student", recipes.default_student(dataset), "student")
        temperature = st.slider(
            "Temperature T",
            min_value=0.5,
            max_value=20.0,
            value=recipes.default_temperature(dataset),
            step=0.5,
            key="form_temperature",
            persist_state="session",
            help="softmax(z / T) for teacher and student in the soft loss. Small students do better with less.",
        )
        alpha = st.slider(
            "alpha: weight of the soft loss",
            min_value=0.0,
            max_value=1.0,
            value=0.9,
            step=0.05,
            key="form_alpha",
            persist_state="session",
            help="1 learns from the teacher alone and reads no labels; 0 is the baseline.",
        )
        scale = rf"{temperature:g}^2\," if st.session_state.get("form_t_squared", True) else ""
        st.latex(
            rf"\mathcal L = {alpha:.2g} \cdot {scale}\mathrm{{KL}}(p_T^t \,\|\, p_T^s)"
            rf" + {1 - alpha:.2g}\,\mathrm{{CE}}(y, p^s)"
        )
        defaults = recipes.default_training("student", dataset)
        epochs = st.number_input(
            "Epochs of each student", min_value=1, max_value=1000, value=defaults.epochs, key=f"form_epochs_{dataset}"
        )
        baseline = st.toggle("Train the baseline too, for comparison", value=True, key="form_baseline")
        with st.expander("More settings"):
            teacher_epochs = st.number_input(
                "Epochs of a new teacher",
                min_value=1,
                max_value=1000,
                value=recipes.default_training("teacher", dataset).epochs,
                key=f"form_teacher_epochs_{dataset}",
                disabled=teacher_id != NEW_TEACHER,
            )
            teacher_model = (
                _model_fields("Teacher's network", PAPER_TEACHER, "teacher") if teacher_id == NEW_TEACHER else None
            )
            training = _training_fields(defaults)
            t_squared = st.toggle(
                "Multiply the soft loss by T²",
                value=True,
                key="form_t_squared",
                help="Keeps the soft gradients the same size as T grows. Switch it off to see what it is for.",
            )
            seed = st.number_input("Seed", min_value=0, max_value=2**31 - 1, value=0, key="form_seed")
    try:
        if student is None or (teacher_id == NEW_TEACHER and teacher_model is None):
            return None
        teacher: RunConfig | str = teacher_id
        if teacher_model is not None:
            schedule = recipes.default_training("teacher", dataset).replace(epochs=int(teacher_epochs))
            teacher = RunConfig(role="teacher", dataset=dataset, model=teacher_model, training=schedule, seed=int(seed))
        return recipes.story(
            dataset=dataset,
            teacher=teacher,
            student=student,
            training=training.replace(epochs=int(epochs)),
            temperature=temperature,
            alpha=alpha,
            t_squared=t_squared,
            baseline=baseline,
            seed=int(seed),
        )
    except ConfigError as error:
        st.error(str(error), icon=":material/error:")
        return None


def _model_fields(title: str, default: ModelConfig, key: str) -> ModelConfig | None:
    name = st.selectbox(
        title, list(MODELS), format_func=lambda model: MODELS[model], key=f"form_{key}_model", persist_state="session"
    )
    if name != "mlp":
        return ModelConfig(name=name)
    units = st.text_input(
        "Units of its hidden layers",
        value=", ".join(map(str, default.hidden)),
        key=f"form_{key}_hidden_{'_'.join(map(str, default.hidden))}",
        help="Numbers with commas between, from input to output: 800, 800 is the paper's student.",
    )
    try:
        hidden = tuple(int(part) for part in units.replace("-", ",").split(",") if part.strip())
        return default.replace(hidden=hidden)
    except ConfigError as error:
        st.error(str(error), icon=":material/error:")
    except ValueError:
        st.error(f"Units must be whole numbers with commas between, such as 800, 800; got '{units[:40]}'.")
    return None


def _training_fields(defaults: TrainingConfig) -> TrainingConfig:
    left, right = st.columns(2)
    optimizer = left.selectbox("Optimiser", ["adamw", "adam", "sgd"], key="form_optimizer", persist_state="session")
    schedule = right.selectbox(
        "Learning rate over time", ["cosine", "constant", "one-cycle"], key="form_schedule", persist_state="session"
    )
    rate = left.number_input(
        "Learning rate",
        min_value=1e-6,
        max_value=10.0,
        value=defaults.learning_rate,
        format="%.2g",
        step=defaults.learning_rate / 2,
        key=f"form_rate_{defaults.learning_rate}",
    )
    batch_size = right.number_input(
        "Batch size", min_value=1, max_value=65_536, value=defaults.batch_size, key=f"form_batch_{defaults.batch_size}"
    )
    return defaults.replace(
        optimizer=optimizer, schedule=schedule, learning_rate=float(rate), batch_size=int(batch_size)
    )


def _dataset_label(name: str) -> str:
    return DATASETS[name].label + ("" if available(name) else " (will be downloaded)")


def _teachers(dataset: str) -> list[Run]:
    return [
        run
        for run in lab.store().runs()
        if run.config.role == "teacher" and run.config.dataset == dataset and run.usable
    ]


def _teacher_label(choice: str) -> str:
    if choice == NEW_TEACHER:
        return "Train a new teacher first"
    run = lab.store().get(choice)
    return f"{run.config.model.label}, {run.results['test_errors']:,} test errors ({run.id[:4]})"
