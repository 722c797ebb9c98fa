"""A sweep as an experiment, and what was tried as a table."""

import pytest
from tiny import tiny_config

from kd_core.base.config import ConfigError
from kd_core.evaluation.statistics import mean_interval
from kd_core.experiments import sweep, table
from kd_core.experiments.defaults import network, written
from kd_core.experiments.sweep import SweepConfig
from kd_core.models.config import ModelConfig

SWEEP = SweepConfig(
    dataset="digits",
    teachers=("t",),
    students=(network("mlp 10"), network("cnn 4-8")),
    temperatures=(1.0, 4.0),
    alphas=(0.9,),
    seeds=(0, 1, 2),
    training=tiny_config().training,
)


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("mlp 800-800", ModelConfig(hidden=(800, 800))),
        ("mlp-30", ModelConfig(hidden=(30,))),
        (" cnn: 8, 16 ", ModelConfig(name="cnn", channels=(8, 16), head="average")),
        ("mlp linear", ModelConfig(hidden=())),
        ("resnet18", ModelConfig(name="resnet18")),
    ],
)
def test_a_network_is_read_as_it_is_written(text, model):
    assert network(text) == model
    assert network(written(model)) == model


@pytest.mark.parametrize("text", ["", "mpl 30", "resnet18 30", "mlp thirty", "mlp 0", "30"])
def test_what_is_no_network_is_refused_in_words(text):
    with pytest.raises(ConfigError):
        network(text)


def test_an_experiment_of_a_sweep_has_its_runs_and_no_others(store):
    planned = table.plan(SWEEP.experiment(), SWEEP.seeds, ())
    assert len(planned.to_train) == SWEEP.cell_count == 2 * 3 * 3
    precise = {config.replace(training=SWEEP.training) for config in planned.to_train.values()}
    assert precise == {*SWEEP.cells()}


def test_what_was_tried_is_compared_with_the_baseline_of_its_network(store):
    planned = table.plan(SWEEP.experiment(), SWEEP.seeds, ())
    store.create(planned.to_train)
    errors = {"baseline": (20, 24, 25), 1.0: (10, 15, 15), 4.0: (30, 31, 38)}
    for run_id, config in planned.to_train.items():
        line = errors[config.distillation.temperature if config.distillation else "baseline"]
        count = line[config.seed] + (100 if config.model.name == "mlp" else 0)
        store.apply(run_id, {"kind": "finished", "results": {"test_errors": count, "test_examples": 445}})
    rows = sweep.tried(store.runs())
    assert [(row.network, row.temperature) for row in rows] == [
        ("cnn 4-8", 1.0), ("cnn 4-8", None), ("cnn 4-8", 4.0), ("mlp 10", 1.0), ("mlp 10", None), ("mlp 10", 4.0),
    ]  # fmt: skip
    best = rows[0]
    assert (best.errors, best.mean) == ({0: 10, 1: 15, 2: 15}, 40 / 3)
    assert best.to_baseline[:3] == pytest.approx(mean_interval([-10, -9, -10]))
    assert "After Holm's correction for 4 comparisons at 5%: 2 settings make fewer" in sweep.verdict(rows)
    assert sweep.cells(best)[0] == "cnn 4-8"
    assert sweep.record(best)["errors_by_seed"] == {"0": 10, "1": 15, "2": 15}
