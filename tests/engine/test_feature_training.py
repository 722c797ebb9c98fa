"""Students that learn from features: what training changes, and what it leaves as it was."""

import itertools
import math

import pytest
import torch
from tiny import TINY, assert_same_weights, tiny_config

from kd_core.base.config import ConfigError
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.losses.config import DistillationConfig
from kd_core.models.config import ModelConfig
from kd_core.runs import checks
from kd_core.runs.store import Store
from kd_core.training.loop import Training, train
from kd_core.training.records import EpochRecord
from tests.unit.losses.test_feature_objectives import FEATURES, STUDENT, angle_by_hand, distance_by_hand, distilled
from tests.unit.losses.test_feature_objectives import teacher as teacher  # a fixture

WITH_PROJECTOR = [name for name in FEATURES if OBJECTIVES[name].projector]


@pytest.fixture(scope="module")
def plain_teacher(digits):
    run = Training(tiny_config(epochs=1).replace(model=ModelConfig(hidden=(20,))), digits)
    for _ in train(run):
        pass
    return run.best_model()


def test_every_objective_of_features_is_trained_here():
    assert FEATURES == ["similarity_preserving", "rkd", "hint", "attention", "crd"]
    assert WITH_PROJECTOR == ["hint", "crd"]


def epochs_of(run):
    return [record for record in train(run) if isinstance(record, EpochRecord)]


@pytest.mark.parametrize("objective", FEATURES)
def test_a_student_learns_from_a_teacher_of_other_shape_left_as_it_was(digits, teacher, objective):
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    run = Training(distilled(objective, epochs=4, batch_size=64), digits, teachers=[teacher])
    first, *_, last = epochs_of(run)
    assert last.soft_loss < first.soft_loss
    assert last.validation_accuracy > 0.5
    assert last.loss == pytest.approx(last.soft_loss + last.hard_loss, rel=1e-6)
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


@pytest.mark.parametrize("objective", [name for name in FEATURES if OBJECTIVES[name].needs == "features"])
@pytest.mark.parametrize("convolutional", [True, False])
def test_networks_without_maps_join_in_what_compares_features(digits, teacher, plain_teacher, objective, convolutional):
    config = distilled(objective, model=STUDENT if convolutional else ModelConfig(hidden=(8,)))
    for other in (plain_teacher,) if convolutional else (plain_teacher, teacher):
        (record,) = epochs_of(Training(config, digits, teachers=[other]))
        assert math.isfinite(record.soft_loss)


def test_training_compares_a_student_in_train_mode_with_a_teacher_in_eval(digits, plain_teacher):
    student = ModelConfig(hidden=(8,), batch_norm=True)
    run = Training(distilled("rkd", model=student), digits, teachers=[plain_teacher.train()])
    indices = torch.arange(40)
    losses = run.batch_losses(indices, None)
    inputs = digits.normalise(run.images[indices])
    ours, theirs = run.model.train()[:-1](inputs), plain_teacher.eval()[:-1](inputs)
    arrays = [features.detach().double().numpy() for features in (ours, theirs)]
    expected = 25 * distance_by_hand(*arrays) + 50 * angle_by_hand(*arrays)
    assert losses.soft_loss.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("objective", FEATURES)
def test_weights_scale_the_soft_loss_alone(digits, teacher, objective):
    def parts(factor):
        own = {name: weight.default for name, weight in OBJECTIVES[objective].weights.items() if name != "hard"}
        config = distilled(objective, weights={name: value * factor for name, value in own.items()})
        run = Training(config, digits, teachers=[teacher])
        return [part.item() for part in run.batch_losses(torch.arange(70), None)]

    (_, soft, hard), (_, twice, same) = parts(1), parts(2)
    assert twice == pytest.approx(2 * soft, rel=1e-6)
    assert same == hard


@pytest.mark.parametrize("objective", WITH_PROJECTOR)
def test_a_projector_is_trained_beside_the_student_and_is_no_part_of_it(digits, teacher, objective):
    run = Training(distilled(objective), digits, teachers=[teacher])
    baseline = Training(tiny_config("baseline").replace(model=STUDENT), digits)
    assert_same_weights(run.model.state_dict(), baseline.model.state_dict())
    before = {name: value.clone() for name, value in run.projector.state_dict().items()}
    epochs_of(run)
    assert all(not torch.equal(before[name], value) for name, value in run.projector.state_dict().items())
    assert run.best_model().state_dict().keys() == baseline.model.state_dict().keys()


@pytest.mark.parametrize(("objective", "cut"), [("hint", 2), ("crd", 13)])
def test_resume_equals_no_interruption(digits, teacher, tmp_path, objective, cut):
    """Projector, memory bank and what draws its negatives go on where they were, with jitter."""
    config = distilled(objective, epochs=2, jitter_pixels=1, optimizer="sgd")
    undisturbed = Training(config, digits, teachers=[teacher])
    epochs_of(undisturbed)

    run = Training(config, digits, teachers=[teacher])
    for _ in itertools.islice(train(run), cut):
        pass
    run.save(tmp_path / "checkpoint.pt")
    torch.manual_seed(99)
    resumed = Training(config, digits, teachers=[teacher])
    resumed.restore(tmp_path / "checkpoint.pt")
    epochs_of(resumed)
    assert_same_weights(resumed.model.state_dict(), undisturbed.model.state_dict())
    assert_same_weights(resumed.projector.state_dict(), undisturbed.projector.state_dict())


@pytest.mark.parametrize("objective", FEATURES)
def test_features_are_compared_in_float32_when_networks_compute_in_bfloat16(digits, teacher, objective):
    def soft_loss(precision):
        run = Training(distilled(objective, precision=precision), digits, teachers=[teacher])
        return run.batch_losses(torch.arange(100), None).soft_loss

    exact, rounded = soft_loss("float32"), soft_loss("bfloat16")
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=0.05)


def test_what_a_network_does_not_show_is_refused_in_a_sentence(tmp_path, digits, plain_teacher):
    with pytest.raises(ConfigError, match="attention compares maps, and the student, mlp 16, has none: choose cnn or"):
        distilled("attention", model=TINY)
    with pytest.raises(ConfigError, match="the student, mlp linear, has only its images there: give it hidden units"):
        distilled("rkd", model=ModelConfig(hidden=()))
    with pytest.raises(ConfigError, match="hint compares a teacher's features with the student's: name one teacher"):
        DistillationConfig(teachers=("one", "two"), objective="hint")
    with pytest.raises(ConfigError, match="attention compares maps, and this teacher has none: choose a convolutional"):
        Training(distilled("attention"), digits, teachers=[plain_teacher])
    with pytest.raises(ConfigError, match="the teacher itself is needed, not only its logits"):
        Training(distilled("hint"), digits, teacher_logits=torch.zeros(1, len(digits.train_labels), 10))
    store = Store(tmp_path)
    distillation = distilled("attention").distillation.replace(teachers=("plain",))
    configs = {"plain": tiny_config(), "student": distilled("attention").replace(distillation=distillation)}
    with pytest.raises(ConfigError, match="attention compares maps, and the teacher, mlp 16, has none"):
        checks.check(store, configs)
    store.create({"plain": tiny_config()})
    with pytest.raises(ConfigError, match="attention compares maps, and the teacher, mlp 16, has none"):
        checks.check(store, {"student": configs["student"]})
    store.close()
