"""Sweeps: students trained together against the same students trained one by one, and what a sweep refuses."""

import itertools
import json

import pytest
import torch
from tiny import tiny_config

from kd_core.base import tensors
from kd_core.base.config import ConfigError
from kd_core.data.catalogue import TransferSetConfig
from kd_core.experiments.sweep import SweepConfig, errors_in_words
from kd_core.models import build
from kd_core.models.config import ModelConfig
from kd_core.training.config import RunConfig
from kd_core.training.loop import Training, train
from kd_core.training.memory import batch_bytes
from kd_core.training.records import EpochRecord
from kd_core.training.together import MAX_PARAMETERS, Together, groups, train_together, trains_together

TRAINING = tiny_config(epochs=3).training
SWEEP = SweepConfig(
    dataset="digits",
    teachers=("someone",),
    model=ModelConfig(hidden=(8, 8)),
    widths=(12,),
    temperatures=(1, 5),
    alphas=(0, 0.6, 1),
    seeds=(3, 1),
    training=TRAINING,
)


@pytest.fixture(scope="module")
def teacher_logits(digits):
    """Of two teachers that disagree, so that the temperature has a say in their average."""
    logits = []
    for seed in (7, 8):
        run = Training(tiny_config(epochs=3, seed=seed), digits)
        for _ in train(run):
            pass
        logits.append(build.logits_of(run.best_model(), digits.train_images, digits.normalise))
    return torch.stack(logits)


def assert_as_one_by_one(configs, digits, teacher_logits):
    state = Together(configs, digits, teacher_logits)
    records = list(train_together(state))
    test_logits = state.test_logits()
    for i, config in enumerate(configs):
        run = Training(config, digits, teacher_logits=teacher_logits)
        alone = [record for record in train(run) if isinstance(record, EpochRecord)]
        best = run.best_model()
        together = build.build(config.model, digits.image_shape, 10)
        together.load_state_dict(state.state_dict(i))
        for name, tensor in best.state_dict().items():
            torch.testing.assert_close(together.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)
        expected = build.logits_of(best, digits.test_images, digits.normalise)
        torch.testing.assert_close(test_logits[i], expected, rtol=1e-4, atol=1e-4)
        for single, all_of_epoch in zip(alone, records, strict=True):
            mine = all_of_epoch[i]
            assert (mine.step, mine.epoch, mine.learning_rate) == (single.step, single.epoch, single.learning_rate)
            if single.validation_errors is None:
                assert (mine.validation_errors, mine.validation_accuracy) == (None, None)
            else:
                # One image may fall either way: seen with two top logits 3e-8 apart, less than float32's rounding.
                assert abs(mine.validation_errors - single.validation_errors) <= 1
                assert mine.validation_accuracy == 1 - mine.validation_errors / len(run.validation_labels)
            assert mine.best == single.best
            for part in ("loss", "soft_loss", "hard_loss"):
                expected = getattr(single, part)
                if expected is not None:
                    expected = pytest.approx(expected, rel=1e-4, abs=1e-6)
                assert getattr(mine, part) == expected, (config, part)


def test_students_trained_together_are_those_trained_one_by_one(digits, teacher_logits):
    """Baselines, alpha 0 and 1, two seeds out of order, an ensemble of two."""
    assert_as_one_by_one(SWEEP.cells(), digits, teacher_logits)


@pytest.mark.parametrize(
    "changes",
    [
        {"training": TRAINING.replace(optimizer="sgd", schedule="one-cycle", learning_rate=0.05)},
        {"training": TRAINING.replace(validation_fraction=0, optimizer="adam", weight_decay=0.01)},
        {"transfer_set": TransferSetConfig(fraction=0.3, only_classes=(0, 1, 2, 5, 9))},
        {"transfer_set": TransferSetConfig(labelled=False), "alphas": (1,)},
    ],
    ids=["sgd one-cycle", "no validation", "part", "unlabelled"],
)
def test_together_is_one_by_one_whatever_the_settings(digits, teacher_logits, changes):
    sweep = SWEEP.replace(**{"alphas": (0.6,), "model": ModelConfig(hidden=(12,)), **changes})
    assert_as_one_by_one(sweep.cells(), digits, teacher_logits)


def test_each_student_has_its_own_t_squared_and_average(digits, teacher_logits):
    configs = [config for config in SWEEP.replace(alphas=(0.6,)).cells() if config.role == "distilled"]
    bare = [config.replace(distillation=config.distillation.replace(t_squared=False)) for config in configs]
    logits = [config.replace(distillation=config.distillation.replace(ensemble="logits")) for config in configs]
    assert_as_one_by_one([configs[1], bare[1], logits[1], bare[3]], digits, teacher_logits)


def test_baselines_train_together_without_a_teacher(digits):
    assert_as_one_by_one([tiny_config("baseline", seed=seed) for seed in (2, 0)], digits, None)


@pytest.mark.parametrize("cut", [1, 2])
def test_resume_equals_no_interruption(digits, teacher_logits, tmp_path, cut):
    configs = SWEEP.cells()
    whole = Together(configs, digits, teacher_logits)
    records = list(train_together(whole))
    first = Together(configs, digits, teacher_logits)
    before = list(itertools.islice(train_together(first), cut))
    first.save(tmp_path / "checkpoint.pt")
    torch.manual_seed(999)
    second = Together(configs, digits, teacher_logits)
    second.restore(tmp_path / "checkpoint.pt")
    after = list(train_together(second))
    assert [[record.loss for record in epoch] for epoch in before + after] == [
        [record.loss for record in epoch] for epoch in records
    ]
    assert torch.equal(second.test_logits(), whole.test_logits())
    for i in range(len(configs)):
        for name, tensor in whole.state_dict(i).items():
            assert torch.equal(second.state_dict(i)[name], tensor)


def test_a_checkpoint_of_other_students_is_refused(digits, teacher_logits, tmp_path):
    configs = SWEEP.cells()
    Together(configs, digits, teacher_logits).save(tmp_path / "checkpoint.pt")
    with pytest.raises(ConfigError, match="belongs to other configs"):
        Together(configs[:-1], digits, teacher_logits).restore(tmp_path / "checkpoint.pt")


def test_test_errors_are_counted_student_by_student(digits, teacher_logits):
    state = Together(SWEEP.cells()[:4], digits, teacher_logits)
    for _ in train_together(state):
        pass
    for i, config in enumerate(state.configs):
        student = build.build(config.model, digits.image_shape, 10)
        student.load_state_dict(state.state_dict(i))
        logits = build.logits_of(student, digits.test_images, digits.normalise)
        assert int((state.test_logits()[i].argmax(1) != digits.test_labels).sum()) == int(
            (logits.argmax(1) != digits.test_labels).sum()
        )


# -------------------------------------------------------------------------------------------------------- groups


as_json = RunConfig.model_dump_json


def test_a_sweep_has_each_combination_once_and_a_baseline_a_width_and_seed():
    sweep = SWEEP.replace(widths=(12, 20))
    cells = sweep.cells()
    assert len(cells) == sweep.cell_count == 2 * 2 * (1 + 2 * 3)
    assert len({as_json(cell) for cell in cells}) == len(set(cells)) == len(cells)
    baselines = [(cell.model.hidden, cell.seed) for cell in cells if cell.role == "baseline"]
    assert sorted(baselines) == [((12, 12), 1), ((12, 12), 3), ((20, 20), 1), ((20, 20), 3)]


def test_the_json_of_a_cell_does_not_depend_on_how_a_number_is_written():
    assert as_json(SWEEP.cells()[1]) == as_json(SWEEP.replace(temperatures=(1.0, 5.0)).cells()[1])


def test_groups_part_by_architecture_training_and_teachers_and_keep_every_run():
    wide = SWEEP.replace(widths=(12, 20)).cells()
    others = [cell for cell in SWEEP.replace(teachers=("another",)).cells() if cell.role == "distilled"]
    longer = SWEEP.replace(training=TRAINING.replace(epochs=4)).cells()
    parts = groups(wide + others + longer)
    assert sorted(len(group) for group in parts) == [12, 14, 14, 14]
    assert sorted(map(as_json, itertools.chain(*parts))) == sorted(map(as_json, wide + others + longer))


@pytest.mark.parametrize(
    "changes",
    [{"objective": "dkd"}, {"objective": "logit_matching"}, {"final_temperature": 1.0}, {"final_alpha": 0.5}],
)
def test_another_loss_than_hintons_at_fixed_numbers_trains_alone(changes):
    plain = tiny_config("distilled", teachers=("t",))
    other = plain.replace(distillation=plain.distillation.replace(**changes))
    assert trains_together(plain)
    assert not trains_together(other)
    assert not trains_together(tiny_config("baseline", label_smoothing=0.1))
    assert [other] in groups([plain, other])


def test_a_checkpoint_from_before_a_setting_was_there_goes_on(digits, tmp_path):
    """Its configs say nothing of it, which means the default."""
    configs = [tiny_config("baseline", seed=seed) for seed in range(2)]
    state = Together(configs, digits)
    state.epochs_done = 1
    state.save(tmp_path / "together.pt")
    saved = tensors.load_state(tmp_path / "together.pt")
    older = [json.loads(text) for text in saved["configs"]]
    for config in older:
        del config["training"]["label_smoothing"]
    tensors.save_state(tmp_path / "together.pt", {**saved, "configs": [json.dumps(config) for config in older]})
    again = Together(configs, digits)
    again.restore(tmp_path / "together.pt")
    assert again.epochs_done == 1


def test_groups_keep_to_their_limit_and_seeds_side_by_side():
    parts = groups(SWEEP.cells(), limit=8)
    assert [len(group) for group in parts] == [8, 6]
    seeds = [config.seed for group in parts for config in group]
    assert seeds == sorted(seeds)
    parts = groups(SWEEP.cells(), most_bytes=4.5 * batch_bytes(SWEEP.cells()[0]))
    assert [len(group) for group in parts] == [4, 4, 4, 2]
    assert all(len(group) == 1 for group in groups(SWEEP.cells(), most_bytes=1))


@pytest.mark.parametrize(
    "model",
    [
        ModelConfig(name="cnn"),
        ModelConfig(hidden=(12,), dropout_hidden=0.1),
        ModelConfig(hidden=(12,), batch_norm=True),
        ModelConfig(hidden=(MAX_PARAMETERS // 784,)),
    ],
    ids=["cnn", "dropout", "batch norm", "large"],
)
def test_what_cannot_train_together_is_a_group_of_its_own(digits, model):
    configs = [tiny_config("baseline", seed=seed).replace(model=model) for seed in range(2)]
    assert not any(map(trains_together, configs))
    assert groups(configs) == [[config] for config in configs]
    with pytest.raises(ConfigError, match="train these students one by one"):
        Together(configs, digits)


# ------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"temperatures": ()}, "temperatures is empty: name at least one value"),
        ({"seeds": (1, 2, 1)}, "seeds names 1 more than once"),
        ({"alphas": (0.5, 1.5)}, "alpha must be at most 1, got 1.5"),
        ({"temperatures": (0,)}, "temperature must be above 0, got 0"),
        ({"seeds": tuple(range(72))}, "at most 500 cells, these would be 504"),
        ({"model": ModelConfig(name="cnn")}, "must be an mlp with a hidden layer"),
        ({"model": ModelConfig(hidden=())}, "must be an mlp with a hidden layer"),
        ({"transfer_set": TransferSetConfig(labelled=False)}, "set alpha to 1"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_in_words(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        SWEEP.replace(**changes)


def test_students_without_their_teacher_or_their_like_are_refused_in_words(digits, teacher_logits):
    cells = SWEEP.cells()
    with pytest.raises(ConfigError, match="needs a teacher"):
        Together(cells, digits)
    with pytest.raises(ConfigError, match="choose another teacher"):
        Together(cells, digits, teacher_logits[:, :, :7])
    with pytest.raises(ConfigError, match="share architecture"):
        Together([*cells, tiny_config("baseline")], digits, teacher_logits)


def test_on_users_data_a_group_is_of_one_seed():
    """Of whole people, say, a validation split has another size with each seed."""
    cells = [config.replace(dataset="own.faces.123456789abc.2.1x8x8.60.20") for config in SWEEP.cells()]
    seeds = [{config.seed for config in group} for group in groups(cells)]
    assert len(seeds) == len(SWEEP.seeds) > 1
    assert all(len(each) == 1 for each in seeds)


@pytest.mark.parametrize(
    ("errors", "text"), [([21], "21"), ([19, 23], "21 on average of 2 seeds (19 and 23)"), ([19, 23, 21], "interval")]
)
def test_a_baselines_errors_are_said_with_their_spread(errors, text):
    assert text in errors_in_words(errors)
