"""Ours, as docs/python.md has one write it; the validation split is left out, as no peer makes one."""

from kd_core import distill


def run(teacher, make_student, train, test, seed):
    return distill(
        student=make_student,
        teacher=teacher,
        data=(train, test),
        temperature=4,
        alpha=0.9,
        seeds=[seed],
        epochs=20,
        batch_size=64,
        optimizer="sgd",
        learning_rate=0.01,
        schedule="constant",
        warmup_epochs=0,
        validation_fraction=0,
    )
