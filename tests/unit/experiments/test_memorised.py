"""A run that fits its training images and guesses on others says so."""

import pytest

from kd_core.experiments.advice.memorised import memorised
from kd_core.losses.config import DistillationConfig
from kd_core.models.config import ModelConfig
from kd_core.training.config import RunConfig

BASELINE = RunConfig(role="baseline", dataset="digits", model=ModelConfig(name="resnet18"))
TAUGHT = BASELINE.replace(role="distilled", distillation=DistillationConfig(teachers=("t",), alpha=1.0))


def epoch(hard_loss, right, *, images=120, loss=None):
    errors = round(images * (1 - right))
    loss = hard_loss if loss is None else loss
    return {
        "hard_loss": hard_loss,
        "loss": loss,
        "validation_errors": errors,
        "validation_accuracy": 1 - errors / images,
    }


def test_a_loss_near_0_and_guessing_on_others_is_said_with_its_numbers():
    sentence = memorised(BASELINE, [epoch(2.3, 0.1), epoch(0.02, 0.1)])
    assert "10.0% of 120 right where guessing gets 10.0%, though its training loss is 0.02" in sentence


@pytest.mark.parametrize(
    "epochs",
    [[], [epoch(2.2, 0.1)], [epoch(0.02, 0.6)], [epoch(0.02, 0.1) | {"validation_accuracy": None}], [epoch(0.0, 1.0)]],
)
def test_a_run_that_learned_or_has_not_yet_is_not_said_to_guess(epochs):
    assert memorised(BASELINE, epochs) == ""


def test_without_labels_the_first_epochs_loss_is_what_knowing_nothing_costs():
    guessing = [epoch(None, 0.1, loss=8.0), epoch(None, 0.12, loss=0.1)]
    assert "It guesses" in memorised(TAUGHT, guessing)
    assert memorised(TAUGHT, guessing[1:]) == ""


def test_an_old_mobilenet_is_told_what_mends_it():
    old = BASELINE.replace(model=ModelConfig(name="mobilenet_v3_small"))
    assert "norm_momentum of 0.1" in memorised(old, [epoch(0.02, 0.1)])
    assert "norm_momentum" not in memorised(old.replace(model=ModelConfig().named(old.model.name)), [epoch(0.02, 0.1)])
