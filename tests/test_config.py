"""What a run may be: every broken rule is one plain sentence, and a config survives JSON."""

import math
import subprocess
import sys

import pytest

from kd_core.config import (
    PAPER_TEACHER,
    ConfigError,
    DistillationConfig,
    LabError,
    ModelConfig,
    RunConfig,
    TrainingConfig,
)


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


def test_configs_are_frozen_and_a_changed_copy_is_validated():
    config = distilled()
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1
    assert config.replace(seed=4).seed == 4
    assert config.seed == 0
    with pytest.raises(ConfigError, match="seed must be at least 0"):
        config.replace(seed=-1)


def test_config_imports_without_torch():
    code = "import sys, kd_core.config; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
