"""What a run may be: every broken rule is one plain sentence, and a config survives JSON."""

import math

import pytest

from kd_core.base.config import ConfigError, LabError, differences
from kd_core.data.catalogue import DATASETS, TransferSetConfig
from kd_core.losses.config import DistillationConfig
from kd_core.models.config import PAPER_TEACHER, ModelConfig
from kd_core.training.config import RunConfig, TrainingConfig


def distilled(**changes):
    return RunConfig(role="distilled", distillation=DistillationConfig(teachers=("abc",)), **changes)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: DistillationConfig(teachers=("a",), temperature=0), "temperature must be above 0, got 0"),
        (lambda: DistillationConfig(teachers=("a",), temperature=-1), "temperature must be above 0, got -1"),
        (
            lambda: DistillationConfig(teachers=("a",), temperature=math.nan),
            "temperature must be a finite number, got nan",
        ),
        (
            lambda: DistillationConfig(teachers=("a",), temperature=math.inf),
            "temperature must be a finite number, got inf",
        ),
        (lambda: DistillationConfig(teachers=("a",), alpha=-0.5), "alpha must be at least 0, got -0.5"),
        (lambda: DistillationConfig(teachers=("a",), alpha=1.5), "alpha must be at most 1, got 1.5"),
        (lambda: TrainingConfig(epochs=0), "epochs must be at least 1, got 0"),
        (lambda: TrainingConfig(epochs=1.5), "epochs must be a whole number, got a number with a fractional part"),
        (lambda: TrainingConfig(batch_size=0), "batch_size must be at least 1, got 0"),
        (lambda: ModelConfig(hidden=(0,)), "hidden must be at least 1, got 0"),
        (lambda: ModelConfig(name="cnn", channels=()), "channels must have at least 1 item"),
        (lambda: ModelConfig(name="cnn", channels=(8,) * 4), "channels must have at most 3 items"),
        (
            lambda: ModelConfig(name="vgg"),
            "unknown model 'vgg': choose one of mlp, cnn, resnet18, mobilenet_v3_small",
        ),
        (
            lambda: RunConfig(role="teacher", dataset="imagenet"),
            "unknown data set 'imagenet': choose one of digits, mnist",
        ),
        (lambda: RunConfig(role="pupil"), "role must be 'teacher', 'baseline' or 'distilled', got 'pupil'"),
        (lambda: RunConfig(role="distilled"), "a distilled student needs a teacher: name a teacher run"),
        (
            lambda: RunConfig(role="baseline", distillation=DistillationConfig(teachers=("a",))),
            "a baseline learns without a teacher: leave the distillation settings out",
        ),
        (
            lambda: RunConfig(role="teacher", training=TrainingConfig(epochs=2, warmup_epochs=2)),
            "warmup_epochs must be below epochs (2), got 2",
        ),
        (lambda: TrainingConfig(epoch=3), "there is no setting called epoch"),
        (lambda: RunConfig(), "role is missing"),
        (lambda: DistillationConfig(teachers=()), "teachers must have at least 1 item"),
        (lambda: TransferSetConfig(fraction=0), "fraction must be above 0, got 0"),
        (lambda: TransferSetConfig(fraction=1.01), "fraction must be at most 1, got 1.01"),
        (lambda: TransferSetConfig(fraction=math.nan), "fraction must be a finite number, got nan"),
        (lambda: TransferSetConfig(only_classes=()), "only_classes must have at least 1 item"),
        (lambda: TransferSetConfig(only_classes=(3, -1)), "only_classes must be at least 0, got -1"),
        (
            lambda: RunConfig(role="teacher", transfer_set=TransferSetConfig(fraction=0.5)),
            "a teacher learns from the whole training set: a transfer set is for its students",
        ),
        (
            lambda: distilled(transfer_set=TransferSetConfig(only_classes=(1, 10))),
            "mnist has classes 0 to 9, got class 10",
        ),
        (
            lambda: distilled(transfer_set=TransferSetConfig(labelled=False)),
            "without labels only a distilled student with alpha = 1 can learn: set alpha to 1",
        ),
        (
            lambda: RunConfig(role="baseline", transfer_set=TransferSetConfig(labelled=False)),
            "without labels only a distilled student with alpha = 1 can learn: set alpha to 1",
        ),
        (
            lambda: TrainingConfig(epochs=0, learning_rate=0),
            "epochs must be at least 1, got 0; learning_rate must be above 0, got 0",
        ),
    ],
)
def test_a_broken_rule_is_one_plain_sentence(build, sentence):
    with pytest.raises(ConfigError) as refused:
        build()
    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)
    assert isinstance(refused.value, LabError)
    assert isinstance(refused.value, ValueError)


@pytest.mark.parametrize(
    "config",
    [
        RunConfig(role="teacher", model=PAPER_TEACHER, training=TrainingConfig(jitter_pixels=2), seed=3),
        RunConfig(role="baseline", dataset="digits", model=ModelConfig(name="cnn")),
        distilled(training=TrainingConfig(learning_rate=0.1 + 0.2, schedule="one-cycle")),
        distilled(transfer_set=TransferSetConfig(fraction=0.1 + 0.2, only_classes=(7, 8)), continues="def"),
    ],
)
def test_json_brings_back_the_same_config(config):
    assert RunConfig.from_json(config.model_dump_json()) == config
    assert RunConfig.from_json(config.model_dump_json(indent=2)) == config


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"role": "teacher", "code": "import os"}', '{"role": 1}'])
def test_json_that_is_no_config_is_refused_in_words(text):
    with pytest.raises(ConfigError) as refused:
        RunConfig.from_json(text)
    assert "\n" not in str(refused.value)


def test_a_cnn_written_before_channels_could_be_chosen_is_the_one_it_was():
    old = '{"role": "teacher", "dataset": "digits", "model": {"name": "cnn", "hidden": [800, 800]}}'
    config = RunConfig.from_json(old)
    assert config.model == ModelConfig(name="cnn", channels=(16, 32))
    assert config.label == "teacher Small convolutional network"
    assert config.replace(model=ModelConfig(name="cnn", channels=(32, 64))).label == "teacher cnn 32-64, flat head"


def test_configs_are_frozen_and_a_changed_copy_is_validated():
    config = distilled()
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1
    assert config.replace(seed=4).seed == 4
    assert config.seed == 0
    with pytest.raises(ConfigError, match="seed must be at least 0"):
        config.replace(seed=-1)


def test_what_an_older_version_wrote_is_a_run_on_all_images_from_random_weights():
    config = RunConfig.from_json('{"role": "baseline", "dataset": "digits"}')
    assert config.transfer_set.whole
    assert config.continues is None


def test_a_transfer_set_is_whole_where_nothing_is_left_out():
    assert TransferSetConfig().whole
    for part in ({"fraction": 0.5}, {"only_classes": (1,)}, {"labelled": False}):
        assert not TransferSetConfig(**part).whole


def test_an_unlabelled_student_with_alpha_one_is_a_run():
    distillation = DistillationConfig(teachers=("abc",), alpha=1)
    part = TransferSetConfig(labelled=False, fraction=0.1)
    assert RunConfig(role="distilled", distillation=distillation, transfer_set=part).transfer_set == part


def test_differences_names_each_setting_that_differs_with_a_value_a_config():
    first = distilled(seed=1)
    second = distilled(training=TrainingConfig(epochs=20), model=ModelConfig(hidden=(30, 30)), seed=1)
    assert differences([first, second, first]) == {
        "training.epochs": [12, 20, 12],
        "model.hidden": [[800, 800], [30, 30], [800, 800]],
    }


def test_differences_says_none_where_a_config_has_no_such_setting():
    assert differences([RunConfig(role="baseline"), distilled()]) == {
        "role": ["baseline", "distilled"],
        "distillation.teachers": [None, ["abc"]],
        "distillation.temperature": [None, 4.0],
        "distillation.alpha": [None, 0.9],
        "distillation.t_squared": [None, True],
        "distillation.ensemble": [None, "probabilities"],
        "distillation.teacher_view": [None, "same"],
        "distillation.objective": [None, "hinton"],
    }


def test_configs_that_agree_have_no_differences():
    assert differences([]) == differences([distilled()]) == differences([distilled(), distilled()]) == {}


def check_facts(name, dataset):
    info = DATASETS[name]
    assert info.classes == len(dataset.class_names) == int(dataset.train_labels.max()) + 1
    assert info.image_shape == dataset.image_shape
    assert info.train_examples == len(dataset.train_labels)
    assert info.test_examples == len(dataset.test_labels)


def test_what_is_said_of_digits_without_loading_them_is_so(digits):
    check_facts("digits", digits)


@pytest.mark.parametrize("validation_fraction", [0, 1 / 12, 0.5])
@pytest.mark.parametrize("only_classes", [None, (3,), (0, 1, 2, 4, 5, 6, 7, 8, 9)])
@pytest.mark.parametrize("fraction", [1.0, 0.25, 0.001])
def test_the_examples_of_an_epoch_are_those_of_the_split_within_rounding(
    digits, validation_fraction, only_classes, fraction
):
    part = TransferSetConfig(fraction=fraction, only_classes=only_classes)
    config = RunConfig(
        role="baseline",
        dataset="digits",
        transfer_set=part,
        training=TrainingConfig(validation_fraction=validation_fraction),
    )
    kept, _ = digits.split(validation_fraction, 0)
    there = len(digits.transfer_set(kept, part, 0))
    rounding = 10 if only_classes is None else len(only_classes)
    uneven = 0 if only_classes is None else 5 * fraction  # the classes hold 131 to 138 images, 135.2 on the average
    assert abs(config.examples - there) <= rounding + uneven
    assert config.examples >= 1


def test_a_number_of_thousands_of_digits_is_refused_in_words():
    with pytest.raises(ConfigError, match=r"^seed must be below 2147483648, got a number of thousands of digits$"):
        RunConfig(role="teacher", seed=10**5000)


def test_bytes_of_another_encoding_are_refused_in_words():
    """A shell hands them over as half a surrogate pair each."""
    with pytest.raises(ConfigError, match=r"^a setting holds what is no text in UTF-8$"):
        RunConfig(role="teacher", dataset="\udcff")
