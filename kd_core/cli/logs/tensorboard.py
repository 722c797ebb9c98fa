"""Curves for TensorBoard: a folder of event files for each run."""

import json
from pathlib import Path

from kd_core.cli.logs import numbers_of, results_of, settings_of
from kd_core.runs.events import Event
from kd_core.runs.run import Run


class TensorBoardLog:
    """Writes a run's records into folder/ID. Raises ImportError where TensorBoard is not installed."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._make, self._folder = SummaryWriter, folder

    def begin(self, run: Run) -> None:
        """Open the run's files; where it goes on, what was written beyond its step is taken back."""
        self._writer = self._make(str(self._folder / run.id), purge_step=run.step or None)
        settings = json.dumps(settings_of(run), indent=2)
        self._writer.add_text("config", f"{run.config.label}\n```json\n{settings}\n```")

    def take(self, event: Event) -> None:
        """Write a record's numbers at its step."""
        for name, value, step in numbers_of(event):
            self._writer.add_scalar(name, value, step)
        if event["kind"] == "epoch":
            self._writer.flush()

    def end(self, run: Run) -> None:
        """Write the results and close the files."""
        for name, value in results_of(run).items():
            self._writer.add_scalar(name, value, run.step)
        self._writer.close()
