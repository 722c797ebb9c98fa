"""What --log writes, read back by the programs that it is for."""

import os
import re
import sys

import pytest
from tiny import tiny_config

from kd_core.base.config import LabError
from kd_core.cli import watch
from kd_core.cli.logs import following, opened
from kd_core.runs.run import new_id


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """MlflowLog sets variables for MLflow."""
    for name in ("MLFLOW_ALLOW_FILE_STORE", "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")
        del os.environ[name]


@pytest.fixture
def logged(store, digits):
    """logged(texts...) -> the run, trained here with these logs."""

    def train(*texts):
        run_id = new_id()
        watch.start(store, run_id, tiny_config(epochs=2), logs=opened(texts))
        return store.get(run_id)

    return train


def test_tensorboard_reads_the_records_and_results(logged, store, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = logged(f"tensorboard={tmp_path / 'curves'}")
    read = EventAccumulator(str(tmp_path / "curves" / run.id))
    read.Reload()
    steps = {record["step"]: record["loss"] for record in store.records(run.id, "step")}
    losses = {event.step: event.value for event in read.Scalars("train/loss")}
    assert losses.keys() >= steps.keys()
    assert [losses[step] for step in steps] == pytest.approx([*steps.values()])
    epochs = store.records(run.id, "epoch")
    assert [event.value for event in read.Scalars("validation/errors")] == [row["validation_errors"] for row in epochs]
    assert [event.value for event in read.Scalars("test/errors")] == [run.results["test_errors"]]


def test_mlflow_reads_all_of_a_run_which_goes_on_as_the_same(logged, store, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    run = logged("mlflow")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=(tmp_path / "runs").as_uri())
    experiment = client.get_experiment_by_name("KD Lab").experiment_id
    [made] = client.search_runs([experiment])
    assert made.info.status == "FINISHED"
    assert made.data.params["training.epochs"] == "2"
    assert made.data.metrics["test/errors"] == run.results["test_errors"]
    history = client.get_metric_history(made.info.run_id, "validation/accuracy")
    epochs = store.records(run.id, "epoch")
    assert [metric.value for metric in history] == [row["validation_accuracy"] for row in epochs]
    with following(opened(["mlflow"]), lambda: store.get(run.id), print) as log:
        log({**epochs[-1], "kind": "epoch", "step": 99})
    assert len(client.search_runs([experiment])) == 1


class Full:
    """A log whose disk is full after the first record."""

    def __init__(self):
        self.taken = 0

    def begin(self, run):
        pass

    def take(self, event):
        self.taken += 1
        raise OSError("No space left on device")

    def end(self, run):
        raise AssertionError("it was left out")


def test_a_log_that_fails_is_left_out_and_the_run_goes_on(store, digits, capsys):
    log, run_id = Full(), new_id()
    assert "test errors of 445" in watch.start(store, run_id, tiny_config(epochs=1), logs=[log])
    assert log.taken == 1
    assert "the log ends here, and the run goes on: No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["tensorboard", "mlflow"])
def test_what_is_not_installed_or_unknown_is_refused_with_what_to_do(monkeypatch, kind):
    monkeypatch.delitem(sys.modules, f"kd_core.cli.logs.{kind}", raising=False)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(LabError, match=re.escape(f"pip install 'kd-lab[{kind}]'")):
        opened([kind])
    with pytest.raises(LabError, match="must be one of tensorboard, mlflow, got 'wandb'"):
        opened(["wandb"])
