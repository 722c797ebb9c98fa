"""Named experiments, as linked configs: run id -> config, in the order they run. Submit them as one batch."""

from kd_core.config import (
    PAPER_STUDENT,
    PAPER_TEACHER,
    ConfigError,
    DistillationConfig,
    ModelConfig,
    RunConfig,
    TrainingConfig,
)
from kd_core.runs import new_id

TEACHER_TRAINING = TrainingConfig(epochs=20, learning_rate=2e-3, jitter_pixels=2)
"""A teacher of the paper's shape: about 105 test errors on MNIST in under a minute on two cores."""
STUDENT_TRAINING = TrainingConfig(epochs=12, learning_rate=3e-3)
"""A student of the paper's shape: about 130 test errors on MNIST, distilled at T = 4, in a quarter of a minute."""

DIGITS_TEACHER_TRAINING = TrainingConfig(epochs=40, batch_size=64, jitter_pixels=1)
DIGITS_STUDENT_TRAINING = TrainingConfig(epochs=60, batch_size=64, learning_rate=1e-2)

DIGITS_STUDENT = ModelConfig(hidden=(30,))
"""Small enough for 1,352 training images: one hidden layer of 30 units."""


def default_training(role: str, dataset: str) -> TrainingConfig:
    """The training that serves a teacher or a student well on a data set, in about a minute on two cores."""
    if dataset == "digits":
        return DIGITS_TEACHER_TRAINING if role == "teacher" else DIGITS_STUDENT_TRAINING
    return TEACHER_TRAINING if role == "teacher" else STUDENT_TRAINING


def default_student(dataset: str) -> ModelConfig:
    """The student that a data set's stories start from."""
    return DIGITS_STUDENT if dataset == "digits" else PAPER_STUDENT


def default_temperature(dataset: str) -> float:
    """A temperature that serves that student."""
    return 2.0 if dataset == "digits" else 4.0


def story(
    *,
    dataset: str,
    teacher: RunConfig | str,
    student: ModelConfig = PAPER_STUDENT,
    training: TrainingConfig | None = None,
    temperature: float = 4.0,
    alpha: float = 0.9,
    t_squared: bool = True,
    baseline: bool = True,
    seed: int = 0,
) -> dict[str, RunConfig]:
    """Teacher (a config to train, or the id of a trained run), baseline student and distilled student.

    Both students have the same architecture, seed (so the same initial weights and order of examples) and training:
    what differs between them is the teacher alone. Raises ConfigError where a setting cannot be used.
    """
    runs: dict[str, RunConfig] = {}
    if isinstance(teacher, RunConfig):
        if teacher.role != "teacher":
            raise ConfigError(f"a teacher is needed first, got a {teacher.role}")
        teacher_id = new_id()
        runs[teacher_id] = teacher
    else:
        teacher_id = teacher
    training = training or default_training("student", dataset)
    if baseline:
        runs[new_id()] = RunConfig(role="baseline", dataset=dataset, model=student, training=training, seed=seed)
    distillation = DistillationConfig(teachers=(teacher_id,), temperature=temperature, alpha=alpha, t_squared=t_squared)
    runs[new_id()] = RunConfig(
        role="distilled", dataset=dataset, model=student, distillation=distillation, training=training, seed=seed
    )
    return runs


def quick_demo(dataset: str, seed: int = 0) -> dict[str, RunConfig]:
    """The whole story in well under a minute on two cores: teacher, baseline and distilled student."""
    training = default_training("teacher", dataset)
    if dataset == "mnist":
        training = training.replace(epochs=8)
    teacher = RunConfig(role="teacher", dataset=dataset, model=PAPER_TEACHER, training=training, seed=seed)
    return story(
        dataset=dataset,
        teacher=teacher,
        student=default_student(dataset),
        temperature=default_temperature(dataset),
        seed=seed,
    )
