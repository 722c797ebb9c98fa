"""Training: its arithmetic against torch's own, exact resume, and the mistakes that ours must not make."""

import dataclasses
import itertools
import math

import pytest
import torch
from tiny import TINY, tiny_config
from torch.nn import functional as F

from kd_core.base.config import ConfigError
from kd_core.data.augment import shifted
from kd_core.data.catalogue import TransferSetConfig
from kd_core.losses.config import DistillationConfig
from kd_core.models import arithmetic, build
from kd_core.models.config import ModelConfig
from kd_core.training import optimise
from kd_core.training import records as training_records
from kd_core.training.config import RunConfig, TrainingConfig
from kd_core.training.loop import Training, train
from kd_core.training.records import EpochRecord, StepRecord

TEACHERS = ("someone",)


def weights_of(run):
    return {name: tensor.clone() for name, tensor in run.model.state_dict().items()}


def assert_same_weights(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


@pytest.fixture(scope="module")
def teacher(digits):
    run = Training(tiny_config(epochs=3), digits)
    for _ in train(run):
        pass
    return run.best_model()


def test_one_step_is_the_step_that_torch_would_take(digits):
    config = tiny_config("baseline", optimizer="sgd", schedule="constant", warmup_epochs=0, weight_decay=0)
    run = Training(config, digits)
    reference = build.build(TINY, digits.image_shape, 10)
    reference.load_state_dict(run.model.state_dict())
    order = torch.randperm(len(run.images), generator=torch.Generator().manual_seed(0))[:128]
    inputs = (run.images[order].double() / 255 - digits.mean) / digits.std
    loss = F.cross_entropy(reference(inputs.float()), run.labels[order])
    loss.backward()
    record = next(train(run))
    assert record.loss == pytest.approx(loss.item(), rel=1e-5)
    for mine, theirs in zip(run.model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs - 5e-3 * theirs.grad, rtol=1e-4, atol=1e-6)


def test_training_learns_and_reports_every_epoch(digits):
    run = Training(tiny_config("baseline", epochs=6), digits)
    epochs = [record for record in train(run) if isinstance(record, EpochRecord)]
    assert [record.epoch for record in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1].loss < epochs[0].loss / 2
    assert epochs[-1].validation_accuracy > 0.85
    assert epochs[-1].soft_loss is None
    assert epochs[-1].hard_loss == epochs[-1].loss


def test_epoch_loss_is_the_mean_over_all_examples_and_not_the_last_batch(digits):
    run = Training(tiny_config("baseline", epochs=1, batch_size=1000, learning_rate=1e-9), digits)
    (record,) = [record for record in train(run) if isinstance(record, EpochRecord)]
    logits = build.logits_of(run.model, run.images, digits.normalise)
    assert record.loss == pytest.approx(float(F.cross_entropy(logits, run.labels)), rel=1e-4)


@pytest.mark.parametrize("cut", [1, 2, 5, 11, 12, 17])
def test_resume_equals_no_interruption(digits, teacher, tmp_path, cut):
    """Dropout, jitter, momentum, schedule and best weights all go on where they were, from any record."""
    config = RunConfig(
        role="distilled",
        dataset="digits",
        model=ModelConfig(hidden=(16,), dropout_hidden=0.3),
        distillation=DistillationConfig(teachers=TEACHERS),
        training=TrainingConfig(epochs=2, batch_size=128, jitter_pixels=1, precision="float32"),
    )
    whole = Training(config, digits, teachers=[teacher])
    records = list(train(whole))

    first = Training(config, digits, teachers=[teacher])
    before = list(itertools.islice(train(first), cut))
    first.save(tmp_path / "checkpoint.pt")
    torch.manual_seed(999)  # another process would not share this one's randomness
    second = Training(config, digits, teachers=[teacher])
    second.restore(tmp_path / "checkpoint.pt")
    after = list(train(second))

    assert_same_weights(weights_of(whole), weights_of(second))
    assert_same_weights(whole.best_weights, second.best_weights)
    assert [record.step for record in before + after] == [record.step for record in records]
    assert [record.loss for record in before + after] == pytest.approx([record.loss for record in records], rel=1e-6)


def test_what_the_caller_draws_between_records_does_not_change_the_run(digits):
    config = tiny_config().replace(model=ModelConfig(hidden=(16,), dropout_hidden=0.5))
    calm, disturbed = Training(config, digits), Training(config, digits)
    for _ in train(calm):
        pass
    for _ in train(disturbed):
        torch.rand(100)
    assert_same_weights(weights_of(calm), weights_of(disturbed))


def test_same_seed_same_weights_and_another_seed_others(digits):
    def final(seed):
        run = Training(tiny_config(seed=seed), digits)
        for _ in train(run):
            pass
        return weights_of(run)

    assert_same_weights(final(1), final(1))
    assert not torch.equal(final(1)["1.weight"], final(2)["1.weight"])


def test_a_checkpoint_of_another_config_is_refused(digits, tmp_path):
    run = Training(tiny_config(), digits)
    run.save(tmp_path / "checkpoint.pt")
    with pytest.raises(ConfigError, match="belongs to another config"):
        Training(tiny_config(seed=5), digits).restore(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize("jitter", [0, 1])
def test_teacher_weights_do_not_change_and_its_dropout_is_off(digits, jitter):
    torch.manual_seed(0)
    teacher = build.build(ModelConfig(hidden=(16,), dropout_hidden=0.5), digits.image_shape, 10).train()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    config = tiny_config("distilled", teachers=TEACHERS, jitter_pixels=jitter)
    run = Training(config, digits, teachers=[teacher])
    for _ in train(run):
        assert not teacher.training
    assert_same_weights(before, teacher.state_dict())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_known_teacher_logits_train_the_same_student_as_the_teacher_itself(digits, teacher):
    config = tiny_config("distilled", teachers=TEACHERS)
    known = build.logits_of(teacher, digits.train_images, digits.normalise)[None]
    of_teacher, of_logits = Training(config, digits, teachers=[teacher]), Training(config, digits, teacher_logits=known)
    for _ in train(of_teacher):
        pass
    for _ in train(of_logits):
        pass
    assert_same_weights(weights_of(of_teacher), weights_of(of_logits))


def test_soft_targets_stay_with_their_images_through_the_shuffle(digits):
    """A teacher that gives each image its own index away must be matched image by image."""
    size = len(digits.train_labels)
    known = torch.zeros(1, size, 10)
    known[0, :, 0] = 10 * torch.arange(size) / size
    run = Training(tiny_config("distilled", teachers=TEACHERS), digits, teacher_logits=known)
    for index in (0, 17, 500):
        position = int((digits.train_images == run.images[index]).flatten(1).all(1).nonzero()[0])
        targets = torch.softmax(run.teacher_logits[index], dim=0)
        torch.testing.assert_close(targets, torch.softmax(known[0, position], dim=0))


def test_with_alpha_one_labels_are_not_read(digits, teacher):
    config = tiny_config("distilled", teachers=TEACHERS)
    config = config.replace(distillation=config.distillation.replace(alpha=1.0))
    honest, poisoned = (Training(config, digits, teachers=[teacher]) for _ in range(2))
    poisoned.labels = torch.full_like(poisoned.labels, -(10**6))
    records = list(train(honest))
    for _ in train(poisoned):
        pass
    assert_same_weights(weights_of(honest), weights_of(poisoned))
    assert all(record.hard_loss is None for record in records)


def test_baseline_and_distilled_start_from_the_same_weights(digits, teacher):
    baseline = Training(tiny_config("baseline", seed=4), digits)
    distilled = Training(tiny_config("distilled", teachers=TEACHERS, seed=4), digits, teachers=[teacher])
    assert_same_weights(weights_of(baseline), weights_of(distilled))


def test_the_best_epoch_is_chosen_on_the_validation_split(digits):
    run = Training(tiny_config("baseline", epochs=8, learning_rate=0.05, schedule="constant"), digits)
    best = None
    for record in train(run):
        if isinstance(record, EpochRecord) and record.best:
            best = (record.validation_errors, weights_of(run))
    assert best is not None
    assert run.best_errors == best[0]
    assert_same_weights(run.best_weights, best[1])
    assert len(run.validation_labels) + len(run.labels) == len(digits.train_labels)


def test_without_a_validation_split_the_last_epoch_is_kept(digits):
    run = Training(tiny_config("baseline", validation_fraction=0), digits)
    records = [record for record in train(run) if isinstance(record, EpochRecord)]
    assert records[-1].validation_accuracy is None
    assert_same_weights(run.best_weights, weights_of(run))
    assert len(run.labels) == len(digits.train_labels)


def test_a_teacher_of_other_classes_is_refused_in_words(digits):
    known = torch.zeros(1, len(digits.train_labels), 7)
    with pytest.raises(ConfigError, match="knows 7 classes"):
        Training(tiny_config("distilled", teachers=TEACHERS), digits, teacher_logits=known)


def test_a_device_that_is_not_there_is_refused_in_words(digits):
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ConfigError, match="this machine has no cuda device"):
        Training(tiny_config(device="cuda"), digits)


def test_one_cycle_follows_torchs_own_schedule():
    config = TrainingConfig(epochs=5, schedule="one-cycle", learning_rate=0.3)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.3, total_steps=100)
    for step in range(100):
        assert optimise.learning_rate(config, step, 20) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-6)
        optimizer.step()
        scheduler.step()


def test_cosine_falls_from_the_peak_to_zero_after_a_linear_warm_up():
    config = TrainingConfig(epochs=10, warmup_epochs=1, learning_rate=1.0)
    rates = [optimise.learning_rate(config, step, 10) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))


def test_constant_stays_at_the_peak():
    config = TrainingConfig(epochs=2, warmup_epochs=0, schedule="constant", learning_rate=0.2)
    assert {optimise.learning_rate(config, step, 10) for step in range(20)} == {0.2}


def test_shifted_moves_each_image_by_its_own_pixels():
    images = torch.randint(0, 256, (4, 2, 9, 7), dtype=torch.uint8)
    shifts = torch.tensor([[0, 0], [2, -1], [-2, 2], [1, 1]])
    moved = shifted(images, shifts)
    assert moved.dtype == torch.uint8
    for image, result, (down, right) in zip(images, moved, shifts.tolist(), strict=True):
        expected = torch.zeros_like(image)
        for row, column in itertools.product(range(9), range(7)):
            if 0 <= row - down < 9 and 0 <= column - right < 7:
                expected[:, row, column] = image[:, row - down, column - right]
        assert torch.equal(result, expected)


def test_jitter_stays_within_its_pixels(digits):
    run = Training(tiny_config(jitter_pixels=2), digits)
    _, shifts = run.epoch_plan(0)
    assert sorted(set(shifts.flatten().tolist())) == [-2, -1, 0, 1, 2]
    _, later = run.epoch_plan(1)
    assert not torch.equal(shifts, later)


def test_quick_float32_is_as_near_to_float64_as_float32_is():
    generator = torch.Generator().manual_seed(1)
    left, right = torch.randn(256, 784, generator=generator), torch.randn(784, 800, generator=generator)
    exact = left.double() @ right.double()
    before = torch.backends.mkldnn.matmul.fp32_precision
    with arithmetic.quick_float32(torch.device("cpu")):
        quick = left @ right
    assert torch.backends.mkldnn.matmul.fp32_precision == before
    assert float((quick - exact).abs().max() / exact.abs().max()) < 3e-6


def test_bfloat16_computes_the_loss_in_float32(digits):
    run = Training(tiny_config(precision="bfloat16"), digits)
    computed = run.batch_losses(torch.arange(64), None)
    assert computed.loss.dtype == torch.float32
    exact = F.cross_entropy(run.model(digits.normalise(run.images[:64])), run.labels[:64])
    assert computed.loss.item() == pytest.approx(exact.item(), rel=0.02)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_every_optimizer_learns(digits, optimizer):
    rate = 0.1 if optimizer == "sgd" else 5e-3
    run = Training(tiny_config("baseline", epochs=3, optimizer=optimizer, learning_rate=rate), digits)
    epochs = [record for record in train(run) if isinstance(record, EpochRecord)]
    assert epochs[-1].loss < 0.7 * epochs[0].loss


def test_the_first_step_is_reported_at_once_and_records_are_plain_values(digits):
    run = Training(tiny_config(), digits)
    record = next(train(run))
    assert isinstance(record, StepRecord)
    assert record.step == 1
    plain = training_records.as_dict(record)
    assert plain["kind"] == "step"
    assert all(value is None or isinstance(value, int | float | str) for value in plain.values())


# ------------------------------------------------------------------------------------------------- transfer sets

NO_3 = TransferSetConfig(only_classes=(0, 1, 2, 4, 5, 6, 7, 8, 9))
UNLABELLED = TransferSetConfig(labelled=False)


def trained(config, digits, **options):
    run = Training(config, digits, **options)
    return run, list(train(run))


def unlabelled_config(**training):
    config = tiny_config("distilled", teachers=TEACHERS, **training)
    return config.replace(distillation=config.distillation.replace(alpha=1.0), transfer_set=UNLABELLED)


@pytest.mark.parametrize("role", ["baseline", "distilled"])
@pytest.mark.parametrize("part", [NO_3, TransferSetConfig(fraction=0.1), NO_3.replace(fraction=0.3)])
def test_a_student_of_a_transfer_set_sees_no_other_image(digits, teacher, role, part):
    """Told by the images themselves: where each lies in the training set, and with which label."""
    config = tiny_config(role, teachers=TEACHERS if role == "distilled" else ()).replace(transfer_set=part)
    run = Training(config, digits, teachers=[teacher] if role == "distilled" else ())
    place = {image.numpy().tobytes(): index for index, image in enumerate(digits.train_images)}
    seen = [place[image.numpy().tobytes()] for image in run.images]
    judged = [place[image.numpy().tobytes()] for image in run.validation_images]
    assert not set(seen) & set(judged)
    for places, labels in ((seen, run.labels), (judged, run.validation_labels)):
        assert digits.train_labels[places].tolist() == labels.tolist()
        assert set(labels.tolist()) == set(part.only_classes or range(10))
    classes = 10 if part.only_classes is None else 9
    assert len(seen) == pytest.approx(1352 * 11 / 12 * classes / 10 * part.fraction, rel=0.05)
    if run.teacher_logits is not None:
        known = build.logits_of(teacher, digits.train_images, digits.normalise)
        torch.testing.assert_close(torch.softmax(run.teacher_logits, 1), torch.softmax(known[seen], 1))


def test_baseline_and_distilled_see_the_same_part(digits, teacher):
    part = TransferSetConfig(fraction=0.1)
    baseline = Training(tiny_config("baseline").replace(transfer_set=part), digits)
    config = tiny_config("distilled", teachers=TEACHERS).replace(transfer_set=part)
    distilled = Training(config, digits, teachers=[teacher])
    assert torch.equal(baseline.images, distilled.images)
    assert torch.equal(baseline.validation_images, distilled.validation_images)


def test_a_transfer_set_that_leaves_nothing_out_trains_the_very_same_student(digits):
    config = tiny_config("baseline")
    all_named = config.replace(transfer_set=TransferSetConfig(only_classes=tuple(range(10))))
    assert_same_weights(weights_of(trained(config, digits)[0]), weights_of(trained(all_named, digits)[0]))


@pytest.mark.parametrize("jitter", [0, 1])
def test_without_labels_the_teachers_word_stands_in_for_them_in_validation(digits, teacher, jitter):
    run, records = trained(unlabelled_config(jitter_pixels=jitter), digits, teachers=[teacher])
    top = build.logits_of(teacher, run.validation_images, digits.normalise).argmax(dim=1)
    assert run.validation_labels.tolist() == top.tolist()
    assert all(record.hard_loss is None for record in records)
    last = records[-1]
    agreement = build.logits_of(run.model, run.validation_images, digits.normalise).argmax(dim=1) == top
    assert last.validation_accuracy == pytest.approx(float(agreement.double().mean()))


def test_a_student_without_labels_is_the_same_whatever_the_labels_are(digits, teacher):
    """Every label is replaced by another: neither weights nor the choice of the best epoch may notice."""
    known = build.logits_of(teacher, digits.train_images, digits.normalise)[None]
    wrong = dataclasses.replace(digits, train_labels=(digits.train_labels + 1) % 10)
    config = unlabelled_config(epochs=4)
    honest, records = trained(config, digits, teacher_logits=known)
    poisoned, poisoned_records = trained(config, wrong, teacher_logits=known)
    assert_same_weights(weights_of(honest), weights_of(poisoned))
    assert_same_weights(honest.best_weights, poisoned.best_weights)
    assert not torch.equal(honest.labels, poisoned.labels)

    def without_times(record):
        return dataclasses.asdict(record) | {"samples_per_second": None, "seconds": None}

    assert [without_times(record) for record in records] == [without_times(record) for record in poisoned_records]


# ---------------------------------------------------------------------------------------------- runs that continue


def test_a_run_that_continues_starts_from_given_weights_and_keeps_them(digits, teacher):
    """The first step's loss is that of the weights themselves, layer by layer in float64."""
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    config = tiny_config("baseline", seed=3).replace(continues="abc")
    run = Training(config, digits, start=teacher)
    assert_same_weights(before, weights_of(run))
    assert_same_weights(before, run.best_weights)
    order = torch.randperm(len(run.images), generator=torch.Generator().manual_seed(3 * 1_000_003))[:128]
    inputs = ((run.images[order].double() / 255 - digits.mean) / digits.std).flatten(1)
    hidden = (inputs @ before["1.weight"].double().T + before["1.bias"].double()).clamp(min=0)
    logits = hidden @ before["3.weight"].double().T + before["3.bias"].double()
    expected = float((logits.logsumexp(1) - logits[torch.arange(128), run.labels[order]]).mean())
    first = next(train(run)).loss
    assert first == pytest.approx(expected, rel=1e-4)
    assert next(train(Training(config, digits))).loss > 2 * first
    for _ in train(run):
        pass
    assert_same_weights(before, teacher.state_dict())


def test_a_run_that_continues_resumes_as_if_never_interrupted(digits, teacher, tmp_path):
    """From its checkpoint alone: the weights it started from are needed no more."""
    config = tiny_config("baseline", seed=3).replace(continues="abc")
    whole, _ = trained(config, digits, start=teacher)
    first = Training(config, digits, start=teacher)
    for _ in itertools.islice(train(first), 3):
        pass
    first.save(tmp_path / "checkpoint.pt")
    for options in ({"start": teacher}, {}):
        second = Training(config, digits, **options)
        second.restore(tmp_path / "checkpoint.pt")
        for _ in train(second):
            pass
        assert_same_weights(weights_of(whole), weights_of(second))
        assert_same_weights(whole.best_weights, second.best_weights)


def test_probe_logits_are_of_the_weights_as_they_are_and_change_nothing(digits):
    config = tiny_config().replace(model=ModelConfig(hidden=(16,), dropout_hidden=0.5))
    watched, calm = Training(config, digits), Training(config, digits)
    seen = [watched.probe_logits()]
    for _ in train(watched):
        seen.append(watched.probe_logits())
        assert watched.model.training
    for _ in train(calm):
        pass
    assert_same_weights(weights_of(calm), weights_of(watched))
    assert seen[0].shape == (20, 10)
    assert all(not torch.equal(earlier, later) for earlier, later in itertools.pairwise(seen))
    expected = watched.model.eval()(digits.normalise(digits.test_images[digits.probes]))
    torch.testing.assert_close(seen[-1], expected.detach(), rtol=1e-4, atol=1e-4)
