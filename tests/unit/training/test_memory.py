"""What a run takes is known before it is queued. How near the estimate is: tools/benchmarks/memory.py."""

import pytest
from tiny import tiny_config

from kd_core.base.config import ConfigError
from kd_core.data.catalogue import own_name
from kd_core.data.sets.definition import DatasetInfo
from kd_core.losses.config import DistillationConfig
from kd_core.models import build
from kd_core.models.config import BLACK_BOX, MODELS, ExternalConfig, ModelConfig
from kd_core.training import memory
from kd_core.training.config import PRECISIONS

PLAIN = tiny_config("baseline")
MAPS = tiny_config("baseline", batch_size=1024).replace(model=ModelConfig(name="cnn", channels=(8,)))
GIANT = PLAIN.replace(model=ModelConfig(hidden=(20_000,) * 8))


def taken(config=PLAIN, teachers=(), **training):
    return memory.memory_of(config.replace(training=config.training.replace(**training)), teachers)


@pytest.mark.parametrize("model", MODELS)
def test_weights_are_counted_as_they_are_built(model):
    config = ModelConfig(name=model)
    tensors = [*(network := build.build(config, (1, 8, 8), 10)).parameters(), *network.buffers()]
    counted = memory._network(config, (1, 8, 8), 10)
    assert counted.weights == sum(tensor.nbytes for tensor in tensors)
    assert 0 < counted.passing <= counted.kept


def test_an_mlp_keeps_its_image_and_what_leaves_each_hidden_layer():
    counted = memory._network(ModelConfig(hidden=(30, 20)), (1, 8, 8), 10)
    assert (counted.kept, counted.passing) == (4 * (64 + 30 + 20), 4 * (64 + 30 + 30))


def test_what_a_residual_block_adds_to_its_output_stands_beside_it():
    """At 64 channels of 8x8: the block's input, a convolution's input and output, and oneDNN's copies of the two."""
    counted = memory._network(ModelConfig(name="resnet18"), (1, 8, 8), 10)
    assert counted.passing >= 4 * (5 * 64 * 8 * 8)


def test_a_run_takes_more_with_its_batch_its_optimiser_and_its_network():
    assert taken(MAPS).activations > 1.9 * taken(MAPS, batch_size=512).activations
    assert taken(optimizer="sgd").weights < taken(optimizer="adamw").weights
    assert taken(PLAIN.replace(model=ModelConfig(hidden=(64, 64)))).total > taken().total


def test_bfloat16_halves_what_a_batch_leaves():
    batches = [memory.batch_bytes(MAPS.replace(training=MAPS.training.replace(precision=name))) for name in PRECISIONS]
    assert batches[0] == 2 * batches[1]


def test_a_batch_has_no_more_images_than_there_are():
    assert taken(batch_size=65_536) == taken(batch_size=2048)


def test_teachers_count_with_their_weights_and_their_logits():
    student = PLAIN.replace(role="distilled", distillation=DistillationConfig(teachers=("a", "b")))
    teachers = [ModelConfig(hidden=(512,)), ModelConfig(name=BLACK_BOX)]
    alone, taught = taken(student.replace(distillation=None, role="baseline")), taken(student, teachers)
    assert taught.weights - alone.weights == memory._network(teachers[0], (1, 28, 28), 10).weights
    assert taught.data - alone.data == 3 * 2 * 1352 * 10 * 4
    assert taken(student, teachers, jitter_pixels=1).data == alone.data


def test_of_images_that_stay_on_disk_the_validation_split_alone_is_in_memory():
    def images(examples):
        name = own_name("large", "0" * 12, DatasetInfo("", 10, (3, 64, 64), examples, 100))
        return taken(PLAIN.replace(dataset=name), validation_fraction=0.1).data / (3 * 64 * 64)

    assert images(1000) == 2100
    assert images(1_000_000) == 100_000


def test_a_run_that_does_not_fit_is_refused_by_what_takes_the_most():
    memory.check(GIANT, (), 1e12)
    with pytest.raises(ConfigError, match=r"this baseline would take about 158\.\d GB of memory, 157\.\d GB of it for"):
        memory.check(GIANT, (), 25e9)
    with pytest.raises(ConfigError, match=r"and a run has 0\.6 GB here: choose a smaller batch size or network"):
        memory.check(MAPS, (), 6.3e8)


def test_a_teacher_that_is_taken_as_it_is_fits():
    file = ExternalConfig(kind="onnx", file="a.onnx", sha256="0" * 64)
    memory.check(PLAIN.replace(role="teacher", model=ModelConfig(name=BLACK_BOX), brought=file), (), 0)


def test_on_a_gpu_a_batch_lies_in_the_memory_of_the_gpu(monkeypatch):
    monkeypatch.setattr(memory, "machine", lambda device: ("cuda", True))
    memory.check(MAPS, (), 6.3e8)
    with pytest.raises(ConfigError):
        memory.check(GIANT, (), 25e9)
