"""The paper's networks, exported, agree on all of MNIST."""

import pytest
from tiny import train_here

from kd_core.exchange.export import checks as export_checks
from kd_core.exchange.export import write
from kd_core.experiments import defaults
from kd_core.models.config import PAPER_STUDENT, PAPER_TEACHER
from kd_core.training.config import RunConfig
from tests.engine.test_export import FLOAT32


@pytest.mark.parametrize(
    ("role", "model", "training"),
    [("teacher", PAPER_TEACHER, defaults.TEACHER_TRAINING), ("baseline", PAPER_STUDENT, defaults.STUDENT_TRAINING)],
    ids=["teacher", "student"],
)
def test_the_papers_networks_agree_on_mnist_and_int8_loses_at_most_a_fifth(store, mnist, role, model, training):
    config = RunConfig(role=role, model=model, training=training.replace(epochs=1, jitter_pixels=0))
    run = store.get(train_here(store, config))
    checks = write.export_run(store.home, run)
    for name in FLOAT32:
        file = checks.file(name)
        assert file.test_examples == 10_000
        assert file.classes_changed == 0
        assert file.max_logit_difference < 1e-4
        assert file.test_errors == file.original_test_errors
    small = checks.file(export_checks.ONNX_INT8)
    assert small.passed
    assert small.test_errors - small.original_test_errors <= 20
    assert small.size_bytes < 0.27 * checks.file(export_checks.ONNX).size_bytes
