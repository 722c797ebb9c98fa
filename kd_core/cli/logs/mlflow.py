"""Runs for MLflow: parameters, metrics and results, in the experiment 'KD Lab'."""

import os
import time
from pathlib import Path

from kd_core.cli.logs import numbers_of, results_of, settings_of
from kd_core.runs.events import Event
from kd_core.runs.run import Run

EXPERIMENT, TAG = "KD Lab", "kd_lab.run"
MOST, LONGEST = 1000, 500
"""Metrics, and characters of a parameter, that a server takes at once."""
STATES = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}
"""A run that rests stays RUNNING, and goes on as the same."""


class MlflowLog:
    """Writes to a tracking server. uri: by default MLFLOW_TRACKING_URI, else a folder. Raises ImportError."""

    def __init__(self, uri: str, folder: Path) -> None:
        uri = uri or os.environ.get("MLFLOW_TRACKING_URI", "") or folder.as_uri()
        if "://" not in uri or uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 asks who writes files to say so
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=uri)
        self._waiting: list[tuple[str, float, int, int]] = []

    def begin(self, run: Run) -> None:
        """Make the run, or go on with the one that was made of it before."""
        known = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = known.experiment_id if known else self._client.create_experiment(EXPERIMENT)
        before = self._client.search_runs([experiment], f"tags.`{TAG}` = '{run.id}'", max_results=1)
        if before:
            self._id = before[0].info.run_id
            return
        made = self._client.create_run(experiment, run_name=run.named or str(run.config.label), tags={TAG: run.id})
        self._id = made.info.run_id
        for name, value in settings_of(run).items():
            self._client.log_param(self._id, name, str(value)[:LONGEST])

    def take(self, event: Event) -> None:
        """Keep a record's numbers, and send them epoch by epoch."""
        now = int(1000 * time.time())
        self._waiting += [(name, value, now, step) for name, value, step in numbers_of(event)]
        if event["kind"] == "epoch" or len(self._waiting) > MOST - len(event):
            self._send()

    def _send(self) -> None:
        from mlflow.entities import Metric

        sent, self._waiting = self._waiting, []
        for first in range(0, len(sent), MOST):
            self._client.log_batch(self._id, metrics=[Metric(*metric) for metric in sent[first : first + MOST]])

    def end(self, run: Run) -> None:
        """Send what is left and the results, and say how it ended."""
        now = int(1000 * time.time())
        self._waiting += [(name, value, now, run.step) for name, value in results_of(run).items()]
        self._send()
        if run.status in STATES:
            self._client.set_terminated(self._id, status=STATES[run.status])
