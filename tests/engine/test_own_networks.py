"""A network of own code from training to its files, as any other."""

import onnx
from tiny import tiny_config, train_here, undisturbed_weights

from kd_core.base import tensors
from kd_core.exchange.export import checks, write
from kd_core.jobs import execute
from kd_core.models.architectures import own
from kd_core.models.config import ModelConfig

TINY = """
from torch import nn

def tiny(num_classes, image_shape):
    convolution = nn.Conv2d(image_shape[0], 4, 3, stride=2)
    return nn.Sequential(convolution, nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(num_classes))
"""


def test_an_own_run_resumes_to_the_same_weights_and_exports(home, store, tmp_path, monkeypatch):
    (tmp_path / "own_nets_of_a_test.py").write_text(TINY, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(own.LISTED, "own_nets_of_a_test:tiny")
    config = tiny_config(epochs=3).replace(model=ModelConfig(name=own.named("own_nets_of_a_test:tiny")))
    requests = iter([None, None, "pause"])
    run_id = train_here(store, config, requested=lambda: next(requests, None))
    assert store.get(run_id).status == "paused"
    store.take_up(run_id)
    execute.run_here(store, run_id, lambda event: None, lambda: None)
    run, folder = store.get(run_id), store.folder(run_id)
    weights, undisturbed = tensors.load_tensors(folder.weights), undisturbed_weights(home, config)
    assert all(weights[name].equal(undisturbed[name]) for name in undisturbed)
    assert run.results["parameters"] == 40 + 8 + 10 * (4 * 13 * 13 + 1)
    passed = write.export_run(store.storage, run).passed
    assert {checks.WEIGHTS, checks.ONNX, checks.PROGRAM} <= {*passed}
    assert "class_names" in {entry.key for entry in onnx.load(folder.export / checks.ONNX).metadata_props}
    assert "KD_NETWORKS=own_nets_of_a_test:tiny" in (folder.export / checks.CARD).read_text(encoding="utf-8")
