"""Images changed in training, what a teacher sees of it, class weights, clipping and patience."""

import pytest
import torch
from tiny import TINY, tiny_config
from torch.nn import functional as F

from kd_core.base.config import ConfigError
from kd_core.data import augment
from kd_core.losses.config import DistillationConfig
from kd_core.models import build
from kd_core.models.config import ModelConfig
from kd_core.training.config import RunConfig, TrainingConfig
from kd_core.training.loop import Training, train
from kd_core.training.records import as_dict, waited
from kd_core.training.together import trains_together

ALL = {"flip": True, "colour": 0.3, "randaugment": 2, "mixup": 0.2, "cutmix": 1.0, "class_weights": True}
BATCH = {"epochs": 2, "batch_size": 256, "warmup_epochs": 0, "precision": "float32"}


def baseline(**training):
    return tiny_config(role="baseline").replace(training=TrainingConfig(**{**BATCH, **training}))


def distilled(*, view="same", objective="hinton", **training):
    distillation = DistillationConfig(teachers=("t",), teacher_view=view, objective=objective)
    return baseline(**training).replace(role="distilled", distillation=distillation)


def finish(training):
    for _ in train(training):
        pass
    return training


def views_of(training):
    inputs, labels = training.views(torch.arange(64), None)
    return inputs, labels


def test_an_augmented_run_resumes_to_the_same_weights(digits, tmp_path):
    config = baseline(**ALL, clip_norm=1.0, jitter_pixels=1)
    whole, resumed = Training(config, digits), Training(config, digits)
    records = train(whole)
    next(records)
    whole.save(tmp_path / "checkpoint")
    for _ in records:
        torch.rand(3)  # what a caller draws changes nothing
    resumed.restore(tmp_path / "checkpoint")
    finish(resumed)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name])


def test_teacher_and_student_and_baseline_see_the_same_views(digits):
    teacher, seen = build.build(TINY, digits.image_shape, 10), []
    teacher.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    student = Training(distilled(**ALL), digits, teachers=[teacher])
    seen.clear()
    student.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    student.batch_losses(torch.arange(64), None)
    assert torch.equal(*seen)
    assert torch.equal(seen[0], views_of(Training(baseline(**ALL), digits))[0])


def test_of_original_images_the_teacher_is_asked_once_the_student_sees_changed(digits):
    teacher, batches = build.build(TINY, digits.image_shape, 10), []
    teacher.register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    config = distilled(view="original", flip=True)
    training = finish(Training(config, digits, teachers=[teacher]))
    assert config.reads_teacher_logits
    assert sum(batches) == len(digits.train_labels)
    assert not torch.equal(views_of(training)[0], training.inputs(training.images[:64]))


def test_views_change_from_step_to_step_and_leave_the_generator_alone(digits):
    training = Training(baseline(flip=True, colour=0.4), digits)
    state = torch.get_rng_state()
    first = views_of(training)[0]
    assert torch.equal(first, views_of(training)[0])
    assert torch.equal(state, torch.get_rng_state())
    training.step += 1
    assert not torch.equal(first, views_of(training)[0])


def test_a_flip_mirrors_about_half_of_the_images_and_no_other():
    images = torch.arange(400 * 4, dtype=torch.int32).remainder(256).to(torch.uint8).reshape(400, 1, 2, 2)
    with augment.drawn_by(1):
        flipped = augment.changed(images, flip=True, colour=0.0, operations=0)
    mirrored = (flipped == images.flip(3)).all(dim=(1, 2, 3))
    same = (flipped == images).all(dim=(1, 2, 3))
    assert bool((mirrored ^ same).all())
    assert 150 < int(mirrored.sum()) < 250


@pytest.mark.parametrize("shape", [(40, 1, 8, 8), (40, 3, 12, 10), (1, 3, 8, 8)])
def test_grey_and_colour_of_any_shape_stay_what_they_are(shape):
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    changed = augment.changed(images, flip=True, colour=0.4, operations=2)
    assert (changed.shape, changed.dtype) == (images.shape, torch.uint8)


def test_mixed_images_and_labels_have_the_same_shares():
    inputs, labels = torch.eye(6).reshape(6, 1, 2, 3), torch.arange(6)
    with augment.drawn_by(3):
        blended, shares = augment.mixed(inputs, labels, 6, mixup=1.0, cutmix=0.0)
    assert torch.allclose(blended.flatten(1), shares)
    assert torch.allclose(shares.sum(dim=1), torch.ones(6))


def test_class_weights_make_all_classes_count_alike(digits):
    training = Training(baseline(class_weights=True), digits)
    weights, counts = training._class_weights, training.labels.bincount().float()
    assert torch.allclose(weights * counts, (weights * counts).mean().expand(10))
    indices = torch.arange(100)
    logits = training.model(training.inputs(training.images[indices]))
    expected = F.cross_entropy(logits, training.labels[indices], weights)
    assert torch.allclose(training.batch_losses(indices, None).loss, expected)


def test_a_long_gradient_is_shortened_before_the_step(digits):
    def first_step(**training):
        run = Training(baseline(optimizer="sgd", learning_rate=0.01, schedule="constant", **training), digits)
        before = torch.cat([weight.detach().flatten().clone() for weight in run.model.parameters()])
        next(train(run))
        after = torch.cat([weight.detach().flatten() for weight in run.model.parameters()])
        return float((after - before).norm()) / 0.01

    assert first_step(clip_norm=0.05) == pytest.approx(0.05, rel=1e-3)
    assert first_step() > 0.1


def test_training_ends_when_its_patience_does_and_counts_as_complete(digits, tmp_path):
    config = baseline(learning_rate=1e-9, epochs=30, patience=2)
    run, rows = Training(config, digits), []
    run.choosing_errors = lambda errors: len(rows)  # every epoch is worse than the first
    for record in train(run):
        rows.append(as_dict(record))
        if len(rows) == 2:
            run.save(tmp_path / "checkpoint")
    assert (run.epochs_done, waited(rows)) == (3, 2)
    assert config.complete_after(run.epochs_done, rows)
    assert not config.complete_after(run.epochs_done, rows[:-1])
    resumed = Training(config, digits)
    resumed.restore(tmp_path / "checkpoint")
    assert resumed.since_best == waited(rows[:2])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: distilled(view="original", mixup=0.2), "let it see what the student sees"),
        (lambda: distilled(objective="dkd", cutmix=1.0), "mixed images have two"),
        (lambda: distilled(view="original", objective="rkd", flip=True), "compares features of the same image"),
        (lambda: TrainingConfig(patience=3, validation_fraction=0), "patience needs a validation split"),
    ],
)
def test_what_cannot_be_together_is_a_sentence(make, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make()


def test_what_a_batched_sweep_cannot_do_trains_alone():
    plain = RunConfig(role="baseline", dataset="digits", model=ModelConfig(hidden=(8,)))
    assert trains_together(plain)
    for setting in ({"flip": True}, {"mixup": 0.1}, {"class_weights": True}, {"patience": 3}, {"clip_norm": 1.0}):
        assert not trains_together(plain.replace(training=plain.training.replace(**setting)))
