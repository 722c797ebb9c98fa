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
STUDENT_TRAINING = TrainingConfig(epochs=12)
"""A student of the paper's shape: about 150 test errors on MNIST, distilled at T = 4, in a quarter of a minute."""

DIGITS_TEACHER_TRAINING = TrainingConfig(epochs=40, batch_size=64, jitter_pixels=2)
DIGITS_STUDENT_TRAINING = TrainingConfig(epochs=30, batch_size=64)

DEMO_STUDENT = ModelConfig(hidden=(30,))
"""Small enough that the teacher's help shows: one hidden layer of 30 units."""


def default_training(role: str, dataset: str) -> TrainingConfig:
    """The training that serves a teacher or a student well on a data set, in about a minute on two cores."""
    if dataset == "digits":
        return DIGITS_TEACHER_TRAINING if role == "teacher" else DIGITS_STUDENT_TRAINING
    return TEACHER_TRAINING if role == "teacher" else STUDENT_TRAINING


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
    distillation = DistillationConfig(
        teachers=(teacher_id,), temperature=temperature, alpha=alpha, t_squared=t_squared
    )
    runs[new_id()] = RunConfig(
        role="distilled", dataset=dataset, model=student, distillation=distillation, training=training, seed=seed
    )
    return runs


def quick_demo(dataset: str, seed: int = 0) -> dict[str, RunConfig]:
    """The whole story in well under a minute on two cores: teacher, baseline and distilled student."""
    training = default_training("teacher", dataset)
    if dataset == "mnist":
        training = training.replace(epochs=4)
        student_training = STUDENT_TRAINING.replace(epochs=5)
    else:
        student_training = DIGITS_STUDENT_TRAINING
    teacher = RunConfig(role="teacher", dataset=dataset, model=PAPER_TEACHER, training=training, seed=seed)
    return story(dataset=dataset, teacher=teacher, student=DEMO_STUDENT, training=student_training, seed=seed)
