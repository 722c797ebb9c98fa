"""Channels last changes the order of numbers in memory and the time a convolution takes, no result beyond rounding."""

import itertools

import pytest
import torch
from tiny import TINY, tiny_config

from kd_core.experiments import defaults
from kd_core.experiments import story as experiments_story
from kd_core.experiments.story import StoryConfig
from kd_core.losses.catalogue import OBJECTIVES
from kd_core.losses.config import DistillationConfig
from kd_core.models import build
from kd_core.models.config import MODELS, ModelConfig
from kd_core.training import precision
from kd_core.training.config import RunConfig
from kd_core.training.loop import Training, train
from kd_core.training.precision import settled

CNN = ModelConfig(name="cnn", channels=(8, 16))
CONVOLUTIONAL = [name for name, architecture in MODELS.items() if architecture.maps]


def config_of(model, memory_format="channels_last", *, objective="", **training):
    config = tiny_config(**training)
    taught = DistillationConfig(teachers=("one",), objective=objective) if objective else None
    role, settings = "distilled" if taught else "baseline", config.training.replace(memory_format=memory_format)
    return config.replace(role=role, model=model, distillation=taught, training=settings)


def first_loss(config, digits, teachers, *, exact=False):
    """The loss of a first batch; exact: in float64 and plain memory."""
    run = Training(config, digits, teachers=[teachers()] if config.distillation else [])
    if exact:
        for network in (run.model, *run.teachers):
            network.double()
        run.inputs = lambda images: digits.normalise(images).double()
    run.model.train()
    torch.manual_seed(3)  # of dropout
    with torch.no_grad():
        return run.batch_losses(torch.arange(16), torch.ones(16, 2, dtype=torch.int64)).loss.item()


def assert_near_the_oracle(config, digits, teachers):
    plain = config.replace(training=config.training.replace(memory_format="contiguous"))
    expected = first_loss(plain, digits, teachers, exact=True)
    assert first_loss(config, digits, teachers) == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_every_convolutional_network_agrees_with_float64(digits, name):
    model = CNN if name == "cnn" else ModelConfig(name=name)
    assert_near_the_oracle(config_of(model), digits, None)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_agrees_with_float64(digits, objective):
    def teachers():
        torch.manual_seed(9)
        return build.build(CNN, digits.image_shape, 10)

    assert_near_the_oracle(config_of(CNN, objective=objective, jitter_pixels=1), digits, teachers)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_resume_equals_no_interruption(digits, tmp_path, optimizer):
    """The optimiser's moments lie in memory as the weights do, also when they come out of a file."""
    config = config_of(CNN, epochs=2, optimizer=optimizer)
    whole, first = Training(config, digits), Training(config, digits)
    for _ in train(whole):
        pass
    for _ in itertools.islice(train(first), 5):
        pass
    first.save(tmp_path / "checkpoint.pt")
    second = Training(config, digits)
    second.restore(tmp_path / "checkpoint.pt")
    for _ in train(second):
        pass
    for mine, theirs in zip(second.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    state = second.optimizer.state_dict()["state"][0]
    moments = state.get("exp_avg", state.get("momentum_buffer"))
    assert moments.stride() == next(second.model.parameters()).stride()


def test_a_config_without_the_field_computes_as_it_always_did(digits):
    written = config_of(CNN, "auto").model_dump(mode="json")
    del written["training"]["memory_format"]
    run = Training(RunConfig(**written), digits)
    assert settled(run.config).training.memory_format == "contiguous"
    assert all(parameter.is_contiguous() for parameter in run.model.parameters())
    assert run.inputs(run.images[:3]).is_contiguous()


def test_new_runs_of_convolutional_networks_are_settled_on_channels_last(monkeypatch):
    for dataset, role in itertools.product(("digits", "mnist", "cifar10"), ("teacher", "student")):
        assert defaults.default_training(role, dataset).memory_format == "auto"
    formats = {name: settled(config_of(ModelConfig(name=name), "auto")).training.memory_format for name in MODELS}
    assert formats == {name: "channels_last" if name in CONVOLUTIONAL else "contiguous" for name in MODELS}
    assert settled(config_of(CNN, "contiguous")).training.memory_format == "contiguous"
    monkeypatch.setattr(precision, "machine", lambda _: ("cuda", True))  # where nobody measured it
    assert settled(config_of(CNN, "auto")).training.memory_format == "contiguous"


def test_a_story_follows_the_baseline_that_is_there(store):
    """It was trained before there was a choice: the distilled student is computed as it was."""
    story = StoryConfig.default("digits").replace(student=CNN, teacher=TINY)
    plain = story.replace(training=story.training.replace(memory_format="contiguous"))
    before = experiments_story.plan(plain).to_train
    baseline = {run_id: config for run_id, config in before.items() if config.role == "baseline"}
    assert {settled(config).training.memory_format for config in baseline.values()} == {"contiguous"}
    fresh = experiments_story.plan(story).to_train.values()
    assert {config.training.memory_format for config in fresh if config.model == CNN} == {"channels_last"}
    store.create(baseline)
    for run_id in baseline:
        store.apply(run_id, {"kind": "finished", "results": {"test_errors": 3}})
    plan = experiments_story.plan(story, store.runs())
    assert plan.reused == tuple(baseline)
    assert {config.training.memory_format for config in plan.to_train.values()} == {"contiguous"}
