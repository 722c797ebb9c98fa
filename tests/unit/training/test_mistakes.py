"""Each mistake of public code: that it is what it is said to be, and that our engine does not make it unasked."""

import itertools

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from tiny import TINY, assert_same_weights, tiny_config

from kd_core.base.config import ConfigError
from kd_core.base.torchvision import torchvision
from kd_core.evaluation.statistics import halves
from kd_core.exchange import model_card
from kd_core.experiments import paper, presets
from kd_core.losses import hinton, one_example
from kd_core.losses import objective as losses_objective
from kd_core.losses.config import DistillationConfig
from kd_core.models import build
from kd_core.models.config import ModelConfig
from kd_core.runs import artifacts, checks
from kd_core.runs.run import new_id
from kd_core.training import mistaken as mistaken_training
from kd_core.training import together
from kd_core.training.config import RunConfig, TrainingConfig, split_of
from kd_core.training.loop import Training, train
from kd_core.training.mistaken import begin
from kd_core.training.mistakes import MISTAKES
from kd_core.training.records import EpochRecord

TEMPERATURE, ALPHA, CLASSES = 5.0, 0.7, 10
DROPPING = ModelConfig(hidden=(16,), dropout_hidden=0.5, batch_norm=True)
ONE_BATCH = torch.arange(64)


def mistaken(mistake, **settings):
    """A distilled student's config that makes a mistake, or with None does not."""
    config = tiny_config("distilled", teachers=("someone",), **settings)
    distillation = config.distillation.replace(
        temperature=TEMPERATURE, alpha=ALPHA, t_squared=mistake != "no_t_squared"
    )
    return config.replace(distillation=distillation, mistake=mistake)


@pytest.fixture(scope="module")
def teacher(digits):
    """With dropout and batch norm, and trained a little."""
    run = begin(tiny_config(epochs=2).replace(model=DROPPING), digits)
    for _ in train(run):
        pass
    return run.best_model()


def soft_loss_by_hand(student_logits, teacher_logits):
    """T² KL(teacher ‖ student) at T, summed over classes, mean over the batch, in float64 by scipy."""
    student, target = (np.asarray(logits, np.float64) / TEMPERATURE for logits in (student_logits, teacher_logits))
    divergences = (softmax(target, axis=1) * (log_softmax(target, axis=1) - log_softmax(student, axis=1))).sum(axis=1)
    return TEMPERATURE**2 * divergences.mean()


@pytest.mark.parametrize(
    ("mistake", "times_too_weak"), [(None, 1), ("no_t_squared", TEMPERATURE**2), ("class_mean", CLASSES)]
)
def test_the_soft_loss_is_too_weak_by_the_mistake_and_by_nothing_else(digits, teacher, mistake, times_too_weak):
    run = begin(mistaken(mistake), digits, teachers=[teacher])
    losses = run.batch_losses(ONE_BATCH, None)
    inputs = digits.normalise(run.images[ONE_BATCH])
    with torch.no_grad():
        expected = soft_loss_by_hand(run.model(inputs), teacher(inputs)) / times_too_weak
    assert losses.soft_loss.item() == pytest.approx(expected, rel=1e-4)
    assert losses.loss.item() == pytest.approx(ALPHA * expected + (1 - ALPHA) * losses.hard_loss.item(), rel=1e-4)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_averaging_over_classes_makes_the_soft_gradient_k_times_smaller(classes):
    generator = torch.Generator().manual_seed(classes)
    student, teacher_logits = torch.randn(2, 8, classes, generator=generator, dtype=torch.float64)
    gradients = []
    for objective in (hinton.distillation_loss, mistaken_training.class_mean_loss):
        leaf = student.clone().requires_grad_()
        objective(leaf, teacher_logits, None, temperature=TEMPERATURE, alpha=1.0).loss.backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(gradients[0], classes * gradients[1], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("mistake", ["no_t_squared", "class_mean"])
def test_the_lessons_gradient_is_that_of_the_loss_that_is_trained_on(mistake):
    student, teacher_logits = torch.randn(
        2, 1, CLASSES, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    leaf = student.clone().requires_grad_()
    settings = {"temperature": TEMPERATURE, "alpha": ALPHA}
    if mistake == "class_mean":
        wrong = mistaken_training.class_mean_loss(leaf, teacher_logits, torch.tensor([3]), **settings)
    else:
        wrong = hinton.distillation_loss(leaf, teacher_logits, torch.tensor([3]), **settings, t_squared=False)
    wrong.loss.backward()
    felt = mistaken_training.felt(mistake, student[0].tolist(), teacher_logits[0].tolist(), 3, **settings)
    right = one_example.felt(student[0].tolist(), teacher_logits[0].tolist(), 3, **settings)
    assert felt.gradient == pytest.approx(leaf.grad[0].tolist(), rel=1e-9)
    assert felt.loss == pytest.approx(wrong.loss.item(), rel=1e-9)
    assert felt.soft_loss == pytest.approx(wrong.soft_loss.item(), rel=1e-9)
    factor = TEMPERATURE**2 if mistake == "no_t_squared" else CLASSES
    assert [factor * slope for slope in felt.soft_gradient] == pytest.approx(right.soft_gradient)


# ------------------------------------------------------------------------------------------ the teacher's dropout


@pytest.mark.parametrize("jitter", [0, 1])
def test_our_teacher_says_the_same_twice_and_keeps_its_statistics(digits, teacher, jitter):
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    run = begin(mistaken(None, jitter_pixels=jitter), digits, teachers=[teacher])
    shifts = torch.ones(len(ONE_BATCH), 2, dtype=torch.int64) if jitter else None
    assert run.batch_losses(ONE_BATCH, shifts).soft_loss == run.batch_losses(ONE_BATCH, shifts).soft_loss
    for _ in train(run):
        assert not any(module.training for module in teacher.modules())
    assert_same_weights(before, teacher.state_dict())


def test_a_teacher_with_dropout_on_says_something_else_each_time(digits, teacher):
    known = build.logits_of(teacher, digits.train_images, digits.normalise)[None]
    run = begin(mistaken("teacher_dropout"), digits, teachers=[teacher], teacher_logits=known)
    first, second = (run.batch_losses(ONE_BATCH, None).soft_loss.item() for _ in range(2))
    assert first != pytest.approx(second, rel=1e-3)
    for _ in train(run):
        assert teacher.training
    teacher.eval()


def test_a_teacher_without_dropout_cannot_have_it_left_on(digits, store):
    plain = build.build(TINY, digits.image_shape, CLASSES)
    with pytest.raises(ConfigError, match="needs a teacher with dropout"):
        begin(mistaken("teacher_dropout"), digits, teachers=[plain])
    with pytest.raises(ConfigError, match="needs a teacher with dropout"):
        checks.check(store, {"someone": tiny_config(), "student": mistaken("teacher_dropout")})
    checks.check(store, {"someone": tiny_config().replace(model=DROPPING), "student": mistaken("teacher_dropout")})


# ---------------------------------------------------------------------------------------- the cache of the teacher


def taught(config, digits, known, monkeypatch):
    """For each epoch, the images in the order in which it showed them, and the teacher's logits that each was given."""
    given, shown = [], []
    real, plan = losses_objective.evaluate, Training.epoch_plan

    def spy(batch, *args, **settings):
        given.append(batch.teacher_logits)
        return real(batch, *args, **settings)

    def planned(run, epoch):
        order, shifts = plan(run, epoch)
        shown.append(order)
        return order, shifts

    monkeypatch.setattr(losses_objective, "evaluate", spy)
    monkeypatch.setattr(Training, "epoch_plan", planned)
    run = begin(config, digits, teacher_logits=known)
    for _ in train(run):
        pass
    return run, shown, torch.cat(given).split(len(run.images))


@pytest.fixture
def numbered(digits):
    """Logits that tell of which training image they are: (1, N, K)."""
    size = len(digits.train_labels)
    logits = 20 * torch.arange(size, dtype=torch.float64)[:, None] * torch.arange(CLASSES) / (size * CLASSES)
    return (logits - TEMPERATURE * (logits / TEMPERATURE).logsumexp(dim=1, keepdim=True)).float()[None]


def test_our_cached_logits_belong_to_their_images_in_every_epoch(digits, numbered, monkeypatch):
    run, shown, given = taught(mistaken(None), digits, numbered, monkeypatch)
    indices = split_of(digits, run.config)[0]
    for order, logits in zip(shown, given, strict=True):
        torch.testing.assert_close(logits, numbered[0, indices[order]], rtol=1e-4, atol=1e-4)
    assert not torch.equal(shown[0], shown[1])


def test_a_cache_out_of_step_is_read_by_position_in_any_order_of_images(digits, numbered, monkeypatch):
    run, shown, given = taught(mistaken("stale_cache"), digits, numbered, monkeypatch)
    indices = split_of(digits, run.config)[0]
    torch.testing.assert_close(given[0], given[1])
    own = numbered[0, indices[shown[1]]]
    assert (given[1] - own).abs().amax(dim=1).gt(1e-3).float().mean() > 0.95
    torch.testing.assert_close(given[1].sort(dim=0).values, own.sort(dim=0).values)  # the same rows, elsewhere


@pytest.mark.parametrize("mistake", ["stale_cache", "teacher_dropout", "test_choice"])
def test_a_mistaken_run_that_is_resumed_ends_as_if_never_interrupted(digits, teacher, tmp_path, mistake):
    whole, first, second = (begin(mistaken(mistake), digits, teachers=[teacher]) for _ in range(3))
    for _ in train(whole):
        pass
    for _ in itertools.islice(train(first), 7):
        pass
    first.save(tmp_path / "checkpoint.pt")
    second.restore(tmp_path / "checkpoint.pt")
    for _ in train(second):
        pass
    assert_same_weights(whole.best_weights, second.best_weights)
    teacher.eval()


# ------------------------------------------------------------------------------------------------------- jitter


def seen_by_the_model(config, digits, shifts):
    """What the model is shown of the first images, as uint8."""
    run = begin(config, digits)
    seen = []
    run.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    run.batch_losses(torch.arange(len(shifts)), shifts)
    return run.images[: len(shifts)], (seen[0] * 255 * digits.std + 255 * digits.mean).round().to(torch.uint8)


SHIFTS = torch.tensor([[-2, -2], [-2, 1], [0, 0], [1, -1], [2, 0], [2, 2]])


def test_our_jitter_moves_the_pixels_and_leaves_their_values(digits):
    images, seen = seen_by_the_model(tiny_config("baseline", jitter_pixels=2), digits, SHIFTS)
    for image, moved, (down, right) in zip(images, seen, SHIFTS.tolist(), strict=True):
        expected = np.zeros((28, 28), np.uint8)
        rows, columns = np.nonzero(image[0].numpy())
        expected[rows + down, columns + right] = image[0].numpy()[rows, columns]  # digits leave a margin of 4
        np.testing.assert_array_equal(moved[0].numpy(), expected)


def test_colour_jitter_changes_the_values_as_torchvision_does(digits):
    config = tiny_config("baseline", jitter_pixels=2).replace(mistake="colour_jitter")
    images, seen = seen_by_the_model(config, digits, SHIFTS)
    torch.testing.assert_close(seen, as_torchvision(images, SHIFTS), rtol=0, atol=1)
    assert torch.equal(seen[2], images[2])  # factors of 1


def as_torchvision(images, shifts):
    torchvision()
    from torchvision.transforms.v2 import functional as adjust

    factors = (1 + 0.4 * shifts / 2).tolist()
    return torch.stack(
        [
            adjust.adjust_contrast(adjust.adjust_brightness(image, brightness), contrast)
            for image, (brightness, contrast) in zip(images, factors, strict=True)
        ]
    )


def test_colour_jitter_of_coloured_images_is_torchvisions_too():
    images = torch.randint(0, 256, (6, 3, 9, 9), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    torch.testing.assert_close(
        mistaken_training.recoloured(images, SHIFTS, 2), as_torchvision(images, SHIFTS), rtol=0, atol=1
    )


# ------------------------------------------------------------------------------------------- a teacher of one epoch


def test_no_teacher_of_ours_is_trained_for_one_epoch():
    stories = [preset.story(dataset) for preset in presets.PRESETS.values() for dataset in ("digits", "mnist")]
    trainings = [story.teacher_training for story in (*stories, presets.digits_story())]
    trainings += [protocol.teacher_training for protocol in paper.PROTOCOLS.values()]
    assert min(training.epochs for training in trainings) >= 8


def test_only_a_teacher_of_one_epoch_is_a_hasty_one(store):
    student = mistaken("hasty_teacher")
    with pytest.raises(ConfigError, match="a teacher of one epoch, or a student of such a teacher"):
        tiny_config(epochs=2).replace(mistake="hasty_teacher")
    with pytest.raises(ConfigError, match="a teacher of 2 epochs is not trained for one epoch"):
        checks.check(store, {"someone": tiny_config(epochs=2), "student": student})
    hasty = tiny_config(epochs=1).replace(mistake="hasty_teacher")
    checks.check(store, {"someone": hasty, "student": student})


# ------------------------------------------------------------------------------------------ the choice of the epoch


NOISY = {"epochs": 8, "learning_rate": 0.05, "schedule": "constant", "batch_size": 256}


def test_our_choice_of_the_epoch_never_reads_the_test_set(digits):
    import dataclasses

    garbage = dataclasses.replace(
        digits, test_images=torch.randint_like(digits.test_images, 256), test_labels=digits.test_labels.flip(0)
    )
    honest, blind = (begin(tiny_config("baseline", **NOISY), data) for data in (digits, garbage))
    for run in (honest, blind):
        for _ in train(run):
            pass
    assert_same_weights(honest.best_weights, blind.best_weights)
    assert honest.best_errors == blind.best_errors


def test_the_mistaken_choice_takes_the_best_epoch_of_its_half_of_the_test_set(digits):
    config = tiny_config("baseline", seed=3, **NOISY).replace(mistake="test_choice")
    run = begin(config, digits)
    own, other = halves(len(digits.test_labels), 3)
    errors, weights, best = [], [], []
    for record in train(run):
        if isinstance(record, EpochRecord):
            predicted = build.logits_of(run.model, digits.test_images[own], digits.normalise).argmax(dim=1)
            errors.append(int((predicted != digits.test_labels[own]).sum()))
            weights.append({name: tensor.clone() for name, tensor in run.model.state_dict().items()})
            best.append(record.validation_errors)
    chosen = max(epoch for epoch, count in enumerate(errors) if count == min(errors))
    assert_same_weights(weights[chosen], run.best_weights)
    assert run.best_errors == min(errors)
    assert sorted([*own, *other]) == list(range(len(digits.test_labels)))
    assert chosen != max(epoch for epoch, count in enumerate(best) if count == min(best))  # validation chose another


def test_a_run_chosen_on_the_test_set_reports_its_true_validation_split(digits, store):
    config = tiny_config("baseline", **NOISY).replace(mistake="test_choice")
    run_id = new_id()
    store.create({run_id: config})
    run = begin(config, digits)
    for _ in train(run):
        pass
    results = artifacts.save_results(store.folder(run_id), run)
    logits, labels = artifacts.validation_logits(store.folder(run_id))
    assert results["validation_errors"] == int((logits.argmax(axis=1) != labels).sum())
    assert results["validation_examples"] == len(labels)


# ----------------------------------------------------------------------------------------- what is said, and where


def a_run(mistake):
    if mistake == "colour_jitter":
        return mistaken(mistake, jitter_pixels=2)
    return mistaken(mistake)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_run_says_its_mistake_wherever_it_is_named(store, mistake):
    config = a_run(mistake)
    run_id = new_id()
    store.create({run_id: config})
    assert MISTAKES[mistake].label in config.label
    assert MISTAKES[mistake].label in store.get(run_id).label
    store.describe(run_id, name="The best student ever", note="", tags=[])
    assert MISTAKES[mistake].label in store.get(run_id).label
    results = {
        "test_errors": 1,
        "test_examples": 445,
        "validation_errors": 0,
        "validation_examples": 111,
        "epochs": 2.0,
    }
    results |= {"parameters": 1, "size_bytes": 1, "multiply_adds": 1, "classes": 10}
    store.apply(run_id, {"kind": "finished", "results": results})
    card = model_card.model_card(
        store.get(run_id), image_shape=(1, 28, 28), mean=0.1, std=0.3, layers="", class_names="0123456789"
    )
    assert "This is no result" in card
    assert MISTAKES[mistake].label in card
    assert ("best epoch by a half of the test set" in card) == (mistake == "test_choice")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_run_that_makes_a_mistake_trains_by_itself(mistake):
    assert not together.trains_together(a_run(mistake))


@pytest.mark.parametrize(
    ("mistake", "config", "sentence"),
    [
        ("no_t_squared", mistaken(None), "'T² left out' needs a distilled student .* t_squared off"),
        ("class_mean", tiny_config("baseline"), "needs a distilled student"),
        ("teacher_dropout", tiny_config("baseline"), "needs a distilled student"),
        ("stale_cache", mistaken(None, jitter_pixels=1), "no jitter"),
        ("colour_jitter", mistaken(None), "set jitter_pixels above 0"),
        ("test_choice", mistaken(None, validation_fraction=0), "set validation_fraction above 0"),
        ("spelling", mistaken(None), "unknown mistake 'spelling': choose one of no_t_squared"),
    ],
)
def test_a_mistake_that_could_not_be_made_is_refused_in_a_sentence(mistake, config, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config.replace(mistake=mistake)


def test_a_config_of_before_mistakes_makes_none():
    text = '{"role": "distilled", "dataset": "digits", "distillation": {"teachers": ["someone"]}}'
    assert RunConfig.from_json(text).mistake is None
    assert DistillationConfig(teachers=("someone",)).t_squared
    assert TrainingConfig().validation_fraction > 0
