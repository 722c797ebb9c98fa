"""Advice: expected times against the laws that made them up, and each warning just where its setting is on."""

import pytest
from tiny import tiny_config

from kd_core.data.catalogue import DATASETS, TransferSetConfig
from kd_core.experiments.advice.before import Timing, expected_seconds, warnings
from kd_core.experiments.presets import PRESETS
from kd_core.experiments.story import StoryConfig
from kd_core.models import build
from kd_core.models.config import ModelConfig

DIGITS = tuple("0123456789")
SMALLER = {"teacher_parameters": 1000, "student_parameters": 100, "class_names": DIGITS}


# ------------------------------------------------------------------------------------------------ expected time


@pytest.mark.parametrize("measured", [[2.0], [1.0, 2.0, 9.0], [1.0, 3.0]])
def test_like_runs_give_their_median_epoch_times_the_epochs(measured):
    config = tiny_config("baseline", epochs=7)
    timings = [Timing(config.replace(seed=seed), 1, seconds) for seed, seconds in enumerate(measured)]
    assert expected_seconds(config, 1, timings) == pytest.approx(7 * 2.0)


def test_like_runs_on_other_images_count_by_their_images():
    """A tenth of each class takes a tenth of the time; the multiply-adds that are named play no part."""
    whole = tiny_config("baseline", epochs=5)
    part = whole.replace(transfer_set=TransferSetConfig(fraction=0.1))
    seconds = expected_seconds(part, 99, [Timing(whole, 1, 3.0)])
    assert seconds == pytest.approx(5 * 3.0 / 10, rel=0.01)


def test_the_role_seed_epochs_and_rate_of_a_run_do_not_make_it_another_kind():
    teacher = tiny_config(epochs=2)
    student = tiny_config("distilled", teachers=("t",), epochs=3, seed=8, learning_rate=0.1)
    assert expected_seconds(student, 1, [Timing(teacher, 1, 2.0)]) == pytest.approx(6.0)


@pytest.mark.parametrize(("per_step", "per_multiply_add"), [(2e-3, 3e-11), (0.0, 3e-11), (2e-3, 0.0)])
def test_unlike_runs_of_one_architecture_recover_the_law_that_made_them(per_step, per_multiply_add):
    """Steps and multiply-adds of an epoch are counted here by hand: 1,239 of the 1,352 digits, in batches."""

    def law(batch_size, cost):
        return per_step * -(-1239 // batch_size) + per_multiply_add * 1239 * cost

    timings = []
    for width, batch_size in ((16, 128), (64, 256), (800, 128), (1200, 512), (32, 512)):
        config = tiny_config(batch_size=batch_size).replace(model=ModelConfig(hidden=(width,)))
        timings.append(Timing(config, 794 * width, law(batch_size, 794 * width)))
    planned = tiny_config("baseline", epochs=6, batch_size=256).replace(model=ModelConfig(hidden=(300, 300)))
    cost = 794 * 300 + 300 * 300
    assert planned.examples == 1239
    assert expected_seconds(planned, cost, timings) == pytest.approx(6 * law(256, cost), rel=1e-6)


def test_an_expected_time_is_never_negative_even_where_small_networks_were_slow():
    slow_small = Timing(tiny_config(), 10_000, 5.0)
    quick_large = Timing(tiny_config().replace(model=ModelConfig(hidden=(1200,))), 1_000_000, 0.1)
    tiny = tiny_config(batch_size=256).replace(model=ModelConfig(hidden=(2,)))
    assert expected_seconds(tiny, 1000, [slow_small, quick_large]) >= 0


def test_where_nothing_compares_no_time_is_claimed():
    config = tiny_config()
    assert expected_seconds(config, 1, []) is None
    cnn = config.replace(model=ModelConfig(name="cnn"))
    assert expected_seconds(config, 1, [Timing(cnn, 1, 2.0)]) is None
    far = tiny_config(batch_size=8).replace(model=ModelConfig(hidden=(99,)))
    assert expected_seconds(config, 1, [Timing(far, 1, 2.0)]) is None


def test_nothing_is_claimed_far_beyond_what_was_measured():
    """Epochs of 1,239 digits under load said 64 hours of 55,000 images; so may a small network of a large one."""
    config = tiny_config("baseline")
    few = config.replace(transfer_set=TransferSetConfig(fraction=0.1))
    assert expected_seconds(config, 1, [Timing(few, 1, 3.0)]) is None
    wide = config.replace(model=ModelConfig(hidden=(1200, 1200)))
    assert expected_seconds(wide, 2_400_000, [Timing(config, 60_000, 3.0)]) is None
    assert expected_seconds(wide, 200_000, [Timing(config, 60_000, 3.0)]) is not None


# ----------------------------------------------------------------------------------------------------- warnings


def story(dataset="digits", *, training=None, **changes):
    default = StoryConfig.default(dataset)
    return default.replace(training=default.training.replace(**(training or {})), **changes)


LARGE = ModelConfig(hidden=(800, 800))
MINI = ModelConfig(hidden=(30, 30))

# what is asked for -> the start of the one sentence that it brings
WARNED = [
    (story(alpha=0.0), "With alpha = 0 the soft loss counts for nothing"),
    (story(alpha=0.0, temperature=100.0), "With alpha = 0 the soft loss counts for nothing"),
    (story(temperature=4.0, t_squared=False), "Without T² the soft loss pulls 16 times less than with it"),
    (story(temperature=1.0), "At T of 1 and less"),
    (story(temperature=0.5), "At T of 1 and less"),
    (story(temperature=9.0), "For a student this small"),
    (story(temperature=50.0), "For a student this small"),
    (story(temperature=50.0, student=LARGE), "Far above T = 20"),
    (story("mnist", student=MINI), "We measured students of 30 units on MNIST"),
    (story(training={"learning_rate": 0.03}), "A learning rate of 0.03 is high for adamw"),
    (story(training={"learning_rate": 0.03, "optimizer": "adam"}), "A learning rate of 0.03 is high for adam"),
    (story(training={"learning_rate": 0.001, "optimizer": "sgd"}), "A learning rate of 0.001 is low for sgd"),
    (story(training={"epochs": 9}), "The student takes only 180 steps"),
    (story(training={"batch_size": 1024}), "The student takes only 120 steps"),
    (story(transfer_set=TransferSetConfig(fraction=0.1)), "The student takes only 120 steps"),
    (story(transfer_set=TransferSetConfig(only_classes=(0, 1, 2, 4, 5, 6, 7, 8, 9))), "The transfer set has no 3:"),
    (
        story(transfer_set=TransferSetConfig(only_classes=(7, 8))),
        "The transfer set has no 0, 1, 2, 3, 4, 5, 6 and 9: most errors will be there.",
    ),
    (story(objective="logit_matching", alpha=0.0), "With alpha = 0 the soft loss counts for nothing"),
    (story(training={"jitter_pixels": 1}), "As images change, the teacher looks at every image anew"),
]


@pytest.mark.parametrize(
    ("proposed", "sentence"), WARNED, ids=[f"{n} {start[:30]}" for n, (_, start) in enumerate(WARNED)]
)
def test_a_setting_known_to_hurt_brings_its_own_warning_and_no_other(proposed, sentence):
    (warning,) = warnings(proposed, **SMALLER)
    assert warning.startswith(sentence)
    assert warning.endswith(".")


@pytest.mark.parametrize(
    "proposed",
    [
        story(temperature=1.01),
        story(temperature=8.0),
        story(temperature=20.0, student=LARGE),
        story(alpha=0.01),
        story(alpha=0.0, final_alpha=1.0),
        story(objective="dist", temperature=1.0, alpha=0.0),
        story(objective="logit_matching", temperature=50.0),
        story(alpha=1.0, t_squared=False),
        story("mnist", student=MINI, training={"epochs": 21}),
        story(student=MINI, training={"epochs": 15}),
        story(training={"learning_rate": 0.02}),
        story(training={"learning_rate": 0.1, "optimizer": "sgd"}),
        story(training={"epochs": 10}),
        story(transfer_set=TransferSetConfig(only_classes=tuple(range(10)))),
        story(alpha=1.0, transfer_set=TransferSetConfig(labelled=False)),
    ],
)
def test_just_short_of_what_hurts_nothing_is_said(proposed):
    assert warnings(proposed, **SMALLER) == []


@pytest.mark.parametrize(("teacher", "student", "warned"), [(100, 99, False), (100, 100, True), (100, 200, True)])
def test_a_student_no_smaller_than_its_teacher_is_warned_of(teacher, student, warned):
    sentences = warnings(story(), teacher_parameters=teacher, student_parameters=student, class_names=DIGITS)
    assert any("no smaller than its teacher" in sentence for sentence in sentences) == warned
    assert len(sentences) == warned


def test_several_settings_that_hurt_are_all_named():
    proposed = story(training={"jitter_pixels": 2, "learning_rate": 0.5}, temperature=1.0)
    assert len(warnings(proposed, teacher_parameters=1, student_parameters=1, class_names=DIGITS)) == 4


def sizes(story_config):
    shape = DATASETS[story_config.dataset].image_shape
    teacher, student = (
        build.parameter_count(build.blueprint(model, shape, 10))
        for model in (story_config.teacher, story_config.student)
    )
    return {"teacher_parameters": teacher, "student_parameters": student, "class_names": DIGITS}


@pytest.mark.parametrize("dataset", DATASETS)
def test_what_the_app_proposes_itself_is_nothing_that_it_warns_of(dataset):
    default = StoryConfig.default(dataset)
    assert warnings(default, **sizes(default)) == []
    for name in ("demo", "paper", "unlabelled"):
        proposed = PRESETS[name].story(dataset)
        assert warnings(proposed, **sizes(proposed)) == [], name


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_preset_without_3_is_warned_of_its_missing_3_alone(dataset):
    proposed = PRESETS["no_3"].story(dataset)
    (warning,) = warnings(proposed, **sizes(proposed))
    assert warning.startswith("The transfer set has no 3:")


def test_missing_classes_are_named_or_counted_and_threes_only_of_digits():
    names = tuple(f"kind {label}" for label in range(100))
    part = TransferSetConfig(only_classes=tuple(range(20, 100)))
    proposed = StoryConfig.default("own.kinds.0123456789ab.100.3x8x8.90000.1000").replace(transfer_set=part)
    (warning,) = warnings(proposed, teacher_parameters=2, student_parameters=1, class_names=names)
    assert warning.startswith("The transfer set has no kind 0, kind 1, ")
    assert warning.endswith(", kind 10 and 9 others: most errors will be there.")


def test_of_two_classes_an_objective_says_what_it_loses():
    two = {**SMALLER, "class_names": ("cat", "dog")}
    for objective, start in {
        "dkd": "Of two classes the non-target part",
        "dist": "Two probabilities of an example",
    }.items():
        proposed = story(objective=objective)
        assert [sentence for sentence in warnings(proposed, **two) if sentence.startswith(start)]
        assert not [sentence for sentence in warnings(proposed, **SMALLER) if sentence.startswith(start)]
    assert not [sentence for sentence in warnings(story(), **two) if "two classes" in sentence]
