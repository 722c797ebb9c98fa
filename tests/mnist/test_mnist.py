"""One short run on the real MNIST, from files to test errors, teacher and student."""

from tiny import train_here

from kd_core.experiments import defaults
from kd_core.losses.config import DistillationConfig
from kd_core.models.config import PAPER_TEACHER
from kd_core.training.config import RunConfig


def test_a_teacher_of_two_epochs_and_its_student_of_three_know_mnist(store, mnist):
    teacher = RunConfig(
        role="teacher", model=PAPER_TEACHER, training=defaults.TEACHER_TRAINING.replace(epochs=2, jitter_pixels=0)
    )
    teacher_id = train_here(store, teacher)
    student = RunConfig(
        role="distilled",
        distillation=DistillationConfig(teachers=(teacher_id,)),
        training=defaults.STUDENT_TRAINING.replace(epochs=3),
    )
    student_id = train_here(store, student)
    errors = {run_id: store.get(run_id).results["test_errors"] for run_id in (teacher_id, student_id)}
    assert errors[teacher_id] < 350
    assert errors[student_id] < 350
